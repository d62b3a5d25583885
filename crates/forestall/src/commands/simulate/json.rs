//! The answer for programs. Fields may be added; none changes its meaning within a version.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use forestall_decide::Span;
use forestall_decide::kubelet::Signal;
use forestall_sim::{CurveRow, Curves, Event, NodeCurve, Violation, World};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use serde_json::{Serializer, Value};

use super::Run;
use super::foretold;
use super::source::Source;
use super::timeline::{passed_over, sentence};
use crate::commands::why_not::PassedOver;
use crate::config::choice::{self, word};
use crate::log::words;

#[derive(Serialize)]
struct Answer<'a> {
    kind: &'static str,
    version: u32,
    title: &'a str,
    reproduces: &'a [String],
    does_not_hold: &'a [String],
    runs: Vec<RunOut>,
}

#[derive(Serialize)]
struct RunOut {
    seed: u64,
    variant: &'static str,
    mode: Option<&'static str>,
    evictions: u64,
    evictions_for_cache: u64,
    agent_evictions: u64,
    kernel_kills: BTreeMap<&'static str, u64>,
    agent_kills: u64,
    reclaims: u64,
    innocent_deaths: u64,
    innocent_deaths_by_agents: u64,
    /// How many more died than in the run without agents beside it, kind by kind; nothing without such a run.
    deaths_added_by_agents: Option<u64>,
    nodes_with_deaths: u64,
    nodes_lost: u64,
    restarts: u64,
    pods_without_place: u64,
    first_death_micros: Option<u64>,
    last_death_micros: Option<u64>,
    alarms: u64,
    verdicts: BTreeMap<String, u64>,
    /// Nothing where nobody claims to foretell any.
    deaths_without_alarm: Option<u64>,
    lead_median_micros: Option<u64>,
    violations: Vec<ViolationOut>,
    preset_otherwise: Vec<OtherwiseOut>,
    kubelet_forecast: Value,
    events: Vec<EventOut>,
    events_left_out: u64,
    minor_events_left_out: u64,
    events_left_out_from_micros: Option<u64>,
    curves: Option<CurvesOut>,
}

/// Memory over time. Has a version of its own, because pictures want other figures sooner than scripts do.
#[derive(Serialize)]
struct CurvesOut {
    version: u32,
    nodes: Vec<CurveOut>,
    fleet: Vec<FleetOut>,
}

/// One node's curves as columns: the nth figure of each belongs to the nth moment. Of two equal moments the first is before
/// what happened then, the second after it.
#[derive(Serialize)]
struct CurveOut {
    node: u32,
    name: String,
    memory_bytes: u64,
    kubepods_limit_bytes: Option<u64>,
    eviction_hard_bytes: Option<u64>,
    at_micros: Vec<u64>,
    kernel_available_bytes: Vec<u64>,
    kubelet_available_bytes: Vec<Option<u64>>,
    pods_working_set_bytes: Vec<u64>,
    pods_charged_bytes: Vec<u64>,
    pods: Vec<KindOut>,
}

#[derive(Serialize)]
struct KindOut {
    name: String,
    working_set_bytes: Vec<u64>,
}

#[derive(Serialize)]
struct FleetOut {
    at_micros: u64,
    available_lowest_bytes: u64,
    available_median_bytes: u64,
    available_highest_bytes: u64,
    kernel_available_lowest_bytes: u64,
    deaths: u64,
}

#[derive(Serialize)]
struct ViolationOut {
    at_micros: u64,
    node: u32,
    rule: &'static str,
    what: String,
}

/// What a public preset does otherwise than a rule says, by its own document.
#[derive(Serialize)]
struct OtherwiseOut {
    preset: String,
    times: u64,
    first: ViolationOut,
}

#[derive(Serialize)]
struct EventOut {
    at_micros: u64,
    node: u32,
    what: String,
    /// The first few of those who were passed over, where something was due.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    passed_over: Vec<PassedOver>,
    /// How many were in all.
    #[serde(skip_serializing_if = "is_none")]
    passed_over_count: usize,
}

