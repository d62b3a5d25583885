//! The configuration file as typed. Every field is optional, unknown ones are refused, and values are read by the same
//! parsers as the flags, so that an error points at its line and column.

use std::collections::BTreeMap;
use std::path::PathBuf;

use forestall_decide::{self as decide, Bytes, Span};
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::budget::{Bound, Count, Each};
use super::choice::{Mode, Preset, Rung, Victims};
use super::listen::{Listen, parse_listen};
use super::percent::parse_percent;
use super::quantity::{parse_size, parse_time};
use super::record::Record;
use super::switch::{Switch, is_on};
use super::taint::Taint;
use crate::agent::AgentArgs;

/// The file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Raw {
    pub(super) mode: Option<Mode>,
    pub(super) preset: Option<Preset>,
    pub(super) victims: Option<Victims>,
    pub(super) beside: Option<Switch>,
    pub(super) require: Option<Vec<Rung>>,
    pub(super) listen: Option<Typed<Listen>>,
    pub(super) root: Option<PathBuf>,
    #[serde(default)]
    pub(super) preferences: Vec<RawPreference>,
    #[serde(default)]
    pub(super) rungs: RawRungs,
    pub(super) culprit_share_percent: Option<Typed<Percent>>,
    pub(super) kubelet_eviction_hard: Option<Typed<Bytes>>,
    pub(super) kubelet_config: Option<PathBuf>,
    pub(super) force_empty: Option<Switch>,
    #[serde(default)]
    pub(super) budget: RawBudget,
    pub(super) taint: Option<Typed<Taint>>,
    #[serde(default)]
    pub(super) timing: RawTiming,
    #[serde(default)]
    pub(super) recorder: RawRecorder,
    #[serde(default)]
    pub(super) ledger: RawLedger,
    #[serde(default)]
    pub(super) notify: RawNotify,
    #[serde(default)]
    pub(super) war_story_a: RawWarStory,
    #[serde(default)]
    pub(super) gist: RawGist,
}

/// Whom the operator spares, or prefers to see go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawPreference {
    #[serde(default)]
    pub(super) namespaces: Vec<String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) priority_classes: Vec<String>,
    pub(super) never: Option<Switch>,
    pub(super) weight: Option<i32>,
}

/// Which rungs may be used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawRungs {
    pub(super) reclaim: Option<Switch>,
    pub(super) brake: Option<Switch>,
    pub(super) warn: Option<Switch>,
    pub(super) grow: Option<Switch>,
    pub(super) evict: Option<Switch>,
    pub(super) kill: Option<Switch>,
    pub(super) sysrq: Option<Switch>,
}

impl RawRungs {
    /// Those that were typed.
    pub(super) fn asked(&self) -> impl Iterator<Item = (decide::Rung, bool)> {
        let typed = [
            (decide::Rung::Reclaim, self.reclaim),
            (decide::Rung::Brake, self.brake),
            (decide::Rung::Warn, self.warn),
            (decide::Rung::Grow, self.grow),
            (decide::Rung::Evict, self.evict),
            (decide::Rung::Kill, self.kill),
            (decide::Rung::Sysrq, self.sysrq),
        ];
        typed
            .into_iter()
            .filter_map(|(rung, asked)| Some((rung, is_on(asked?))))
    }
}

/// How many evictions there may be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawBudget {
    pub(super) evictions: Option<Typed<Bound>>,
    pub(super) cooldown: Option<Typed<Span>>,
    #[serde(default)]
    pub(super) namespaces: BTreeMap<String, Typed<Count>>,
    #[serde(default)]
    pub(super) priority_classes: BTreeMap<String, Typed<Count>>,
    pub(super) controllers: Option<Typed<Each>>,
    pub(super) controller_cooldown: Option<Typed<Span>>,
    pub(super) room: Option<Switch>,
}

/// How often to look, how long to wait.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawTiming {
    pub(super) interval: Option<Typed<Span>>,
    pub(super) tick_near: Option<Typed<Span>>,
    pub(super) tick_min: Option<Typed<Span>>,
    pub(super) term_grace: Option<Typed<Span>>,
    pub(super) effect_deadline: Option<Typed<Span>>,
    pub(super) kill_cooldown: Option<Typed<Span>>,
}

/// The flight recorder.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawRecorder {
    pub(super) enabled: Option<Switch>,
    pub(super) keep: Option<Typed<Span>>,
    pub(super) size_max: Option<Typed<Bytes>>,
}

/// The ledger of kills.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawLedger {
    pub(super) enabled: Option<Switch>,
    pub(super) tracing: Option<Switch>,
}

/// Who is told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawNotify {
    pub(super) exec: Option<Vec<String>>,
    pub(super) webhook: Option<String>,
    pub(super) events: Option<Vec<String>>,
    pub(super) timeout: Option<Typed<Span>>,
}

/// War story A's two thresholds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawWarStory {
    pub(super) used_percent: Option<Typed<Percent>>,
    pub(super) cache_percent: Option<Typed<Percent>>,
}

/// The gist's one threshold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawGist {
    pub(super) min_available: Option<Typed<Bytes>>,
}

/// A share in percent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Percent(pub(super) u64);

/// A value that is written as text and read by the parser its flag uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Typed<T>(pub(super) T);

/// Read from the text of one scalar.
pub(super) trait FromText: Sized {
    /// Reads it; the error says what to write.
    fn from_text(text: &str) -> Result<Self, String>;
}

impl FromText for Bytes {
    fn from_text(text: &str) -> Result<Self, String> {
        parse_size(text)
    }
}

impl FromText for Span {
    fn from_text(text: &str) -> Result<Self, String> {
        parse_time(text)
    }
}

impl FromText for Percent {
    fn from_text(text: &str) -> Result<Self, String> {
        parse_percent(text).map(Self)
    }
}

impl FromText for Listen {
    fn from_text(text: &str) -> Result<Self, String> {
        parse_listen(text)
    }
}

impl<'de, T: FromText> Deserialize<'de> for Typed<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // One reader of texts for all of them: the binary has to stay small.
        let text = String::deserialize(from)?;
        T::from_text(&text).map(Typed).map_err(de::Error::custom)
    }
}

impl Raw {
    /// Lays the flags over the file.
    pub(super) fn override_by(&mut self, args: &AgentArgs) {
        set(&mut self.mode, args.mode);
        set(&mut self.preset, args.preset);
        set(&mut self.victims, args.victims);
        set(&mut self.beside, args.beside.then_some(Switch(true)));
        set(&mut self.root, args.root.clone());
        set(&mut self.listen, args.listen.map(Typed));
        set(
            &mut self.recorder.enabled,
            (args.record == Some(Record::Off)).then_some(Switch(false)),
        );
        set(&mut self.timing.interval, args.interval.map(Typed));
        set(&mut self.gist.min_available, args.min_available.map(Typed));
        set(
            &mut self.war_story_a.used_percent,
            args.used_percent.map(|percent| Typed(Percent(percent))),
        );
        set(
            &mut self.war_story_a.cache_percent,
            args.cache_percent.map(|percent| Typed(Percent(percent))),
        );
        if !args.require.is_empty() {
            self.require = Some(args.require.clone());
        }
    }
}

fn set<T>(field: &mut Option<T>, flag: Option<T>) {
    if flag.is_some() {
        *field = flag;
    }
}
