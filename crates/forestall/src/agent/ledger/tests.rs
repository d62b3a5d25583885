use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use forestall_kernel::kmsg::{KmsgReader, Start};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

use super::*;
use crate::agent::shared::{self, Ends, Keeping, KillNews};
use crate::ledger::Pages;

mod blind;
mod disk;
mod end;
mod named;

/// A machine whose log is a socket: it hands out a record a read, as the device does.
struct Machine {
    folder: TempDir,
    ends: Ends,
}

/// A ring that everybody who opens it reads from its oldest record on.
#[derive(Clone, Default)]
struct Ring(Arc<Mutex<(Vec<String>, Vec<UnixDatagram>)>>);

impl Ring {
    fn say(&self, record: &str) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Who has stopped reading misses nothing that it wants.
        ring.1.retain(|reader| reader.send(record.as_bytes()).is_ok());
        ring.0.push(record.to_owned());
    }

    fn open(&self) -> KmsgReader {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (ours, theirs) = UnixDatagram::pair().expect("sockets");
        theirs.set_nonblocking(true).expect("a socket");
        for record in &ring.0 {
            ours.send(record.as_bytes()).expect("room");
        }
        ring.1.push(ours);
        KmsgReader::over(theirs.into(), Path::new("kmsg"))
    }
}

/// The log, and the thread that follows it.
struct Life {
    log: Ring,
    ledger: Ledger,
}

const POD: &str = "/kubepods/burstable/pod0330b2c1-a15b-4cdd-b5e5-72d4a90bee82";

fn kill(sequence: u64, pid: u32) -> [String; 2] {
    let micros = sequence * 10_000_000;
    [
        format!(
            "6,{sequence},{micros},-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg={POD},task_memcg={POD}/web,task=java,pid={pid},uid=0\n"
        ),
        format!(
            "3,{},{micros},-;Memory cgroup out of memory: Killed process {pid} (java) total-vm:2kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0\n",
            sequence + 1
        ),
    ]
}

impl Machine {
    fn new() -> Self {
        let folder = TempDir::new().expect("a directory");
        let machine = Self {
            folder,
            ends: shared::open().expect("an eventfd"),
        };
        for path in ["proc/sys/kernel/random", "state"] {
            std::fs::create_dir_all(machine.folder.path().join(path)).expect("directories");
        }
        let boot = machine.folder.path().join("proc/sys/kernel/random/boot_id");
        std::fs::write(boot, "11111111-2222-3333-4444-555555555555\n").expect("a file");
        machine.count(0);
        machine
    }

    /// What the kernel counts.
    fn count(&self, kills: u64) {
        std::fs::write(
            self.folder.path().join("proc/vmstat"),
            format!("oom_kill {kills}\n"),
        )
        .expect("a file");
    }

    fn setup(&self) -> LedgerSetup {
        LedgerSetup {
            directory: directory_in(&self.folder.path().join("state")),
            root: self.folder.path().to_owned(),
            hierarchy: Hierarchy::at(&self.folder.path().join("sys/fs/cgroup"), true).ok(),
            tracing: false,
            nice: 0,
        }
    }

    /// Starts the thread on a log that holds these records.
    fn start(&self, ring: &[String]) -> Life {
        let log = Ring::default();
        for record in ring {
            log.say(record);
        }
        let theirs = log.clone();
        let source = move || Ok(theirs.open());
        let ledger = start_from(Box::new(source), self.setup(), self.ends.herald.clone()).expect("a thread");
        Life { log, ledger }
    }

    /// Waits until there is something to say.
    fn news(&self) -> Vec<KillNews> {
        let bell = self.ends.inbox.bell().expect("a descriptor");
        loop {
            let news = self.ends.board.kills.take_news();
            if !news.is_empty() {
                return news;
            }
            let mut waited = [PollFd::new(&bell, PollFlags::IN)];
            let patience = Timespec::try_from(Duration::from_mins(1)).expect("a minute");
            assert!(
                poll(&mut waited, Some(&patience)).expect("a bell") > 0,
                "nothing is said"
            );
            let _ = rustix::io::read(&bell, &mut [0_u8; 8]);
        }
    }

    fn kept(&self) -> Vec<u32> {
        let pages = Pages::read(&self.setup().directory).expect("a ledger");
        let victims = pages.entries.iter().flat_map(|entry| &entry.report.victims);
        victims.map(|victim| victim.pid).collect()
    }

    fn totals(&self) -> Vec<(String, String, u64)> {
        let mut all = Vec::new();
        let done: Result<(), ()> = self.ends.board.kills.each_total(|whom, kills| {
            all.push((whom.level.clone(), whom.pod.clone(), kills));
            Ok(())
        });
        done.expect("nothing fails");
        all
    }
}

fn say(log: &Ring, record: &str) {
    log.say(record);
}

fn pids(news: &[KillNews]) -> Vec<u32> {
    let entries = news.iter().filter_map(|news| match news {
        KillNews::Kill(entry) => Some(entry),
        _ => None,
    });
    entries
        .flat_map(|entry| &entry.report.victims)
        .map(|victim| victim.pid)
        .collect()
}

