//! What does not work, and what works again.

use super::*;

fn fail(ends: &mut Ends, secs: u64, what: &'static str, errno: i32) -> usize {
    let path = Name::new(b"/proc/vmstat");
    ends.post
        .trouble(Moment(secs * 1_000_000), Trouble { what, errno }, path);
    drain(&ends.inbox).len()
}

#[test]
fn the_same_trouble_is_told_once_a_minute_and_always_counted() {
    let mut ends = open().expect("an eventfd");
    let told =
        [(1, 5), (2, 5), (3, 2), (60, 5), (61, 5)].map(|(secs, errno)| fail(&mut ends, secs, "read", errno));
    assert_eq!(told, [1, 0, 1, 0, 1]);
    assert_eq!(ends.board.troubles(), 5);
}

#[test]
fn what_works_again_is_told_and_so_is_that_it_fails_once_more() {
    let mut ends = open().expect("an eventfd");
    let tries = [(1, Trouble::WATCH), (2, "read"), (3, Trouble::WATCH)];
    assert_eq!(
        tries.map(|(secs, what)| fail(&mut ends, secs, what, 28)),
        [1, 1, 0]
    );
    ends.post.mended(Moment(4_000_000), Trouble::WATCH);
    let told: Vec<EventKind> = drain(&ends.inbox).into_iter().map(|event| event.kind).collect();
    assert!(
        matches!(told[..], [EventKind::Mended(Trouble::WATCH)]),
        "{told:?}"
    );
    let tries = [(5, Trouble::WATCH), (6, "read")];
    assert_eq!(tries.map(|(secs, what)| fail(&mut ends, secs, what, 28)), [1, 0]);
}
