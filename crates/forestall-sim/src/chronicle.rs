//! Which facts of a run are kept where there are more than anybody reads: deaths, orders and alarms before mere reclaims,
//! starts and refusals, whenever they come. It refuses to leave anything out without saying how much, of what, and from when on.

use forestall_decide::{Moment, Rung};

use crate::event::{Event, What};

/// Whether a fact gives way to others: there are many of its kind, and nobody dies of one.
pub fn is_minor(what: &What) -> bool {
    match what {
        What::PodStarted { .. } | What::Refused { .. } => true,
        What::Ordered(order) => order.rung == Rung::Reclaim,
        _ => false,
    }
}

/// Facts that there were beyond those kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Reclaims, starts and refusals.
    pub minor: u64,
    /// Whatever else.
    pub others: u64,
    /// The first of them.
    pub from: Option<Moment>,
}

impl LeftOut {
    /// All of them.
    pub fn all(&self) -> u64 {
        self.minor.saturating_add(self.others)
    }

    fn count(&mut self, event: &Event) {
        if is_minor(&event.what) {
            self.minor += 1;
        } else {
            self.others += 1;
        }
        self.from = Some(self.from.map_or(event.at, |from| from.min(event.at)));
    }
}

/// The facts of a run as they come.
#[derive(Clone, Debug)]
pub(crate) struct Chronicle {
    keep: usize,
    seen: u64,
    minor: Vec<(u64, Event)>,
    others: Vec<(u64, Event)>,
    left_out: LeftOut,
}

impl Chronicle {
    pub(crate) const fn new(keep: usize) -> Self {
        Self {
            keep,
            seen: 0,
            minor: Vec::new(),
            others: Vec::new(),
            left_out: LeftOut {
                minor: 0,
                others: 0,
                from: None,
            },
        }
    }

    pub(crate) fn see(&mut self, event: &Event) {
        let kind = if is_minor(&event.what) {
            &mut self.minor
        } else {
            &mut self.others
        };
        if kind.len() < self.keep {
            kind.push((self.seen, event.clone()));
        } else {
            self.left_out.count(event);
        }
        self.seen += 1;
    }

    /// What is kept, in order, and what is not: reclaims, starts and refusals have the room that the others leave.
    pub(crate) fn finish(mut self) -> (Vec<Event>, LeftOut) {
        let room = self.keep.saturating_sub(self.others.len());
        for (_, event) in self.minor.iter().skip(room) {
            self.left_out.count(event);
        }
        self.minor.truncate(room);
        self.others.append(&mut self.minor);
        self.others.sort_by_key(|(number, _)| *number);
        let kept = self.others.into_iter().map(|(_, event)| event).collect();
        (kept, self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_after_many_starts_is_kept_and_what_gave_way_is_told() {
        let start = |at| Event {
            at: Moment(at),
            node: 0,
            what: What::PodStarted { pod: "a".into() },
        };
        let death = |at| Event {
            at: Moment(at),
            node: 0,
            what: What::NodeLost,
        };
        let told = |events: &[Event], keep| {
            let mut chronicle = Chronicle::new(keep);
            for event in events {
                chronicle.see(event);
            }
            let (kept, left_out) = chronicle.finish();
            let at: Vec<u64> = kept.iter().map(|event| event.at.0).collect();
            (at, left_out.minor, left_out.others, left_out.from)
        };
        let events = [
            start(1),
            start(2),
            start(3),
            start(4),
            death(5),
            start(6),
            death(7),
        ];
        // Room for three: both deaths and the first start. The starts at 2, 3, 4 and 6 give way.
        assert_eq!(told(&events, 3), (vec![1, 5, 7], 4, 0, Some(Moment(2))));
        assert_eq!(told(&events, 1), (vec![5], 5, 1, Some(Moment(1))));
        assert_eq!(told(&events, 7), (vec![1, 2, 3, 4, 5, 6, 7], 0, 0, None));
    }
}
