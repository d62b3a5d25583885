//! Whether the culprit of a kill that is due has to end at all: what it grows into may be its own.
//!
//! Three grounds, from fact to promise. Everybody who grows meets a limit of his own first: this wall is not reached by them. Everybody
//! who grows keeps within what Kubernetes has promised him, and all of that fits before the wall. The culprit keeps within its request,
//! and what is missing is held by somebody beyond his, who grew: the order decides, as where nobody explains it. What it refuses to do:
//! excuse anybody for whom, with all others who grow, there is no room before the wall; and trust a promise where one look is enough.

use crate::decision::{Target, WallKind, WallReading, WhyNot};
use crate::engine::Engine;
use crate::history::Scope;
use crate::input::Sample;
use crate::tree::lineage;
use crate::units::{Bytes, Moment};
use crate::victim::{Candidate, candidate, may_touch};
use crate::wall::noise;

/// Those who have no part in the growth may take so much beside those who have (permille of what these may).
const BESIDE_PERMILLE: u64 = 125;
/// So much of a wall (permille) must be left, or be on its way, for nobody to have to end.
pub(crate) const ROOM_PERMILLE: u64 = 40;

/// What follows for the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excuse {
    /// Nobody ends.
    Nobody(WhyNot),
    /// The order decides who does.
    Another,
}

impl Engine {
    /// Why the culprit need not end by a kill that is due at this wall; `imminent`: one look is enough for it.
    pub(crate) fn excuse(
        &mut self,
        now: Moment,
        sample: &Sample,
        reading: &WallReading,
        imminent: bool,
    ) -> Option<Excuse> {
        let culprit = reading.culprit?.target;
        self.find_growers(sample, reading.scope);
        if !self.growers.iter().any(|(target, _)| *target == culprit) {
            self.growers.push((culprit, Bytes::ZERO));
        }
        let fits = |room: &dyn Fn(Target) -> Option<Bytes>| {
            let mut growers = self.growers.iter();
            let all = growers.try_fold(Bytes::ZERO, |all, (target, _)| Some(all + room(*target)?));
            all.is_some_and(|all| {
                all + all.permille(BESIDE_PERMILLE) + noise(&sample.node) <= reading.distance
            })
        };
        if fits(&|target| self.left_to_own_limit(sample, target)) {
            return Some(Excuse::Nobody(WhyNot::OwnLimitFirst));
        }
        if !self.pods.is_fresh(now) {
            return None;
        }
        if !imminent && fits(&|target| self.pods.owning(sample, target)?.left_of_request()) {
            return Some(Excuse::Nobody(WhyNot::WithinRequest));
        }
        self.pods.owning(sample, culprit)?.left_of_request()?;
        let may_wait = !imminent || reading.runway.p50 <= self.soon(sample);
        (may_wait && self.has_taker(sample, reading)).then_some(Excuse::Another)
    }

    /// How far it can grow until a limit of its container's or its pod's ends it; nothing where it has none.
    fn left_to_own_limit(&self, sample: &Sample, target: Target) -> Option<Bytes> {
        let Target::Group(id) = target else { return None };
        let index = self.history.roster.place(id)?;
        let own = |reading: &&WallReading| matches!(reading.wall, WallKind::Pod | WallKind::Container);
        let walls = self.readings.iter().filter(own);
        let holds = |scope| lineage(sample, index).any(|group| Some(group.id) == scope);
        walls
            .filter(|wall| holds(wall.scope))
            .map(|wall| wall.distance)
            .min()
    }

    /// Somebody beyond his request took what is missing at this wall, and may end for it.
    fn has_taker(&self, sample: &Sample, reading: &WallReading) -> bool {
        let Some(size) = reading.limit.bytes() else {
            return false;
        };
        let needed = size.permille(ROOM_PERMILLE) - reading.distance;
        let places = 0..u32::try_from(self.pods.list.len()).unwrap_or(u32::MAX);
        let pods = places.filter_map(|at| candidate(sample, &self.history.roster, &self.pods, at));
        let mut beyond = pods.filter(|it| it.left_of_request().is_none() && it.is_in(sample, reading.scope));
        beyond.any(|it| may_touch(&it).is_ok() && self.gives_back(sample, &it) >= needed)
    }

    /// What a kill of its container would give back for good: what that took since its start.
    fn gives_back(&self, sample: &Sample, it: &Candidate<'_>) -> Bytes {
        let Some(group) = it.largest_container(sample, |_| false) else {
            return Bytes::ZERO;
        };
        let began_with = self.history.group(group.id).map_or(group.anon, Scope::began_with);
        group.anon - began_with
    }
}
