//! The answer for programs. Fields may be added; none changes its meaning within a version.

use std::collections::BTreeMap;

use forestall_decide::Span;
use serde::Serialize;

use super::Run;
use super::source::Source;
use super::timeline::sentence;

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
    evictions: u64,
    evictions_for_cache: u64,
    agent_evictions: u64,
    kernel_kills: BTreeMap<&'static str, u64>,
    agent_kills: u64,
    reclaims: u64,
    innocent_deaths: u64,
    innocent_deaths_by_agents: u64,
    nodes_with_deaths: u64,
    nodes_lost: u64,
    restarts: u64,
    pods_without_place: u64,
    first_death_micros: Option<u64>,
    last_death_micros: Option<u64>,
    alarms: u64,
    verdicts: BTreeMap<String, u64>,
    deaths_without_alarm: u64,
    lead_median_micros: Option<u64>,
    violations: Vec<ViolationOut>,
    events: Vec<EventOut>,
    events_left_out: u64,
}

#[derive(Serialize)]
struct ViolationOut {
    at_micros: u64,
    node: u32,
    rule: &'static str,
    what: String,
}

#[derive(Serialize)]
struct EventOut {
    at_micros: u64,
    node: u32,
    what: String,
}

/// The JSON, whole.
pub(super) fn render(source: &Source, runs: &[Run]) -> anyhow::Result<String> {
    let scenario = source.scenario();
    let answer = Answer {
        kind: "simulation",
        version: 1,
        title: source.title(),
        reproduces: scenario.map_or(&[], |scenario| &scenario.reproduces),
        does_not_hold: scenario.map_or(&[], |scenario| &scenario.does_not_hold),
        runs: runs.iter().map(run_out).collect(),
    };
    let mut text = serde_json::to_string_pretty(&answer)?;
    text.push('\n');
    Ok(text)
}

fn run_out(run: &Run) -> RunOut {
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
        evictions: tally.evictions,
        evictions_for_cache: tally.evictions_for_cache,
        agent_evictions: tally.agent_evictions,
        kernel_kills: kills.collect(),
        agent_kills: tally.agent_kills,
        reclaims: tally.reclaims,
        innocent_deaths: tally.innocent,
        innocent_deaths_by_agents: tally.innocent_by_agent,
        nodes_with_deaths: tally.nodes_hit,
        nodes_lost: tally.nodes_lost,
        restarts: tally.restarts,
        pods_without_place: tally.pending,
        first_death_micros: tally.first_death.map(|at| at.0),
        last_death_micros: tally.last_death.map(|at| at.0),
        alarms: tally.alarms,
        verdicts: verdicts.collect(),
        deaths_without_alarm: tally.missed,
        lead_median_micros: tally.lead_median().map(|Span(micros)| micros),
        violations: run
            .report
            .violations
            .iter()
            .map(|violation| ViolationOut {
                at_micros: violation.at.0,
                node: violation.node,
                rule: violation.rule,
                what: violation.what.clone(),
            })
            .collect(),
        events: run
            .report
            .events
            .iter()
            .map(|event| EventOut {
                at_micros: event.at.0,
                node: event.node,
                what: sentence(event),
            })
            .collect(),
        events_left_out: run.report.events_left_out,
    }
}
