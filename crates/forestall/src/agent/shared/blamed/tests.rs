use forestall_decide::{AlarmVerdict, Bytes, BytesPerSecond, Confidence, Limit, Runway};

use super::*;

fn reading(wall: WallKind, culprit: Option<u64>) -> WallReading {
    WallReading {
        wall,
        scope: None,
        limit: Limit::Bytes(Bytes::mebi(1000)),
        distance: Bytes::mebi(100),
        growth: BytesPerSecond(1 << 20),
        growth_fast: BytesPerSecond(1 << 20),
        runway: Runway::FOREVER,
        stall_some_permille: 0,
        stall_full_permille: 0,
        culprit: culprit.map(|id| Culprit {
            target: Target::Group(GroupId(id)),
            share_permille: 900,
            grown: Bytes::mebi(10),
            window: Span::secs(10),
            protection: None,
        }),
        alarmed: true,
        confidence: Confidence::High,
    }
}

fn alarm(reading: WallReading, verdict: Option<AlarmVerdict>) -> AlarmEvent {
    AlarmEvent {
        reading,
        verdict,
        age: Span(0),
        horizon: Span::secs(60),
    }
}

fn at(secs: u64) -> Moment {
    Moment(secs * 1_000_000)
}

/// Who is named at each second by an alarm that was raised at the first one and named 1, as others explain the growth.
fn names(explains: &[Option<u64>]) -> Vec<(u64, u64)> {
    let mut blamed = Blamed::default();
    blamed.note(at(0), &alarm(reading(WallKind::Kernel, Some(1)), None));
    let mut told = Vec::new();
    for (secs, who) in (1..).zip(explains) {
        while let Some(event) = blamed.next(at(secs), &[reading(WallKind::Kernel, *who)]) {
            assert_eq!((event.verdict, event.age), (None, Span::secs(secs)));
            if let Some(Target::Group(id)) = event.reading.culprit.map(|culprit| culprit.target) {
                told.push((secs, id.0));
            }
        }
    }
    told
}

#[test]
fn another_name_is_told_once_he_has_explained_it_for_five_seconds_and_ten_after_the_last() {
    // Since the third second it is 2: five seconds later ten have not passed yet.
    let mut explains = vec![Some(1), Some(1)];
    explains.extend([Some(2); 20]);
    assert_eq!(names(&explains), [(10, 2)]);
    // Since the twelfth: five seconds later.
    let mut explains = vec![Some(1); 11];
    explains.extend([Some(2); 20]);
    assert_eq!(names(&explains), [(17, 2)]);
    // Two in turn are a swing; nobody takes no name back.
    let swing: Vec<Option<u64>> = (0..40).map(|nth| Some(1 + nth % 2)).collect();
    assert_eq!(names(&swing), []);
    assert_eq!(names(&[None; 40]), []);
}

#[test]
fn who_has_been_named_by_nobody_is_named_at_the_kubelets_wall_by_the_kernels() {
    let walls = [
        reading(WallKind::Kernel, Some(5)),
        reading(WallKind::KubeletNode, None),
    ];
    let named = culprit_at(&walls[1], &walls).map(|culprit| culprit.target);
    assert_eq!(named, Some(Target::Group(GroupId(5))));
    // A container's own limit is no wall around the node.
    let mut own = reading(WallKind::Container, None);
    own.scope = Some(GroupId(9));
    assert_eq!(culprit_at(&own, &[walls[0], own]), None);
}

#[test]
fn an_alarm_that_is_resolved_names_nobody_any_more() {
    let mut blamed = Blamed::default();
    let up = reading(WallKind::Kernel, Some(1));
    blamed.note(at(0), &alarm(up, None));
    blamed.note(at(1), &alarm(up, Some(AlarmVerdict::False)));
    let other = [reading(WallKind::Kernel, Some(2))];
    assert!((2..60).all(|secs| blamed.next(at(secs), &other).is_none()));
}
