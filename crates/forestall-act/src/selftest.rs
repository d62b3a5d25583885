//! The rights the rungs need, each exercised at the start without harm, so that a missing one is known before it is
//! needed. Nothing is killed, reclaimed or left changed.
//!
//! Not tested, because it is not asked for: `CAP_SYS_ADMIN`, without which the kernel shows no attribute in `trusted.*`. A mark
//! that is to spare a cgroup (`user.forestall`, `user.delegate`) belongs in `user.*`, which everybody may read.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::path::DecInt;
use rustix::process::{Pid, Resource};

use crate::file;
use crate::limit::untried;
use crate::namespace::{check_everybody_has_a_number, has_machines_users};
use crate::order::CgroupVersion;
use crate::process::{self, ProcessDir};
use crate::release::{Release, release_memory};
use crate::sysrq;

/// `CAP_KILL` and `CAP_IPC_LOCK` of `include/uapi/linux/capability.h`.
const CAP_KILL: u32 = 5;
const CAP_IPC_LOCK: u32 = 14;

/// `EROFS` comes of the mount and `EACCES` of the file's owner, and neither of the kernel's age: where the file were missing, that would come first.
const READ_ONLY: &str = "cgroups are mounted read-only here, as for an agent that only looks (the profile read): nothing is done to a cgroup until they are writable (the profile act)";
const NOT_OURS: &str = "cgroup files belong to another user here, as for an agent that only looks (the profile read): nothing is done to a cgroup without their user, which is root (the profile act)";
/// From here on the kernel's OOM killer hardly chooses the agent: the kubelet starts a pod that is critical to its node so (`guaranteedOOMScoreAdj`,
/// k/k `pkg/kubelet/qos/policy.go`).
const SCORE_LOW_ENOUGH: i32 = -997;

/// What is tested, and where.
#[derive(Clone, Copy, Debug)]
pub struct SelfTest<'a> {
    /// The proc file system, opened as a directory.
    pub proc_root: BorrowedFd<'a>,
    /// The cgroup whose memory would be reclaimed: `kubepods`, or where there is none any other; not the root, which lacks
    /// the files.
    pub group: Option<(BorrowedFd<'a>, CgroupVersion)>,
    /// Whether `process_mrelease` may be tried: under a seccomp filter the try itself can end this process.
    pub release: Release,
}

/// One right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// Its name, fit for a metric's label.
    pub name: &'static str,
    /// It can be used.
    pub works: bool,
    /// What the kernel said, where it cannot.
    pub errno: Option<Errno>,
    /// What it costs not to have it, and what takes its place.
    pub cost: &'static str,
}

