//! Whether the culprit of a kill that is due has to end at all: what it grows into may be its own.
//!
//! Two grounds, a fact and a promise. Everybody who grows meets a limit of his own first: this wall is not reached by them. Everybody
//! who grows keeps within what Kubernetes has promised him, and all of that fits before the wall. What it refuses to do: excuse anybody
//! for whom, with all others who grow, there is no room before the wall; and trust a promise where one look is enough.

use crate::decision::{Target, WallKind, WallReading, WhyNot};
use crate::engine::Engine;
use crate::growth::Search;
use crate::input::{GroupId, Sample};
use crate::tree::lineage;
use crate::units::{Bytes, wide_ratio};
use crate::wall::noise;
use crate::window::WINDOWS;

/// Who has less of the growth (permille) has no part in it; and so much more may be taken than those take who have.
const BESIDE_PERMILLE: u64 = 125;
/// The growth of ten seconds has stopped where the last one shows so little of it (permille): a quarter of an even second.
const STOPPED_PERMILLE: u64 = 25;

impl Engine {
    /// Why the culprit need not end by a kill that is due at this wall; `imminent`: one look is enough for it.
    pub(crate) fn excuse(
        &mut self,
        sample: &Sample,
        reading: &WallReading,
        imminent: bool,
    ) -> Option<WhyNot> {
        let culprit = reading.culprit?.target;
        let share = self.find_takers(sample, reading.scope, culprit);
        let fits = |room: &dyn Fn(Target) -> Option<Bytes>| {
            let mut takers = self.growers.iter();
            let theirs = takers.try_fold(Bytes::ZERO, |all, (target, _)| Some(all + room(*target)?));
            theirs.is_some_and(|theirs| {
                let all = Bytes(wide_ratio(theirs.0, 1000, share)) + theirs.permille(BESIDE_PERMILLE);
                share > 0 && all + noise(&sample.node) <= reading.distance
            })
        };
        if fits(&|target| self.left_to_own_limit(sample, target)) {
            return Some(WhyNot::OwnLimitFirst);
        }
        // What was promised to it is known however old the news are.
        if !imminent && fits(&|target| self.pods.owning(sample, target)?.left_of_request()) {
            return Some(WhyNot::WithinRequest);
        }
        None
    }

    /// Fills the list with the culprit and everybody who has a part in what was taken within one second or within ten, also by who takes
    /// again what it gave back. Returns the part (permille) that they have in it together, in the window in which it is smaller.
    fn find_takers(&mut self, sample: &Sample, scope: Option<GroupId>, culprit: Target) -> u64 {
        let search = Search {
            sample,
            history: &self.history,
            scope,
            noise: noise(&sample.node),
            only_new: false,
        };
        self.growers.clear();
        self.growers.push((culprit, Bytes::ZERO));
        let (mut share, mut even) = (1000, Bytes::ZERO);
        for window in [WINDOWS[1], WINDOWS[0]] {
            let total = search.each_grower(window, |_| ()).total;
            // Who has just stopped is not to blame for who creeps on beside him.
            if window == WINDOWS[0] && total.permille_of(even) < STOPPED_PERMILLE {
                break;
            }
            let mut theirs = Bytes::ZERO;
            search.each_grower(window, |grower| {
                let is_listed =
                    |list: &[(Target, Bytes)]| list.iter().any(|(target, _)| *target == grower.target);
                let has_part = grower.grown.permille_of(total) >= BESIDE_PERMILLE;
                if has_part && !is_listed(&self.growers) {
                    self.growers.push((grower.target, grower.grown));
                }
                if has_part || grower.target == culprit {
                    theirs += grower.grown;
                }
            });
            if total > Bytes::ZERO {
                share = share.min(theirs.permille_of(total));
            }
            even = total;
        }
        share
    }

    /// How far it can grow until a limit of its container's or its pod's ends it; nothing where it has none, or has met it and grows on.
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
            .filter(|left| *left > Bytes::ZERO)
    }
}
