//! What a policy did not do though something was due: at which wall, why, and who was passed over.
//!
//! The same refusal stands at hundreds of looks and is one line. It refuses to keep more of them than anybody reads, and says how
//! often it did not.

use forestall_decide::{
    Decision, GroupId, Moment, PassedOver, RefusalReason, Rung, Target, WallKind, WallReading, WhyNot,
};

use super::lane::REPEAT;

/// So many of those who were passed over at once are kept.
const PASSED_MAX: usize = 32;
/// So many are kept in all.
const KEPT_MAX: usize = 100;

/// Who was passed over at one wall.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    pub(super) first: Vec<(Rung, Target, WhyNot)>,
    /// How many in all.
    pub(super) count: usize,
}

impl Passed {
    pub(super) fn at(list: &[PassedOver], reading: &WallReading) -> Self {
        Self::in_place(list, (reading.wall, reading.scope))
    }

    fn in_place(list: &[PassedOver], place: Place) -> Self {
        let mut here: Vec<&PassedOver> = list.iter().filter(|it| (it.wall, it.scope) == place).collect();
        // That others come first says the least.
        here.sort_by_key(|it| it.why == WhyNot::OthersFirst);
        let first = here.iter().take(PASSED_MAX);
        Self {
            first: first.map(|it| (it.rung, it.target, it.why)).collect(),
            count: here.len(),
        }
    }
}

type Place = (WallKind, Option<GroupId>);

/// Something was due at a wall, and nobody was ended.
#[derive(Clone, Debug)]
pub(super) struct Undone {
    pub(super) unix_micros: u64,
    pub(super) wall: WallKind,
    pub(super) scope: Option<GroupId>,
    /// `None`: everybody was passed over.
    pub(super) reason: Option<RefusalReason>,
    pub(super) culprit: Option<Target>,
    pub(super) rule: Option<&'static str>,
    pub(super) passed: Passed,
    /// At how many looks, and when the last one was.
    pub(super) times: u64,
    pub(super) last: Moment,
    pub(super) last_unix_micros: u64,
}

/// All of a lane.
#[derive(Debug, Default)]
pub(super) struct AllUndone {
    pub(super) list: Vec<Undone>,
    /// At so many looks there were others.
    pub(super) left_out: u64,
}

impl AllUndone {
    pub(super) fn look(&mut self, at: Moment, unix_micros: u64, decision: &Decision<'_>) {
        let new = |(wall, scope): Place| Undone {
            unix_micros,
            wall,
            scope,
            reason: None,
            culprit: None,
            rule: None,
            passed: Passed::in_place(decision.passed_over, (wall, scope)),
            times: 1,
            last: at,
            last_unix_micros: unix_micros,
        };
        let mut places: Vec<Place> = Vec::new();
        for refusal in decision.refusals {
            let reading = &refusal.evidence.reading;
            let place = (reading.wall, reading.scope);
            places.push(place);
            self.add((place, Some(refusal.reason)), at, unix_micros, || Undone {
                reason: Some(refusal.reason),
                culprit: reading.culprit.map(|culprit| culprit.target),
                rule: Some(refusal.evidence.rule),
                ..new(place)
            });
        }
        for passed in decision.passed_over {
            let place = (passed.wall, passed.scope);
            let ends = decision.actions.iter().any(|action| {
                let reading = &action.evidence.reading;
                action.rung.ends_somebody() && (reading.wall, reading.scope) == place
            });
            if !ends && !places.contains(&place) {
                places.push(place);
                self.add((place, None), at, unix_micros, || new(place));
            }
        }
    }

    fn add(
        &mut self,
        key: (Place, Option<RefusalReason>),
        at: Moment,
        unix_micros: u64,
        new: impl FnOnce() -> Undone,
    ) {
        let is_same = |undone: &&mut Undone| {
            ((undone.wall, undone.scope), undone.reason) == key && at.since(undone.last) <= REPEAT
        };
        if let Some(known) = self.list.iter_mut().rev().find(is_same) {
            known.times += 1;
            (known.last, known.last_unix_micros) = (at, unix_micros);
        } else if self.list.len() < KEPT_MAX {
            self.list.push(new());
        } else {
            self.left_out += 1;
        }
    }
}
