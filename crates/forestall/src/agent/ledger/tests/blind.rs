//! Without the kernel's log.

use super::*;

/// The kernel's `Documentation/admin-guide/sysctl/kernel.rst`: with dmesg_restrict the log takes a right, and `/proc/vmstat` none.
#[test]
fn without_the_log_kills_are_counted_and_once_it_may_be_read_told() {
    let machine = Machine::new();
    machine.count(3);
    let log = Ring::default();
    let theirs = log.clone();
    let is_open = Arc::new(AtomicBool::new(false));
    let may_read = Arc::clone(&is_open);
    let source = move || {
        if may_read.load(Ordering::Acquire) {
            Ok(theirs.open())
        } else {
            KmsgReader::open(Path::new("/nowhere/kmsg"), Start::Oldest)
        }
    };
    let ledger =
        start_from(Box::new(source), machine.setup(), machine.ends.herald.clone()).expect("a thread");
    let said = machine.news();
    assert!(
        matches!(&said[..], [KillNews::Keeping(Keeping::Partly(why))]
            if why.contains("/nowhere/kmsg") && why.contains("CAP_SYSLOG") && why.contains("ledger.tracing: true")),
        "{said:?}"
    );
    assert_eq!(machine.ends.board.degraded()[0].what, "ledger");
    let heard = machine.ends.board.kills.heard().expect("metrics go on");
    assert_eq!((heard.told, heard.lost), (0, 0));
    machine.count(5);
    let said = machine.news();
    assert!(matches!(said[..], [KillNews::Counted(2)]), "{said:?}");
    for record in kill(5, 77) {
        log.say(&record);
    }
    is_open.store(true, Ordering::Release);
    let mut said = machine.news();
    while said.len() < 2 {
        said.extend(machine.news());
    }
    // Somebody was alarmed when they were counted, and is told once that all is well.
    assert!(
        matches!(said[..], [KillNews::Before(1), KillNews::Keeping(Keeping::On)]),
        "{said:?}"
    );
    for record in kill(7, 78) {
        log.say(&record);
    }
    assert_eq!(pids(&machine.news()), [78]);
    ledger.end();
    let pages = Pages::read(&machine.setup().directory).expect("a ledger");
    assert_eq!(machine.kept(), [77, 78]);
    assert_eq!(
        (pages.tallies[0].counted, pages.tallies[0].unattributed()),
        (Some(5), Some(3))
    );
}

#[test]
fn what_was_counted_without_a_log_outlives_the_agent() {
    let machine = Machine::new();
    let nowhere = || KmsgReader::open(Path::new("/nowhere/kmsg"), Start::Oldest);
    machine.count(4);
    let herald = machine.ends.herald.clone();
    start_from(Box::new(nowhere), machine.setup(), herald)
        .expect("a thread")
        .end();
    let pages = Pages::read(&machine.setup().directory).expect("a ledger");
    assert_eq!(pages.tallies[0].unattributed(), Some(4));
}

/// `Documentation/admin-guide/devices.txt`: the log is character device 1:11, and `/dev/null` is 1:3. Whatever has an end is always readable:
/// whoever listened to it would never wait.
#[test]
fn what_stands_in_for_the_log_is_not_listened_to() {
    for is_file in [true, false] {
        let machine = Machine::new();
        let place = device(&machine.setup().root);
        std::fs::create_dir_all(place.parent().expect("a directory")).expect("a directory");
        if is_file {
            std::fs::write(&place, "").expect("a file");
        } else {
            std::os::unix::fs::symlink("/dev/null", &place).expect("a link");
        }
        let ledger = start(machine.setup(), machine.ends.herald.clone()).expect("a thread");
        let keeping = &machine.ends.board.degraded();
        ledger.end();
        let why = &keeping.first().expect("it is said").why;
        assert!(why.contains("1:11"), "{why}");
    }
}
