//! Workloads and containers of a scenario, checked.

use std::collections::BTreeSet;

use forestall_decide::{Bytes, Span};
use serde_saphyr::Spanned;

use super::bounds::{FOLLOWERS_IN_A_ROW_MAX, refuse_many_containers};
use super::checked::{Place, at, inner, limit, share_at_most_all, unique};
use super::plain;
use super::raw::{RawContainer, RawLoad};
use super::words::RawPart;
use crate::error::SimError;
use crate::memory::Part;
use crate::spec::{ContainerSpec, Load};

/// Nothing happens more often than this: a world is not simulated page by page.
pub(super) const INTERVAL_MIN: Span = Span::millis(1);
/// Nor is anything smaller killed by itself.
const PROCESS_MIN: Bytes = Bytes::mebi(1);

/// The containers of a pod, or the processes of a host, whose names must differ so that they can be followed.
pub(super) fn containers(raw: &[RawContainer]) -> Result<Vec<ContainerSpec>, SimError> {
    refuse_many_containers(raw)?;
    let mut specs = Vec::with_capacity(raw.len());
    let mut names = BTreeSet::new();
    for one in raw {
        unique(&*one.name.value, &mut names, &one.name, "container")?;
        let load = match &one.load {
            Some(load) => check_load(load, raw)?,
            None => Load::Steady,
        };
        specs.push(ContainerSpec {
            request: request(one)?,
            limit: limit(one.limit.as_ref())?,
            oom_score_adj: oom_score_adj(one)?,
            protection: one
                .protected
                .is_some_and(plain::inner)
                .then_some(forestall_decide::Protection::NodeAgent),
            base: base(one)?,
            largest_process: largest_process(one)?,
            load,
            restarts: one.restarts.is_none_or(plain::inner),
            volume: one.volume.is_some_and(plain::inner),
            jitter_permille: share_at_most_all(one.jitter.as_ref(), "jitter")?.unwrap_or(0),
            ..ContainerSpec::plain(&one.name.value)
        });
    }
    refuse_circles(raw, &specs)?;
    Ok(specs)
}

/// `OOM_SCORE_ADJ_MIN` to `OOM_SCORE_ADJ_MAX` (include/uapi/linux/oom.h).
fn oom_score_adj(raw: &RawContainer) -> Result<i32, SimError> {
    match &raw.oom_score_adj {
        Some(typed) if !(-1000..=1000).contains(&typed.value.0) => {
            Err(at(Place::of(typed), "the kernel takes -1000 to 1000"))
        }
        typed => Ok(typed.as_ref().map_or(0, |typed| typed.value.0)),
    }
}

/// What it holds from its start on. Of who follows another one the other's memory says all.
fn base(raw: &RawContainer) -> Result<Bytes, SimError> {
    let follows = raw
        .load
        .as_ref()
        .is_some_and(|load| matches!(load.value, RawLoad::Follow(_)));
    match &raw.base {
        Some(typed) if follows => Err(at(
            Place::of(typed),
            "who follows another one holds a share of that and nothing else; leave base out",
        )),
        typed => Ok(typed.as_ref().map(|typed| typed.value.0).unwrap_or_default()),
    }
}

/// A kill that takes one process alone is simulated for itself, so they must not be too small.
fn largest_process(raw: &RawContainer) -> Result<Option<Bytes>, SimError> {
    match &raw.largest_process {
        Some(typed) if typed.value.0 < PROCESS_MIN => Err(at(
            Place::of(typed),
            "no process is smaller than 1Mi here; make it larger, or leave it out where one process holds everything",
        )),
        typed => Ok(typed.as_ref().map(|typed| typed.value.0)),
    }
}

/// What a container requests: the API server refuses more than its limit, and fills that in where only a limit is given.
fn request(raw: &RawContainer) -> Result<Bytes, SimError> {
    match (&raw.request, &raw.limit) {
        (Some(request), Some(limit)) if request.value.0 > limit.value.0 => Err(at(
            Place::of(request),
            "the request is above the limit, which Kubernetes refuses; lower it, or raise the limit",
        )),
        (Some(typed), _) | (None, Some(typed)) => Ok(typed.value.0),
        (None, None) => Ok(Bytes::ZERO),
    }
}