fn of_pod(kills: u64) -> Vec<(String, String, u64)> {
    let uid = "0330b2c1-a15b-4cdd-b5e5-72d4a90bee82";
    vec![("pod".to_owned(), uid.to_owned(), kills)]
}

#[test]
fn a_kill_is_said_at_once_and_kept_and_counted() {
    let machine = Machine::new();
    let life = machine.start(&[]);
    machine.count(1);
    let begun = Instant::now();
    for record in kill(5, 77) {
        say(&life.log, &record);
    }
    assert_eq!(pids(&machine.news()), [77]);
    // Without another record that would end the report: it ends by itself. The bound is the issue's, not a measurement.
    assert!(begun.elapsed() < Duration::from_secs(5));
    life.ledger.end();
    assert_eq!((machine.kept(), machine.totals()), (vec![77], of_pod(1)));
    let pages = Pages::read(&machine.setup().directory).expect("a ledger");
    assert_eq!(pages.tallies[0].unattributed(), Some(0));
    assert_eq!(pages.tallies[0].through, Some(6));
}

#[test]
fn another_life_tells_no_kill_again_and_goes_on_counting() {
    let machine = Machine::new();
    let (first, second) = (kill(5, 77), kill(7, 78));
    let life = machine.start(&first);
    // Nobody is alarmed by what was before.
    assert!(matches!(machine.news()[..], [KillNews::Before(1)]));
    life.ledger.end();
    // A container's death, and that of the agent, reset nothing.
    let ring = [&first[..], &second[..1]].concat();
    let life = machine.start(&ring);
    assert_eq!(machine.totals(), of_pod(1));
    say(&life.log, &second[1]);
    assert_eq!(pids(&machine.news()), [78]);
    life.ledger.end();
    assert_eq!((machine.kept(), machine.totals()), (vec![77, 78], of_pod(2)));
}

#[test]
fn a_kill_copies_nothing_of_what_was_counted_before() {
    let machine = Machine::new();
    let life = machine.start(&kill(5, 77));
    assert!(matches!(machine.news()[..], [KillNews::Before(1)]));
    let place = || {
        let mut place = None;
        let done: Result<(), ()> = machine.ends.board.kills.each_total(|whom, _| {
            place = Some(whom.pod.as_ptr().addr());
            Ok(())
        });
        done.expect("nothing fails");
        place.expect("somebody was killed")
    };
    let before = place();
    for record in kill(7, 78) {
        say(&life.log, &record);
    }
    assert_eq!(pids(&machine.news()), [78]);
    life.ledger.end();
    assert_eq!(machine.totals(), of_pod(2));
    assert_eq!(place(), before);
}

#[test]
fn a_log_that_fails_costs_the_ledger_alone_and_it_begins_again() {
    let machine = Machine::new();
    // Another agent has the ledger.
    let held = Book::open(&machine.setup().directory).expect("a ledger");
    let life = machine.start(&kill(5, 77));
    let said = machine.news();
    assert!(
        matches!(&said[..], [KillNews::Keeping(Keeping::Failed(why))] if why.contains("somebody else has this ledger open")),
        "{said:?}"
    );
    let missing = machine.ends.board.degraded();
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert_eq!(missing[0].what, "ledger");
    drop(held);
    let mut said = machine.news();
    while said.len() < 2 {
        said.extend(machine.news());
    }
    assert!(
        said.iter()
            .any(|news| matches!(news, KillNews::Keeping(Keeping::On))),
        "{said:?}"
    );
    assert!(machine.ends.board.degraded().is_empty());
    life.ledger.end();
    assert_eq!(machine.kept(), [77]);
}

#[test]
fn a_panic_costs_one_life_and_the_next_one_keeps_what_came_meanwhile() {
    let machine = Machine::new();
    let log = Ring::default();
    let theirs = log.clone();
    let is_first = AtomicBool::new(true);
    let source = move || {
        assert!(
            !is_first.swap(false, Ordering::Relaxed),
            "a defect, for this test"
        );
        Ok(theirs.open())
    };
    let herald = machine.ends.herald.clone();
    let ledger = start_from(Box::new(source), machine.setup(), herald).expect("a thread");
    for record in kill(5, 77) {
        say(&log, &record);
    }
    let mut said = Vec::new();
    while pids(&said).is_empty() {
        said.extend(machine.news());
    }
    assert!(
        matches!(&said[0], KillNews::Keeping(Keeping::Failed(why)) if why.contains("ledger thread panicked")),
        "{said:?}"
    );
    assert!(machine.ends.board.degraded().is_empty());
    ledger.end();
    assert_eq!((machine.kept(), machine.totals()), (vec![77], of_pod(1)));
}

