//! The vocabulary of forestall and its engine: `Engine::step(now, Input) -> Decision`.
//!
//! Pure: no I/O, no clock, no threads, no hash maps, no floating point in a decision. Equal inputs give equal
//! bytes out, so the live agent, a replay, the simulator and the benches all call this one function.
//! What it refuses to do: read anything or write anything. Cgroups are numbers here, and whoever renders a decision looks
//! their names up; of pods it knows what Kubernetes says, because preferences speak of namespaces and labels.
#![forbid(unsafe_code)]

mod alarm;
mod blame;
mod brake;
mod breaker;
mod climb;
mod culprit;
mod decision;
mod effect;
mod engine;
mod eviction;
mod excuse;
mod flight;
mod forecast;
mod foresight;
mod graceful;
mod ground;
mod growth;
mod history;
mod input;
mod keep;
mod kill;
pub mod kubelet;
mod ladder;
mod member;
mod node_agent;
mod oom;
mod orphan;
mod own_limit;
mod pace;
mod pods;
mod policy;
mod preference;
mod preset;
mod reclaim;
mod repeat;
mod ring;
mod roster;
mod rule;
mod rung;
mod swap;
mod tree;
mod units;
mod victim;
mod wall;
mod window;

pub use decision::{
    Action, ActionId, AlarmEvent, AlarmVerdict, Confidence, Culprit, Decision, Ending, Evidence, Ignored,
    PassedOver, Refusal, RefusalReason, Runway, Target, WallKind, WallReading, WhyNot,
};
pub use engine::Engine;
pub use input::{
    GroupId, GroupKind, GroupSample, Input, LimitHits, Lru, NodeSample, Outcome, OutcomeKind, ProcessId,
    ProcessSample, Protection, Qos, Sample, Stall,
};
pub use node_agent::{Claim, OOM_SCORE_ADJ_SPARED, is_account};
pub use pace::next_glance;
pub use pods::{Asks, CRITICAL_PRIORITY, Cluster, Elsewhere, Origin, Owner, Pod, PodContainer, PodUid, Pods};
pub use policy::{Mode, Policy, Preset, Victims};
pub use preference::{Preference, Preferred, Standing, weigh};
pub use rule::Rule;
#[cfg(feature = "mutations")]
pub use rule::without;
pub use rung::{Rung, Rungs};
pub use units::{Bytes, BytesPerSecond, Limit, Moment, Span};
