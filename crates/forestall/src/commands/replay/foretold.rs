//! What the shadow kubelet foretold on the recorded figures, and what the recording says that came.
//!
//! Kubernetes tells how many pods the kubelet has evicted, and who is left; whoever went meanwhile was evicted. It refuses to call
//! anything wrong of which the recording holds no news.

use forestall_decide::kubelet::{KubeletForecast, Signal};
use forestall_decide::{Moment, PodUid, Pods, WallKind};
use serde_json::Value;

use crate::commands::foretold::{Came, Foretold, object};
use crate::log::escape;

/// So many are kept; the rest is counted.
const KEPT_MAX: usize = 100;

/// One that was foretold, and what it takes to judge it.
#[derive(Clone, Debug)]
struct Said {
    at: Moment,
    victims: Vec<PodUid>,
    told: Foretold,
}

/// All of a recording.
#[derive(Debug, Default)]
pub(super) struct Watch {
    all: Vec<Said>,
    left_out: u64,
    /// Evictions that were not foretold.
    untold: u64,
    /// The place of the one that is not withdrawn; that of nothing where it was left out.
    standing: Option<usize>,
    /// The pods as they were told last: who, its name, and whether it is going.
    pods: Vec<(PodUid, String, bool)>,
    evictions: Option<u64>,
}

impl Watch {
    /// A fresh engine begins.
    pub(super) fn begin(&mut self) {
        self.standing = None;
        self.pods.clear();
        self.evictions = None;
    }

    /// What the engine says at a look.
    pub(super) fn look(&mut self, at: Moment, unix_micros: u64, forecast: &KubeletForecast) {
        if forecast.withdraws() {
            self.standing = None;
        }
        let Some(crossing) = forecast.crossing.filter(|_| forecast.announces()) else {
            return;
        };
        if self.standing.is_some() {
            return;
        }
        self.standing = Some(self.all.len());
        if self.all.len() >= KEPT_MAX {
            self.left_out += 1;
            return;
        }
        let victims: Vec<PodUid> = forecast.victims.iter().map(|victim| victim.uid).collect();
        let wall = match crossing.threshold.signal {
            Signal::MemoryAvailable => WallKind::KubeletNode,
            Signal::AllocatableMemoryAvailable => WallKind::KubeletAllocatable,
        };
        self.all.push(Said {
            at,
            told: Foretold {
                at_micros: unix_micros,
                wall: wall.label(),
                acts: crossing.acts,
                names: self.names(&victims),
                unmended: forecast.unmended.clone(),
                acted: false,
                came: None,
            },
            victims,
        });
    }

    /// The kernel has killed at a wall that is nobody's own.
    pub(super) fn take_kill(&mut self, at: Moment) {
        self.note(at, &[], true);
    }

    /// News of the pods.
    pub(super) fn take_pods(&mut self, at: Moment, pods: &Pods) {
        let before = self.evictions.replace(pods.kubelet_evictions);
        if before.is_some_and(|before| before < pods.kubelet_evictions) {
            let stays = |uid: PodUid| {
                let known = pods.list.iter().find(|pod| pod.uid == uid);
                known.is_some_and(|pod| pod.terminating_since.is_none())
            };
            let went = self
                .pods
                .iter()
                .filter(|(uid, _, was_going)| !was_going && !stays(*uid));
            let went: Vec<PodUid> = went.map(|(uid, ..)| *uid).collect();
            self.untold += u64::from(self.standing.is_none());
            self.note(at, &went, false);
        }
        self.pods.clear();
        self.pods.extend(pods.list.iter().map(|pod| {
            let name = escape::text(&[&*pod.namespace, "/", &*pod.name].concat());
            (pod.uid, name, pod.terminating_since.is_some())
        }));
    }

    /// What came of the one that stands; the first thing counts.
    fn note(&mut self, at: Moment, went: &[PodUid], by_kernel: bool) {
        let whom = self.names(went);
        let said = self.standing.and_then(|place| self.all.get_mut(place));
        if let Some(said) = said.filter(|said| said.told.came.is_none()) {
            let right = went.iter().any(|uid| said.victims.contains(uid));
            said.told.came = Some(Came {
                after: at.since(said.at),
                whom,
                by_kernel,
                right_pod: (!went.is_empty()).then_some(right),
            });
        }
    }

    fn names(&self, of: &[PodUid]) -> Vec<String> {
        let pods = self.pods.iter().filter(|(uid, ..)| of.contains(uid));
        pods.map(|(_, name, _)| name.clone()).collect()
    }

    /// For programs; nothing where nothing was foretold and nobody evicted.
    pub(super) fn value(&self, begins: u64) -> Value {
        if self.all.is_empty() && self.untold == 0 {
            return Value::Null;
        }
        object([
            ("version", 1.into()),
            (
                "foretold",
                self.all
                    .iter()
                    .map(|said| Value::Object(said.told.value(begins)))
                    .collect(),
            ),
            ("left_out", self.left_out.into()),
            ("untold", self.untold.into()),
        ])
        .into()
    }

