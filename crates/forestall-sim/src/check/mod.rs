//! Checkers: each knows one rule that keeps the engine harmless, and events alone.
//!
//! They stand apart from the world: what they hold against an order is what the world says is true, and never what the
//! engine says. The list of rules is the table below; a rule without a checker cannot be written into it, and each brings a
//! breach of itself, so that a checker that sees nothing is found out. They refuse to hold against the engine when a public
//! preset ends somebody, and whom: that is written in the preset's document, is told apart, and breaks nothing.

mod alarm;
mod brake;
mod choice;
mod cluster;
mod kill;
mod lasting;
mod letting;
mod promise;
mod seen;
#[cfg(test)]
mod tests;
mod timing;
mod waiting;
mod worth;

use std::collections::BTreeMap;

use forestall_decide::{Moment, Preset};

use crate::event::{Event, What};

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Moment,
    /// On which node.
    pub node: u32,
    /// Which rule, by its name in the table.
    pub rule: &'static str,
    /// What happened.
    pub what: String,
}

/// What a public preset does otherwise than a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otherwise {
    /// Which preset.
    pub preset: Preset,
    /// How often.
    pub times: u64,
    /// The first time.
    pub first: Violation,
}

/// Rules about when somebody ends, and who. Of these a public preset has its own. Whom nobody may touch, how small a kill is,
/// and what is switched off, hold for it as well.
const JUDGEMENT: [&str; 16] = [
    "own-stalls",
    "modesty",
    "one-at-a-time",
    "cache-first",
    "last-moment",
    "lasting",
    "two-keys",
    "culprit-first",
    "excused",
    "breaker-first",
    "hosts-own",
    "frees-enough",
    "on-its-way",
    "kernels-victim",
    "second-kill",
    "outlives-a-kill",
];

/// Sees events, in order of time, and says which broke its rule.
pub trait Checker {
    /// One event. The answer is what was wrong with it.
    fn see(&mut self, event: &Event) -> Option<String>;
    /// It is over: what is left open that must not be.
    fn finish(&mut self, end: Moment) -> Option<String> {
        let _ = end;
        None
    }
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
    /// Who checks it.
    pub checker: fn() -> Box<dyn Checker>,
    /// Events that break it.
    pub breach: fn() -> Vec<Event>,
}

