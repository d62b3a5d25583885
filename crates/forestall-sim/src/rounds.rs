//! How far nodes run before they wait for each other.
//!
//! Nothing that leaves a node is placed before the scheduler's next round, so every node may run alone until then. Most may run
//! much further: those that are certain to keep to themselves. So the restless go first, round by round, until one of them
//! matters to others; then everybody else comes after in one go, as far as the restless came. An engine remembers more of
//! its node than a processor's cache holds of five hundred, and so it is fetched once for many looks and not for each. It
//! refuses to run ahead on a guess: nothing is ever taken back.

use forestall_decide::{Moment, Span};

use crate::cast::NEVER;
use crate::scheduler::{ROUND, room, round_after, wait_for};
use crate::world::Running;

/// Nodes that keep to themselves run so far ahead: enough looks for one fetching. The shorter way is taken where too many cannot
/// promise the longer one.
const STRETCHES: [Span; 2] = [Span::secs(600), Span::secs(60)];
/// So many nodes may be restless before a shorter way is tried: one in this many.
const RESTLESS_SHARE: usize = 16;
/// Fewer rounds of nodes, all together, are not worth the start of threads.
const WORTH_THREADS: u64 = 500;

impl Running {
    /// Lets every node run, up to `limit` at the most, until somebody may matter to others. Says how far they came.
    pub(crate) fn run_apart(&mut self, now: Moment, limit: Moment) -> Moment {
        let next = round_after(now).min(limit);
        let far = if self.may_stretch() {
            self.divide(now);
            self.promised.min(limit)
        } else {
            next
        };
        let mut until = next;
        self.run_nodes(true, now, until);
        while until < far && !self.somebody_matters() {
            // Rounds in which nobody has anything to do are none.
            let from = self.restless_due().max(until);
            until = round_after(from).min(far);
            self.run_nodes(true, from, until);
        }
        self.run_nodes(false, now, until);
        // Every round up to here would have asked for room and heard the same.
        self.survey = self.survey.max(round_after(Moment(until.0.saturating_sub(1))));
        self.gather();
        until
    }

    /// Agents look so often that it pays, what they were told of other nodes still holds, and nobody wants to see all nodes at
    /// one moment now and then.
    fn may_stretch(&self) -> bool {
        let told = || self.nodes.iter().map(room).eq(self.rooms.iter().copied());
        let watched = || self.nodes.iter().any(|node| node.recorder.is_some());
        !self.every_round && self.survey != NEVER && told() && !watched()
    }

    /// Finds out who keeps to itself, and until when, once what was found out before no longer holds.
    fn divide(&mut self, now: Moment) {
        if now < self.promised {
            return;
        }
        for stretch in STRETCHES {
            self.promised = round_after(now + stretch);
            for (node, restless) in self.nodes.iter().zip(&mut self.restless) {
                *restless = !node.keeps_to_itself(now, self.promised);
            }
            let restless = self.restless.iter().filter(|restless| **restless).count();
            if restless * RESTLESS_SHARE <= self.nodes.len() {
                return;
            }
        }
    }

    /// Somebody was sent to a node that did not know of it when it promised.
    pub(crate) fn unsettle(&mut self, index: usize) {
        if let Some(restless) = self.restless.get_mut(index) {
            *restless = true;
        }
    }

    fn restless_due(&self) -> Moment {
        let dues = self.dues.iter().zip(&self.restless);
        let restless = dues.filter(|(_, restless)| **restless).map(|(due, _)| *due);
        restless.min().unwrap_or(NEVER)
    }

    /// Somebody left, or what somebody has to offer has changed.
    fn somebody_matters(&self) -> bool {
        let nodes = self.nodes.iter().zip(&self.rooms).zip(&self.restless);
        let mut restless = nodes.filter(|(_, restless)| **restless);
        restless.any(|((node, told), _)| !node.leavers.is_empty() || room(node) != *told)
    }

