//! The limits that may be behind a refusal. The kernel's own word for one ("Too many open files", "Resource temporarily
//! unavailable") says neither which limit it is nor where it is raised.

use rustix::io::Errno;

const OPEN_FILES: &str =
    "the limit of open files is reached: raise RLIMIT_NOFILE (LimitNOFILE= of the unit, ulimit -n)";
const OPEN_FILES_OF_ALL: &str =
    "the whole machine has no room for another open file: raise fs.file-max (sysctl)";

/// A right that could not be tried for want of a file descriptor says nothing of the right.
const UNTRIED_OPEN_FILES: &str = "not tried, so it counts as missing, because the limit of open files is reached: raise RLIMIT_NOFILE (LimitNOFILE= of the unit, ulimit -n) and start again";
const UNTRIED_OPEN_FILES_OF_ALL: &str = "not tried, so it counts as missing, because the whole machine has no room for another open file: raise fs.file-max (sysctl) and start again";

/// What to do where this refusal comes from a limit and nothing else: `EMFILE` and `ENFILE` (`open(2)`). The same whatever was
/// tried; `None` of every other errno.
pub const fn limit_behind(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::MFILE => Some(OPEN_FILES),
        Errno::NFILE => Some(OPEN_FILES_OF_ALL),
        _ => None,
    }
}

/// What it costs that a right could not even be tried; `None` where it was.
pub(crate) const fn untried(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::MFILE => Some(UNTRIED_OPEN_FILES),
        Errno::NFILE => Some(UNTRIED_OPEN_FILES_OF_ALL),
        _ => None,
    }
}

/// What to do where a thread does not start (`pthread_create(3)`): `EAGAIN` is each of several limits, on tasks, and where memory
/// is locked on the stack that is locked with it. A process with `CAP_SYS_RESOURCE` or of uid 0 is not held by RLIMIT_NPROC.
pub(crate) fn thread_limit(error: &std::io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::AGAIN) => {
            "raise RLIMIT_NPROC (LimitNPROC= of the unit, ulimit -u) and pids.max of its cgroup (TasksMax=), and where memory is locked RLIMIT_MEMLOCK (LimitMEMLOCK=, ulimit -l)"
        }
        Some(Errno::NOMEM) => {
            "raise RLIMIT_AS (LimitAS= of the unit, ulimit -v) or give its cgroup more memory (MemoryMax=)"
        }
        _ => "see what the system says",
    }
}

#[cfg(test)]
mod tests {
    use crate::{ActConfig, ActError, Actor};
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// Set where this test program runs once more, under a limit of its own.
    const UNDER_A_LIMIT: &str = "FORESTALL_TEST_OPEN_FILES";

    /// Runs in a process of its own, because a limit holds for the whole of it.
    #[test]
    fn a_start_with_too_few_open_files_names_the_limit() {
        let here = "limit::tests::a_start_with_too_few_open_files_names_the_limit";
        if std::env::var_os(UNDER_A_LIMIT).is_none() {
            let status = std::process::Command::new(std::env::current_exe().expect("this program"))
                .args(["--exact", here, "--test-threads=1"])
                .env(UNDER_A_LIMIT, "1")
                .status();
            assert!(status.expect("this program once more").success());
            return;
        }
        let lowest_free = rustix::io::dup(std::io::stderr()).expect("a descriptor");
        let free = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&lowest_free)).expect("not negative");
        drop(lowest_free);
        let hard = getrlimit(Resource::Nofile).maximum;
        // The proc root is opened twice, and two eventfds are made: each of the four in turn is one too many.
        for room in 0..4 {
            let limit = Rlimit {
                current: Some(free + room),
                maximum: hard,
            };
            setrlimit(Resource::Nofile, limit).expect("a lower limit");
            let refused = Actor::start(&ActConfig::default());
            let message = refused.expect_err("no room").to_string();
            assert!(message.contains("RLIMIT_NOFILE"), "room for {room}: {message}");
            assert!(!message.contains("mount proc"), "room for {room}: {message}");
        }
    }

    #[test]
    fn a_thread_that_does_not_start_names_the_limits() {
        let message = |errno: i32| {
            let source = std::io::Error::from_raw_os_error(errno);
            ActError::Thread {
                name: "forestall-kill",
                source,
            }
            .to_string()
        };
        // EAGAIN is 11 and ENOMEM 12 on every machine.
        for limit in ["RLIMIT_NPROC", "RLIMIT_MEMLOCK", "pids.max"] {
            assert!(message(11).contains(limit), "{}", message(11));
        }
        assert!(message(12).contains("RLIMIT_AS"), "{}", message(12));
    }

    #[test]
    fn a_journal_without_a_descriptor_names_the_limit() {
        let message = |errno: i32| {
            let source = std::io::Error::from_raw_os_error(errno);
            ActError::Journal {
                path: "/var/lib/forestall/dips".into(),
                source,
            }
            .to_string()
        };
        // EMFILE is 24, ENFILE 23 and EACCES 13 on every machine.
        assert!(message(24).contains("RLIMIT_NOFILE"), "{}", message(24));
        assert!(message(23).contains("fs.file-max"), "{}", message(23));
        assert!(message(13).contains("writable"), "{}", message(13));
    }
}