/// Every rule that the engine could break.
pub const RULES: &[Rule] = &[
    Rule {
        name: "own-limit",
        says: "Nothing is killed or evicted at a pod's or container's own limit: the kernel would hit the same pod.",
        checker: || Box::new(kill::OwnLimit),
        breach: kill::at_own_limit,
    },
    Rule {
        name: "sight",
        says: "The next look comes no later than a quarter of the time in which memory could be filled.",
        checker: || Box::new(kill::Sight),
        breach: kill::looked_too_late,
    },
    Rule {
        name: "own-stalls",
        says: "While our reclaim runs, and a second after, stalls confirm nothing.",
        checker: || Box::<kill::OwnStalls>::default(),
        breach: kill::believed_own_stalls,
    },
    Rule {
        name: "never-touched",
        says: "What is protected or opted out is not touched.",
        checker: || Box::new(kill::NeverTouched),
        breach: kill::touched_protected,
    },
    Rule {
        name: "modesty",
        says: "Without fresh knowledge of the pods only a culprit of 80 % of the growth is acted upon or braked.",
        checker: || Box::new(kill::Modesty),
        breach: kill::killed_without_culprit,
    },
    Rule {
        name: "smallest",
        says: "A kill is of one container or one process, never of a pod with its containers or anything above.",
        checker: || Box::new(kill::Smallest),
        breach: kill::killed_a_pod,
    },
    Rule {
        name: "one-at-a-time",
        says: "One kill in flight per wall, unless the runway cannot wait.",
        checker: || Box::<kill::OneAtATime>::default(),
        breach: kill::killed_twice,
    },
    Rule {
        name: "cache-first",
        says: "Nobody ends while page cache alone would do: a kill has less than a quarter of the wall left, an eviction a leak in sight.",
        checker: || Box::<timing::CacheFirst>::default(),
        breach: timing::killed_for_cache,
    },
    Rule {
        name: "no-hiding",
        says: "No reclaim against a kubelet wall while a certain leak nears a kernel or kubepods wall.",
        checker: || Box::new(lasting::NoHiding),
        breach: lasting::hid_a_leak,
    },
    Rule {
        name: "scored-once",
        says: "Every alarm is scored exactly once.",
        checker: || Box::<alarm::ScoredOnce>::default(),
        breach: alarm::scored_twice,
    },
    Rule {
        name: "honest-scores",
        says: "An alarm that was acted upon is never counted as right.",
        checker: || Box::<alarm::HonestScores>::default(),
        breach: alarm::counted_as_right,
    },
    Rule {
        name: "budget",
        says: "No eviction without a token, where there is a budget.",
        checker: || Box::new(lasting::Budget),
        breach: lasting::evicted_without_token,
    },
    Rule {
        name: "nothing-left-behind",
        says: "A brake is lifted within a minute and before its run ends.",
        checker: || Box::<brake::NothingLeftBehind>::default(),
        breach: brake::left_a_brake,
    },
    Rule {
        name: "liveness",
        says: "When faults have healed, a lone leak slow enough to see is ended before the kernel kills.",
        checker: || Box::<lasting::Liveness>::default(),
        breach: lasting::slept_through_a_leak,
    },
    Rule {
        name: "kubelets-wall",
        says: "At the kubelet's walls nobody is killed, whatever was refused there.",
        checker: || Box::new(cluster::KubeletsWall),
        breach: cluster::killed_for_the_kubelet,
    },
    Rule {
        name: "api-away",
        says: "Nothing is asked of an API server that is known to be away.",
        checker: || Box::<cluster::ApiAway>::default(),
        breach: cluster::asked_nobody,
    },
    Rule {
        name: "not-asked-again",
        says: "A disruption budget that refused is left alone for ten seconds.",
        checker: || Box::<cluster::NotAskedAgain>::default(),
        breach: cluster::asked_again,
    },
    Rule {
        name: "place-to-go",
        says: "Nobody is evicted who has nowhere to go.",
        checker: || Box::new(cluster::PlaceToGo),
        breach: cluster::evicted_to_nowhere,
    },
    Rule {
        name: "asked-for",
        says: "Nobody is warned, and no limit raised, unless the pod asks for it.",
        checker: || Box::new(cluster::AskedFor),
        breach: cluster::warned_unasked,
    },
    Rule {
        name: "room-to-grow",
        says: "No limit is raised where the node has not twice that room.",
        checker: || Box::new(cluster::RoomToGrow),
        breach: cluster::grew_without_room,
    },
    Rule {
        name: "last-moment",
        says: "Nobody ends before it is about time.",
        checker: || Box::<timing::LastMoment>::default(),
        breach: timing::killed_early,
    },
    Rule {
        name: "lasting",
        says: "No pod is evicted or braked for much more growth than there was.",
        checker: || Box::new(timing::Lasting),
        breach: timing::evicted_at_its_start,
    },
    Rule {
        name: "two-keys",
        says: "Nobody ends for growth that only the last two seconds show, unless one look is enough.",
        checker: || Box::<timing::TwoKeys>::default(),
        breach: timing::killed_on_one_signal,
    },
    Rule {
        name: "grace-fits",
        says: "No eviction whose grace period is longer than the time left.",
        checker: || Box::<timing::GraceFits>::default(),
        breach: timing::evicted_too_late,
    },
    Rule {
        name: "culprit-first",
        says: "Nobody else ends for one who grows alone, not even where that one is protected, unless it takes again what it had and somebody else grows, too, or keeps within its request and the other one does not.",
        checker: || Box::<choice::CulpritFirst>::default(),
        breach: choice::killed_somebody_else,
    },
    Rule {
        name: "excused",
        says: "Who grows alone and meets a limit of its own before the wall is not killed.",
        checker: || Box::<choice::Excused>::default(),
        breach: choice::killed_for_its_own_limit,
    },
    Rule {
        name: "breaker-first",
        says: "Who keeps within its request is not killed while somebody else took what is missing beyond his own.",
        checker: || Box::<promise::BreakerFirst>::default(),
        breach: promise::killed_who_kept_within_its_request,
    },
    Rule {
        name: "hosts-own",
        says: "No pod ends for growth outside the pods.",
        checker: || Box::new(choice::HostsOwn),
        breach: choice::killed_a_pod_for_the_host,
    },
    Rule {
        name: "frees-enough",
        says: "Where nobody is the culprit, nobody ends in vain: there is room afterwards, and an eviction gives back no less than what grows until it is over.",
        checker: || Box::<worth::FreesEnough>::default(),
        breach: worth::killed_a_small_one,
    },
    Rule {
        name: "on-its-way",
        says: "Nobody ends while terminating pods give back enough.",
        checker: || Box::new(choice::OnItsWay),
        breach: choice::killed_while_enough_comes,
    },
    Rule {
        name: "kernels-victim",
        says: "After a kill by the kernel nobody is killed for two seconds.",
        checker: || Box::<choice::KernelsVictim>::default(),
        breach: choice::killed_after_the_kernel,
    },
    Rule {
        name: "second-kill",
        says: "Whoever was killed twice within ten minutes is evicted, if it can be.",
        checker: || Box::<choice::SecondKill>::default(),
        breach: choice::killed_three_times,
    },
    Rule {
        name: "outlives-a-kill",
        says: "Whoever was killed, and whose memory outlives that, is evicted, if it can be.",
        checker: || Box::<choice::Outlives>::default(),
        breach: choice::killed_for_what_outlives_it,
    },
    Rule {
        name: "misses",
        says: "Whoever the kernel kills without an alarm is counted as missed.",
        checker: || Box::<alarm::Misses>::default(),
        breach: alarm::missed_in_silence,
    },
    Rule {
        name: "brake-known",
        says: "How a brake ended, lifted or gone with its cgroup, is what the engine is told, and at once.",
        checker: || Box::<brake::Known>::default(),
        breach: brake::told_wrong,
    },
    Rule {
        name: "brake-room",
        says: "Whom a brake holds may have what it holds.",
        checker: || Box::new(brake::RoomToGoOn),
        breach: brake::braked_too_hard,
    },
    Rule {
        name: "brake-seen",
        says: "Nobody is killed right after a brake of which nothing is known yet, while there is time.",
        checker: || Box::<brake::SeenFirst>::default(),
        breach: brake::killed_whom_it_had_braked,
    },
    Rule {
        name: "braked-growth",
        says: "Nobody whom a brake holds is killed while nobody takes anything.",
        checker: || Box::<brake::StoppedGrowth>::default(),
        breach: brake::killed_whom_it_holds,
    },
    Rule {
        name: "let-go",
        says: "Who was warned is not braked while it has its time, and whom a brake holds is let go before it is warned or ended.",
        checker: || Box::<letting::LetGo>::default(),
        breach: letting::braked_while_warned,
    },
    Rule {
        name: "terminating",
        says: "Nobody is evicted who is on the way out.",
        checker: || Box::new(waiting::Terminating),
        breach: waiting::evicted_twice,
    },
    Rule {
        name: "one-eviction",
        says: "No eviction begins while somebody else is ending.",
        checker: || Box::<waiting::OneEviction>::default(),
        breach: waiting::evicted_while_another_ends,
    },
    Rule {
        name: "warned-once",
        says: "Who was warned is not warned again for ten minutes.",
        checker: || Box::<waiting::WarnedOnce>::default(),
        breach: waiting::warned_twice,
    },
    Rule {
        name: "fresh-news",
        says: "Nobody is warned, raised or evicted on news of the pods older than a minute.",
        checker: || Box::new(waiting::FreshNews),
        breach: waiting::warned_on_old_news,
    },
    Rule {
        name: "rung-off",
        says: "What the policy has switched off is not done.",
        checker: || Box::new(waiting::RungOff),
        breach: waiting::did_what_is_off,
    },
];

