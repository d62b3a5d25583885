//! What the engine gives reasons for at every look, told once: which inputs it did not believe, and who was passed over.
//!
//! Both are lists that may stand unchanged for hours. A list is told when it begins, when it has changed, and with every
//! order that it is the evidence of. It refuses to grow: more lists at once than there is room for are not told.

use forestall_decide::{
    Action, Decision, GroupId, Ignored, Moment, PassedOver, ProcessId, Rung, Span, Target, WallKind,
};

use super::event::{EventKind, Name, Passed, PassedPod, Tail, Unbelieved};
use super::label::IgnoredKind;
use super::post::{Names, Post, REPEAT_SPACING, group_name};
use super::snapshot::name_of;
use crate::log::words;

/// Lists of one sort that are remembered.
const LISTS_MAX: usize = 16;
/// A list that has changed is told no sooner than this after the one before: figures that waver would tell it at every look.
const CHANGE_SPACING: Span = Span::secs(10);
/// Parts of one list that are sent at most: an alarm and its outcome need room beside them.
const PARTS_MAX: usize = 32;

/// The lists there are, each under a key.
pub(super) struct Lists<K> {
    kept: [Option<List<K>>; LISTS_MAX],
}

#[derive(Clone, Copy)]
struct List<K> {
    key: K,
    /// The sum of its members' prints at this look: the order does not count.
    print: u64,
    count: u32,
    told: Option<(u64, Moment)>,
    /// It has been empty since it was told.
    has_ended: bool,
}

impl<K> Default for Lists<K> {
    fn default() -> Self {
        Self {
            kept: std::array::from_fn(|_| None),
        }
    }
}

impl<K: Copy + PartialEq> Lists<K> {
    /// A look begins: every list is empty again.
    fn begin(&mut self) {
        for list in self.kept.iter_mut().flatten() {
            (list.print, list.count) = (0, 0);
        }
    }

    fn add(&mut self, key: K, print: u64) {
        let place = self
            .kept
            .iter()
            .position(|slot| slot.is_some_and(|list| list.key == key))
            .or_else(|| self.find_room());
        let Some(slot) = place.and_then(|place| self.kept.get_mut(place)) else {
            return;
        };
        let list = slot.get_or_insert(List {
            key,
            print: 0,
            count: 0,
            told: None,
            has_ended: false,
        });
        if list.key != key {
            *list = List {
                key,
                told: None,
                has_ended: false,
                ..*list
            };
        }
        list.print = list.print.wrapping_add(print);
        list.count = list.count.saturating_add(1);
    }

    /// An empty place, else that of the list which ended and was told longest ago.
    fn find_room(&self) -> Option<usize> {
        let is_free = |slot: &Option<List<K>>| slot.is_none_or(|list| list.count == 0 && list.has_ended);
        let free = self.kept.iter().enumerate().filter(|(_, slot)| is_free(slot));
        free.min_by_key(|(_, slot)| slot.and_then(|list| list.told).map(|(_, at)| at))
            .map(|(place, _)| place)
    }

    /// The look ends: hands over every list that is news, or is `asked` for, with its length.
    fn end(&mut self, now: Moment, asked: impl Fn(K) -> bool, mut tell: impl FnMut(K, u32)) {
        for list in self.kept.iter_mut().flatten() {
            if list.count == 0 {
                list.has_ended = true;
                continue;
            }
            let is_due = match list.told {
                None => true,
                Some((print, at)) if print != list.print => now.since(at) >= CHANGE_SPACING,
                Some((_, at)) => list.has_ended && now.since(at) >= REPEAT_SPACING,
            };
            if is_due || asked(list.key) {
                list.told = Some((list.print, now));
                list.has_ended = false;
                tell(list.key, list.count);
            }
        }
    }
}

/// Which list somebody who was passed over belongs to.
pub(super) type PassedKey = (WallKind, Option<GroupId>, Rung);

fn key_of(it: &PassedOver) -> PassedKey {
    (it.wall, it.scope, it.rung)
}

impl Post {
    /// Tells what of the last input was not believed, if it was an outcome. Of a look, [`Post::publish`] does.
    pub(crate) fn ignored(&mut self, now: Moment, decision: &Decision<'_>, names: &dyn Names) {
        let mut lists = std::mem::take(&mut self.ignored_answers);
        self.tell_ignored(&mut lists, now, decision.ignored, names);
        self.ignored_answers = lists;
    }