// Serde hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_none(count: &usize) -> bool {
    *count == 0
}

/// The JSON, whole.
pub(super) fn render(source: &Source, world: &World, runs: &[Run]) -> anyhow::Result<String> {
    let scenario = source.scenario();
    let answer = Answer {
        kind: "simulation",
        version: 1,
        title: source.title(),
        reproduces: scenario.map_or(&[], |scenario| &scenario.reproduces),
        does_not_hold: scenario.map_or(&[], |scenario| &scenario.does_not_hold),
        runs: runs.iter().map(|run| run_out(world, run)).collect(),
    };
    let mut bytes = Vec::new();
    let mut writer = Serializer::with_formatter(&mut bytes, Shallow::default());
    answer.serialize(&mut writer)?;
    bytes.push(b'\n');
    Ok(spell_out(&String::from_utf8(bytes)?))
}

/// JSON with every letter that turns text around, or is not seen, spelled out: a name from outside must not look like another one. Such
/// letters stand in strings alone, where they may be written so.
fn spell_out(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for letter in json.chars() {
        if matches!(letter, '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(letter));
        } else {
            out.push(letter);
        }
    }
    out
}

fn run_out(world: &World, run: &Run) -> RunOut {
    let tally = &run.report.tally;
    let kills = tally
        .kernel_kills
        .iter()
        .map(|(wall, kills)| (wall.label(), *kills));
    let verdicts = tally
        .verdicts
        .iter()
        .map(|(verdict, count)| (format!("{verdict:?}").to_lowercase(), *count));
    RunOut {
        seed: run.seed,
        variant: run.variant,
        mode: run.mode.map(words::mode),
        evictions: tally.evictions,
        evictions_for_cache: tally.evictions_for_cache,
        agent_evictions: tally.agent_evictions,
        kernel_kills: kills.collect(),
        agent_kills: tally.agent_kills,
        reclaims: tally.reclaims,
        innocent_deaths: tally.innocent,
        innocent_deaths_by_agents: tally.innocent_by_agent,
        deaths_added_by_agents: run.added_deaths,
        nodes_with_deaths: tally.nodes_hit,
        nodes_lost: tally.nodes_lost,
        restarts: tally.restarts,
        pods_without_place: tally.pending,
        first_death_micros: tally.first_death.map(|at| at.0),
        last_death_micros: tally.last_death.map(|at| at.0),
        alarms: tally.alarms,
        verdicts: verdicts.collect(),
        deaths_without_alarm: tally.deaths_without_alarm(),
        lead_median_micros: tally.lead_median().map(|Span(micros)| micros),
        violations: run.report.violations.iter().map(ViolationOut::new).collect(),
        preset_otherwise: run
            .report
            .otherwise
            .iter()
            .map(|otherwise| OtherwiseOut {
                preset: word::<choice::Preset>(otherwise.preset),
                times: otherwise.times,
                first: ViolationOut::new(&otherwise.first),
            })
            .collect(),
        kubelet_forecast: foretold::value(run),
        events: run.report.events.iter().map(event_out).collect(),
        events_left_out: run.report.events_left_out.all(),
        minor_events_left_out: run.report.events_left_out.minor,
        events_left_out_from_micros: run.report.events_left_out.from.map(|at| at.0),
        curves: curves_out(world, &run.report.curves),
    }
}

impl ViolationOut {
    fn new(violation: &Violation) -> Self {
        Self {
            at_micros: violation.at.0,
            node: violation.node,
            rule: violation.rule,
            what: violation.what.clone(),
        }
    }
}

fn event_out(event: &Event) -> EventOut {
    let (passed_over, passed_over_count) = passed_over(event);
    EventOut {
        at_micros: event.at.0,
        node: event.node,
        what: sentence(event),
        passed_over,
        passed_over_count,
    }
}

