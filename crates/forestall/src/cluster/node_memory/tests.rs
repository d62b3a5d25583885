//! What is told, and when that is worth a write, over simulated time.

mod keep;
mod others;
mod schema;

use std::time::{Duration, UNIX_EPOCH};

use forestall_decide::{BytesPerSecond, Confidence, NodeSample, Runway, WallReading};
use tokio::time::Instant;

use super::course::Written;
use super::*;
use crate::cluster::seen::tests::{node, reading};

fn seen_of(at: u64, node: &NodeSample, readings: &[WallReading]) -> Seen {
    let walls = readings.iter().map(|reading| Wall {
        reading: *reading,
        culprit: "/kubepods/pod1".to_owned(),
    });
    Seen::new(Moment(at), node, walls.collect())
}

/// A wall that nobody comes to.
fn far(wall: WallKind, left_mebi: u64) -> WallReading {
    reading(wall, left_mebi, Span::FOREVER)
}

/// Of a machine of 1,000 MiB, 300 of them free and 200 page cache, 150 of these inactive: 500 are in use besides cache, the kubelet counts 400 of anonymous memory and 50 of
/// cache, and 60 of slab and 15 of page tables are blind.
#[test]
fn the_object_is_what_stands_in_the_schema_and_no_name_of_anybody() {
    let walls = [
        far(WallKind::Kernel, 500),
        reading(WallKind::Kubepods, 400, Span::millis(90_999)),
        far(WallKind::KubeletNode, 350),
    ];
    let figures = Figures::of(&seen_of(7, &node(), &walls)).expect("a machine");
    let at = UNIX_EPOCH + Duration::from_secs(951_782_401);
    let expected = json!({
        "apiVersion": "forestall.io/v1alpha1",
        "kind": "NodeMemory",
        "metadata": {
            "name": "n1",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "8d1f"}],
        },
        "seenAt": "2000-02-29T00:00:01Z",
        "memory": {"total": "1000Mi", "available": "450Mi", "actual": "500Mi", "kubelet": "450Mi", "blind": "75Mi"},
        "walls": [
            {"name": "kubepods", "left": "400Mi", "alarm": false, "runway": {"p10Seconds": 90, "p50Seconds": 181, "p90Seconds": 363}},
            {"name": "kubelet-node", "left": "350Mi", "alarm": false},
            {"name": "kernel", "left": "500Mi", "alarm": false},
        ],
        "scheduling": {"allocatable": "900Mi", "requested": "2048Mi", "taints": ["a=b:NoSchedule"]},
    });
    let own = OwnNode {
        allocatable: Some(Bytes::mebi(900)),
        taints: Taints(["a=b:NoSchedule".to_owned()].into()),
        ..OwnNode::default()
    };
    // More may be requested than there is, as where the kubelet's own share has grown.
    let figures = figures.with(Some(&own), Some(Bytes::mebi(2048)));
    assert_eq!(figures.object("n1", Some("8d1f"), at), expected);
    schema::takes(&expected);
    // Of a Node that could not be read nobody knows the UID, and an owner without one is none.
    let orphan = figures.object("n1", None, at);
    assert_eq!(orphan["metadata"], json!({"name": "n1"}));
}

#[test]
fn absurd_figures_are_cut_down_to_the_machine_and_no_runway_is_shorter_than_a_shorter_one() {
    let absurd = NodeSample {
        total: Bytes::mebi(1000),
        available: Bytes(u64::MAX),
        anon: Bytes(u64::MAX),
        cached: Bytes(u64::MAX),
        slab_unreclaimable: Bytes(u64::MAX),
        hugetlb: Bytes(u64::MAX),
        ..NodeSample::default()
    };
    let wall = WallReading {
        distance: Bytes(u64::MAX),
        growth: BytesPerSecond(u64::MAX),
        runway: Runway {
            p10: Span::secs(86_400),
            p50: Span::secs(5),
            p90: Span(u64::MAX),
        },
        alarmed: true,
        ..far(WallKind::Kernel, 0)
    };
    let figures = Figures::of(&seen_of(7, &absurd, &[wall])).expect("a machine");
    let object = figures.object("n1", None, UNIX_EPOCH);
    let memory = json!({"total": "1000Mi", "available": "1000Mi", "actual": "0Mi", "kubelet": "1000Mi", "blind": "1000Mi"});
    assert_eq!(object["memory"], memory);
    let walls = json!([{"name": "kernel", "left": "1000Mi", "alarm": true, "runway": {"p10Seconds": 86_400, "p50Seconds": 86_400}}]);
    assert_eq!(object["walls"], walls);
    schema::takes(&object);
    // 2^64 - 1 bytes are 17,592,186,044,415 whole MiB.
    assert_eq!(quantity(Bytes(u64::MAX)), "17592186044415Mi");
    assert!(Figures::of(&seen_of(7, &NodeSample::default(), &[])).is_none());
}

/// What has been written at the beginning, and whether something else takes its place after so many seconds.
struct Course(Written, Instant);

impl Course {
    fn begin(seen: &Seen) -> Self {
        let begun = Instant::now();
        let figures = Figures::of(seen).expect("a machine");
        Self(Written::new(figures, seen, None, begun), begun)
    }