    /// Tells the reasons of a look. `told` has a bit for each of the first actions, set where it was told.
    pub(super) fn give_reasons(
        &mut self,
        now: Moment,
        decision: &Decision<'_>,
        told: u64,
        names: &dyn Names,
    ) {
        let mut lists = std::mem::take(&mut self.ignored_looks);
        self.tell_ignored(&mut lists, now, decision.ignored, names);
        self.ignored_looks = lists;
        // A milder rung's many lists must not keep those of an ending from being told.
        let (mut endings, mut others) = (
            std::mem::take(&mut self.passed_endings),
            std::mem::take(&mut self.passed_others),
        );
        endings.begin();
        others.begin();
        for it in decision.passed_over {
            let lists = if it.rung.ends_somebody() {
                &mut endings
            } else {
                &mut others
            };
            lists.add(key_of(it), print(it.target, words::why_not(it.why)));
        }
        let instead = |key: PassedKey| find_ending(decision.actions, told, key);
        for lists in [&mut endings, &mut others] {
            let asked = |key| instead(key).is_some();
            lists.end(now, asked, |key, count| {
                self.send_passed(now, decision.passed_over, key, count, instead(key), names);
            });
        }
        (self.passed_endings, self.passed_others) = (endings, others);
    }

    fn tell_ignored(
        &self,
        lists: &mut Lists<IgnoredKind>,
        now: Moment,
        ignored: &[Ignored],
        names: &dyn Names,
    ) {
        lists.begin();
        for it in ignored {
            let (kind, count, print) = (IgnoredKind::of(*it), weight(*it), print_ignored(*it));
            self.board.count_ignored(kind, u64::from(count));
            lists.add(kind, print);
        }
        lists.end(
            now,
            |_| false,
            |kind, count| {
                let first = ignored.iter().find(|it| IgnoredKind::of(**it) == kind);
                let Some(first) = first.copied() else { return };
                let name = match first {
                    Ignored::TooLarge(id) | Ignored::Repeated(id) | Ignored::Misplaced(id) => {
                        group_name(Some(id), names)
                    }
                    Ignored::CounterJumped(Some(id)) => group_name(Some(id), names),
                    _ => Name::NONE,
                };
                let event = Unbelieved {
                    what: first,
                    count: count.max(weight(first)),
                };
                self.send(now, &EventKind::Ignored(event), Name::NONE, name);
            },
        );
    }

    fn send_passed(
        &self,
        now: Moment,
        list: &[PassedOver],
        key: PassedKey,
        count: u32,
        action: Option<&Action>,
        names: &dyn Names,
    ) {
        let (wall, scope, rung) = key;
        let scope = group_name(scope, names);
        let mut those = list.iter().filter(|it| key_of(it) == key);
        let mut first = 0;
        for _ in 0..PARTS_MAX {
            let mut pods = [None; Passed::PART];
            let mut sent = 0;
            for (slot, it) in pods.iter_mut().zip(those.by_ref()) {
                *slot = Some(PassedPod {
                    target: it.target,
                    why: it.why,
                    name: name_of(it.target, names).map_or(Tail::NONE, Tail::new),
                });
                sent += 1;
            }
            if sent == 0 {
                break;
            }
            let part = Passed {
                wall,
                rung,
                action: action.map(|action| action.id),
                count,
                first,
                pods,
            };
            self.send(now, &EventKind::PassedOver(part), scope, Name::NONE);
            first += sent;
        }
    }
}

/// The order to end somebody at the wall of this list that was told at this look: it rests on the list.
fn find_ending(actions: &[Action], told: u64, (wall, scope, _): PassedKey) -> Option<&Action> {
    let those = actions.iter().take(64).enumerate().filter(|(nth, action)| {
        let at = &action.evidence.reading;
        told >> nth & 1 == 1 && action.rung.ends_somebody() && (at.wall, at.scope) == (wall, scope)
    });
    those.map(|(_, action)| action).next()
}

/// How many inputs one entry stands for.
fn weight(ignored: Ignored) -> u32 {
    match ignored {
        Ignored::PodsWithoutUid(count) | Ignored::PodsRepeated(count) | Ignored::KillUnplaced(count) => count,
        _ => 1,
    }
}

fn print_ignored(ignored: Ignored) -> u64 {
    match ignored {
        Ignored::TooLarge(id) | Ignored::Repeated(id) | Ignored::Misplaced(id) => mix(id.0),
        Ignored::CounterJumped(id) => mix(id.map_or(0, |id| id.0)),
        Ignored::ProcessTooLarge(id) => mix(u64::from(id.pid)),
        Ignored::UnknownAction(id) | Ignored::TookTooLong(id) => mix(id.0),
        Ignored::PodsWithoutUid(count) | Ignored::PodsRepeated(count) => mix(u64::from(count)),
        // By how much the clock went back is another number each time.
        Ignored::SameMoment
        | Ignored::ClockBack(_)
        | Ignored::NoMachine
        | Ignored::ImpossibleMachine(_)
        | Ignored::KillUnplaced(_) => 1,
    }
}

fn print(target: Target, why: &str) -> u64 {
    let who = match target {
        Target::Node => 0,
        Target::Group(id) => id.0,
        Target::Process(ProcessId { pid, start_ticks }) => start_ticks ^ u64::from(pid) << 32,
    };
    why.bytes()
        .fold(mix(who), |print, byte| mix(print ^ u64::from(byte)))
}

/// Spreads a number's bits, so that sums of different sets differ (the finalizer of SplitMix64).
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests;
