//! The agent's end, and perhaps the machine's.

use super::*;

#[test]
fn what_was_told_when_the_end_comes_is_kept_though_its_report_is_not_over() {
    let machine = Machine::new();
    let life = machine.start(&[]);
    machine.count(3);
    for (sequence, pid) in [(5, 77), (7, 78), (9, 79)] {
        for record in kill(sequence, pid) {
            say(&life.log, &record);
        }
    }
    life.ledger.end();
    // Nobody hears it again: the machine is going down.
    assert_eq!(machine.kept(), [77, 78, 79]);
    let pages = Pages::read(&machine.setup().directory).expect("a ledger");
    assert_eq!(
        (pages.tallies[0].counted, pages.tallies[0].unattributed()),
        (Some(3), Some(0))
    );
}