    /// For people: the first few.
    pub(super) fn lines(&self, begins: u64) -> Vec<String> {
        const SHOWN_MAX: usize = 4;
        let mut lines = Vec::new();
        for Said { told, .. } in self.all.iter().take(SHOWN_MAX) {
            let after = told.at_micros.saturating_sub(begins);
            lines.push(format!(
                "+{}.{:03}s it said that {}",
                after / 1_000_000,
                after / 1000 % 1000,
                told.said()
            ));
            lines.push(told.outcome());
        }
        let more = self.all.len().saturating_sub(SHOWN_MAX) as u64;
        if more > 0 || self.left_out > 0 || self.untold > 0 {
            lines.push(format!(
                "{} more were foretold; {} evictions were not",
                more.saturating_add(self.left_out),
                self.untold
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use forestall_decide::kubelet::{Bounds, Crossing, PossibleVictim, Threshold, Unmended};
    use forestall_decide::{Bytes, Pod, Span};

    use super::*;

    fn pods(uids: &[u128], evictions: u64) -> Pods {
        let pod = |uid: &u128| Pod {
            uid: PodUid(*uid),
            namespace: "shop".into(),
            name: format!("p{uid}").into(),
            ..Pod::default()
        };
        Pods {
            list: uids.iter().map(pod).collect(),
            kubelet_evictions: evictions,
            ..Pods::default()
        }
    }

    /// It acts in 20 to 40 s, likely in 30, on this pod.
    fn forecast(uid: u128) -> KubeletForecast {
        let acts = Bounds {
            earliest: Span::secs(20),
            middle: Span::secs(30),
            latest: Span::secs(40),
        };
        KubeletForecast {
            crossing: Some(Crossing {
                threshold: Threshold {
                    signal: Signal::MemoryAvailable,
                    value: Bytes::mebi(100),
                    grace: Span(0),
                    min_reclaim: Bytes::ZERO,
                },
                distance: Bytes::mebi(300),
                met_for: None,
                crosses: acts,
                acts,
                overdue: false,
                blocked_max: Span(0),
            }),
            victims: vec![PossibleVictim {
                uid: PodUid(uid),
                frees: Bytes::mebi(50),
            }],
            ..KubeletForecast::default()
        }
    }

    #[test]
    fn what_was_foretold_is_held_against_who_went_and_when() {
        let mut watch = Watch::default();
        let at = |secs: u64| Moment(secs * 1_000_000);
        watch.take_pods(at(0), &pods(&[1, 2, 3], 0));
        for secs in 1..=3 {
            watch.look(at(secs), 0, &forecast(2));
        }
        watch.take_pods(at(36), &pods(&[1, 3], 1));
        // A second one while that stands; after it was withdrawn another one, of whom nobody was told; and one nobody foretold.
        watch.take_pods(at(40), &pods(&[1, 3], 2));
        watch.look(at(45), 0, &KubeletForecast::default());
        watch.look(at(50), 0, &forecast(1));
        watch.take_pods(at(60), &pods(&[1], 3));
        watch.look(at(65), 0, &KubeletForecast::default());
        watch.take_pods(at(70), &pods(&[], 4));
        let said: Vec<_> = watch
            .all
            .iter()
            .map(|said| {
                let (it, came) = (&said.told, said.told.evicted().expect("it came"));
                (
                    it.names.clone(),
                    came.whom.clone(),
                    came.right_pod,
                    it.is_in_time(came),
                    it.error_micros(came) / 1_000_000,
                )
            })
            .collect();
        let name = |uid: u64| vec![format!("shop/p{uid}")];
        assert_eq!(
            said,
            [
                (name(2), name(2), Some(true), true, 5),
                (name(1), name(3), Some(false), false, -20)
            ]
        );
        assert_eq!((watch.untold, watch.left_out), (1, 0));
    }

    #[test]
    fn where_the_kernel_is_first_no_eviction_after_it_counts() {
        let mut watch = Watch::default();
        watch.take_pods(Moment(0), &pods(&[1, 2], 0));
        let mut said = forecast(2);
        said.unmended = vec![Unmended::KernelFirst];
        watch.look(Moment(1_000_000), 0, &said);
        watch.take_kill(Moment(9_000_000));
        watch.take_pods(Moment(12_000_000), &pods(&[1], 1));
        let [Said { told, .. }] = &watch.all[..] else {
            panic!("{watch:?}")
        };
        assert_eq!(told.killed().map(|came| came.after), Some(Span::secs(8)));
        assert!(told.evicted().is_none() && told.warns_of_kernel());
        assert_eq!(
            watch.lines(0)[1],
            "The kernel was first: it killed somebody after 8.0s, as was said."
        );
        assert_eq!(watch.value(0)["foretold"][0]["kernel_first_said"], true);
    }

    #[test]
    fn what_is_withdrawn_and_said_again_is_said_twice_and_more_than_is_kept_is_counted() {
        let mut watch = Watch::default();
        for step in 0..150 {
            watch.look(Moment(step * 2_000_000 + 1), 0, &forecast(1));
            watch.look(Moment(step * 2_000_000 + 2), 0, &KubeletForecast::default());
        }
        assert_eq!((watch.all.len(), watch.left_out), (KEPT_MAX, 50));
        assert!(watch.all.iter().all(|said| said.told.came.is_none()));
    }
}