/// Exercises every right.
pub fn self_test(test: &SelfTest<'_>) -> Vec<Right> {
    let on_group = |name: &'static std::ffi::CStr, try_it: fn(OwnedFd) -> Result<()>| match test.group {
        Some((dir, CgroupVersion::V2)) => file::open_write(dir, name).and_then(try_it),
        Some((_, CgroupVersion::V1)) => Err(Errno::OPNOTSUPP),
        None => Err(Errno::NOENT),
    };
    // Where no cgroup can be tried, the reason is that and no version of anything.
    let by_version = |v2: &'static str, v1: &'static str| match test.group {
        Some((_, CgroupVersion::V2)) => v2,
        Some((_, CgroupVersion::V1)) => v1,
        None => "no memory cgroup is followed here, so that there is none to act upon",
    };
    // On v2 there is none, and none is missed.
    let force_empty = match test.group {
        Some((dir, CgroupVersion::V1)) => Some(right_to_write(
            "memory_force_empty",
            "no reclaim, whether or not the configuration asks for it (forceEmpty)",
            file::open_write(dir, c"memory.force_empty").map(drop),
        )),
        Some((_, CgroupVersion::V2)) | None => None,
    };
    let mut rights = vec![
        right(
            "pidfd",
            "kill is impossible: without a pidfd (Linux 5.3), or outside the host's PID namespace (run it with hostPID: true, or --pid=host), a process has no number here, or a signal may reach another one of the same number",
            open_own_pidfd(test.proc_root)
                .and_then(|_| check_everybody_has_a_number(test.proc_root, test.group)),
        ),
        right(
            "signal_other_users",
            "kill reaches processes of this user only; cgroup.kill, where it works, does not need it (CAP_KILL)",
            signal_other_users(test.proc_root),
        ),
        right_to_write(
            "cgroup_kill",
            by_version(
                "KILL goes to each process by pidfd until the cgroup is empty (before Linux 5.14)",
                "cgroup v1 has none: KILL goes to each process by pidfd until the cgroup is empty",
            ),
            // Opening it for writing does nothing yet.
            on_group(c"cgroup.kill", |_| Ok(())),
        ),
        right(
            "process_mrelease",
            "a victim's memory comes back at its exit instead of at once (before Linux 5.15, or not tried under seccomp)",
            try_release(test),
        ),
        right_to_write(
            "memory_reclaim",
            by_version(
                "reclaim uses a dip of memory.high of at most 200 ms (before Linux 5.19)",
                "cgroup v1 has none: no reclaim, unless by memory.force_empty where the configuration asks for it (forceEmpty)",
            ),
            // Nothing is asked for, so the kernel's loop ends before it begins (mm/memcontrol.c, memory_reclaim).
            on_group(c"memory.reclaim", |file| file::write_once(file, b"0")),
        ),
        right_to_write(
            "memory_reclaim_swappiness",
            by_version(
                "no reclaim while swap is on: it would swap out instead of dropping cache (before Linux 6.9)",
                "cgroup v1 has no memory.reclaim that it could be told to",
            ),
            on_group(c"memory.reclaim", |file| {
                file::write_once(file, b"0 swappiness=0")
            }),
        ),
        right_to_write(
            "memory_high",
            by_version(
                "no brake, and no dip where memory.reclaim is missing",
                "cgroup v1 has none: no brake, and no dip takes the place of memory.reclaim",
            ),
            on_group(c"memory.high", |_| Ok(())),
        ),
        right(
            "sysrq",
            "the rung sysrq cannot be used",
            sysrq::is_writable(test.proc_root),
        ),
        right(
            "lock_memory",
            "under thrashing the agent's own pages may have to be read back from disk: give CAP_IPC_LOCK, or raise RLIMIT_MEMLOCK to unlimited (LimitMEMLOCK=infinity of the unit, ulimit -l)",
            may_lock(test.proc_root),
        ),
        right(
            "raise_priority",
            "the guard competes with CPU hogs for its turn and looks late (CAP_SYS_NICE)",
            try_priority(),
        ),
        right(
            "lower_oom_score_adj",
            "the kernel's OOM killer may choose the agent itself (CAP_SYS_RESOURCE)",
            try_oom_score_adj(test.proc_root),
        ),
    ];
    rights.extend(force_empty);
    rights
}

/// What became of the try. Where a limit kept it from being made at all, that is what has to be told.
fn right(name: &'static str, cost: &'static str, tried: Result<()>) -> Right {
    Right {
        name,
        works: tried.is_ok(),
        errno: tried.err(),
        cost: tried.err().and_then(untried).unwrap_or(cost),
    }
}

/// The same of a cgroup's file, which its mount or its owner may keep from being written.
fn right_to_write(name: &'static str, cost: &'static str, tried: Result<()>) -> Right {
    let cost = match tried {
        Err(Errno::ROFS) => READ_ONLY,
        Err(Errno::ACCESS | Errno::PERM) => NOT_OURS,
        _ => cost,
    };
    right(name, cost, tried)
}

fn open_own_pidfd(proc_root: BorrowedFd<'_>) -> Result<OwnedFd> {
    // A pidfd is opened by the number of our own PID namespace. Where proc shows another one (no hostPID), the same number
    // may be two processes, and the wrong one would be hit.
    let own = ProcessDir::open(proc_root, process::own_pid(proc_root)?)?.facts()?;
    process::open_pidfd(proc_root, own.id)
}

