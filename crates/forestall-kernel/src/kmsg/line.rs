//! One line of a log, wherever it comes from: when, by whom, and what.

use super::calendar::Calendar;
use super::form;
use super::record::{Caller, Flag, Record};

/// Who said it, as far as the line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The kernel: facility 0, or the tag that the daemon that keeps the file gives to the kernel's lines.
    Kernel,
    /// Somebody else, who may say anything.
    Other,
    /// The form has no place for it (`dmesg` without `-x`, events, pasted text).
    Unsaid,
}

/// What stood before the kernel's words, where whoever put it there might have written them as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behind {
    /// Nothing but what the kernel, and the programs that keep its log, put there.
    #[default]
    Nothing,
    /// What a runtime puts before a container's output.
    Container,
    /// Something that no form explains.
    Unknown,
}

/// When a line was written, in every way that it says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// The record's number since boot.
    pub sequence: Option<u64>,
    /// Microseconds of the kernel's log clock, which begins at boot and stops in suspend.
    pub micros: Option<u64>,
    /// A date.
    pub calendar: Option<Calendar>,
}

impl When {
    /// Microseconds from `earlier` to this; `None` where the lines do not both say it in the same way. A clock that went back has passed no
    /// time, and neither have two whole seconds that follow each other.
    pub fn micros_since(&self, earlier: &Self) -> Option<u64> {
        if let (Some(from), Some(to)) = (earlier.micros, self.micros) {
            return Some(to.saturating_sub(from));
        }
        let (from, to) = (earlier.calendar?, self.calendar?);
        // Years that are not said are the same.
        let passed = to.unix_micros(0, 0)?.saturating_sub(from.unix_micros(0, 0)?);
        let passed = u64::try_from(passed).unwrap_or(0);
        let is_whole = from.micros == 0 && to.micros == 0;
        Some(if is_whole {
            passed.saturating_sub(1_000_000)
        } else {
            passed
        })
    }

    /// Whether this lies more than a second before `earlier` and comes behind it all the same: the clock of another boot, which began anew.
    /// Processors that print at once are never as far apart.
    pub fn has_gone_back_behind(&self, earlier: &Self) -> bool {
        if let (Some(from), Some(to)) = (earlier.micros, self.micros) {
            return from.saturating_sub(to) > 1_000_000;
        }
        let unix = |when: &Self| when.calendar?.unix_micros(0, 0);
        let passed = unix(self).zip(unix(earlier)).map(|(to, from)| to - from);
        passed.is_some_and(|passed| passed < -1_000_000)
    }
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When.
    pub when: When,
    /// By whom.
    pub origin: Origin,
    /// The task or processor that printed it, where that is told.
    pub caller: Option<Caller>,
    /// What a record's flag says; [`Flag::Whole`] where there is none.
    pub flag: Flag,
    /// The text has `/dev/kmsg`'s escapes in it ([`unescape_into`](super::unescape_into)).
    pub is_escaped: bool,
    /// Nothing stood before the text: it is pasted, or what follows a newline within the line before.
    pub is_bare: bool,
    /// What else stood before it.
    pub behind: Behind,
    /// What is said.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// A record of `/dev/kmsg`.
    pub fn of_record(record: &Record<'a>) -> Self {
        Self {
            when: When {
                sequence: Some(record.sequence),
                micros: Some(record.micros),
                calendar: None,
            },
            origin: if record.is_kernels() {
                Origin::Kernel
            } else {
                Origin::Other
            },
            caller: record.caller,
            flag: record.flag,
            is_escaped: true,
            is_bare: false,
            behind: Behind::Nothing,
            text: record.text,
        }
    }

    /// A line of a file or of what a command prints, without its newline. The form is told by the line itself: records of
    /// `/dev/kmsg`; `dmesg` with stamps of every kind, with none, raw (`-r`) or decoded (`-x`); `journalctl` in its short forms;
    /// syslog with classic and ISO stamps; `talosctl dmesg`; events of the node problem detector. What has none of them is text
    /// alone.
    ///
    /// Only the raw record tells safely who spoke: whoever may write to a log daemon may call itself `kernel` there.
    #[inline(never)]
    pub fn of_text(line: &'a [u8]) -> Self {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match Record::parse(line) {
            Some(record) => Self::of_record(&record),
            None => form::read(line),
        }
    }
}

#[cfg(test)]
mod tests;
