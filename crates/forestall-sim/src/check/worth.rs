//! Rules about what an end gives back: where nobody is the culprit, it has to be worth somebody's life.
//!
//! They refuse to take the engine's word for what grows: growth is what was seen to be missing before the kernel's wall, and of several measures of it
//! the one that says least.

use forestall_decide::{Bytes, BytesPerSecond, Rung, Span};

use super::Checker;
use super::choice::is_kernels;
use super::kill::{aimed, follows_kills, harmful, name};
use super::seen::Seen;
use crate::event::{Event, Order, WallTruth, What};

/// So much of a wall (permille) there has to be after an eviction, and after a kill.
const AFTER_EVICTION_PERMILLE: u64 = 80;
const AFTER_KILL_PERMILLE: u64 = 40;
/// An eviction takes this at the least beside its grace period: a server and a kubelet have to hear of it.
const HEARD: Span = Span::secs(2);
/// Growth is measured over each of these, and the least of them counts: what began a moment ago may end in another one.
const MEASURED: [Span; 3] = [Span::secs(10), Span::secs(30), Span::secs(60)];

/// What was left, to know what grows.
#[derive(Default)]
pub(super) struct FreesEnough(Seen);

impl Checker for FreesEnough {
    fn see(&mut self, event: &Event) -> Option<String> {
        self.0.see(event);
        let order = harmful(event).filter(|order| is_for_others(order))?;
        let (aim, truth) = (order.target.as_ref()?, order.truth?);
        // Several may go at once, of whom none alone is enough.
        let freed = aim.victim.held + order.beside;
        let is_near = is_kernels(order.wall) && truth.left + freed < room_after(order, truth);
        let meanwhile = self.grows_meanwhile(event, order, truth);
        let moves_nothing = order.rung == Rung::Evict && freed < meanwhile;
        (is_near || moves_nothing).then(|| {
            format!(
                "{} of {}, which holds {}, with {} of {} left, while {meanwhile} grow",
                order.rung.label(),
                name(order),
                aim.victim.held,
                truth.left,
                truth.size
            )
        })
    }
}

impl FreesEnough {
    /// What grows until an eviction is over, by the least that any measure says: an agent has to believe that at any rate.
    fn grows_meanwhile(&self, event: &Event, order: &Order, truth: WallTruth) -> Bytes {
        let before = |ago| self.0.left_before(event.node, truth.wall, event.at, ago);
        let rate = |ago| Some(BytesPerSecond::from(before(ago)? - truth.left, ago));
        let least = MEASURED.map(rate).into_iter().flatten().min();
        least.map_or(Bytes::ZERO, |rate| rate.over(order.grace + HEARD))
    }
}

/// Somebody goes for growth that he does not explain.
fn is_for_others(order: &Order) -> bool {
    let kubelets_order = matches!(order.rule, "the-kubelets-choice" | "after-a-refusal");
    let nobodys = is_kernels(order.wall) && order.share_permille.is_none();
    (nobodys || kubelets_order) && !follows_kills(order)
}

fn room_after(order: &Order, truth: WallTruth) -> Bytes {
    truth.size.permille(match order.rung {
        Rung::Evict => AFTER_EVICTION_PERMILLE,
        _ => AFTER_KILL_PERMILLE,
    })
}

pub(super) fn killed_a_small_one() -> Vec<Event> {
    let mut events = aimed(|aim| aim.victim.held = Bytes::mebi(5));
    for event in &mut events {
        if let What::Ordered(order) = &mut event.what {
            order.share_permille = None;
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use forestall_decide::Moment;

    use super::*;
    use crate::check::kill::{on, sound};
    use crate::check::timing::looks;

    /// Whether it is wrong to evict somebody who holds so much, beside others of so much, with 300 MiB of 1,000 left before a wall that 4 MiB a second come nearer.
    fn is_wrong(held_mebi: u64, beside_mebi: u64, grace: Span) -> bool {
        let mut checker = FreesEnough::default();
        // A look every half second, for 80 s.
        let looks = looks((0..160).map(|tick| 620 - tick * 2));
        let at = looks.last().map_or(Moment(0), |look| look.at);
        assert!(looks.iter().all(|look| checker.see(look).is_none()));
        let mut order = sound();
        (order.rung, order.grace, order.share_permille) = (Rung::Evict, grace, None);
        order.beside = Bytes::mebi(beside_mebi);
        order.truth = order.truth.map(|truth| WallTruth {
            left: Bytes::mebi(302),
            ..truth
        });
        if let Some(aim) = &mut order.target {
            aim.victim.held = Bytes::mebi(held_mebi);
        }
        let event = Event {
            at,
            ..on(0, What::Ordered(order))
        };
        checker.see(&event).is_some()
    }

    // In half a minute and two seconds 128 MiB more are gone.
    #[test]
    fn who_goes_far_from_the_wall_gives_back_what_grows_until_he_is_gone() {
        let grace = Span::secs(30);
        assert!(is_wrong(5, 0, grace));
        assert!(is_wrong(127, 0, grace));
        assert!(!is_wrong(128, 0, grace));
        // Three go at once, and all of them together count.
        assert!(!is_wrong(50, 100, grace));
        assert!(is_wrong(5, 10, grace));
        // Who ends at once need not wait for much.
        assert!(!is_wrong(8, 0, Span(0)));
    }
}
