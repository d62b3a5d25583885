//! What was left before each wall, look by look: growth as the world has it, for rules about when it is time.
//!
//! It refuses to guess: what it was not shown for long enough it does not know.

use std::collections::BTreeMap;

use forestall_decide::{Bytes, BytesPerSecond, Moment, OutcomeKind, Span, WallKind};

use super::kill::harms;
use crate::event::{Event, What};

/// So long is remembered.
const KEPT: Span = Span::secs(61);
/// What is left shrank by so much more (permille) than who grows alone can have taken: he was not alone.
const OTHERS_PERMILLE: u64 = 1250;
/// So long nobody else may have taken anything.
const ALONE_FOR: Span = Span::secs(10);
/// Less than this says nothing.
const LEAST: Span = Span::secs(5);
/// The windows in which growth is looked for.
const WINDOWS: [Span; 4] = [Span::millis(200), Span::secs(1), Span::secs(10), Span::secs(60)];

/// What was left, by node and wall, oldest first.
#[derive(Default)]
pub(super) struct Seen(BTreeMap<(u32, WallKind), Vec<(Moment, Bytes)>>);

impl Seen {
    /// Takes note of a look; forgets everything when something ends, because growth before that says nothing of growth after.
    pub(super) fn see(&mut self, event: &Event) {
        match &event.what {
            What::Looked(look) => {
                for wall in look.walls.iter().flatten() {
                    let list = self.0.entry((event.node, wall.wall)).or_default();
                    list.retain(|(at, _)| event.at.since(*at) <= KEPT);
                    list.push((event.at, wall.left));
                }
            }
            What::Landed { rung, kind, .. } if !harms(*rung) || *kind == OutcomeKind::Progress => {}
            // An API server that is away, a slow victim or a kubelet that sleeps keeps nobody from seeing memory.
            What::Fault { name, .. } if !matches!(*name, "agent-restart" | "samples-lost" | "clock-jump") => {
            }
            What::KernelKilled { .. } | What::Fault { .. } | What::Landed { .. } => {
                self.0.retain(|(node, _), _| *node != event.node);
            }
            _ => {}
        }
    }

    fn list(&self, node: u32, wall: WallKind) -> &[(Moment, Bytes)] {
        self.0.get(&(node, wall)).map_or(&[], Vec::as_slice)
    }

    /// The fastest growth that any window shows up to now, `left` being what is left now; nothing where less than five
    /// seconds were seen.
    pub(super) fn fastest(
        &self,
        node: u32,
        wall: WallKind,
        now: Moment,
        left: Bytes,
    ) -> Option<BytesPerSecond> {
        let list = self.list(node, wall);
        let (first, _) = list.first()?;
        if now.since(*first) < LEAST {
            return None;
        }
        let oldest = |window: &Span| list.iter().find(|(at, _)| now.since(*at) <= *window && *at < now);
        let rate = |(at, then): &(Moment, Bytes)| BytesPerSecond::from(*then - left, now.since(*at));
        WINDOWS.iter().filter_map(oldest).map(rate).max()
    }

    /// The growth of the last look alone, `left` being what is left now.
    pub(super) fn speed_now(&self, node: u32, wall: WallKind, now: Moment, left: Bytes) -> BytesPerSecond {
        let before = self.list(node, wall).iter().rfind(|(at, _)| *at < now);
        before.map_or(BytesPerSecond(0), |(at, then)| {
            BytesPerSecond::from(*then - left, now.since(*at))
        })
    }

    /// The most that was left at any look since then, if that is known.
    pub(super) fn most_left_since(&self, node: u32, wall: WallKind, since: Moment) -> Option<Bytes> {
        let list = self.list(node, wall);
        let first = list.iter().rposition(|(at, _)| *at <= since)?;
        list.iter().skip(first).map(|(_, left)| *left).max()
    }

    /// The most that was left within a minute, where so much was seen.
    pub(super) fn most_left(&self, node: u32, wall: WallKind, now: Moment) -> Option<Bytes> {
        let list = self.list(node, wall);
        let whole = now.since(list.first()?.0) + Span::secs(2) >= KEPT;
        list.iter().map(|(_, left)| *left).max().filter(|_| whole)
    }

    /// Whether all that was taken lately may be what somebody took who grows at this rate. With `left` before the wall now.
    pub(super) fn was_alone(&self, event: &Event, wall: WallKind, left: Bytes, rate: u64) -> bool {
        let list = self.list(event.node, wall);
        let lately = list.iter().filter(|(at, _)| event.at.since(*at) <= ALONE_FOR);
        // Of every look, the last one among them: a pod that comes with its memory takes it between two of them.
        lately.copied().all(|(at, then)| {
            let own = BytesPerSecond(rate).over(event.at.since(at));
            // Counters of a full wall still show a little of it.
            then - left <= own.permille(OTHERS_PERMILLE) + Bytes::mebi(2)
        })
    }

    /// What was left so long ago, if that is known.
    pub(super) fn left_before(&self, node: u32, wall: WallKind, now: Moment, ago: Span) -> Option<Bytes> {
        let list = self.list(node, wall);
        let then = list.iter().rfind(|(at, _)| now.since(*at) >= ago);
        then.map(|(_, left)| *left)
    }
}