/// All checkers, one for each rule.
pub struct Checkers {
    list: Vec<(&'static str, Box<dyn Checker>)>,
    found: Vec<Violation>,
    otherwise: BTreeMap<&'static str, Otherwise>,
}

impl Default for Checkers {
    fn default() -> Self {
        Self {
            list: RULES.iter().map(|rule| (rule.name, (rule.checker)())).collect(),
            found: Vec::new(),
            otherwise: BTreeMap::new(),
        }
    }
}

impl Checkers {
    /// Shows them an event.
    pub fn see(&mut self, event: &Event) {
        for (rule, checker) in &mut self.list {
            let Some(what) = checker.see(event) else { continue };
            let violation = Violation {
                at: event.at,
                node: event.node,
                rule,
                what,
            };
            match &event.what {
                What::Ordered(order) if order.preset != Preset::Forestall && JUDGEMENT.contains(rule) => {
                    let otherwise = self.otherwise.entry(rule).or_insert(Otherwise {
                        preset: order.preset,
                        times: 0,
                        first: violation,
                    });
                    otherwise.times += 1;
                }
                _ => self.found.push(violation),
            }
        }
    }

    /// What a public preset did otherwise than these rules say, rule by rule.
    pub fn otherwise(&self) -> Vec<Otherwise> {
        self.otherwise.values().cloned().collect()
    }

    /// It is over; everything that was found.
    pub fn finish(mut self, end: Moment) -> Vec<Violation> {
        for (rule, checker) in &mut self.list {
            if let Some(what) = checker.finish(end) {
                self.found.push(Violation {
                    at: end,
                    node: 0,
                    rule,
                    what,
                });
            }
        }
        self.found
    }
}
