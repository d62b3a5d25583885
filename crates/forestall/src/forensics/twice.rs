//! A kill that one input tells twice, as kern.log and syslog do one after the other, is one.
//!
//! It is the same where the process, its name and its figures are, and no clock that both tellings have says otherwise: the kernel's log has
//! microseconds, and a process has one end. What says no time is never the same, and neither is what a date puts into another
//! boot. A verdict that stands behind its own kill, as in a log that has the newest first, names nobody else either.

use forestall_kernel::kmsg::{Calendar, When};
use forestall_kernel::oom::{Report, Seen, Victim};

use super::source::Listener;

/// So many kills are remembered.
const KILLS_MAX: usize = 4096;

/// Two daemons that keep the same line need not read their clocks at once.
const APART_MICROS: i64 = 2_000_000;

/// No time zone lies farther from another, and each by quarters of an hour.
const ZONES_MICROS: i64 = 26 * 3_600_000_000;
const QUARTER_MICROS: i64 = 900_000_000;

/// Remembers who was killed.
#[derive(Debug, Default)]
pub(super) struct Twice {
    known: Vec<Kill>,
    /// So many have been told again.
    pub(super) told: u64,
}

/// What one telling says.
#[derive(Debug, PartialEq, Eq)]
struct Kill {
    pid: u32,
    comm: Box<[u8]>,
    figures: [Option<u64>; 4],
    is_named: bool,
    when: When,
}

impl Twice {
    /// Hands on what is new.
    pub(super) fn hand_on(&mut self, mut report: Report, listener: &mut dyn Listener) {
        if self.take_out(&mut report) {
            listener.hear(report);
        }
    }

    /// Takes those out of a report who were told before. `false` where nobody is left of those who were in it.
    fn take_out(&mut self, report: &mut Report) -> bool {
        let had = report.victims.len();
        report.victims.retain(|victim| !self.is_told(victim));
        had == 0 || !report.victims.is_empty()
    }

    fn is_told(&mut self, victim: &Victim) -> bool {
        let kill = Kill {
            pid: victim.pid,
            comm: victim.comm.clone(),
            figures: [victim.total_vm, victim.anon, victim.file, victim.shmem],
            is_named: matches!(victim.seen, Seen::Named | Seen::ReaperOnly),
            when: victim.when,
        };
        if let Some(known) = self.known.iter().find(|known| kill.is_of(known)) {
            self.told += u64::from(known.is_named || !kill.is_named);
            return true;
        }
        if self.known.len() < KILLS_MAX {
            self.known.push(kill);
        }
        false
    }
}

impl Kill {
    fn is_of(&self, known: &Self) -> bool {
        let is_same = self.is_named || self.figures == known.figures;
        let most = if self.is_named { APART_MICROS } else { 0 };
        is_same
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
        let (mut twice, mut left) = (Twice::default(), 0);
        let mut hear = |mut report: Report| {
            twice.take_out(&mut report);
            left += report.victims.len();
        };
        let mut scanner = LogScanner::new();
        scanner.feed(log.as_bytes(), &mut hear);
        scanner.finish(&mut hear);
        (left, twice.told)
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
