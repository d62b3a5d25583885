//! Glances that the engine was not told of, kept until it is: growth that begins in a rest is then judged by what was before
//! it, as if the engine had been told of every look.
//!
//! It keeps the newest few only, about as many as the engine itself remembers of ten seconds, and refuses to judge them.

use std::collections::VecDeque;

use forestall_decide::{Moment, NodeSample, Span};

/// So many are kept.
const KEPT_MAX: usize = 8;
/// They are at least so far apart, the newest one excepted.
const SPACING: Span = Span::secs(1);

/// What glances have seen, oldest first.
#[derive(Debug)]
pub(crate) struct Glances {
    kept: VecDeque<(Moment, NodeSample)>,
}

impl Glances {
    pub(crate) fn new() -> Self {
        Self {
            kept: VecDeque::with_capacity(KEPT_MAX),
        }
    }

    /// The newest.
    pub(crate) fn newest(&self) -> Option<&NodeSample> {
        self.kept.back().map(|(_, node)| node)
    }

    /// Keeps one more in place of the oldest, or of the newest where that came too soon after the one before.
    pub(crate) fn keep(&mut self, at: Moment, node: &NodeSample) {
        let mut latest = self.kept.iter().rev().map(|(at, _)| *at);
        if let (Some(newest), Some(before)) = (latest.next(), latest.next())
            && newest.since(before) < SPACING
        {
            self.kept.pop_back();
        } else if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back((at, *node));
    }

    /// Takes the oldest out.
    pub(crate) fn take(&mut self) -> Option<(Moment, NodeSample)> {
        self.kept.pop_front()
    }

    /// Forgets them.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use forestall_decide::Bytes;

    use super::*;

    fn kept(every_millis: u64, count: u64) -> Vec<u64> {
        let mut glances = Glances::new();
        for look in 1..=count {
            let at = Moment(0) + Span::millis(look * every_millis);
            let node = NodeSample {
                free: Bytes(look),
                ..NodeSample::default()
            };
            glances.keep(at, &node);
            assert_eq!(glances.newest().map(|node| node.free), Some(Bytes(look)));
        }
        std::iter::from_fn(|| glances.take())
            .map(|(at, node)| {
                assert_eq!(at.0, node.free.0 * every_millis * 1000);
                at.0 / 1000
            })
            .collect()
    }

    #[test]
    fn the_newest_eight_are_kept_oldest_first() {
        assert_eq!(kept(1_400, 3), [1_400, 2_800, 4_200]);
        let twenty: Vec<u64> = (13..=20).map(|look| look * 1_400).collect();
        assert_eq!(kept(1_400, 20), twenty);
    }

    #[test]
    fn glances_in_quick_succession_reach_back_several_seconds_all_the_same() {
        let kept = kept(250, 48);
        assert_eq!(kept.last(), Some(&12_000));
        assert!(kept.first().is_some_and(|first| *first <= 6_000), "{kept:?}");
    }
}
