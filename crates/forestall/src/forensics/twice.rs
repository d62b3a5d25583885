//! A kill that one input tells twice, as kern.log and syslog do one after the other, is one.
//!
//! It is the same where the process, its name and its figures are, and no clock that both tellings have says otherwise: the kernel's log has
//! microseconds, and a process has one end. What says no time is never the same, and neither is what a date puts into another
//! boot. A verdict that stands behind its own kill, as in a log that has the newest first, names nobody else either; nor does one of which a log ends and
//! whose kill line is in the next one.

use std::collections::HashMap;

use forestall_kernel::kmsg::{Calendar, When};
use forestall_kernel::oom::{Report, Seen, Victim};

use super::source::Listener;

/// So many kills are remembered, in some 12 MB: of those after them it is told that nobody knows.
const KILLS_MAX: usize = 65_536;

/// Two daemons that keep the same line need not read their clocks at once.
const APART_MICROS: i64 = 2_000_000;

/// No time zone lies farther from another, and each by quarters of an hour.
const ZONES_MICROS: i64 = 26 * 3_600_000_000;
const QUARTER_MICROS: i64 = 900_000_000;

/// Remembers who was killed.
#[derive(Debug, Default)]
pub(super) struct Twice {
    /// By number and name.
    known: HashMap<(u32, Box<[u8]>), Vec<Kill>>,
    remembered: usize,
    /// So many could not be remembered any more, and may have been told again, or tell something again.
    pub(super) not_compared: u64,
    /// So many have been told again.
    pub(super) told: u64,
}

/// What one telling says.
#[derive(Debug, PartialEq, Eq)]
struct Kill {
    pid: u32,
    comm: Box<[u8]>,
    figures: [Option<u64>; 4],
    /// No kill line has told of it.
    is_named: bool,
    when: When,
    /// It was told at whose limit.
    has_limit: bool,
}

/// What a telling adds to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct News {
    limit: bool,
    figures: bool,
}

impl Twice {
    /// Hands on who is new, and of whom something is.
    pub(super) fn hand_on(&mut self, mut report: Report, listener: &mut dyn Listener) {
        let is_of_nobody = report.victims.is_empty();
        let has_limit = report.limit.is_some() || report.is_global;
        let (mut better, mut says_limit) = (Vec::new(), has_limit);
        report
            .victims
            .retain(|victim| match self.telling_of(victim, has_limit) {
                None => true,
                Some(news) => {
                    if news.limit || news.figures {
                        better.push(victim.clone());
                        says_limit &= news.limit;
                    }
                    false
                }
            });
        let better = (!better.is_empty()).then(|| Report {
            victims: better,
            ..report.clone()
        });
        if is_of_nobody || !report.victims.is_empty() {
            listener.hear(report);
        }
        if let Some(better) = better {
            listener.hear_better(better, says_limit);
        }
    }

    /// What no telling before this one said of a kill; `None` where there is none.
    fn telling_of(&mut self, victim: &Victim, has_limit: bool) -> Option<News> {
        let kill = Kill {
            pid: victim.pid,
            comm: victim.comm.clone(),
            figures: [victim.total_vm, victim.anon, victim.file, victim.shmem],
            is_named: matches!(victim.seen, Seen::Named | Seen::ReaperOnly),
            when: victim.when,
            has_limit,
        };
        let name = (kill.pid, kill.comm.clone());
        let alike = self.known.get_mut(&name);
        if let Some(known) = alike.and_then(|alike| alike.iter_mut().find(|known| kill.is_of(known))) {
            // Its kill line and what names it besides are two parts of one telling.
            self.told += u64::from(known.is_named == kill.is_named);
            let news = News {
                limit: has_limit && !known.has_limit,
                figures: known.is_named && !kill.is_named,
            };
            known.has_limit |= has_limit;
            if news.figures {
                (known.figures, known.when, known.is_named) = (kill.figures, kill.when, false);
            }
            return Some(news);
        }
        if self.remembered < KILLS_MAX {
            self.remembered += 1;
            self.known.entry(name).or_default().push(kill);
        } else {
            self.not_compared += 1;
        }
        None
    }
}

impl Kill {
    fn is_of(&self, known: &Self) -> bool {
        let is_named = self.is_named || known.is_named;
        let most = if is_named { APART_MICROS } else { 0 };
        (is_named || self.figures == known.figures)
            && self.pid == known.pid
            && self.comm == known.comm
            && is_one_moment(&known.when, &self.when, most)
    }
}

