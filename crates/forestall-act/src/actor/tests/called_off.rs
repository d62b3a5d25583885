//! What becomes of kills on their way when acting is over for now.

use super::*;

/// ECANCELED is 125 on every machine.
const CALLED_OFF: OutcomeKind = OutcomeKind::Failed(125);

#[test]
fn what_is_called_off_is_not_carried_further() {
    let (handle, mut child) = (start(), child("trap '' TERM"));
    let mut first = order(1, Span::secs(600), process_at(id_of(child.id()), None));
    first.action.deadline = Span::secs(600);
    assert_eq!(handle.submit(first), Ok(()));
    let until = Instant::now() + PATIENCE;
    while handle.take_outcome().is_none() {
        assert!(Instant::now() < until, "TERM was never sent");
        wait_for_report(&handle);
    }
    handle.call_off();
    assert_eq!(wait_for(&handle, 1).0.outcome.kind, CALLED_OFF);
    assert!(child.try_wait().expect("our own child").is_none());
    // What is ordered afterwards is carried out.
    let again = order(2, Span::default(), process_at(id_of(child.id()), None));
    assert_eq!(handle.submit(again), Ok(()));
    assert_eq!(wait_for(&handle, 2).0.outcome.kind, OutcomeKind::Done);
    assert_eq!(signal_of(&mut child), Some(9));
}

#[test]
fn whoever_was_sent_kill_is_judged_though_the_rest_is_called_off() {
    // Its effect is looked at some milliseconds later; of so many at least one is called off before that.
    for _ in 0..10 {
        let (handle, mut child) = (start(), child(":"));
        let place = process_at(id_of(child.id()), None);
        assert_eq!(handle.submit(order(1, Span::default(), place)), Ok(()));
        assert_eq!(signal_of(&mut child), Some(9));
        handle.call_off();
        assert_eq!(wait_for(&handle, 1).0.outcome.kind, OutcomeKind::Done);
    }
}