/// Nothing where nobody was watched.
fn curves_out(world: &World, curves: &Curves) -> Option<CurvesOut> {
    let fleet = curves.fleet.iter().map(|row| FleetOut {
        at_micros: row.at.0,
        available_lowest_bytes: row.lowest.0,
        available_median_bytes: row.median.0,
        available_highest_bytes: row.highest.0,
        kernel_available_lowest_bytes: row.kernel_lowest.0,
        deaths: row.deaths,
    });
    (!curves.nodes.is_empty()).then(|| CurvesOut {
        version: 1,
        nodes: curves.nodes.iter().map(|curve| curve_out(world, curve)).collect(),
        fleet: fleet.collect(),
    })
}

fn curve_out(world: &World, curve: &NodeCurve) -> CurveOut {
    let spec = world.nodes.get(curve.node as usize);
    let kubelet = spec.and_then(|spec| spec.kubelet.as_ref());
    let column = |of: fn(&CurveRow) -> u64| curve.rows.iter().map(of).collect();
    let kind = |kind: usize, name: &str| KindOut {
        name: name.to_owned(),
        working_set_bytes: curve
            .rows
            .iter()
            .map(|row| row.by_kind.get(kind).map_or(0, |bytes| bytes.0))
            .collect(),
    };
    CurveOut {
        node: curve.node,
        name: spec.map(|spec| spec.name.to_string()).unwrap_or_default(),
        memory_bytes: spec.map_or(0, |spec| spec.memory.0),
        kubepods_limit_bytes: kubelet
            .filter(|config| config.enforces_pods)
            .map(|config| config.kubepods_limit().0),
        eviction_hard_bytes: kubelet.map(|config| config.hard(Signal::MemoryAvailable).0),
        at_micros: column(|row| row.at.0),
        kernel_available_bytes: column(|row| row.kernel_available.0),
        kubelet_available_bytes: curve
            .rows
            .iter()
            .map(|row| row.kubelet_available.map(|bytes| bytes.0))
            .collect(),
        pods_working_set_bytes: column(|row| row.pods_working_set.0),
        pods_charged_bytes: column(|row| row.pods_charged.0),
        pods: curve
            .kinds
            .iter()
            .enumerate()
            .map(|(index, name)| kind(index, name))
            .collect(),
    }
}

/// Pretty down to a curve's own fields; their thousands of figures stand in one line each.
#[derive(Default)]
struct Shallow {
    pretty: PrettyFormatter<'static>,
    depth: usize,
}

/// runs, a run, its curves, their nodes, a node.
const PRETTY_DEPTH: usize = 6;

impl Shallow {
    fn enter(&mut self) -> bool {
        self.depth += 1;
        self.depth <= PRETTY_DEPTH
    }

    fn leave(&mut self) -> bool {
        self.depth = self.depth.saturating_sub(1);
        self.depth < PRETTY_DEPTH
    }

    fn is_pretty(&self) -> bool {
        self.depth <= PRETTY_DEPTH
    }
}

/// Hands a call on to the pretty formatter, or, deeper down, to the compact one.
macro_rules! either {
    ($self:ident, $pretty:expr, $call:ident($($argument:expr),*)) => {
        if $pretty { $self.pretty.$call($($argument),*) } else { CompactFormatter.$call($($argument),*) }
    };
}

impl Formatter for Shallow {
    fn begin_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        let pretty = self.enter();
        either!(self, pretty, begin_array(out))
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        let pretty = self.leave();
        either!(self, pretty, end_array(out))
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        either!(self, self.is_pretty(), begin_array_value(out, first))
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        either!(self, self.is_pretty(), end_array_value(out))
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        let pretty = self.enter();
        either!(self, pretty, begin_object(out))
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        let pretty = self.leave();
        either!(self, pretty, end_object(out))
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        either!(self, self.is_pretty(), begin_object_key(out, first))
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        either!(self, self.is_pretty(), begin_object_value(out))
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        either!(self, self.is_pretty(), end_object_value(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_text_around_is_spelled_out_and_reads_back_the_same() {
        let name = "größe \u{202e}gpj\u{2066}\u{85}\u{200b}🦀";
        let json = spell_out(&serde_json::to_string(name).expect("JSON"));
        assert_eq!(json, "\"größe \\u202egpj\\u2066\\u0085\\u200b🦀\"");
        assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), name);
    }
}