/// Whether all clocks that both have say the same, and there is one; the kernel's within `most` microseconds.
fn is_one_moment(one: &When, other: &When, most: i64) -> bool {
    let dates = one
        .calendar
        .zip(other.calendar)
        .map(|(one, other)| is_one_date(&one, &other));
    let stamps = one.micros.zip(other.micros);
    let stamps = stamps.map(|(one, other)| one.abs_diff(other) <= most.unsigned_abs());
    (dates.is_some() || stamps.is_some()) && dates != Some(false) && stamps != Some(false)
}

fn is_one_date(one: &Calendar, other: &Calendar) -> bool {
    let year = one.year.or(other.year).unwrap_or(0);
    let unix = |date: &Calendar| date.unix_micros(year, 0);
    let Some(apart) = unix(one).zip(unix(other)).map(|(one, other)| (one - other).abs()) else {
        return false;
    };
    // Where only one says its zone the other's is not known.
    let is_zone_known = one.offset_minutes.is_some() == other.offset_minutes.is_some();
    let beyond = apart % QUARTER_MICROS;
    let is_zone = apart <= ZONES_MICROS && beyond.min(QUARTER_MICROS - beyond) <= APART_MICROS;
    apart <= APART_MICROS || (!is_zone_known && is_zone)
}

#[cfg(test)]
mod tests {
    use forestall_kernel::oom::LogScanner;

    use super::*;

    /// How many are left, and how many were told again.
    fn read(log: &str) -> (usize, u64) {
        let (told, ear) = hear(log);
        (ear.left, told)
    }

    #[derive(Default)]
    struct Ear {
        left: usize,
        /// The limits of those that were told better, and what was held.
        better: Vec<(String, Option<u64>)>,
    }

    impl Listener for Ear {
        fn hear(&mut self, report: Report) {
            self.left += report.victims.len();
        }
        fn hear_better(&mut self, report: Report, says_limit: bool) {
            let limit = report.limit.filter(|_| says_limit).map(|limit| limit.path);
            let limit = String::from_utf8_lossy(&limit.unwrap_or_default()).into_owned();
            self.better.push((limit, report.victims[0].anon));
        }
        fn is_done(&self) -> bool {
            false
        }
    }

    fn hear(log: &str) -> (u64, Ear) {
        let (mut twice, mut ear) = (Twice::default(), Ear::default());
        let mut hear = |report: Report| twice.hand_on(report, &mut ear);
        let mut scanner = LogScanner::new();
        scanner.feed(log.as_bytes(), &mut hear);
        scanner.finish(&mut hear);
        (twice.told, ear)
    }

    /// A kill line alone, as of `grep`, and the whole report (Linux 6.x, shortened).
    const BARE: &str = "[    1.5] Memory cgroup out of memory: Killed process 7 (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0\n";
    const VERDICT: &str = "[    1.4] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/w,task_memcg=/w,task=a,pid=7,uid=0\n";

    #[test]
    fn of_two_tellings_the_one_that_says_more_is_not_lost() {
        let whole = format!("{VERDICT}{BARE}");
        let (told, ear) = hear(&format!("{BARE}{whole}"));
        assert_eq!((told, ear.left), (1, 1));
        assert_eq!(ear.better, [("/w".to_owned(), Some(4096))]);
        // The other way round nothing is new.
        let (told, ear) = hear(&format!("{whole}{BARE}{whole}"));
        assert_eq!((told, ear.left), (2, 1));
        assert!(ear.better.is_empty(), "{:?}", ear.better);
        // And it is said once.
        let (_, ear) = hear(&format!("{BARE}{whole}{whole}"));
        assert_eq!(ear.better, [("/w".to_owned(), Some(4096))]);
    }

    /// One log ends behind the verdict, and the next one begins there: what was held stands in the second one alone.
    #[test]
    fn a_verdict_whose_kill_line_comes_with_a_later_telling_is_the_same_kill() {
        for later in [BARE.to_owned(), format!("{VERDICT}{BARE}")] {
            let (told, ear) = hear(&format!("{VERDICT}{LATER}{later}"));
            assert_eq!((told, ear.left), (0, 1), "{later}");
            assert_eq!(ear.better, [(String::new(), Some(4096))], "{later}");
            // From then on it is known by its figures.
            let (told, ear) = hear(&format!("{VERDICT}{LATER}{later}{BARE}"));
            assert_eq!((told, ear.left, ear.better.len()), (1, 1, 1), "{later}");
            let other = BARE.replace("anon-rss:4kB", "anon-rss:5kB");
            let (_, ear) = hear(&format!("{VERDICT}{LATER}{later}{other}"));
            assert_eq!((ear.left, ear.better.len()), (2, 1), "{later}");
        }
        // Long after it is another process with that number.
        let (told, ear) = hear(&format!("{VERDICT}{LATER}{}", BARE.replace("1.5", "9.5")));
        assert_eq!((told, ear.left), (0, 2));
    }

