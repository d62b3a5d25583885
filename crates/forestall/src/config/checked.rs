//! Settings once checked: what was typed, the defaults of the chosen preset, and the rules that tie fields together.
//!
//! A preset is a public rule kept runnable, so it brings its own rungs and interval; what is set explicitly still wins,
//! except where nothing sensible would be left.

use std::path::PathBuf;

use forestall_decide::{Bytes, Mode, Policy, Preference, Preset, Rung, Rungs, Span, Victims};

use super::Invalid;
use super::budget::Budget;
use super::choice::word;
use super::kubelet::KubeletFile;
use super::listen::Listen;
use super::notify::Notify;
use super::preference;
use super::quantity::{write_size, write_time};
use super::raw::{Percent, Raw, RawRecorder, Typed};
use super::switch::is_on;
use super::taint::Taint;

/// Everything `agent` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The engine's policy.
    pub(crate) policy: Policy,
    /// Whom to spare, and who goes sooner or later.
    pub(crate) preferences: Vec<Preference>,
    /// Enforce although another memory killer runs here.
    pub(crate) beside: bool,
    /// How many evictions the cluster may have at once.
    pub(crate) budget: Budget,
    /// Of the Node while its memory runs low; see [`Settings::taint()`].
    pub(crate) taint: Taint,
    /// On cgroup v1, reclaim by emptying a cgroup of its cache.
    pub(crate) force_empty: bool,
    /// Rungs without which the agent must not start.
    pub(crate) require: Vec<Rung>,
    /// Where to answer HTTP.
    pub(crate) listen: Listen,
    /// Where the host's /proc and /sys are.
    pub(crate) root: PathBuf,
    /// Where to learn what the kubelet runs with.
    pub(crate) kubelet: KubeletFile,
    /// What the flight recorder keeps.
    pub(crate) recorder: Recorder,
    /// How kills are kept.
    pub(crate) ledger: Ledger,
    /// Who is told of what happens.
    pub(crate) notify: Notify,
    /// Where the flight recorder writes, if not in the agent's own directory; a flag only.
    pub(crate) record: Option<PathBuf>,
}

/// How kills are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// They are.
    pub(crate) on: bool,
    /// An instance of the kernel's tracing is made for it. Where nobody says it is in enforce mode alone: whoever only looks on changes
    /// nothing of the kernel.
    pub(crate) tracing: bool,
}

/// What the flight recorder keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recorder {
    /// It records.
    pub(crate) on: bool,
    /// For so long.
    pub(crate) keep: Span,
    /// In at most so many bytes, which wins over the time.
    pub(crate) size_max: Bytes,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            on: true,
            keep: Span::secs(3600),
            size_max: Bytes::mebi(64),
        }
    }
}

impl Recorder {
    fn check(raw: &RawRecorder) -> Result<Self, Invalid> {
        let mut recorder = Self::default();
        take(&mut recorder.on, raw.enabled.map(is_on));
        take(&mut recorder.keep, raw.keep.map(inner));
        take(&mut recorder.size_max, raw.size_max.map(inner));
        if recorder.size_max < Bytes::mebi(1) {
            return Err(Invalid::new(
                "recorder.sizeMax: too small to keep anything of use; at least 1Mi",
            ));
        }
        if recorder.keep < Span::secs(60) {
            return Err(Invalid::new(
                "recorder.keep: too short to keep anything of use; at least 1m",
            ));
        }
        Ok(recorder)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            preferences: Vec::new(),
            beside: false,
            budget: Budget::default(),
            taint: Taint::None,
            force_empty: false,
            require: Vec::new(),
            listen: Listen::default(),
            root: PathBuf::from("/"),
            kubelet: KubeletFile::default(),
            recorder: Recorder::default(),
            ledger: Ledger {
                on: true,
                tracing: false,
            },
            notify: Notify::default(),
            record: None,
        }
    }
}

