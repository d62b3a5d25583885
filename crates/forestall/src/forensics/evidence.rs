//! How sure an answer is, and on which lines it rests.

use forestall_kernel::kmsg::{Behind, When};
use forestall_kernel::oom::{Level, Piece, Report, Seen, Victim};

use super::share::{has_victim, is_by_name_alone};
use crate::ledger::Home;

/// How sure something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Confidence {
    /// It follows from something else, or a part of it is missing.
    Low,
    /// A line says so, and not all of it.
    Medium,
    /// A line says so.
    High,
}

impl Confidence {
    /// A short fixed word.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What one part of an answer rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    /// The kind of line that says it.
    pub(crate) source: &'static str,
    pub(crate) confidence: Confidence,
}

const fn basis(source: &'static str, confidence: Confidence) -> Basis {
    Basis { source, confidence }
}

impl Basis {
    /// Whoever writes what stands before the kernel's words may write those as well: no line is more than half believed there.
    fn behind(self, behind: Behind) -> Self {
        let confidence = match behind {
            Behind::Nothing => self.confidence,
            Behind::Container | Behind::Unknown => self.confidence.min(Confidence::Medium),
        };
        Self { confidence, ..self }
    }
}

/// That somebody was killed, and who.
pub(crate) fn of_kill(report: &Report) -> Option<Basis> {
    if !has_victim(report) {
        return None;
    }
    let basis = match (is_by_name_alone(report), report.pieces.has(Piece::Verdict)) {
        (false, _) if report.pieces.has(Piece::Kill) => basis("kill line", Confidence::High),
        (false, _) if report.pieces.has(Piece::Mark) => basis("tracing", Confidence::High),
        (false, _) => basis("kill line", Confidence::High),
        (true, true) => basis("verdict; the kill line is missing", Confidence::Medium),
        (true, false) if report.pieces.has(Piece::Chosen) => basis(
            "choice of the kernel; the kill line is missing",
            Confidence::Medium,
        ),
        (true, false) => basis("reaper's line; the kill line is missing", Confidence::Low),
    };
    Some(basis.behind(report.behind))
}

/// That this one was killed, who it is and what it held.
pub(crate) fn of_victim(seen: Seen, behind: Behind) -> Basis {
    let basis = match seen {
        Seen::KillLine => basis("kill line", Confidence::High),
        Seen::Marked => basis("tracing", Confidence::High),
        Seen::SharesMemory => basis("line about shared memory", Confidence::High),
        Seen::Named => basis("verdict or choice; the kill line is missing", Confidence::Medium),
        Seen::ReaperOnly => basis("reaper's line; the kill line is missing", Confidence::Low),
    };
    basis.behind(behind)
}

/// Where a victim lived.
pub(crate) fn of_cgroup(victim: &Victim, home: Option<&Home>, behind: Behind) -> Option<Basis> {
    let path = victim.memcg.as_ref()?;
    let basis = match home.map_or("log", Home::cgroup_source) {
        // It was read while the process was ending, and the name was the same.
        "proc" => basis("/proc", Confidence::High),
        "counters" => basis("cgroup counters", Confidence::Medium),
        _ if path.is_cut => basis("verdict or limit line", Confidence::Medium),
        _ => basis("verdict or limit line", Confidence::High),
    };
    Some(basis.behind(behind))
}

