//! A heap that grows to its plateau and stops: nobody may be evicted for what it was not going to take.
use anyhow::{Result, ensure};

use crate::cluster::clear;
use crate::kubectl::Kubectl;
use crate::kubelet;
use crate::memory::Memory;
use crate::pod::State;
use crate::wait::wait_within;

use super::eviction::is_untouched;
use super::guarded::{Guard, THRESHOLD_MIB, growth, guarded, is_over, pod};
use super::refusal::begin;
use super::{PATIENCE, Stage};

/// How fast it grows, in thousandths of the machine a second.
const RATE: u32 = 4;
/// What an eviction takes here, nine times of ten: the slowest of those that `slow-leak-guarded` reported (`OUTCOME`), and no more than its pod's
/// grace period.
const EVICTION_SECONDS: u64 = 10;

/// Farther from the wall than one and a half times what it grows by in the time that an eviction takes, nobody goes: farther by what it grows by in one of the
/// guard's looks (a tenth of that time), because who looks later sees it nearer. Nearer, what happens is told.
pub(super) fn heap(stage: &mut Stage<'_>) -> Result<()> {
    let short_mib =
        |total_mib: u64, tenths: u64| total_mib * u64::from(RATE) * EVICTION_SECONDS * tenths / 10_000;
    let total_mib = Memory::of(stage.node)?.total_mib;
    let (far_mib, near_mib) = (
        short_mib(total_mib, 16),
        [15, 10, 7].map(|tenths| short_mib(total_mib, tenths)),
    );
    let left_mib = stands(stage, far_mib, 0, None)?;
    eprintln!("e2e:   the kubelet alone leaves a heap {left_mib} MiB short of its threshold alone");
    // What a pod takes besides its heap.
    let beside_mib = far_mib.saturating_sub(left_mib);
    clear(stage.node, stage.kubectl)?;
    guarded(stage, |stage, guard| {
        let left_mib = stands(stage, far_mib, beside_mib, Some(guard))?;
        let acted = guard.told(&["action"])?;
        ensure!(acted.is_empty(), "forestall moved: {acted:?}");
        ensure!(guard.evicted()?.is_empty(), "evicted were {:?}", guard.evicted()?);
        eprintln!("e2e:   and so does forestall one that stops at {left_mib} MiB");
        for near_mib in near_mib {
            clear(stage.node, stage.kubectl)?;
            match stands(stage, near_mib, beside_mib, Some(guard)) {
                Ok(left_mib) => eprintln!("e2e:   {left_mib} MiB short of it, too"),
                Err(error) => {
                    eprintln!("e2e:   {near_mib} MiB short of it: {error:#}");
                    break;
                }
            }
        }
        guard.say()
    })
}

/// It grows until so much is left above the kubelet's threshold, where its pod takes so much besides, and is there, untouched, three of the kubelet's looks later. Returns
/// what is left then.
fn stands(stage: &Stage<'_>, short_mib: u64, beside_mib: u64, guard: Option<Guard<'_>>) -> Result<u64> {
    let (kubectl, node) = begin(stage)?;
    let now = Memory::of(node)?;
    let grows_mib = now
        .allocatable_available_mib
        .saturating_sub(THRESHOLD_MIB + short_mib + beside_mib);
    let thousandths = grows_mib * 1000 / now.total_mib;
    let heap = pod("heap", 5, &growth(RATE, Some(thousandths)));
    kubectl.apply(&heap.to_string())?;
    State::wait_for(kubectl, "heap", "Running", |state| state.phase() == "Running")?;
    wait_within(PATIENCE, "the plateau", || {
        let left = Memory::of(node)?.allocatable_available_mib;
        ensure!(
            !is_gone(kubectl, guard)?,
            "the heap was ended on its way, with {left} MiB left"
        );
        // Thousandths are whole.
        Ok(left <= THRESHOLD_MIB + short_mib + 2)
    })?;
    let seen = kubelet::looks(node)?.len();
    wait_within(PATIENCE, "three looks of the kubelet's", || {
        ensure!(!is_gone(kubectl, guard)?, "the heap was ended on its plateau");
        Ok(kubelet::looks(node)?.len() >= seen + 3)
    })?;
    is_untouched(kubectl, "heap")?;
    is_untouched(kubectl, "bystander")?;
    let left_mib = Memory::of(node)?.allocatable_available_mib;
    Ok(left_mib.saturating_sub(THRESHOLD_MIB))
}

fn is_gone(kubectl: &Kubectl, guard: Option<Guard<'_>>) -> Result<bool> {
    let is_sent_away = guard.is_some_and(|guard| guard.evictions().is_ok_and(|told| !told.is_empty()));
    Ok(is_sent_away || is_over(kubectl, "heap")?)
}