/// Who follows whom must end at somebody with a load of its own.
fn refuse_circles(raw: &[RawContainer], specs: &[ContainerSpec]) -> Result<(), SimError> {
    for (one, spec) in raw.iter().zip(specs) {
        let (mut next, mut steps) = (spec.load, 0);
        while let Load::Follow { of, .. } = next
            && steps <= specs.len()
        {
            next = specs.get(of).map_or(Load::Steady, |spec| spec.load);
            steps += 1;
        }
        let name = &one.name.value;
        if let Some(load) = one
            .load
            .as_ref()
            .filter(|_| steps > FOLLOWERS_IN_A_ROW_MAX.min(specs.len()))
        {
            let why = if matches!(next, Load::Follow { .. }) {
                format!("{name:?} follows itself in a circle; let one of them have a load of its own")
            } else {
                format!(
                    "{name:?} is more than {FOLLOWERS_IN_A_ROW_MAX} behind whom it follows; let it follow one that is nearer"
                )
            };
            let place = match &load.value {
                RawLoad::Follow(follow) => Place::of(&follow.container),
                _ => Place::of(load),
            };
            return Err(at(place, &why));
        }
    }
    Ok(())
}

fn check_load(raw: &Spanned<RawLoad>, all: &[RawContainer]) -> Result<Load, SimError> {
    let place = Place::of(raw);
    let often = |span: Span, name: &str| {
        if span < INTERVAL_MIN {
            return Err(at(
                place,
                &format!("{name} is shorter than 1ms, the shortest there is"),
            ));
        }
        Ok(span)
    };
    let load = match &raw.value {
        RawLoad::Leak(leak) => Load::Leak {
            part: match leak.of {
                None | Some(RawPart::Anon) => Part::Anon,
                Some(RawPart::Shmem) => Part::Shmem,
                Some(RawPart::Kernel) => Part::Kernel,
            },
            rate: leak.rate.0,
            total: leak.total.map(inner),
            delay: leak.delay.map_or(Span(0), inner),
        },
        RawLoad::Steps(steps) => Load::Steps {
            block: steps.block.0,
            interval: often(steps.interval.0, "interval")?,
            total: steps.total.map(inner),
            aborts: steps.aborts.is_some_and(plain::inner),
        },
        RawLoad::Burst(burst) => {
            let (rise, hold, every) = (burst.rise.0, burst.hold.0, often(burst.every.0, "every")?);
            if rise + hold > every {
                return Err(at(
                    place,
                    "every is shorter than rise and hold together; make it longer",
                ));
            }
            Load::Burst {
                size: burst.size.0,
                rise,
                hold,
                every,
            }
        }
        RawLoad::Periodic(swing) => Load::Periodic {
            size: swing.size.0,
            period: often(swing.period.0, "period")?,
        },
        RawLoad::Heap(heap) => {
            if heap.freed.0.0 > 1000 || heap.step.0 > heap.plateau.0 {
                return Err(at(place, "freed is at most 100%, and step at most plateau"));
            }
            Load::Heap {
                step: heap.step.0,
                interval: often(heap.interval.0, "interval")?,
                freed_permille: heap.freed.0.0,
                plateau: heap.plateau.0,
            }
        }
        RawLoad::Reader(reader) => {
            if reader.rate.0.0 == 0 || reader.file.0.0 == 0 {
                return Err(at(place, "a reader needs a file and a rate above 0"));
            }
            Load::Reader {
                file: reader.file.0,
                rate: reader.rate.0,
            }
        }
        RawLoad::Follow(follow) => {
            let name = &follow.container.value;
            let of = all
                .iter()
                .position(|other| other.name.value == *name)
                .ok_or_else(|| {
                    at(
                        Place::of(&follow.container),
                        &format!("there is no container {name:?} here to follow"),
                    )
                })?;
            Load::Follow {
                of,
                permille: follow.share.0.0,
            }
        }
    };
    Ok(load)
}