/// Whose limit it was.
pub(crate) fn of_level(report: &Report) -> Option<Basis> {
    let pieces = report.pieces;
    if report.level == Level::Unknown {
        return None;
    }
    let source = match (&report.limit, &report.constraint) {
        (_, Some(_)) => "verdict",
        _ if pieces.has(Piece::Counters) => "cgroup counters",
        (Some(_), None) if pieces.has(Piece::LimitLine) => "limit line",
        (Some(_), None) => "head of the statistics",
        (None, None) if pieces.has(Piece::Usage) => "usage line",
        (None, None) if pieces.has(Piece::MemInfo) => "Mem-Info",
        (None, None) if has_victim(report) => "words of the kill line",
        (None, None) => "its other lines",
    };
    let is_cut = report.limit.as_ref().is_some_and(|limit| limit.is_cut);
    let confidence = match report.level {
        _ if is_cut || report.has_gap => Confidence::Medium,
        Level::SomeCgroup => Confidence::Medium,
        // The machine's, or that of some of its NUMA nodes.
        Level::Node if source == "cgroup counters" => Confidence::Medium,
        // Several may have been meant, all of that level.
        _ if source == "cgroup counters" && report.limit.is_none() => Confidence::Medium,
        // A kill line calls a shortage on some NUMA nodes by the same words as one of the whole machine.
        Level::Node if source == "words of the kill line" => Confidence::Medium,
        _ if source == "head of the statistics" => Confidence::Medium,
        _ => Confidence::High,
    };
    Some(basis(source, confidence).behind(report.behind))
}

/// What filled it.
pub(crate) fn of_memory(report: &Report) -> Option<Basis> {
    let pieces = report.pieces;
    let domain = &report.domain;
    if domain.anon.is_none() && domain.memory.is_none() && domain.machine.is_none() {
        return None;
    }
    let confidence = if report.has_gap {
        Confidence::Medium
    } else {
        Confidence::High
    };
    let basis = match (pieces.has(Piece::MemInfo), domain.anon.is_some()) {
        (true, _) if report.page_bytes().is_none() => {
            basis("Mem-Info, with pages of 4 KiB assumed", Confidence::Medium)
        }
        (true, _) => basis("Mem-Info", confidence),
        (false, true) => basis("usage and statistics", confidence),
        (false, false) => basis("usage line", confidence),
    };
    Some(basis.behind(report.behind))
}

/// The least of what is known of the kill and its level.
pub(crate) fn overall(report: &Report) -> Confidence {
    let all = [of_kill(report), of_level(report)];
    all.into_iter()
        .map(|basis| basis.map_or(Confidence::Low, |basis| basis.confidence))
        .min()
        .unwrap_or(Confidence::Low)
}

/// What is missing, as sentences without an end.
pub(crate) fn missing(report: &Report) -> Vec<String> {
    let pieces = report.pieces;
    let mut missing = Vec::new();
    let who = match report.behind {
        Behind::Nothing => None,
        Behind::Container => Some("it was read from a container's output"),
        Behind::Unknown => Some("it was read behind an unknown prefix"),
    };
    missing.extend(who.map(|who| format!("who wrote it: {who}, and may be anybody's")));
    if report.has_gap {
        missing.push("records were lost in the middle of it".to_owned());
    }
    if report.limit.as_ref().is_some_and(|limit| limit.is_cut) {
        missing.push("the kernel cut the limit's path short".to_owned());
    }
    let is_bare = !pieces.has(Piece::Header) && !pieces.has(Piece::Verdict) && !pieces.has(Piece::Table);
    if is_bare && has_victim(report) && !pieces.has(Piece::Kill) && pieces.has(Piece::Mark) {
        missing
            .push("the kernel's log: tracing says who was killed, and not what filled the memory".to_owned());
    } else if is_bare && has_victim(report) {
        missing.push(
            "the rest of the report: in a burst of kills the kernel tells the whole story of ten in 5 s, and of the others the kill alone".to_owned(),
        );
    } else if !pieces.has(Piece::Table) && has_victim(report) {
        missing.push("the table of processes (vm.oom_dump_tasks=0, or it is not in this log)".to_owned());
    }
    if report.suppressed > 0 {
        missing.push(format!(
            "{} lines before it were suppressed by the kernel; kill lines never are",
            report.suppressed
        ));
    }
    missing
}

/// Where its lines begin, for whoever wants to look at them.
pub(crate) fn begins(when: &When) -> Option<String> {
    when.sequence.map(|sequence| format!("record {sequence}"))
}

#[cfg(test)]
mod tests {
    use forestall_kernel::oom::{CgroupPath, LogScanner};

    use super::*;

    fn report(log: &str) -> Report {
        let mut reports = Vec::new();
        let mut scanner = LogScanner::new();
        scanner.feed(log.as_bytes(), &mut |report| reports.push(report));
        scanner.finish(&mut |report| reports.push(report));
        reports.pop().expect("a report")
    }