/// The longest interval: beyond it no wall could be said to be watched.
const INTERVAL_MAX: Span = Span::secs(600);
/// The shortest: below it the agent would be a load of its own.
const TICK_FLOOR: Span = Span::millis(1);
/// The longest of all shortest times: a cgroup may be full within 300 ms, and what happens between two looks is reckoned with
/// this, so that a longer one would kill from afar.
const TICK_MIN_MAX: Span = Span::millis(100);
/// A wall that is near is looked at once a second at the least. The presets of others poll evenly instead.
const TICK_NEAR_MAX: Span = Span::secs(1);
/// A large victim takes this long to give its memory back, and a kill that is judged sooner has no effect yet.
const EFFECT_DEADLINE_MIN: Span = Span::millis(500);
/// What a kill has freed is seen at the look after it; without a pause the next victim would die for the same shortage.
const KILL_COOLDOWN_MIN: Span = Span::millis(100);

impl Settings {
    /// The Node's taint: whoever does not enforce changes nothing, and lifts one that is left.
    pub(crate) fn taint(&self) -> Taint {
        match self.policy.mode {
            forestall_decide::Mode::Enforce => self.taint,
            _ => Taint::None,
        }
    }

    /// Checks what was typed. The error names the field, what is wrong with it and what to write.
    pub(super) fn check(raw: &Raw) -> Result<Self, Invalid> {
        let preset = raw.preset.map_or_else(Preset::default, Preset::from);
        let mut policy = preset_policy(preset);
        let timing = &raw.timing;
        take(&mut policy.mode, raw.mode.map(Mode::from));
        take(&mut policy.victims, raw.victims.map(Victims::from));
        for (rung, asked) in raw.rungs.asked() {
            policy.rungs = policy.rungs.with(rung, asked);
        }
        take(
            &mut policy.culprit_share_permille,
            raw.culprit_share_percent.map(permille),
        );
        take(
            &mut policy.kubelet_eviction_hard,
            raw.kubelet_eviction_hard.map(inner),
        );
        take(&mut policy.tick_calm, timing.interval.map(inner));
        policy.tick_near = timing.tick_near.map_or_else(|| near_by_preset(&policy), inner);
        take(&mut policy.tick_min, timing.tick_min.map(inner));
        take(&mut policy.term_grace, timing.term_grace.map(inner));
        take(&mut policy.effect_deadline, timing.effect_deadline.map(inner));
        take(&mut policy.kill_cooldown, timing.kill_cooldown.map(inner));
        take(
            &mut policy.war_story_used_permille,
            raw.war_story_a.used_percent.map(permille),
        );
        take(
            &mut policy.war_story_cache_permille,
            raw.war_story_a.cache_percent.map(permille),
        );
        take(
            &mut policy.gist_available_bytes_min,
            raw.gist.min_available.map(inner),
        );
        check_policy(&policy)?;
        let require: Vec<Rung> = raw.require.iter().flatten().copied().map(Rung::from).collect();
        for rung in &require {
            if !policy.rungs.has(*rung) {
                let rung = rung.label();
                return Err(Invalid::new(format!(
                    "require: {rung} is switched off; set rungs.{rung}: true or do not require it"
                )));
            }
        }
        let mode = policy.mode;
        Ok(Self {
            policy,
            preferences: preference::check(&raw.preferences)?,
            beside: raw.beside.is_some_and(is_on),
            budget: Budget::check(&raw.budget)?,
            taint: raw.taint.map_or(Taint::None, |Typed(taint)| taint),
            force_empty: raw.force_empty.is_some_and(is_on),
            require,
            listen: raw.listen.map(inner).unwrap_or_default(),
            root: check_root(raw.root.as_ref())?,
            kubelet: KubeletFile::check(raw.kubelet_config.as_deref())?,
            recorder: Recorder::check(&raw.recorder)?,
            ledger: Ledger {
                on: raw.ledger.enabled.is_none_or(is_on),
                tracing: raw.ledger.tracing.map_or(mode == Mode::Enforce, is_on),
            },
            notify: Notify::check(&raw.notify)?,
            record: None,
        })
    }
}

