//! Whoever sends SIGKILL all day is told of with a count: a loop of `kill -9` would cost a look at `/proc` for each, and push the rare ones out of
//! the file that keeps them.
//!
//! It goes by the sender's name and the victim's: such a pair has a few signals told in full, and then one in a minute. It reads nothing and
//! is bounded: of pairs beyond so many the one that was quiet for longest is forgotten, once its count has been told.

use forestall_decide::{Moment, Span};
use forestall_kernel::tracing::{Comm, KillSignal};

/// So many of one pair are told in full.
const BURST: u32 = 16;
/// And then one in so long.
const PAUSE: Span = Span::secs(60);
/// So many pairs are told apart.
const PAIRS_MAX: usize = 64;
/// A sender's name is remembered for so long: it may change, and so may whoever has the number.
const NAMED: Span = Span::secs(5);

/// A sender's name and a victim's.
#[derive(Clone, Copy, Debug)]
struct Pair {
    sender: Comm,
    /// Its number, and when it was asked for its name last.
    pid: i32,
    named: Moment,
    victim: Comm,
    left: u32,
    /// When one was told last.
    told: Moment,
    /// Those that were not told since, and the last of them.
    more: u64,
    last: KillSignal,
}

/// What is not told in full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) signal: KillSignal,
    pub(super) sender: Comm,
    pub(super) more: u64,
}

/// All pairs, whoever was heard last at the end.
#[derive(Debug, Default)]
pub(super) struct Loops {
    pairs: Vec<Pair>,
    /// Counts of pairs that made room.
    parted: Vec<Counted>,
}

impl Loops {
    /// The name that this sender had a moment ago.
    pub(super) fn name_of(&self, pid: i32, now: Moment) -> Option<Comm> {
        let is_it = |pair: &&Pair| pair.pid == pid && now.since(pair.named) < NAMED;
        self.pairs.iter().find(is_it).map(|pair| pair.sender)
    }

    /// Hears a signal and of so many more like it. Returns how many like it were not told before where it is to be told in full.
    pub(super) fn hear(&mut self, signal: KillSignal, more: u64, sender: Comm, now: Moment) -> Option<u64> {
        let is_it = |pair: &Pair| pair.sender == sender && pair.victim == signal.comm;
        let place = self.pairs.iter().position(is_it);
        let mut pair = match place {
            Some(place) => self.pairs.remove(place),
            None => Pair {
                sender,
                pid: signal.sender_pid,
                named: now,
                victim: signal.comm,
                left: BURST,
                told: now,
                more: 0,
                last: signal,
            },
        };
        if pair.pid != signal.sender_pid {
            (pair.pid, pair.named) = (signal.sender_pid, now);
        }
        pair.last = signal;
        let is_told = pair.left > 0 || now.since(pair.told) >= PAUSE;
        let untold = if is_told {
            pair.left = pair.left.saturating_sub(1);
            pair.told = now;
            std::mem::replace(&mut pair.more, more)
        } else {
            pair.more = pair.more.saturating_add(more).saturating_add(1);
            0
        };
        if self.pairs.len() == PAIRS_MAX {
            let quiet = self.pairs.remove(0);
            self.parted.extend(quiet.count());
        }
        self.pairs.push(pair);
        is_told.then_some(untold)
    }

    /// Counts that nobody has told for long: a loop that has ended, or goes on. At the end all of them.
    pub(super) fn counts(&mut self, now: Moment, is_end: bool) -> Vec<Counted> {
        let mut counts = std::mem::take(&mut self.parted);
        for pair in &mut self.pairs {
            if is_end || now.since(pair.told) >= PAUSE {
                counts.extend(pair.count());
                if pair.more > 0 {
                    (pair.more, pair.told) = (0, now);
                }
            }
        }
        counts
    }
}

impl Pair {
    fn count(&self) -> Option<Counted> {
        (self.more > 0).then(|| Counted {
            signal: self.last,
            sender: self.sender,
            more: self.more - 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(pid: i32, sender_pid: i32, comm: &[u8]) -> KillSignal {
        KillSignal {
            at_nanos: 1,
            sender_pid,
            pid,
            comm: Comm::of(comm),
            code: 0,
            is_for_group: true,
            result: 0,
        }
    }

    fn at(secs: u64) -> Moment {
        Moment(secs * 1_000_000)
    }

    #[test]
    fn a_loop_is_a_count_and_whoever_is_rare_is_told_beside_it() {
        let mut loops = Loops::default();
        let (bash, other) = (Comm::of(b"bash"), Comm::of(b"other"));
        let mut told = Vec::new();
        for place in 0..1000 {
            // 100 in a second.
            let now = Moment(place * 10_000);
            told.extend(loops.hear(signal(7, 5, b"sleep"), 0, bash, now));
            if place == 900 {
                assert_eq!(loops.hear(signal(8, 6, b"sleep"), 0, other, now), Some(0));
                assert_eq!(loops.hear(signal(9, 5, b"java"), 0, bash, now), Some(0));
            }
        }
        assert_eq!(told, [0; 16]);
        assert!(loops.counts(at(20), false).is_empty(), "the next minute tells");
        // The next one is told in full again, with all that were not.
        assert_eq!(loops.hear(signal(7, 5, b"sleep"), 3, bash, at(61)), Some(984));
        // A loop that has ended is told once.
        let counts = loops.counts(at(200), false);
        assert_eq!(counts.iter().map(|count| count.more).collect::<Vec<_>>(), [2]);
        assert!(loops.counts(at(400), true).is_empty());
    }

    #[test]
    fn a_senders_name_is_asked_for_again_soon_and_no_crowd_fills_the_memory() {
        let mut loops = Loops::default();
        loops.hear(signal(7, 5, b"a"), 0, Comm::of(b"bash"), at(0));
        assert!(loops.name_of(5, at(4)).is_some());
        assert!(loops.name_of(5, at(5)).is_none() && loops.name_of(6, at(0)).is_none());
        for pid in 0..1000 {
            let name = format!("{pid}");
            loops.hear(signal(pid, pid, name.as_bytes()), 1, Comm::of(b"bash"), at(1));
        }
        assert_eq!(loops.pairs.len(), PAIRS_MAX);
        let counts = loops.counts(at(1), true);
        assert_eq!(counts.len(), 1000, "each had one more");
    }
}