    #[test]
    fn a_kill_line_alone_says_who_and_hardly_why() {
        let bare = report(
            "[    5.1] Memory cgroup out of memory: Killed process 7 (a) total-vm:2kB, anon-rss:4kB, file-rss:0kB\n",
        );
        assert_eq!(of_kill(&bare), Some(basis("kill line", Confidence::High)));
        assert_eq!(
            of_level(&bare),
            Some(basis("words of the kill line", Confidence::Medium))
        );
        assert_eq!(of_memory(&bare), None);
        assert_eq!(overall(&bare), Confidence::Medium);
        assert!(missing(&bare)[0].starts_with("the rest of the report"));
    }

    /// By hand: the same two lines, which are high as the kernel's own.
    #[test]
    fn what_stands_behind_somebodys_prefix_is_half_believed() {
        let lines = [
            "[    5.1] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/kubepods/pod1,task_memcg=/kubepods/pod1/a,task=a,pid=7,uid=0",
            "[    5.2] Memory cgroup out of memory: Killed process 7 (a) total-vm:2kB, anon-rss:4kB, file-rss:0kB",
        ];
        let behind = |prefix: &str| report(&lines.map(|line| format!("{prefix}{line}\n")).concat());
        for (prefix, confidence, said) in [
            ("", Confidence::High, None),
            ("192.168.1.2: kern: warning: ", Confidence::High, None),
            ("[pod/a/b] ", Confidence::Medium, Some("container's output")),
            ("a b ", Confidence::Medium, Some("unknown prefix")),
        ] {
            let report = behind(prefix);
            assert_eq!(report.victims.len(), 1, "{prefix:?}");
            assert_eq!(overall(&report), confidence, "{prefix:?}");
            assert_eq!(of_victim(Seen::KillLine, report.behind).confidence, confidence);
            assert_eq!(of_level(&report).map(|basis| basis.confidence), Some(confidence));
            let missing = missing(&report);
            let is_said = said.is_none_or(|said| missing.iter().any(|missing| missing.contains(said)));
            assert!(
                is_said && (said.is_some() || !missing.iter().any(|one| one.starts_with("who"))),
                "{missing:?}"
            );
        }
    }

    #[test]
    fn counters_that_may_mean_several_of_a_level_are_less_sure_than_one() {
        let mut bare = report(
            "[    5.1] Memory cgroup out of memory: Killed process 7 (a) total-vm:2kB, anon-rss:4kB, file-rss:0kB\n",
        );
        bare.level = Level::Container;
        bare.pieces.add(Piece::Counters);
        let counters = |confidence| Some(basis("cgroup counters", confidence));
        assert_eq!(of_level(&bare), counters(Confidence::Medium));
        bare.limit = Some(CgroupPath::default());
        assert_eq!(of_level(&bare), counters(Confidence::High));
    }

    #[test]
    fn a_verdict_says_whose_limit_it_was() {
        let verdict = "[    5.1] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/kubepods/pod1,task_memcg=/kubepods/pod1/a,task=a,pid=7,uid=0\n";
        let named = report(verdict);
        assert_eq!(
            of_kill(&named).map(|basis| basis.confidence),
            Some(Confidence::Medium)
        );
        assert_eq!(of_level(&named), Some(basis("verdict", Confidence::High)));
        let whole = report(&format!(
            "{verdict}[    5.2] Memory cgroup out of memory: Killed process 7 (a) total-vm:2kB, anon-rss:4kB, file-rss:0kB\n"
        ));
        assert_eq!(overall(&whole), Confidence::High);
    }

    #[test]
    fn a_reaper_alone_is_hardly_anything() {
        let reaped = report(
            "[    5.1] oom_reaper: reaped process 7 (a), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB\n",
        );
        assert_eq!(
            of_kill(&reaped).map(|basis| basis.confidence),
            Some(Confidence::Low)
        );
        assert_eq!((of_level(&reaped), overall(&reaped)), (None, Confidence::Low));
    }
}