    fn is_due(&self, second: u64, seen: &Seen) -> bool {
        let figures = Figures::of(seen).expect("a machine");
        self.0
            .is_outdated(&figures, seen, self.1 + Duration::from_secs(second))
    }
}

#[tokio::test]
async fn nothing_is_written_for_what_moves_little_but_a_sign_of_life() {
    let course = Course::begin(&seen_of(1, &node(), &[far(WallKind::Kernel, 450)]));
    // 49 of 1,000 MiB are less than one in twenty, 50 are not.
    let little = NodeSample {
        available: Bytes::mebi(401),
        ..node()
    };
    let much = NodeSample {
        available: Bytes::mebi(400),
        ..node()
    };
    let little = seen_of(2, &little, &[far(WallKind::Kernel, 401)]);
    assert!(!course.is_due(61, &little) && !course.is_due(299, &little));
    assert!(course.is_due(300, &little));
    let much = seen_of(2, &much, &[far(WallKind::Kernel, 450)]);
    assert!(!course.is_due(59, &much) && course.is_due(60, &much));
    // A guard that has not looked since has nothing to say, not even that it lives.
    let old = seen_of(1, &node(), &[far(WallKind::Kernel, 450)]);
    assert!(!course.is_due(10_000, &old));
}

#[tokio::test]
async fn what_somebody_decides_otherwise_for_is_worth_a_write_once_a_minute() {
    let kernel = far(WallKind::Kernel, 450);
    let course = Course::begin(&seen_of(1, &node(), &[kernel]));
    let alarmed = WallReading {
        alarmed: true,
        ..kernel
    };
    let unsure = WallReading {
        confidence: Confidence::None,
        ..reading(WallKind::Kernel, 450, Span::secs(60))
    };
    let used = |change: &dyn Fn(&mut NodeSample)| {
        let mut node = node();
        change(&mut node);
        node
    };
    let cases = [
        ("nothing", node(), vec![kernel], false),
        ("an alarm", node(), vec![alarmed], true),
        (
            "a wall that is reached",
            node(),
            vec![far(WallKind::Kernel, 0)],
            true,
        ),
        (
            "ten minutes are not near",
            node(),
            vec![reading(WallKind::Kernel, 450, Span::secs(600))],
            false,
        ),
        (
            "less is",
            node(),
            vec![reading(WallKind::Kernel, 450, Span::secs(599))],
            true,
        ),
        ("nobody knows whether it grows", node(), vec![unsure], false),
        (
            "a wall that has come",
            node(),
            vec![kernel, far(WallKind::Kubepods, 700)],
            true,
        ),
        ("a wall that has gone", node(), vec![], true),
        (
            "blind bytes",
            used(&|node| node.slab_unreclaimable = Bytes::mebi(110)),
            vec![kernel],
            true,
        ),
        (
            "the kubelet's figure",
            used(&|node| node.inactive_file = Bytes::mebi(100)),
            vec![kernel],
            true,
        ),
        (
            "what is in use",
            used(&|node| node.free = Bytes::mebi(250)),
            vec![kernel],
            true,
        ),
        (
            "another size",
            used(&|node| node.total = Bytes::mebi(1001)),
            vec![kernel],
            true,
        ),
    ];
    for (what, node, walls, expected) in cases {
        let seen = seen_of(2, &node, &walls);
        assert!(!course.is_due(59, &seen), "{what}");
        assert_eq!(course.is_due(60, &seen), expected, "{what}");
    }
}

#[tokio::test]
async fn a_runway_that_wavers_about_a_bound_is_written_once_and_so_is_the_next_wall_of_those_that_nobody_comes_to()
 {
    let look = |at, p10| seen_of(at, &node(), &[reading(WallKind::Kernel, 450, Span::secs(p10))]);
    let near = Course::begin(&look(1, 599));
    assert!(!near.is_due(60, &look(2, 1_199)));
    assert!(near.is_due(60, &look(2, 1_200)));
    assert!(near.is_due(60, &look(2, 119)));
    let at_hand = Course::begin(&look(1, 119));
    assert!(!at_hand.is_due(60, &look(2, 239)));
    assert!(at_hand.is_due(60, &look(2, 240)));
    // Which wall is nearer by some bytes is nobody's business while neither is approached; who comes first is.
    let walls = |kernel, kubepods, p10| {
        let walls = [
            far(WallKind::Kernel, kernel),
            reading(WallKind::Kubepods, kubepods, p10),
        ];
        seen_of(kernel, &node(), &walls)
    };
    let course = Course::begin(&walls(401, 400, Span::FOREVER));
    assert!(!course.is_due(60, &walls(400, 401, Span::FOREVER)));
    let course = Course::begin(&seen_of(
        1,
        &node(),
        &[
            reading(WallKind::Kernel, 400, Span::secs(500)),
            far(WallKind::Kubepods, 400),
        ],
    ));
    let other = [
        far(WallKind::Kernel, 400),
        reading(WallKind::Kubepods, 400, Span::secs(500)),
    ];
    assert!(course.is_due(60, &seen_of(2, &node(), &other)));
}