    /// Of a group one was named before, and the others are new: neither hides the other.
    #[test]
    fn who_is_new_and_of_whom_something_is_are_both_handed_on() {
        let two = "[    1.6] Memory cgroup out of memory: Killed process 8 (b) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0\n";
        let group = "[    1.5] Tasks in /w are going to be killed due to memory.oom.group set\n";
        let (_, ear) = hear(&format!("{VERDICT}{LATER}{VERDICT}{group}{BARE}{two}"));
        assert_eq!(ear.left, 2);
        assert_eq!(ear.better, [(String::new(), Some(4096))]);
    }

    #[test]
    fn of_more_kills_than_are_remembered_it_is_told_that_nobody_knows() {
        let kill = |nth: usize| {
            let pid = nth + 1;
            format!(
                "[{nth:5}.5] Out of memory: Killed process {pid} (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB\n"
            )
        };
        let kills: Vec<String> = (0..=KILLS_MAX).map(kill).collect();
        let kills = kills.concat();
        let mut twice = Twice::default();
        let mut ear = Ear::default();
        let mut hear = |report: Report| twice.hand_on(report, &mut ear);
        let mut scanner = LogScanner::new();
        scanner.feed(kills.as_bytes(), &mut hear);
        scanner.feed(kills.as_bytes(), &mut hear);
        scanner.finish(&mut hear);
        // All but the last of them are known, and that one is told twice without a word of it.
        assert_eq!((twice.told, twice.not_compared), (KILLS_MAX as u64, 2));
        assert_eq!(ear.left, KILLS_MAX + 2);
    }

    const KILL: &str = "Out of memory: Killed process 7 (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB";
    const LATER: &str = "Nov 22 11:00:00 h kernel: [ 3605.5] usb: new device, oom\n";

    #[test]
    fn a_kill_that_two_files_tell_is_one() {
        for (first, second) in [
            (
                "Nov 22 10:00:00 h kernel: [    1.5] ",
                "Nov 22 10:00:00 h kernel: [    1.5] ",
            ),
            ("Nov 22 10:00:00 h kernel: ", "Nov 22 10:00:00 h kernel: "),
            ("Nov 22 10:00:00 h kernel: [    1.5] ", "[    1.5] "),
            // Another daemon's form, and its zone.
            (
                "Nov 22 10:00:00 h kernel: [    1.5] ",
                "2026-11-22T10:00:00.25+01:00 h kernel: [    1.5] ",
            ),
            (
                "Nov 22 10:00:00 h kernel: [    1.5] ",
                "2026-11-22T09:00:00Z h kernel: [    1.5] ",
            ),
        ] {
            let log = format!("{first}{KILL}\n{LATER}{second}{KILL}\n");
            assert_eq!(read(&log), (1, 1), "{log}");
        }
    }

    #[test]
    fn what_differs_in_anything_is_two() {
        for (first, second) in [
            // Another boot, by its date.
            (
                format!("Nov 22 10:00:00 h kernel: [    1.5] {KILL}"),
                format!("Nov 22 12:00:00 h kernel: [    1.5] {KILL}"),
            ),
            (
                format!("2026-11-22T10:00:00Z h kernel: [    1.5] {KILL}"),
                format!("2026-11-22T10:15:00Z h kernel: [    1.5] {KILL}"),
            ),
            (format!("[    1.5] {KILL}"), format!("[    1.6] {KILL}")),
            (
                format!("[    1.5] {KILL}"),
                format!("[    1.5] {}", KILL.replace("anon-rss:4kB", "anon-rss:5kB")),
            ),
            (
                format!("[    1.5] {KILL}"),
                format!("[    1.5] {}", KILL.replace("(a)", "(b)")),
            ),
            // One has a date and the other a stamp alone.
            (
                format!("Nov 22 10:00:00 h kernel: {KILL}"),
                format!("[    1.5] {KILL}"),
            ),
        ] {
            let log = format!("{first}\n[ 9999.0] usb: oom\n{second}\n");
            assert_eq!(read(&log), (2, 0), "{log}");
        }
    }

    #[test]
    fn a_verdict_behind_its_own_kill_names_nobody_else() {
        let verdict = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/a,task=a,pid=7,uid=0";
        assert_eq!(read(&format!("[    1.5] {KILL}\n[    1.4] {verdict}\n")), (1, 0));
        // Long before it was another process with that number.
        assert_eq!(read(&format!("[  100.5] {KILL}\n[    1.4] {verdict}\n")), (2, 0));
    }
}
