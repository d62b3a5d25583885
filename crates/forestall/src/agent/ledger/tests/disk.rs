//! A disk that takes nothing.

use super::*;

impl Machine {
    /// Starts the thread on a ledger that is open already.
    fn start_with(&self, book: Book, log: &Ring) -> Ledger {
        let theirs = log.clone();
        let source = move || Ok(theirs.open());
        start_book(
            Box::new(source),
            self.setup(),
            self.ends.herald.clone(),
            Some(book),
        )
        .expect("a thread")
    }
}

#[test]
fn a_full_disk_costs_no_kill_and_says_none_twice() {
    let machine = Machine::new();
    let log = Ring::default();
    for record in kill(5, 77) {
        log.say(&record);
    }
    let book = Book::open(&machine.setup().directory).expect("a ledger");
    let is_full = Arc::clone(&book.is_full);
    is_full.store(true, Ordering::Release);
    let ledger = machine.start_with(book, &log);
    let mut said = Vec::new();
    while said.len() < 2 {
        said.extend(machine.news());
    }
    assert!(
        matches!(&said[..], [KillNews::Before(1), KillNews::Keeping(Keeping::Partly(why))]
            if why.contains("No space left on device") && why.contains("make room")),
        "{said:?}"
    );
    for (sequence, pid) in [(7, 78), (9, 79)] {
        for record in kill(sequence, pid) {
            log.say(&record);
        }
        // It is said once, and nothing else is: neither who was said before nor the disk.
        let said = machine.news();
        assert!(said.len() == 1 && pids(&said) == [pid], "{said:?}");
    }
    assert!(machine.ends.board.kills.heard().is_some(), "metrics go on");
    while machine.totals() != of_pod(3) {
        thread::yield_now();
    }
    assert_eq!(machine.kept().len(), 0);
    is_full.store(false, Ordering::Release);
    let said = machine.news();
    assert!(matches!(said[..], [KillNews::Keeping(Keeping::On)]), "{said:?}");
    ledger.end();
    assert_eq!((machine.kept(), machine.totals()), (vec![77, 78, 79], of_pod(3)));
}

#[test]
fn signals_that_cannot_be_written_cost_no_kill() {
    let machine = Machine::new();
    std::fs::create_dir_all(machine.setup().directory.join("signals.ledger")).expect("a directory");
    let life = machine.start(&[]);
    for record in kill(5, 77) {
        say(&life.log, &record);
    }
    assert_eq!(pids(&machine.news()), [77]);
    life.ledger.end();
    assert_eq!(machine.kept(), [77]);
}

#[test]
fn a_first_start_without_a_directory_tells_of_kills_and_keeps_them_once_there_is_one() {
    let machine = Machine::new();
    let state = machine.folder.path().join("state");
    std::fs::remove_dir(&state).expect("it is empty");
    let life = machine.start(&[]);
    let said = machine.news();
    assert!(
        matches!(&said[..], [KillNews::Keeping(Keeping::Partly(why))] if why.contains("make the directory")),
        "{said:?}"
    );
    for record in kill(5, 77) {
        say(&life.log, &record);
    }
    assert_eq!(pids(&machine.news()), [77]);
    std::fs::create_dir(&state).expect("room");
    let said = machine.news();
    assert!(matches!(said[..], [KillNews::Keeping(Keeping::On)]), "{said:?}");
    life.ledger.end();
    assert_eq!((machine.kept(), machine.totals()), (vec![77], of_pod(1)));
}