/// Signal 0 to a process of another user: it checks the right and sends nothing (`kill(2)`). Where this user is alone on
/// the machine, the capability tells.
fn signal_other_users(proc_root: BorrowedFd<'_>) -> Result<()> {
    match find_foreign_process(proc_root)? {
        Some(pid) => match rustix::process::test_kill_process(pid) {
            // It ended in between; that it was looked up at all shows the right.
            Err(Errno::SRCH) => Ok(()),
            tried => tried,
        },
        None if has_capability(proc_root, CAP_KILL)? => Ok(()),
        None => Err(Errno::PERM),
    }
}

fn find_foreign_process(proc_root: BorrowedFd<'_>) -> Result<Option<Pid>> {
    let own = rustix::process::geteuid().as_raw();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 8192];
    let mut entries = rustix::fs::RawDir::new(file::open_dir(proc_root, c".")?, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        let pid = file::parse_number(name.to_bytes())
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        // The owner of /proc/PID is the process' effective user, root for one that cannot be dumped.
        let owner = file::open_dir(proc_root, name)
            .and_then(rustix::fs::fstat)
            .map(|stat| stat.st_uid);
        if owner.is_ok_and(|owner| owner != own) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

fn has_capability(proc_root: BorrowedFd<'_>, capability: u32) -> Result<bool> {
    let own = file::open_dir(proc_root, DecInt::new(process::shown_pid(proc_root)?).as_c_str())?;
    let mut buffer = [0; file::BUFFER_BYTES];
    let text = file::read_into(&own, c"status", &mut buffer)?;
    let effective = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"CapEff:"))
        .and_then(|mask| std::str::from_utf8(mask).ok())
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    effective
        .map(|mask| mask >> capability & 1 == 1)
        .ok_or(Errno::INVAL)
}