/// Where the machine is. No path at all would be wherever the agent happens to be started.
fn check_root(root: Option<&PathBuf>) -> Result<PathBuf, Invalid> {
    match root {
        Some(root) if root.as_os_str().is_empty() => Err(Invalid::new(
            "root: is empty; write / for this machine, or where the host's / is mounted",
        )),
        Some(root) => Ok(root.clone()),
        None => Ok(PathBuf::from("/")),
    }
}

/// The defaults that a preset brings along.
fn preset_policy(preset: Preset) -> Policy {
    let policy = Policy {
        preset,
        ..Policy::default()
    };
    match preset {
        Preset::Forestall => policy,
        Preset::WarStoryA => Policy {
            victims: Victims::Priority,
            rungs: Rungs::of(&[Rung::Kill]),
            tick_calm: Span::secs(2),
            tick_near: Span::secs(2),
            ..policy
        },
        // Asking for the gist is asking for its only rung.
        Preset::Gist => Policy {
            rungs: Rungs::of(&[Rung::Sysrq]),
            tick_calm: Span::secs(60),
            tick_near: Span::secs(60),
            ..policy
        },
    }
}

/// The public rules poll evenly; forestall's own looks at least as often when a wall is near as when none is.
fn near_by_preset(policy: &Policy) -> Span {
    match policy.preset {
        Preset::Forestall => policy.tick_near.min(policy.tick_calm),
        Preset::WarStoryA | Preset::Gist => policy.tick_calm,
    }
}

fn check_policy(policy: &Policy) -> Result<(), Invalid> {
    let refuse = |why: String| Err(Invalid::new(why));
    let (calm, near, min) = (policy.tick_calm, policy.tick_near, policy.tick_min);
    if calm > INTERVAL_MAX {
        return refuse(format!(
            "timing.interval (--interval): {} is too long; at most {}",
            write_time(calm),
            write_time(INTERVAL_MAX)
        ));
    }
    if min < TICK_FLOOR {
        return refuse(format!(
            "timing.tickMin: {} is too short; at least {}",
            write_time(min),
            write_time(TICK_FLOOR)
        ));
    }
    if min > TICK_MIN_MAX {
        return refuse(format!(
            "timing.tickMin: {} is too long; at most {}",
            write_time(min),
            write_time(TICK_MIN_MAX)
        ));
    }
    if calm < min {
        return refuse(format!(
            "timing.interval (--interval): {} is too short; it is the time from one look to the next in calm times, at least {}, which \
             is timing.tickMin, the shortest time between two looks",
            write_time(calm),
            write_time(min)
        ));
    }
    if near > TICK_NEAR_MAX && policy.preset == Preset::Forestall {
        return refuse(format!(
            "timing.tickNear: {} is too long; at most {}",
            write_time(near),
            write_time(TICK_NEAR_MAX)
        ));
    }
    if near > calm {
        return refuse(format!(
            "timing.tickNear: {} is longer than the interval of {}",
            write_time(near),
            write_time(calm)
        ));
    }
    if min > near {
        return refuse(format!(
            "timing.tickMin: {} is longer than tickNear ({})",
            write_time(min),
            write_time(near)
        ));
    }
    for (name, span) in [
        ("termGrace", policy.term_grace),
        ("effectDeadline", policy.effect_deadline),
        ("killCooldown", policy.kill_cooldown),
    ] {
        if span > INTERVAL_MAX {
            return refuse(format!(
                "timing.{name}: {} is too long; at most {}",
                write_time(span),
                write_time(INTERVAL_MAX)
            ));
        }
    }
    for (name, span, least, why) in [
        (
            "effectDeadline",
            policy.effect_deadline,
            EFFECT_DEADLINE_MIN,
            "a kill needs time to show its effect",
        ),
        (
            "killCooldown",
            policy.kill_cooldown,
            KILL_COOLDOWN_MIN,
            "a victim's memory needs time to come back",
        ),
    ] {
        if span < least {
            return refuse(format!(
                "timing.{name}: {} is too short, {why}; at least {}",
                write_time(span),
                write_time(least)
            ));
        }
    }
    if !(500..=1000).contains(&policy.culprit_share_permille) {
        return refuse(
            "culpritSharePercent: write 50 to 100; below half, two could be the culprit at once".to_owned(),
        );
    }
    if policy.preset == Preset::Gist {
        if !policy.rungs.has(Rung::Sysrq) {
            return refuse(
                "rungs.sysrq: the preset gist does nothing without it; leave it out or set it to true"
                    .to_owned(),
            );
        }
        if policy.gist_available_bytes_min == Bytes::ZERO {
            return refuse("gist.minAvailable: 0 bytes would never act; such as 350Mi".to_owned());
        }
    }
    if policy.preset == Preset::WarStoryA && policy.war_story_used_permille == 0 {
        return refuse("warStoryA.usedPercent: 0 would always act; such as 85".to_owned());
    }
    if policy.preset == Preset::WarStoryA && policy.war_story_cache_permille == 0 {
        return refuse("warStoryA.cachePercent: 0 would always act; such as 15".to_owned());
    }
    if policy.preset == Preset::WarStoryA
        && policy.war_story_used_permille == 1000
        && policy.war_story_cache_permille == 1000
    {
        return refuse(
            "warStoryA.usedPercent: 100, like a cachePercent of 100, would never act; such as 85".to_owned(),
        );
    }
    Ok(())
}

