//! What came out of a run, counted from events: the result table's figures, and how long before each death there was an
//! alarm.

use std::collections::BTreeMap;

use forestall_decide::{AlarmVerdict, GroupId, Mode, Moment, Rung, Span, WallKind};

use crate::event::{Event, Victim, What};

/// The figures of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pods that kubelets evicted.
    pub evictions: u64,
    /// Those of them that page cache alone was the reason for.
    pub evictions_for_cache: u64,
    /// Pods that agents evicted.
    pub agent_evictions: u64,
    /// Containers and processes that the kernel killed, by wall.
    pub kernel_kills: BTreeMap<WallKind, u64>,
    /// Containers and processes that agents killed.
    pub agent_kills: u64,
    /// Orders of `reclaim` that were carried out.
    pub reclaims: u64,
    /// All who died and had not caused it, whoever did it.
    pub innocent: u64,
    /// Innocent ones that agents killed or evicted.
    pub innocent_by_agent: u64,
    /// Nodes on which nobody was left to kill.
    pub nodes_lost: u64,
    /// Nodes that something died on.
    pub nodes_hit: u64,
    /// Containers that started again.
    pub restarts: u64,
    /// Pods that found no place for a while.
    pub pending: u64,
    /// The first death.
    pub first_death: Option<Moment>,
    /// The last one.
    pub last_death: Option<Moment>,
    /// Alarms raised.
    pub alarms: u64,
    /// Verdicts.
    pub verdicts: BTreeMap<AlarmVerdict, u64>,
    /// Deaths at walls that had no alarm, where somebody claims to foretell them.
    pub missed: u64,
    /// How long before a death at a wall its alarm was raised.
    pub leads: Vec<Span>,
    /// How many died on each node that somebody died on.
    pub by_node: BTreeMap<u32, u64>,
    /// How many died of each kind of pod, and of each process of hosts, by name.
    pub by_kind: BTreeMap<Box<str>, u64>,
    spoken: BTreeMap<Wall, Spoken>,
    claimed: bool,
}

/// A wall: its node, its kind, and the pod or container whose own limit it is.
type Wall = (u32, WallKind, Option<GroupId>);

/// What an alarm said of a wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spoken {
    raised: Moment,
    /// Once it has come true, it goes on to speak of its wall until then.
    until: Option<Moment>,
}

impl Tally {
    /// Counts one event of a node on which somebody claims to foretell deaths.
    pub fn see(&mut self, event: &Event) {
        self.claimed = true;
        self.count(event, true);
    }

    /// Counts one event of a node on which nobody does: it has no agent, or one that only observes. Who dies there was not missed.
    pub fn see_unclaimed(&mut self, event: &Event) {
        self.count(event, false);
    }

    fn count(&mut self, event: &Event, claims: bool) {
        match &event.what {
            // What is only announced saves and ends nobody.
            What::Ordered(order) if order.mode == Mode::Enforce => match order.rung {
                Rung::Reclaim => self.reclaims += 1,
                _ => self.lead(event, wall(event.node, order.wall, order.scope), false),
            },
            What::Alarm {
                wall: kind,
                scope,
                verdict,
                horizon,
                ..
            } => self.alarm(event, wall(event.node, *kind, *scope), *verdict, *horizon),
            What::KernelKilled {
                wall: kind,
                scope,
                victim,
                ..
            } => {
                *self.kernel_kills.entry(*kind).or_default() += 1;
                self.death(event, victim);
                self.lead(event, wall(event.node, *kind, *scope), claims);
            }
            What::Evicting {
                wall: kind,
                victim,
                for_cache,
            } => {
                self.evictions += 1;
                self.evictions_for_cache += u64::from(*for_cache);
                // Whoever is evicted for cache has done nothing, either.
                self.death(event, victim);
                self.lead(event, wall(event.node, *kind, None), claims);
            }
            What::AgentEvicted { victim, .. } => {
                self.agent_evictions += 1;
                self.innocent_by_agent += u64::from(victim.innocent);
                self.death(event, victim);
            }
            What::ContainerEnded {
                victim,
                by_agent: true,
            } => {
                self.agent_kills += 1;
                self.innocent_by_agent += u64::from(victim.innocent);
                self.death(event, victim);
            }
            What::ContainerRestarted { .. } => self.restarts += 1,
            What::PodPending { .. } => self.pending += 1,
            What::NodeLost => self.nodes_lost += 1,
            _ => {}
        }
    }

    fn alarm(&mut self, event: &Event, wall: Wall, verdict: Option<AlarmVerdict>, horizon: Span) {
        if let Some(verdict) = verdict {
            *self.verdicts.entry(verdict).or_default() += 1;
        } else {
            self.alarms += 1;
        }
        match (verdict, self.spoken.get_mut(&wall)) {
            (Some(AlarmVerdict::False), _) => {
                self.spoken.remove(&wall);
            }
            (None, Some(Spoken { until: None, .. })) | (Some(_), None) | (Some(AlarmVerdict::Missed), _) => {}
            (None, _) => {
                let (raised, until) = (event.at, None);
                self.spoken.insert(wall, Spoken { raised, until });
            }
            (Some(_), Some(spoken)) => spoken.until = Some(spoken.raised + horizon),
        }
    }

