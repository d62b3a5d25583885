//! What is so by either rule, over simulated time.

pub(in crate::cluster) mod keep;

use std::time::{Duration, SystemTime};

use forestall_decide::{Bytes, Confidence, Moment, Span, WallKind, WallReading};
use forestall_kernel::oom::Level;
use tokio::time::Instant;

use super::kill::KernelOom;
use super::runway::RunwayLow;
use super::*;
use crate::cluster::notice::KillWord;
use crate::cluster::seen::tests::{node, reading};
use crate::cluster::seen::{Seen, Wall};
use crate::ledger::Levels;

fn seen(readings: &[WallReading]) -> Seen {
    let walls = readings.iter().map(|reading| Wall {
        reading: *reading,
        culprit: "/kubepods/pod1".to_owned(),
    });
    Seen::new(Moment(1), &node(), walls.collect())
}

fn told(condition: &Condition) -> (Status, &'static str) {
    (condition.status, condition.reason)
}

const CALM: (Status, &str) = (Status::False, "RunwayEnough");
const SHORT: (Status, &str) = (Status::True, "RunwayShort");

#[tokio::test]
async fn the_runway_is_low_by_an_alarm_a_wall_that_is_reached_or_one_that_will_be_soon() {
    let quiet = reading(WallKind::Kernel, 500, Span::FOREVER);
    let soon = reading(WallKind::KubeletNode, 100, Span::secs(119));
    let cases = [
        (quiet, CALM),
        (reading(WallKind::KubeletNode, 100, Span::secs(120)), CALM),
        (soon, SHORT),
        // Nobody knows whether it grows.
        (
            WallReading {
                confidence: Confidence::None,
                ..soon
            },
            CALM,
        ),
        (
            WallReading {
                distance: Bytes::ZERO,
                ..reading(WallKind::KubeletAllocatable, 0, Span::FOREVER)
            },
            (Status::True, "WallReached"),
        ),
        (
            WallReading {
                alarmed: true,
                ..reading(WallKind::Kubepods, 200, Span::secs(300))
            },
            (Status::True, "Alarm"),
        ),
    ];
    for (wall, expected) in cases {
        let condition = RunwayLow::default().look(&seen(&[quiet, wall]), Instant::now());
        assert_eq!(told(&condition), expected, "{wall:?}");
        // The evidence: which wall, how much is left of it.
        let label = if wall.runway.p10 == Span::FOREVER && expected == CALM {
            "kernel: 500.0MiB left"
        } else {
            wall.wall.label()
        };
        assert!(condition.message.contains(label), "{}", condition.message);
    }
}

#[tokio::test]
async fn what_comes_and_goes_within_minutes_is_one_shortage_told_by_the_gravest_of_it() {
    let mut rule = RunwayLow::default();
    let begun = Instant::now();
    let mut look = |second, p10, alarmed| {
        let wall = WallReading {
            alarmed,
            ..reading(WallKind::Kubepods, 100, Span::secs(p10))
        };
        told(&rule.look(&seen(&[wall]), begun + Duration::from_secs(second)))
    };
    assert_eq!(look(0, 130, false), CALM);
    assert_eq!(look(1, 100, false), SHORT);
    // It has to be twice as far away, and to stay so for two minutes.
    assert_eq!(look(600, 230, false), SHORT);
    assert_eq!(look(610, 250, false), SHORT);
    assert_eq!(look(719, 250, false), SHORT);
    assert_eq!(look(720, 250, false), CALM);
    assert_eq!(look(721, 230, false), CALM, "enough is enough to begin with");
    let alarm = (Status::True, "Alarm");
    assert_eq!(look(730, 20, true), alarm);
    assert_eq!(look(731, 20, false), alarm);
    assert_eq!(look(850, 20, false), alarm);
    assert_eq!(look(969, 3600, false), alarm);
    assert_eq!(look(970, 3600, false), CALM);
}

fn word(level: Level) -> KillWord {
    KillWord {
        level,
        words: format!("{} was killed", level.label()),
    }
}

const NO_KILL: (Status, &str) = (Status::False, "NoKill");

#[tokio::test]
async fn a_kill_is_told_by_the_kernels_count_and_for_ten_minutes() {
    let mut rule = KernelOom::new(SystemTime::UNIX_EPOCH);
    let begun = Instant::now();
    let mut look = |second, counted| {
        let now = begun + Duration::from_secs(second);
        rule.count(counted, now);
        let condition = rule.look(now);
        (told(&condition), condition.message)
    };
    let (before, message) = look(0, Some(7));
    assert_eq!(before, NO_KILL, "they were before");
    assert!(message.contains("began at 1970-01-01T00:00:00Z"), "{message}");
    let (one, message) = look(10, Some(8));
    assert_eq!(one, (Status::True, "LimitUnknown"));
    assert!(message.contains(", 1 by its own count"), "{message}");
    // A count that cannot be read is no kill, and takes none back.
    assert_eq!(look(20, None).0, one);
    let (_, message) = look(500, Some(10));
    assert!(message.contains(", 3 by its own count"), "{message}");
    assert_eq!(look(1_099, Some(10)).0, one);
    assert_eq!(look(1_100, Some(10)).0, NO_KILL);
    let (_, message) = look(2_000, Some(11));
    assert!(message.contains(", 1 by its own count"), "{message}");
}

#[tokio::test]
async fn the_reason_is_the_gravest_limit_of_the_last_ten_minutes() {
    let mut rule = KernelOom::new(SystemTime::UNIX_EPOCH);
    let begun = Instant::now();
    let at = |second| begun + Duration::from_secs(second);
    let cases = [
        (0, Level::Container, "ContainerLimit"),
        (10, Level::Pod, "PodLimit"),
        (20, Level::Kubepods, "KubepodsLimit"),
        (30, Level::Cpuset, "NodeOutOfMemory"),
        (40, Level::OtherCgroup, "NodeOutOfMemory"),
        (630, Level::Unknown, "CgroupLimit"),
        (640, Level::Unknown, "LimitUnknown"),
    ];
    for (second, level, reason) in cases {
        rule.tell(word(level), at(second));
        let condition = rule.look(at(second));
        assert_eq!(told(&condition), (Status::True, reason), "{second}");
        assert!(
            condition.message.contains(&word(level).words),
            "{}",
            condition.message
        );
    }
}

#[tokio::test]
async fn what_the_counters_alone_know_says_at_whose_limit_and_is_no_kill_by_itself() {
    let mut rule = KernelOom::new(SystemTime::UNIX_EPOCH);
    let now = Instant::now();
    let levels = |pods| {
        let mut levels = Levels::default();
        levels.add(Level::Pod, pods);
        levels
    };
    rule.attribute(levels(3), now);
    rule.attribute(levels(4), now);
    assert_eq!(told(&rule.look(now)), NO_KILL);
    rule.count(Some(4), now);
    rule.count(Some(5), now);
    rule.attribute(levels(4), now);
    assert_eq!(told(&rule.look(now)), (Status::True, "LimitUnknown"));
    rule.attribute(levels(5), now);
    assert_eq!(told(&rule.look(now)), (Status::True, "PodLimit"));
}

#[test]
fn a_message_is_one_line_of_the_terminal_at_most() {
    let long = Condition::new(Kind::KernelOom, Status::True, "PodLimit", "é".repeat(1000));
    assert_eq!(long.message.len(), MESSAGE_BYTES_MAX);
}
