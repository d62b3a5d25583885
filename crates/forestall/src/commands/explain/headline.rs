//! A kill in one sentence.

use forestall_kernel::oom::{Level, Report, Victim};

use crate::commands::free::shown::human;
use crate::forensics::place::{Place, is_within_container};
use crate::forensics::share;
use crate::log::escape;

/// So many names stand in it.
const NAMES_MAX: usize = 3;

/// Who died and why; fit for a terminal.
pub(crate) fn headline(report: &Report) -> String {
    let why = why(report);
    match &report.victims[..] {
        [] => without_victim(report, &why),
        [only] => format!("{} was killed: {why}", named(only)),
        all => {
            let mut names: Vec<String> = all.iter().take(NAMES_MAX).map(named).collect();
            if all.len() > NAMES_MAX {
                names.push(format!("{} more", all.len() - NAMES_MAX));
            }
            format!("{} processes were killed: {why}; {}", all.len(), names.join(", "))
        }
    }
}

fn without_victim(report: &Report, why: &str) -> String {
    if report.no_killable > 0 {
        let times = match report.no_killable {
            1 => String::new(),
            count => format!(", {count} times"),
        };
        format!("nobody could be killed{times}: {why}")
    } else if let Some(task) = report.exiting.first() {
        let comm = escape::bytes(&task.comm);
        format!(
            "nobody was killed, because {comm} (pid {}) was ending already: {why}",
            task.pid
        )
    } else if report.is_panic() {
        format!("the kernel panicked: {why}")
    } else {
        format!("a report whose kill is not in this log: {why}")
    }
}

/// Its name and number.
pub(super) fn named(victim: &Victim) -> String {
    if victim.comm.is_empty() {
        return format!("pid {}", victim.pid);
    }
    format!("{} (pid {})", escape::bytes(&victim.comm), victim.pid)
}

fn why(report: &Report) -> String {
    if report.is_sysrq() {
        return "somebody asked for it by SysRq".to_owned();
    }
    let limit = share::limit(report).map_or_else(String::new, |limit| format!(" of {}", human(limit)));
    let of_limit = || {
        report
            .limit
            .as_ref()
            .map_or_else(|| "its cgroup".to_owned(), |path| Place::of(path).words)
    };
    let nodes = || {
        report
            .mems_allowed
            .as_deref()
            .or(report.nodemask.as_deref())
            .map(escape::bytes)
    };
    match report.level {
        Level::Container if report.limit.as_ref().is_some_and(is_within_container) => {
            format!("a cgroup within its container reached its memory limit{limit}")
        }
        Level::Container => format!("its container reached its memory limit{limit}"),
        Level::Pod => format!("its pod reached its memory limit{limit}"),
        Level::Qos | Level::Kubepods => format!("{} reached their memory limit{limit}", of_limit()),
        Level::OtherCgroup => format!("{} reached its memory limit{limit}", of_limit()),
        Level::SomeCgroup if report.limit.is_some() => {
            format!("{} reached its memory limit{limit}", of_limit())
        }
        Level::SomeCgroup => format!("a cgroup that this log does not name reached its memory limit{limit}"),
        Level::Node => "the machine ran out of memory".to_owned(),
        Level::Numa | Level::Cpuset => {
            let by = if report.level == Level::Numa {
                "a memory policy"
            } else {
                "a cpuset"
            };
            let nodes = nodes().map_or_else(String::new, |nodes| format!(" ({nodes})"));
            format!("the NUMA nodes that {by} allowed{nodes} ran out of memory")
        }
        Level::Unknown => "memory ran out, and this log does not say where".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use forestall_kernel::oom::CgroupPath;

    use super::*;

    fn victim(pid: u32, comm: &[u8]) -> Victim {
        Victim {
            pid,
            comm: comm.into(),
            ..Victim::default()
        }
    }

    #[test]
    fn who_and_why_in_one_sentence() {
        let mut report = Report {
            level: Level::Node,
            victims: vec![victim(7, b"a\x1b[2J")],
            ..Report::default()
        };
        assert_eq!(
            headline(&report),
            "a\\x1b[2J (pid 7) was killed: the machine ran out of memory"
        );
        report.victims = (1..=5).map(|pid| victim(pid, b"w")).collect();
        report.level = Level::OtherCgroup;
        report.limit = Some(CgroupPath {
            path: (*b"/system.slice/web.service").into(),
            is_cut: false,
        });
        assert_eq!(
            headline(&report),
            "5 processes were killed: service web reached its memory limit; w (pid 1), w (pid 2), w (pid 3), 2 more"
        );
        let within = (*b"/kubepods/pod1/b27201334a41/inner").into();
        report.victims.truncate(1);
        (report.level, report.limit.as_mut().expect("set").path) = (Level::Container, within);
        assert_eq!(
            headline(&report),
            "w (pid 1) was killed: a cgroup within its container reached its memory limit"
        );
        report.level = Level::OtherCgroup;
        report.limit.as_mut().expect("set").path = (*b"/system.slice/web.service").into();
        report.victims.clear();
        report.no_killable = 12;
        assert_eq!(
            headline(&report),
            "nobody could be killed, 12 times: service web reached its memory limit"
        );
        assert!(headline(&Report::default()).contains("not in this log: memory ran out"));
    }
}