    fn death(&mut self, event: &Event, victim: &Victim) {
        self.innocent += u64::from(victim.innocent);
        let kind = kind(&victim.name);
        if let Some(died) = self.by_kind.get_mut(kind) {
            *died += 1;
        } else {
            self.by_kind.insert(kind.into(), 1);
        }
        self.first_death.get_or_insert(event.at);
        self.last_death = Some(event.at);
        let here = self.by_node.entry(event.node).or_default();
        self.nodes_hit += u64::from(*here == 0);
        *here += 1;
    }

    /// How long before this there was an alarm; one that should have been there is missed.
    fn lead(&mut self, event: &Event, wall: Wall, claimed: bool) {
        let speaks = |spoken: &&Spoken| spoken.until.is_none_or(|until| event.at <= until);
        match self.spoken.get(&wall).filter(speaks) {
            Some(spoken) => self.leads.push(event.at.since(spoken.raised)),
            None => self.missed += u64::from(claimed),
        }
    }

    /// Deaths at walls that had no alarm; `None` where nobody claims to foretell any.
    pub fn deaths_without_alarm(&self) -> Option<u64> {
        self.claimed.then_some(self.missed)
    }

    /// From the first death to the last.
    pub fn lasted(&self) -> Span {
        match (self.first_death, self.last_death) {
            (Some(first), Some(last)) => last.since(first),
            _ => Span(0),
        }
    }

    /// How many more died here than in the other run of the same world: of each kind what is more, and nothing for what is less. Kinds
    /// are compared because copies are not the same ones once somebody was put elsewhere.
    pub fn deaths_beyond(&self, other: &Self) -> u64 {
        let more = |kind: &str, died: u64| died.saturating_sub(other.by_kind.get(kind).copied().unwrap_or(0));
        let kinds = self.by_kind.iter();
        kinds.map(|(kind, died)| more(kind, *died)).sum()
    }

    /// All who died, whoever did it.
    pub fn deaths(&self) -> u64 {
        self.by_node.values().sum()
    }

    /// The kernel's kills at all walls.
    pub fn kernel_kills_all(&self) -> u64 {
        self.kernel_kills.values().sum()
    }

    /// The median lead; `None` where nothing died under an alarm.
    pub fn lead_median(&self) -> Option<Span> {
        let mut leads = self.leads.clone();
        leads.sort_unstable();
        leads.get(leads.len() / 2).copied()
    }
}

/// Of a victim's name the kind of its pod: neither the number of the copy nor the container.
fn kind(name: &str) -> &str {
    let pod = name.rsplit_once('/').map_or(name, |(pod, _)| pod);
    match pod.rsplit_once('-') {
        Some((kind, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            kind
        }
        _ => pod,
    }
}

/// There are many pods' and containers' walls, of which each has alarms of its own, and one of every other kind.
fn wall(node: u32, kind: WallKind, scope: Option<GroupId>) -> Wall {
    let own = matches!(kind, WallKind::Pod | WallKind::Container);
    (node, kind, scope.filter(|_| own))
}

#[cfg(test)]
mod tests {
    use crate::{RunOptions, parse_scenario};

    #[test]
    fn what_died_more_is_told_by_kinds_and_what_died_less_makes_up_for_nothing() {
        let tally = |died: &[(&str, u64)]| super::Tally {
            by_kind: died.iter().map(|(kind, died)| ((*kind).into(), *died)).collect(),
            ..super::Tally::default()
        };
        let without = tally(&[("leak", 9), ("web", 1)]);
        let with = tally(&[("leak", 2), ("web", 4), ("daemon", 1)]);
        assert_eq!(
            (with.deaths_beyond(&without), without.deaths_beyond(&with)),
            (4, 7)
        );
        let kinds = ["web-12/app", "web-12", "shop-web-0/a-1", "daemon", "daemon-2x"].map(super::kind);
        assert_eq!(kinds, ["web", "web", "shop-web", "daemon", "daemon-2x"]);
    }

    #[test]
    fn who_dies_where_nobody_claims_to_foretell_it_was_not_missed() {
        let missed = |policy: &str, agent: bool| {
            let world = parse_scenario(&format!(
                "title: at once\nduration: 1m\n{policy}nodes: [{{ name: a, memory: 1Gi, agent: {agent} }}]\npods:\n  - {{ name: p, node: 0, containers: [{{ name: app, limit: 100Mi, base: 200Mi }}] }}\n"
            ))
            .expect("fine")
            .world;
            let report = world.run(RunOptions::default(), &mut |_| ());
            let tally = report.expect("a sound world").tally;
            // At its start and after 1, 10 and 20 s more.
            assert_eq!(tally.kernel_kills_all(), 4);
            tally.deaths_without_alarm()
        };
        assert_eq!(missed("policy: { mode: shadow }\n", true), Some(4));
        assert_eq!(missed("policy: { mode: shadow }\n", false), None);
        assert_eq!(missed("policy: { mode: observe }\n", true), None);
        assert_eq!(missed("", true), None);
    }
}