#[test]
fn of_a_kill_line_alone_the_cgroup_is_read_while_the_victim_is_ending() {
    let machine = Machine::new();
    let root = machine.folder.path();
    let process = |pid: u32, comm: &str, cgroup: &str| {
        let own = root.join(format!("proc/{pid}"));
        std::fs::create_dir_all(&own).expect("a directory");
        std::fs::write(own.join("comm"), comm).expect("a file");
        std::fs::write(own.join("cgroup"), cgroup).expect("a file");
    };
    process(77, "java\n", &format!("0::{POD}/web\n"));
    // Another one has got the number, or it was on v1.
    process(78, "sh\n", "0::/user.slice\n");
    process(79, "java\n", "5:memory:/\n0::/\n");
    let life = machine.start(&[]);
    // The one before is over by the next one's line, whose own report is not.
    for (sequence, pid) in [(5, 78), (7, 79), (9, 77)] {
        say(&life.log, &kill(sequence, pid)[1]);
    }
    let mut cgroups = Vec::new();
    while cgroups.len() < 3 {
        for news in machine.news() {
            let KillNews::Kill(entry) = news else {
                panic!("{news:?}")
            };
            let victim = &entry.report.victims[0];
            let told = entry.homes.iter().any(|home| home.is_cgroup_from_proc);
            cgroups.push((
                victim.pid,
                victim.memcg.as_ref().map(|path| path.path.to_vec()),
                told,
            ));
        }
    }
    let web = format!("{POD}/web").into_bytes();
    assert_eq!(
        cgroups,
        [(78, None, false), (79, None, false), (77, Some(web), true)]
    );
    life.ledger.end();
}

#[test]
fn whoever_is_killed_right_behind_a_group_and_lives_elsewhere_is_no_member() {
    let machine = Machine::new();
    for (pid, cgroup) in [(77, "web"), (78, "web/worker"), (79, "other")] {
        let own = machine.folder.path().join(format!("proc/{pid}"));
        std::fs::create_dir_all(&own).expect("a directory");
        std::fs::write(own.join("comm"), "java\n").expect("a file");
        std::fs::write(own.join("cgroup"), format!("0::{POD}/{cgroup}\n")).expect("a file");
    }
    let life = machine.start(&[]);
    let line = |sequence, pid| kill(sequence, pid)[1].replace("0000000,-", "0,-");
    let group = format!("6,8,70,-;Tasks in {POD}/web are going to be killed due to memory.oom.group set\n");
    // The kernel's rate limit has left out both tables.
    for record in [line(6, 77), group, line(8, 77), line(9, 78), line(10, 79)] {
        say(&life.log, &record);
    }
    let mut told = Vec::new();
    while told.len() < 3 {
        for news in machine.news() {
            let KillNews::Kill(entry) = news else {
                panic!("{news:?}")
            };
            told.extend(entry.report.victims.iter().map(|victim| {
                let path = entry.cgroup_of(victim).expect("it is known");
                let place = path.path.escape_ascii().to_string();
                (victim.pid, place, entry.report.level.label())
            }));
        }
    }
    let place = |name: &str| format!("{POD}/{name}");
    assert_eq!(
        told,
        [
            (77, place("web"), "some-cgroup"),
            (78, place("web"), "some-cgroup"),
            (79, place("other"), "some-cgroup"),
        ]
    );
    life.ledger.end();
}

#[test]
fn a_kill_is_said_though_something_else_wakes_the_thread_all_the_time() {
    let machine = Machine::new();
    let pods = machine.folder.path().join("var/log/pods");
    std::fs::create_dir_all(&pods).expect("directories");
    let life = machine.start(&[]);
    let is_said = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while !is_said.load(Ordering::Acquire) && begun.elapsed() < Duration::from_secs(6) {
                let pod = pods.join("a_b_c");
                std::fs::create_dir(&pod).expect("a directory");
                std::fs::remove_dir(&pod).expect("it is empty");
            }
        });
        let begun = Instant::now();
        for record in kill(5, 77) {
            say(&life.log, &record);
        }
        assert_eq!(pids(&machine.news()), [77]);
        is_said.store(true, Ordering::Release);
        begun.elapsed()
    });
    // The bound is the issue's.
    assert!(took < Duration::from_secs(5), "{took:?}");
    life.ledger.end();
}

#[test]
fn whoever_has_the_number_of_somebody_killed_before_a_life_is_not_taken_for_him() {
    let machine = Machine::new();
    let own = machine.folder.path().join("proc/77");
    std::fs::create_dir_all(&own).expect("a directory");
    std::fs::write(own.join("comm"), "java\n").expect("a file");
    std::fs::write(own.join("cgroup"), format!("0::{POD}/web\n")).expect("a file");
    // The first life fails: another agent has the ledger.
    let held = Book::open(&machine.setup().directory).expect("a ledger");
    let life = machine.start(&kill(5, 77)[1..]);
    assert!(matches!(
        machine.news()[..],
        [KillNews::Keeping(Keeping::Failed(_))]
    ));
    drop(held);
    let mut said = Vec::new();
    while !said.iter().any(|news| matches!(news, KillNews::Before(1))) {
        said.extend(machine.news());
    }
    // Nobody is alarmed by what was before, though the first life has failed.
    assert!(pids(&said).is_empty(), "{said:?}");
    life.ledger.end();
    let pages = Pages::read(&machine.setup().directory).expect("a ledger");
    let mut victims = pages.entries.iter().flat_map(|entry| &entry.report.victims);
    assert_eq!(victims.next().map(|victim| &victim.memcg), Some(&None));
}
