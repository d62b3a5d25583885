//! An instance of the real kernel's tracing, and real kills of children of this test. Where tracefs cannot be had, that is said
//! and nothing is concluded.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use forestall_act::{ActError, TraceInstance};
use forestall_kernel::tracing::{KillSignal, MarkedVictim, TraceEvent, TraceReader, find_tracefs};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// A bound for a machine that is busy; what is waited for comes within milliseconds.
const PATIENCE: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};

/// The reader goes before the instance, which is not removed while it is open.
struct Traced {
    reader: TraceReader,
    instance: TraceInstance,
}

/// The names for instances are few, and one test leaves one behind.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tracefs() -> Option<PathBuf> {
    find_tracefs(Path::new("/"), Path::new("/proc/self/mountinfo"))
        .inspect_err(|error| eprintln!("not tested: no tracefs: {error}"))
        .ok()
}

fn traced() -> Option<Traced> {
    let instance = match TraceInstance::make(&tracefs()?) {
        Ok(instance) => instance,
        Err(
            error @ ActError::Tracing {
                errno: Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::BUSY,
                ..
            },
        ) => {
            eprintln!("not tested: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let reader = TraceReader::open(instance.path()).expect("what was made can be read");
    Some(Traced { reader, instance })
}

impl Traced {
    /// Reads until `is_there`.
    fn hear(&mut self, mut is_there: impl FnMut(&[TraceEvent]) -> bool) -> Vec<TraceEvent> {
        let mut heard = Vec::new();
        while !is_there(&heard) {
            let mut waited = [PollFd::new(&self.reader, PollFlags::IN)];
            let ready = poll(&mut waited, Some(&PATIENCE)).expect("it can be waited for");
            assert_eq!(ready, 1, "nothing came: {heard:?}");
            self.reader
                .read(|event| heard.push(event))
                .expect("it can be read");
        }
        heard
    }
}

fn signals(heard: &[TraceEvent], pid: u32) -> Vec<KillSignal> {
    let signals = heard.iter().filter_map(|event| match event {
        TraceEvent::Signal(signal) => Some(*signal),
        TraceEvent::Marked(_) => None,
    });
    signals
        .filter(|signal| u32::try_from(signal.pid) == Ok(pid))
        .collect()
}

fn marks(heard: &[TraceEvent], pid: u32) -> Vec<MarkedVictim> {
    let marks = heard.iter().filter_map(|event| match event {
        TraceEvent::Marked(marked) => Some(*marked),
        TraceEvent::Signal(_) => None,
    });
    marks
        .filter(|marked| u32::try_from(marked.pid) == Ok(pid))
        .collect()
}

fn sleeper() -> Child {
    called("sleep", Path::new("sleep"))
}

/// `program`, once it has the name `name`: its number is known a moment before.
fn called(name: &str, program: &Path) -> Child {
    let child = Command::new(program).arg("600").spawn().expect("it starts");
    let comm = format!("/proc/{}/comm", child.id());
    while fs::read(&comm).expect("it lives").strip_suffix(b"\n") != Some(name.as_bytes()) {
        std::thread::yield_now();
    }
    child
}

/// What the clock of the kernel's log reads, by a line that is written to it; nothing where that may not be done.
fn log_nanos() -> Option<u64> {
    let mut log = File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open("/dev/kmsg")
        .ok()?;
    log.seek(SeekFrom::End(0)).ok()?;
    let line = format!("<7>forestall's tests ask for the time ({})", std::process::id());
    log.write_all(line.as_bytes()).ok()?;
    let mut record = vec![0; 8192];
    loop {
        let length = log.read(&mut record).ok()?;
        let text = String::from_utf8_lossy(&record[..length]);
        if text.contains(&line["<7>".len()..]) {
            let micros: u64 = text.split(',').nth(2)?.parse().ok()?;
            return Some(micros * 1000);
        }
    }
}

#[test]
fn a_killed_child_is_told_with_who_did_it() {
    let _alone = alone();
    let Some(mut traced) = traced() else { return };
    let mut child = sleeper();
    let pid = child.id();
    let before = log_nanos();
    child.kill().expect("it lives");
    let heard = traced.hear(|heard| !signals(heard, pid).is_empty());
    child.wait().expect("it ended");
    let [signal] = signals(&heard, pid)[..] else {
        panic!("once: {heard:?}")
    };
    assert_eq!(signal.comm.as_bytes(), b"sleep");
    assert_eq!((signal.code, signal.result, signal.is_for_group), (0, 0, true));
    assert!(!signal.is_kernels());
    // The thread that runs this test.
    assert_eq!(signal.sender_pid, rustix::thread::gettid().as_raw_pid());
    let name = fs::read("/proc/thread-self/comm").expect("readable");
    let told = traced
        .reader
        .name_of(signal.sender_pid, Path::new("/proc"))
        .expect("it lives");
    assert_eq!(told.as_bytes(), name.strip_suffix(b"\n").expect("a line"));
    let clock = fs::read_to_string(traced.instance.path().join("trace_clock")).expect("readable");
    assert!(clock.contains("[global]"), "{clock}");
    if let (Some(before), Some(after)) = (before, log_nanos()) {
        // The log rounds down to microseconds.
        assert!(
            (before..=after + 1000).contains(&signal.at_nanos),
            "another clock than the log's"
        );
    }
    assert_eq!((traced.reader.lost(), traced.reader.malformed()), (0, 0));
    // Somebody who has ended is known by what tracing has noted.
    let mut child = sleeper();
    let pid = child.id();
    let by = Command::new("sh")
        .args(["-c", "kill -9 $0", &pid.to_string()])
        .status();
    assert!(by.expect("it runs").success());
    let heard = traced.hear(|heard| !signals(heard, pid).is_empty());
    child.wait().expect("it ended");
    let sender = signals(&heard, pid)[0].sender_pid;
    assert!(!Path::new("/proc").join(sender.to_string()).exists());
    let noted = traced.reader.name_of(sender, Path::new("/proc"));
    assert_eq!(noted.expect("noted").as_bytes(), b"sh");
}

/// A name that would forge every field of the text.
#[test]
fn a_name_stays_a_name() {
    let _alone = alone();
    let Some(mut traced) = traced() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let name = "a\ncode=128 p=1 ";
    fs::copy("/bin/sleep", dir.path().join(name)).expect("copied");
    let mut child = called(name, &dir.path().join(name));
    child.kill().expect("it lives");
    let heard = traced.hear(|heard| !signals(heard, child.id()).is_empty());
    child.wait().expect("it ended");
    let signal = signals(&heard, child.id())[0];
    assert_eq!(signal.comm.as_bytes(), name.as_bytes());
    assert!(!signal.is_kernels());
}

/// A memory cgroup of 20 MiB, of version 1 or 2.
struct Small(PathBuf);

impl Small {
    fn make() -> Option<Self> {
        let name = format!("forestall-test-{}", std::process::id());
        let limits = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        limits.into_iter().find_map(|(root, limit)| {
            let small = Self(Path::new(root).join(&name));
            fs::create_dir(&small.0).ok()?;
            let is_set = small.0.join(limit).exists() && fs::write(small.0.join(limit), "20971520").is_ok();
            is_set.then_some(small)
        })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_victim_of_a_limit_is_marked_and_killed_by_the_kernel() {
    let _alone = alone();
    let Some(mut traced) = traced() else { return };
    let Some(small) = Small::make() else {
        eprintln!("not tested: no memory cgroup can be made here");
        return;
    };
    // A line without an end, which is kept whole. It cannot take more than the cgroup has.
    let join_and_grow = format!(
        "echo $$ > {}/cgroup.procs && exec tail /dev/zero",
        small.0.display()
    );
    let mut child = Command::new("sh")
        .args(["-c", &join_and_grow])
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let pid = child.id();
    let is_there = |heard: &[TraceEvent]| !marks(heard, pid).is_empty() && !signals(heard, pid).is_empty();
    let heard = traced.hear(is_there);
    child.wait().expect("it ended");
    let (signal, marked) = (signals(&heard, pid)[0], marks(&heard, pid)[0]);
    assert!(signal.is_kernels() && signal.is_for_group);
    assert_eq!(signal.comm.as_bytes(), b"tail");
    assert_eq!((signal.sender_pid, marked.trigger_pid), (marked.pid, marked.pid));
    if let (Some(comm), Some(memory)) = (marked.comm, marked.memory) {
        assert_eq!(comm.as_bytes(), b"tail");
        // It had most of its 20 MiB in anonymous memory.
        assert!((10 << 20..=20 << 20).contains(&memory.anon_bytes), "{memory:?}");
        assert!(memory.total_vm_bytes > memory.anon_bytes && memory.page_tables_bytes > 0);
        assert_eq!((marked.uid, marked.oom_score_adj), (Some(0), Some(0)));
    }
}

/// The kernel ends whoever lives in a PID namespace whose first process has ended, by a signal that is like the OOM killer's.
#[test]
fn the_end_of_a_namespace_marks_nobody() {
    let _alone = alone();
    let Some(mut traced) = traced() else { return };
    let script = "sleep 600 & exit 0";
    let ended = Command::new("unshare")
        .args(["--pid", "--fork", "sh", "-c", script])
        .output();
    if !ended.is_ok_and(|output| output.status.success()) {
        eprintln!("not tested: no PID namespace can be made here");
        return;
    }
    let by_kernel = |heard: &[TraceEvent]| {
        heard.iter().any(|event| {
            matches!(event, TraceEvent::Signal(signal) if signal.is_kernels() && matches!(signal.comm.as_bytes(), b"sleep" | b"sh"))
        })
    };
    let heard = traced.hear(by_kernel);
    let ended: Vec<_> = heard
        .iter()
        .filter_map(|event| match event {
            TraceEvent::Signal(signal) if signal.is_kernels() => u32::try_from(signal.pid).ok(),
            _ => None,
        })
        .collect();
    assert!(ended.iter().any(|pid| marks(&heard, *pid).is_empty()));
}

/// Set where a test runs once more, in a process of its own.
const AGAIN: &str = "FORESTALL_TEST_TRACING";

fn is_again() -> bool {
    std::env::var_os(AGAIN).is_some()
}

/// Runs this test once more, through another program where one is named, and returns what it printed.
fn again(test: &str, through: &[&str], user: Option<u32>) -> String {
    let mut command = match through.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command
                .args(rest)
                .arg(std::env::current_exe().expect("this program"));
            command
        }
        // Leads past directories that nobody else may enter.
        None => Command::new("/proc/self/exe"),
    };
    command.args(["--exact", test, "--nocapture"]).env(AGAIN, "1");
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let output = command.output().expect("it starts");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn what_happened_after_a_crash_is_read_by_the_next_one() {
    let _alone = alone();
    if is_again() {
        let traced = traced().expect("as before");
        println!("at {}", traced.instance.path().display());
        // It never gets to remove what it has made.
        std::process::abort();
    }
    if traced().is_none() {
        return;
    }
    let said = again("what_happened_after_a_crash_is_read_by_the_next_one", &[], None);
    let left = said
        .lines()
        .find_map(|line| line.split_once("at /").map(|(_, path)| Path::new("/").join(path)));
    let left = left.unwrap_or_else(|| panic!("{said}"));
    assert!(left.is_dir());
    let mut child = sleeper();
    child.kill().expect("it lives");
    child.wait().expect("it ended");
    let Some(mut next) = traced().filter(|next| next.instance.path() == left) else {
        eprintln!("not tested: somebody else has come first");
        return;
    };
    assert!(next.instance.was_left());
    let heard = next.hear(|heard| !signals(heard, child.id()).is_empty());
    assert_eq!(signals(&heard, child.id()).len(), 1);
    drop(next);
    assert!(!left.exists(), "removed by who found it");
}

#[test]
fn uid_0_that_may_only_kill_is_enough() {
    let _alone = alone();
    if is_again() {
        drop(traced().expect("its files are root's"));
        return println!("it was enough");
    }
    let through = ["setpriv", "--bounding-set=-all,+kill"];
    let can = Command::new(through[0]).args([through[1], "true"]).status();
    if traced().is_none() || !can.is_ok_and(|status| status.success()) {
        eprintln!("not tested: this machine does not let this user give up capabilities");
        return;
    }
    let said = again("uid_0_that_may_only_kill_is_enough", &through, None);
    assert!(said.contains("it was enough"), "{said}");
}

#[test]
fn another_user_is_told_that_a_right_is_missing() {
    let _alone = alone();
    if is_again() {
        let error =
            find_tracefs(Path::new("/"), Path::new("/proc/self/mountinfo")).expect_err("it is root's");
        assert_eq!(error.label(), "denied");
        return println!("it was told");
    }
    if traced().is_some() {
        let said = again("another_user_is_told_that_a_right_is_missing", &[], Some(65_534));
        assert!(said.contains("it was told"), "{said}");
    }
}