/// Our own process was not killed, so the kernel refuses with `EINVAL`, which shows that the call is there.
fn try_release(test: &SelfTest<'_>) -> Result<()> {
    if !test.release.is_allowed(test.proc_root) {
        return Err(Errno::OPNOTSUPP);
    }
    match release_memory(open_own_pidfd(test.proc_root)?) {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Locking everything needs the capability or a limit that does not bind; locking one page would prove nothing.
fn may_lock(proc_root: BorrowedFd<'_>) -> Result<()> {
    let unlimited = rustix::process::getrlimit(Resource::Memlock).current.is_none();
    // The kernel asks for the machine's own capability (`can_do_mlock` in `mm/mlock.c`): root of a user namespace has none.
    if unlimited || has_machines_users(proc_root) && has_capability(proc_root, CAP_IPC_LOCK)? {
        Ok(())
    } else {
        Err(Errno::PERM)
    }
}

/// Raises the calling thread's priority by one and puts it back.
fn try_priority() -> Result<()> {
    let nice = rustix::process::getpriority_process(None)?;
    if nice <= -20 {
        return Ok(());
    }
    rustix::process::setpriority_process(None, nice - 1)?;
    rustix::process::setpriority_process(None, nice)
}

/// Lowers the own score by one and puts it back; raising it is always allowed. One that is low enough need not be lowered.
fn try_oom_score_adj(proc_root: BorrowedFd<'_>) -> Result<()> {
    let pid = process::shown_pid(proc_root)?;
    let score = ProcessDir::open(proc_root, pid)?.oom_score_adj()?;
    if score <= SCORE_LOW_ENOUGH {
        return Ok(());
    }
    let own = file::open_dir(proc_root, DecInt::new(pid).as_c_str())?;
    let file = file::open_write(&own, c"oom_score_adj")?;
    file::write_once(file.as_fd(), DecInt::new(score - 1).as_bytes())?;
    file::write_once(file.as_fd(), DecInt::new(score).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::sync::Mutex;

    /// Each test lowers the score of this one process for a moment; one that looks at it must be alone.
    static ALONE: Mutex<()> = Mutex::new(());

    fn test<'a>(proc_root: &'a File, group: Option<(BorrowedFd<'a>, CgroupVersion)>) -> Vec<Right> {
        self_test(&SelfTest {
            proc_root: proc_root.as_fd(),
            group,
            release: Release::Never,
        })
    }

    fn find(rights: &[Right], name: &str) -> Right {
        *rights
            .iter()
            .find(|right| right.name == name)
            .expect("a right of this name")
    }

    #[test]
    fn an_old_kernel_misses_its_files_and_says_what_takes_their_place() {
        let _alone = ALONE.lock();
        // cgroup v2 on 5.10: memory.high, and neither memory.reclaim nor cgroup.kill.
        let group = tempfile::tempdir().expect("a directory");
        fs::write(group.path().join("memory.high"), "max").expect("a file");
        let dir = File::open(group.path()).expect("a directory");
        let proc_root = File::open("/proc").expect("/proc");
        let rights = test(&proc_root, Some((dir.as_fd(), CgroupVersion::V2)));
        assert!(find(&rights, "memory_high").works);
        for name in ["memory_reclaim", "memory_reclaim_swappiness", "cgroup_kill"] {
            let right = find(&rights, name);
            assert_eq!((right.works, right.errno), (false, Some(Errno::NOENT)), "{name}");
            assert!(!right.cost.is_empty());
        }
        assert_eq!(
            fs::read(group.path().join("memory.high")).expect("the file"),
            b"max"
        );
    }

    #[test]
    fn what_a_limit_kept_from_being_tried_names_the_limit() {
        let untried = right("pidfd", "kill is impossible", Err(Errno::MFILE));
        assert!(!untried.works);
        assert!(untried.cost.contains("RLIMIT_NOFILE"), "{}", untried.cost);
        let tried = right("pidfd", "kill is impossible", Err(Errno::NOSYS));
        assert_eq!(tried.cost, "kill is impossible");
        // Whether or not memory may be locked here, the cost of not locking it names the limit.
        let _alone = ALONE.lock();
        let proc_root = File::open("/proc").expect("/proc");
        let lock = find(&test(&proc_root, None), "lock_memory");
        assert!(lock.cost.contains("RLIMIT_MEMLOCK"), "{}", lock.cost);
    }

    #[test]
    fn what_a_mount_or_an_owner_keeps_from_being_written_is_no_old_kernel() {
        let said = |errno| {
            let right = right_to_write("memory_reclaim", "before Linux 5.19", Err(errno));
            assert_eq!((right.works, right.errno), (false, Some(errno)));
            right.cost
        };
        assert!(said(Errno::ROFS).contains("mounted read-only"));
        assert!(said(Errno::ACCESS).contains("another user"));
        assert_eq!(said(Errno::NOENT), "before Linux 5.19");
        // Each file of a cgroup is asked for so.
        let _alone = ALONE.lock();
        let group = tempfile::tempdir().expect("a directory");
        let set = |path: std::path::PathBuf, mode| {
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("our own");
        };
        set(group.path().to_owned(), 0o755);
        for name in ["cgroup.kill", "memory.reclaim", "memory.high"] {
            fs::write(group.path().join(name), "").expect("a file");
            set(group.path().join(name), 0o444);
        }
        let dir = File::open(group.path()).expect("a directory");
        let proc_root = File::open("/proc").expect("/proc");
        let rights = std::thread::scope(|scope| {
            let tried = scope.spawn(|| {
                // The user of one thread, who holds no capability then (`setresuid(2)`, capabilities(7)).
                if rustix::process::geteuid().is_root() {
                    let nobody = rustix::process::Uid::from_raw(65_534);
                    rustix::thread::set_thread_res_uid(None, nobody, None).expect("root may");
                }
                test(&proc_root, Some((dir.as_fd(), CgroupVersion::V2)))
            });
            tried.join().expect("it does not panic")
        });
        for name in [
            "cgroup_kill",
            "memory_reclaim",
            "memory_reclaim_swappiness",
            "memory_high",
        ] {
            let right = find(&rights, name);
            assert_eq!(right.errno, Some(Errno::ACCESS), "{name}");
            assert!(right.cost.contains("another user"), "{name}: {}", right.cost);
        }
    }

    /// The kubelet starts a pod that is critical to its node at -997, which nobody has to lower for it.
    #[test]
    fn a_score_that_is_low_enough_is_a_right_that_nobody_misses() {
        let proc_root = tempfile::tempdir().expect("a directory");
        let own = proc_root.path().join("7");
        fs::create_dir(&own).expect("a directory");
        std::os::unix::fs::symlink("7", proc_root.path().join("self")).expect("a link");
        let directory = File::open(proc_root.path()).expect("a directory");
        for (score, is_low) in [("-997", true), ("-1000", true), ("0", false)] {
            let path = own.join("oom_score_adj");
            fs::write(&path, score).expect("a file");
            let long_ago = std::time::UNIX_EPOCH;
            let file = File::options().write(true).open(&path).expect("our own");
            file.set_modified(long_ago).expect("our own");
            let tried = try_oom_score_adj(directory.as_fd());
            let written = file.metadata().and_then(|it| it.modified()).expect("it is there") != long_ago;
            assert_eq!((tried, written), (Ok(()), !is_low), "{score}");
        }
    }

    #[test]
    fn it_asks_for_no_memory_and_leaves_the_score_as_it_was() {
        let _alone = ALONE.lock();
        let group = tempfile::tempdir().expect("a directory");
        fs::write(group.path().join("memory.reclaim"), "").expect("a file");
        let dir = File::open(group.path()).expect("a directory");
        let proc_root = File::open("/proc").expect("/proc");
        let score = || fs::read("/proc/self/oom_score_adj").expect("the own score");
        let before = score();
        let rights = test(&proc_root, Some((dir.as_fd(), CgroupVersion::V2)));
        assert!(find(&rights, "memory_reclaim").works && find(&rights, "pidfd").works);
        assert_eq!(
            fs::read(group.path().join("memory.reclaim")).expect("the file"),
            b"0 swappiness=0"
        );
        assert_eq!(score(), before);
    }

    #[test]
    fn v1_has_none_of_the_v2_files() {
        let _alone = ALONE.lock();
        let group = tempfile::tempdir().expect("a directory");
        fs::write(group.path().join("cgroup.kill"), "").expect("a file");
        let dir = File::open(group.path()).expect("a directory");
        let proc_root = File::open("/proc").expect("/proc");
        let rights = test(&proc_root, Some((dir.as_fd(), CgroupVersion::V1)));
        for name in [
            "cgroup_kill",
            "memory_reclaim",
            "memory_reclaim_swappiness",
            "memory_high",
        ] {
            let right = find(&rights, name);
            assert_eq!((right.works, right.errno), (false, Some(Errno::OPNOTSUPP)));
            assert!(right.cost.contains("cgroup v1 has no"), "{}", right.cost);
        }
        assert!(!find(&rights, "memory_force_empty").works);
        // Opening it empties nothing.
        fs::write(group.path().join("memory.force_empty"), "").expect("a file");
        let rights = test(&proc_root, Some((dir.as_fd(), CgroupVersion::V1)));
        assert!(find(&rights, "memory_force_empty").works);
        assert_eq!(
            fs::read(group.path().join("memory.force_empty")).expect("the file"),
            b""
        );
    }

    #[test]
    fn a_cgroup_that_is_not_there_is_no_old_kernel() {
        let _alone = ALONE.lock();
        let proc_root = File::open("/proc").expect("/proc");
        for right in test(&proc_root, None) {
            let of_cgroups = right.name.starts_with("memory_") || right.name == "cgroup_kill";
            assert_eq!(
                right.cost.contains("no memory cgroup is followed"),
                of_cgroups,
                "{}: {}",
                right.name,
                right.cost
            );
        }
    }
}