/// What makes no sense on a machine with this much memory: a threshold that is always crossed.
pub(crate) fn check_against(policy: &Policy, total: Bytes) -> Result<(), Invalid> {
    refuse_all("kubeletEvictionHard", policy.kubelet_eviction_hard, total)?;
    check_preset_against(policy, total)
}

/// The same of a preset's own threshold alone: simulated nodes have kubelets of their own.
pub(crate) fn check_preset_against(policy: &Policy, total: Bytes) -> Result<(), Invalid> {
    if policy.preset == Preset::Gist {
        refuse_all("gist.minAvailable", policy.gist_available_bytes_min, total)?;
    }
    Ok(())
}

fn refuse_all(name: &str, threshold: Bytes, total: Bytes) -> Result<(), Invalid> {
    // A machine whose memory cannot be read is found out elsewhere.
    if total > Bytes::ZERO && threshold >= total {
        return Err(Invalid::new(format!(
            "{name}: {} is all that this machine has ({total}) or more, so that it would always act; write less",
            write_size(threshold)
        )));
    }
    Ok(())
}

/// Flags of one preset given for another would silently do nothing: refused. In a file they may rest beside each other.
pub(super) fn check_flags(args: &crate::agent::AgentArgs, preset: Preset) -> Result<(), Invalid> {
    let wrong = |flag: &str, belongs: Preset| {
        let (belongs, preset) = (
            word::<super::choice::Preset>(belongs),
            word::<super::choice::Preset>(preset),
        );
        Err(Invalid::new(format!(
            "{flag} belongs to --preset {belongs}, and the preset is {preset}"
        )))
    };
    if args.min_available.is_some() && preset != Preset::Gist {
        return wrong("--min-available", Preset::Gist);
    }
    for (flag, given) in [
        ("--used-percent", args.used_percent),
        ("--cache-percent", args.cache_percent),
    ] {
        if given.is_some() && preset != Preset::WarStoryA {
            return wrong(flag, Preset::WarStoryA);
        }
    }
    Ok(())
}

fn take<T>(field: &mut T, typed: Option<T>) {
    if let Some(typed) = typed {
        *field = typed;
    }
}

fn inner<T>(typed: Typed<T>) -> T {
    typed.0
}

fn permille(typed: Typed<Percent>) -> u64 {
    typed.0.0
}
