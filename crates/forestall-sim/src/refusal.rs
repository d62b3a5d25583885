//! What the agent did not do, as facts: who was passed over, and why nobody was ended where somebody might have been.
//!
//! The same refusal stands at hundreds of looks and is one fact. It refuses to remember more of them than there is room for.

use forestall_decide::{
    Decision, GroupId, Moment, PassedOver, Policy, RefusalReason, Span, WallKind, WhyNot,
};

use crate::event::{Passed, What};
use crate::node::Node;

/// So many of those who were passed over stand in one fact.
const PASSED_MAX: usize = 16;
/// So many refusals that stand are told from new ones; more are not told.
const STANDING_MAX: usize = 32;
/// One that was not repeated for so long has ended.
const REPEAT: Span = Span::secs(120);

/// A wall, and whose limit that is.
pub(crate) type Place = (WallKind, Option<GroupId>);

/// Refusals that stand, and when they were said last.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Vec<(Place, Option<RefusalReason>, Moment)>);

impl Refusals {
    /// True if it is news.
    fn is_news(&mut self, place: Place, reason: Option<RefusalReason>, now: Moment) -> bool {
        self.0.retain(|(.., last)| now.since(*last) <= REPEAT);
        let known = self
            .0
            .iter_mut()
            .find(|known| (known.0, known.1) == (place, reason));
        if let Some((.., last)) = known {
            *last = now;
            return false;
        }
        let has_room = self.0.len() < STANDING_MAX;
        if has_room {
            self.0.push((place, reason, now));
        }
        has_room
    }
}

impl Node {
    /// Every wall where nobody is ended though something was due.
    pub(crate) fn note_refusals(
        &mut self,
        decision: &Decision<'_>,
        policy: &Policy,
        known: &mut Refusals,
        now: Moment,
    ) {
        let mut said: Vec<(Place, Option<RefusalReason>, bool)> = Vec::new();
        for refusal in decision.refusals {
            let reading = &refusal.evidence.reading;
            let place = (reading.wall, reading.scope);
            said.push((place, Some(refusal.reason), reading.culprit.is_some()));
        }
        for passed in decision.passed_over {
            let place = (passed.wall, passed.scope);
            let ends = decision.actions.iter().any(|action| {
                let reading = &action.evidence.reading;
                action.rung.ends_somebody() && (reading.wall, reading.scope) == place
            });
            if !ends && !said.iter().any(|(other, ..)| *other == place) {
                said.push((place, None, false));
            }
        }
        for (place, reason, has_culprit) in said {
            if known.is_news(place, reason, now) {
                let refused = What::Refused {
                    reason,
                    wall: place.0,
                    has_culprit,
                    mode: policy.mode,
                    passed_over: self.passed_at(decision, policy, place, now),
                };
                self.note(now, refused);
            }
        }
    }

    /// Who was passed over at a wall.
    pub(crate) fn passed_at(
        &self,
        decision: &Decision<'_>,
        policy: &Policy,
        place: Place,
        now: Moment,
    ) -> Passed {
        let is_here = |passed: &&PassedOver| (passed.wall, passed.scope) == place;
        let mut here: Vec<&PassedOver> = decision.passed_over.iter().filter(is_here).collect();
        // That others come first says the least.
        here.sort_by_key(|passed| passed.why == WhyNot::OthersFirst);
        let name = |target| {
            let aim = self.aim(target, policy, now);
            aim.map_or_else(|| "nobody known".into(), |aim| aim.victim.name)
        };
        Passed {
            first: here
                .iter()
                .take(PASSED_MAX)
                .map(|passed| (passed.rung, name(passed.target), passed.why))
                .collect(),
            count: here.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_is_news_once_and_again_when_it_had_ended() {
        let at = |secs: u64| Moment(secs * 1_000_000);
        let (kernel, pod) = ((WallKind::Kernel, None), (WallKind::Pod, Some(GroupId(4))));
        let mut known = Refusals::default();
        let mut is_news = |place, reason, secs| known.is_news(place, reason, at(secs));
        assert!(is_news(kernel, None, 0));
        assert!(is_news(kernel, Some(RefusalReason::NoCulprit), 0));
        assert!(is_news(pod, None, 0));
        // At every look for five minutes, however others come and go.
        for secs in 1..300 {
            assert!(!is_news(kernel, None, secs), "{secs}");
        }
        assert!(is_news(pod, None, 300));
        assert!(!is_news(kernel, None, 300));
    }

    #[test]
    fn more_than_there_is_room_for_are_not_told() {
        let mut known = Refusals::default();
        let news = (0..100).filter(|id| known.is_news((WallKind::Pod, Some(GroupId(*id))), None, Moment(0)));
        assert_eq!(news.count(), STANDING_MAX);
        assert_eq!(known.0.len(), STANDING_MAX);
    }
}