    /// Lets the restless, or all others, run alone until then.
    fn run_nodes(&mut self, restless: bool, from: Moment, until: Moment) {
        let known = self.visited.len();
        let nodes = self.dues.iter().zip(&self.restless).enumerate();
        let busy = nodes.filter(|(_, (due, is_restless))| **is_restless == restless && **due < until);
        self.visited.extend(busy.map(|(index, _)| index));
        let busy = self.visited.get(known..).unwrap_or_default();
        let rounds = until.since(from).0.div_ceil(ROUND.0);
        let work = rounds.saturating_mul(u64::try_from(busy.len()).unwrap_or(u64::MAX));
        if self.samples.len() > 1 && work >= WORTH_THREADS {
            self.share(restless, until);
        } else if let Some(sample) = self.samples.first_mut() {
            for index in busy {
                let node = &mut self.nodes[*index];
                node.run_until(until, sample);
                self.dues[*index] = node.due;
            }
        }
    }

    /// The same, by all threads.
    fn share(&mut self, restless: bool, until: Moment) {
        let part = self.nodes.len().div_ceil(self.samples.len()).max(1);
        let nodes = self.nodes.chunks_mut(part).zip(self.dues.chunks_mut(part));
        let parts = nodes.zip(self.restless.chunks(part)).zip(&mut self.samples);
        std::thread::scope(|scope| {
            for (((nodes, dues), flags), sample) in parts {
                scope.spawn(move || {
                    for ((node, due), is_restless) in nodes.iter_mut().zip(dues).zip(flags) {
                        if *is_restless == restless && *due < until {
                            node.run_until(until, sample);
                            *due = node.due;
                        }
                    }
                });
            }
        });
    }

    /// Takes over who left and what happened, in order of nodes.
    fn gather(&mut self) {
        self.visited.sort_unstable();
        self.visited.dedup();
        for index in self.visited.drain(..) {
            let node = &mut self.nodes[index];
            debug_assert!(
                self.restless[index] || node.leavers.is_empty() && room(node) == self.rooms[index],
                "node {index} was to keep to itself"
            );
            let leavers = node.leavers.drain(..);
            self.waiting
                .extend(leavers.map(|leaver| wait_for(leaver, self.reschedule)));
            self.events.append(&mut node.events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::fleet;
    use crate::spec::{Place, PodSpec, World};
    use crate::world::Options;
    use forestall_decide::Policy;

    fn calm() -> World {
        let policy = Policy {
            tick_idle: Span::secs(10),
            ..Policy::default()
        };
        let mut world = fleet(1, 3, Span::secs(3600), Some(policy));
        for pod in &mut world.pods {
            pod.spread = Span(0);
        }
        world
    }

    #[test]
    fn calm_nodes_run_ten_minutes_at_a_time_and_in_rounds_where_that_is_asked_for() {
        let world = calm();
        let mut running = Running::start(&world, Options::default()).expect("a sound world");
        let mut ends = Vec::new();
        while running.go_on(&mut |_| ()) {
            ends.push(running.now().0 / 1_000_000);
        }
        // All pods come at once, so nobody could promise anything before the first round and for a minute after it.
        assert_eq!(ends, [10, 70, 680, 1290, 1900, 2510, 3120, 3600]);
        let options = Options {
            every_look: true,
            ..Options::default()
        };
        let mut running = Running::start(&world, options).expect("a sound world");
        running.go_on(&mut |_| ());
        running.go_on(&mut |_| ());
        assert_eq!(running.now(), Moment(20_000_000));
    }

    #[test]
    fn who_is_to_be_placed_ends_a_stretch_and_the_round_has_been_asked_for_room() {
        let mut world = calm();
        let late = PodSpec {
            place: Place::Anywhere,
            start: Moment(125_000_000),
            ..PodSpec::plain("late", Vec::new())
        };
        world.pods.push(late);
        let mut running = Running::start(&world, Options::default()).expect("a sound world");
        while running.waiting.iter().any(|pod| pod.at > running.now()) {
            running.go_on(&mut |_| ());
        }
        assert_eq!(running.now(), Moment(125_000_000));
        // At 120 s everybody was asked, or would have been told the same; so the next time is at 130 s.
        assert_eq!(running.survey, Moment(130_000_000));
        assert_eq!(running.restless.iter().filter(|restless| **restless).count(), 1);
    }
}
