//! A fact as one line.

use forestall_decide::{AlarmVerdict, Mode, Moment, Span, WallKind};
use forestall_sim::{BrakeState, Event, LeftOut, Otherwise, Victim, What};

use crate::commands::why_not::{self, PassedOver};
use crate::config::choice::{self, word};
use crate::log::escape;

/// Seconds with thousandths, as in the time lines of incidents.
pub(super) fn seconds(at: Moment) -> String {
    format!("{}.{:03}", at.0 / 1_000_000, at.0 / 1000 % 1000)
}

fn whom(victim: &Victim) -> String {
    let innocent = if victim.innocent { ", innocent" } else { "" };
    format!("{} ({}{innocent})", escape::text(&victim.name), victim.held)
}

/// What happened, in words.
pub(super) fn sentence(event: &Event) -> String {
    match &event.what {
        What::KernelKilled { wall, victim, .. } => match wall {
            WallKind::Kernel => format!("kernel kills {} for the machine", whom(victim)),
            wall => format!(
                "kernel kills {} at the limit of its {}",
                whom(victim),
                place(*wall)
            ),
        },
        What::Evicting {
            wall,
            victim,
            for_cache,
        } => {
            let cache = if *for_cache { ", for page cache alone" } else { "" };
            format!("kubelet evicts {} at {}{cache}", whom(victim), wall.label())
        }
        What::AgentEvicted { victim, .. } => format!("agent evicts {}", whom(victim)),
        What::ContainerEnded {
            victim,
            by_agent: true,
        } => format!("agent has killed {}", whom(victim)),
        What::ContainerEnded { victim, .. } => format!("{} ends by itself", whom(victim)),
        What::ContainerRestarted { name, restarts } => {
            format!("{} starts again, {restarts}", escape::text(name))
        }
        What::Ordered(order) => {
            let target = order
                .target
                .as_ref()
                .map_or_else(|| "the machine".to_owned(), |aim| whom(&aim.victim));
            let orders = match order.mode {
                Mode::Enforce => "orders",
                Mode::Shadow | Mode::Observe => "would order",
            };
            let again = if order.escalate { " at once" } else { "" };
            format!(
                "agent {orders} {} of {target}{again} for {}: {}",
                order.rung.label(),
                order.wall.label(),
                order.rule
            )
        }
        What::Landed {
            rung, kind, freed, ..
        } => format!("{} is over: {kind:?}, {freed}", rung.label()),
        What::Refused {
            reason,
            wall,
            has_culprit,
            mode,
            ..
        } => format!(
            "agent ends nobody at {}: {}",
            wall.label(),
            why_not::refusal(*reason, *has_culprit, *mode)
        ),
        What::Alarm {
            wall, verdict, age, ..
        } => alarm(*wall, *verdict, *age),
        What::Foretold { wall, victims, .. } => {
            let names = victims.iter().map(|name| escape::text(name)).collect::<Vec<_>>();
            let whom = match &names[..] {
                [] => ", and nobody knows of whom".to_owned(),
                names => format!(" of {}", names.join(" or ")),
            };
            format!("shadow kubelet: an eviction comes near at {}{whom}", wall.label())
        }
        What::PodStarted { pod } => format!("{} starts", escape::text(pod)),
        What::PodEnded { pod } => format!("{} is gone", escape::text(pod)),
        What::PodPending { pod } => format!("{} finds no node", escape::text(pod)),
        What::Pressure(true) => "kubelet: memory pressure".to_owned(),
        What::Pressure(false) => "kubelet: memory is sufficient".to_owned(),
        What::Fault { name, begins: true } => format!("fault begins: {name}"),
        What::Fault { name, .. } => format!("fault ends: {name}"),
        What::NodeLost => "nobody is left to kill: the node is lost".to_owned(),
        What::Brake { state, .. } => match state {
            BrakeState::On => "agent brakes",
            BrakeState::Lifted => "agent lifts its brake",
            BrakeState::Gone => "the brake goes with its cgroup",
        }
        .to_owned(),
        What::Looked(look) => format!("agent looks, again in {}", look.wake_in),
    }
}

/// What a public preset does otherwise than a rule says, as one line.
pub(super) fn otherwise(it: &Otherwise) -> String {
    format!(
        "{}: the preset {} does otherwise by its own document, {} times; first at {} on node {}: {}",
        it.first.rule,
        word::<choice::Preset>(it.preset),
        it.times,
        seconds(it.first.at),
        it.first.node,
        escape::message(&it.first.what)
    )
}

/// Who was passed over at a wall where something was due, and how many in all.
pub(super) fn passed_over(event: &Event) -> (Vec<PassedOver>, usize) {
    let passed = match &event.what {
        What::Ordered(order) => &order.passed_over,
        What::Refused { passed_over, .. } => passed_over,
        _ => return (Vec::new(), 0),
    };
    let first = passed.first.iter();
    let list = first.map(|(rung, name, why)| PassedOver::new(*rung, escape::text(name), *why));
    (list.collect(), passed.count)
}

/// The same in words.
pub(super) fn passed_over_lines(event: &Event) -> Vec<String> {
    let (list, count) = passed_over(event);
    why_not::lines(&list, count)
}

/// What the agent's mode means for what is told of it; nothing where it may act.
pub(super) const fn of_mode(mode: Option<Mode>) -> Option<&'static str> {
    match mode {
        None | Some(Mode::Enforce) => None,
        Some(Mode::Shadow) => Some("mode shadow: what the agent would order is announced and not done"),
        Some(Mode::Observe) => Some("mode observe: the agent raises no alarm and orders nothing"),
    }
}

/// What is not told: how much, of what, and from when on; nothing where all is.
pub(super) fn left_out(left_out: &LeftOut) -> Option<String> {
    let from = seconds(left_out.from?);
    Some(format!(
        "{} more from {from} s on: {} reclaims, starts and refusals, {} others",
        left_out.all(),
        left_out.minor,
        left_out.others
    ))
}

fn place(wall: WallKind) -> &'static str {
    match wall {
        WallKind::Container => "container",
        WallKind::Pod => "pod",
        _ => "kubepods",
    }
}

fn alarm(wall: WallKind, verdict: Option<AlarmVerdict>, age: Span) -> String {
    match verdict {
        None => format!("alarm: {} comes near", wall.label()),
        Some(verdict) => format!("alarm at {}, {age} old: {}", wall.label(), scored(verdict)),
    }
}

/// What an alarm turned out to be.
pub(super) const fn scored(verdict: AlarmVerdict) -> &'static str {
    match verdict {
        AlarmVerdict::True => "came true",
        AlarmVerdict::False => "false",
        AlarmVerdict::Intervened => "overtaken by an action or by another ending",
        AlarmVerdict::Missed => "somebody ended without it",
    }
}
