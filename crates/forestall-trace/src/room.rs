//! Room that a crowd took, given back once it has clearly gone.

use forestall_decide::{Moment, Span};

/// So often it is judged how much room is needed.
const JUDGED_EVERY: Span = Span::secs(60);
/// More than so many times what is needed is too much.
const TOO_MUCH: usize = 4;

/// Gives back what a list holds in far excess of `few`, and of twice its length.
pub(crate) fn trim<T>(list: &mut Vec<T>, few: usize) {
    let needed = list.len().max(few);
    if list.capacity() > needed.saturating_mul(TOO_MUCH) {
        list.shrink_to(needed.saturating_mul(2));
    }
}

/// How much room lists of changing length are given: twice what the longest took, never less than at first, and less again
/// where for a minute none was nearly as long.
#[derive(Debug)]
pub(crate) struct Room {
    given: usize,
    first: usize,
    longest: usize,
    since: Option<Moment>,
}

impl Room {
    pub(crate) const fn new(first: usize) -> Self {
        Self {
            given: first,
            first,
            longest: 0,
            since: None,
        }
    }

    pub(crate) const fn get(&self) -> usize {
        self.given
    }

    /// Such a list was there.
    pub(crate) fn note(&mut self, at: Moment, length: usize) {
        if length > self.given {
            self.given = length.saturating_mul(2);
        }
        self.longest = self.longest.max(length);
        let since = *self.since.get_or_insert(at);
        // By a clock that went back a minute begins anew.
        if at < since || at.since(since) >= JUDGED_EVERY {
            if self.given > self.longest.saturating_mul(TOO_MUCH) {
                self.given = self.longest.saturating_mul(2).max(self.first);
            }
            (self.since, self.longest) = (Some(at), length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_a_crowd_is_given_back_a_minute_after_it_has_gone() {
        let mut room = Room::new(64);
        let mut after = |secs: u64, length| {
            room.note(Moment(secs * 1_000_000), length);
            room.get()
        };
        assert_eq!(after(0, 20), 64);
        assert_eq!(after(10, 64), 64);
        assert_eq!(after(20, 1_000), 2_000);
        // The first minute has seen the crowd, the next has not.
        let room: Vec<usize> = (30..=130).step_by(10).map(|secs| after(secs, 30)).collect();
        assert_eq!(room[..9], [2_000; 9]);
        assert_eq!(room[9..], [64; 2]);
        // A third of the room is needed: it stays.
        assert_eq!(after(140, 1_000), 2_000);
        assert!((150..900).step_by(10).all(|secs| after(secs, 700) == 2_000));
        assert_eq!(after(5, 10), 2_000, "the clock went back: a minute begins anew");
        assert_eq!(after(66, 10), 64);
    }

    #[test]
    fn a_list_is_trimmed_only_where_it_is_far_too_large() {
        let mut list: Vec<u8> = Vec::with_capacity(400);
        list.extend([0; 100]);
        trim(&mut list, 10);
        assert_eq!(list.capacity(), 400);
        list.truncate(99);
        trim(&mut list, 10);
        assert_eq!(list.capacity(), 198);
        list.clear();
        trim(&mut list, 50);
        assert_eq!(list.capacity(), 198);
    }
}
