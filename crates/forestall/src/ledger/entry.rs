//! What the ledger keeps: a report without the table of processes, and what was heard of a boot so far.
//!
//! Records of tagged fields: one that is added later is passed over by older programs.

mod field;
mod home;
mod levels;
mod missed;
mod sender;
mod signal;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forestall_kernel::kmsg::When;
use forestall_kernel::oom::{CgroupPath, Level, Piece, Report, Victim};
use forestall_trace::record::{Writer, read_fields};

use self::field::{
    at, calendar, charge, details, machine, path, place, put, put_bytes, put_path, put_victim, put_when,
    read_details, trigger, victim, when,
};
pub(crate) use self::home::Home;
pub(crate) use self::levels::Levels;
pub(crate) use self::missed::Missed;
pub(crate) use self::sender::Sender;
pub(crate) use self::signal::Signal;
use super::totals::{Totals, Whom};
use crate::forensics::place::Place;
use crate::log::escape;

/// One report of one boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot: Box<[u8]>,
    /// What the wall clock read when the log's clock of that boot read 0, microseconds since 1970.
    pub(crate) zero_micros: i64,
    /// What is kept of it.
    pub(crate) report: Report,
    /// Where its victims lived, as far as more is known of it than the cgroup's path.
    pub(crate) homes: Vec<Home>,
}

/// What was heard of one boot so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot: Box<[u8]>,
    /// The number of the last record that was read.
    pub(crate) through: Option<u64>,
    /// Kill lines among all that were read. The kernel tells whoever is the first of a group twice, and counts it twice.
    pub(crate) kill_lines: u64,
    /// Records that were overwritten before anybody read them.
    pub(crate) lost: u64,
    /// `oom_kill` of `/proc/vmstat` at the last look; `None` before 4.13.
    pub(crate) counted: Option<u64>,
    /// Kills of which no line told, but the kernel's tracing.
    pub(crate) traced: u64,
    /// Kills of which nothing told but the cgroups' counters, by whose limit it was.
    pub(crate) untold: Levels,
    /// What tracing told and nobody heard.
    pub(crate) missed: Missed,
    /// Victims that were told of and put to no cgroup: their counts are among those of which nothing told.
    pub(crate) unplaced: u64,
}

impl Tally {
    /// Kills that the kernel counted and that nothing told of; `None` where it does not count.
    pub(crate) fn unattributed(&self) -> Option<u64> {
        self.counted.map(|counted| counted.saturating_sub(self.told()))
    }

    /// Kills that were told of twice, at least: more were told of than counted, or as many as that hide others of which the cgroups'
    /// counters alone tell.
    pub(crate) fn doubles(&self) -> u64 {
        let untold = self
            .untold
            .iter()
            .map(|(_, kills)| kills)
            .fold(0, u64::saturating_add);
        let told = self.told().saturating_add(untold.saturating_sub(self.unplaced));
        self.counted.map_or(0, |counted| told.saturating_sub(counted))
    }

    /// Kills that were told of.
    pub(crate) const fn told(&self) -> u64 {
        self.kill_lines.saturating_add(self.traced)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.bytes(1, &self.boot);
        put(&mut writer, 2, self.through);
        writer.number(3, self.kill_lines);
        writer.number(4, self.lost);
        put(&mut writer, 5, self.counted);
        if self.traced > 0 {
            writer.number(6, self.traced);
        }
        self.untold.put(&mut writer, 7);
        let rest = self
            .missed
            .each()
            .map(|(_, count)| count)
            .into_iter()
            .chain([self.unplaced]);
        for (tag, count) in (8..).zip(rest).filter(|(_, count)| *count > 0) {
            writer.number(tag, count);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut tally = Self::default();
        read_fields(bytes, |tag, value| {
            match tag {
                1 => tally.boot = value.bytes()?.into(),
                2 => tally.through = Some(value.number()?),
                3 => tally.kill_lines = value.number()?,
                4 => tally.lost = value.number()?,
                5 => tally.counted = Some(value.number()?),
                6 => tally.traced = value.number()?,
                7 => tally.untold.read(value)?,
                8 => tally.missed.overwritten = value.number()?,
                9 => tally.missed.malformed = value.number()?,
                10 => tally.missed.dropped = value.number()?,
                11 => tally.missed.unsigned = value.number()?,
                12 => tally.unplaced = value.number()?,
                _ => {}
            }
            Some(())
        })?;
        Some(tally)
    }
}

impl Entry {
    pub(crate) fn new(boot: Box<[u8]>, zero_micros: i64, report: Report) -> Self {
        Self {
            boot,
            zero_micros,
            report,
            homes: Vec::new(),
        }
    }

    /// What tells it from every other of its boot: the number of its first victim's line, or of its own first line.
    pub(super) fn sequences(&self) -> impl Iterator<Item = u64> {
        let of_victims = self
            .report
            .victims
            .iter()
            .filter_map(|victim| victim.when.sequence);
        let own = self
            .report
            .when
            .sequence
            .filter(|_| self.report.victims.is_empty());
        of_victims.chain(own)
    }

    /// Counts its victims, each with whom it was.
    pub(crate) fn count(&self, totals: &mut Totals) {
        for victim in &self.report.victims {
            totals.add(self.whom(victim), 1);
        }
    }

    /// Where a victim lived, or else whose limit it was.
    pub(crate) fn cgroup_of<'a>(&'a self, victim: &'a Victim) -> Option<&'a CgroupPath> {
        let report = &self.report;
        let own = victim.memcg.as_ref().or(report.group.as_ref());
        own.or(report.limit.as_ref())
    }

    /// When it was told, by the wall clock.
    pub(crate) fn at(&self) -> SystemTime {
        let victim = self.report.victims.first();
        let when = victim.map_or(self.report.when, |victim| victim.when);
        let micros = self.zero_micros.saturating_add_unsigned(when.micros.unwrap_or(0));
        UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// Whose processes they were, where that has a name: to be put behind a sentence.
    pub(crate) fn of_whom(&self) -> String {
        let words = self.homes.iter().find_map(Home::words);
        words.map_or_else(String::new, |words| format!(" ({words})"))
    }

    /// Whose process a victim was.
    pub(crate) fn whom(&self, victim: &Victim) -> Whom {
        let report = &self.report;
        let home = self.homes.iter().find(|home| home.pid == victim.pid);
        let place = self.cgroup_of(victim).map(Place::of).unwrap_or_default();
        let is_own = victim.memcg.is_some() || report.group.is_some();
        let named = |name: fn(&Home) -> &str| home.map(|home| escape::text(name(home))).unwrap_or_default();
        let name = named(|home| &home.pod);
        Whom {
            level: report.level.label().to_owned(),
            namespace: named(|home| &home.namespace),
            // Whose limit it was says not what else was there.
            unit: if place.pod.is_none() && is_own {
                shorten(&place.words)
            } else {
                String::new()
            },
            pod: if name.is_empty() {
                place.pod.unwrap_or_default()
            } else {
                name
            },
            container: named(|home| &home.container),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        let report = &self.report;
        writer.bytes(1, &self.boot);
        writer.signed(2, self.zero_micros);
        put_when(&mut writer, 3, &report.when);
        writer.number(4, place(&Level::ALL, &report.level));
        put_path(&mut writer, 5, report.limit.as_ref());
        put_path(&mut writer, 6, report.task_memcg.as_ref());
        put_path(&mut writer, 7, report.group.as_ref());
        put_bytes(&mut writer, 8, report.constraint.as_deref());
        writer.switch(9, report.is_global);
        writer.number(10, report.no_killable);
        writer.switch(11, report.has_gap);
        for victim in &report.victims {
            writer.record(12, |inner| put_victim(inner, victim));
        }
        if let Some(memory) = report.domain.memory {
            writer.record(13, |inner| {
                inner.number(1, memory.usage);
                put(inner, 2, memory.limit.bytes());
                inner.number(3, memory.failures);
            });
        }
        let domain = &report.domain;
        let kinds = [domain.anon, domain.file, domain.shmem, domain.kernel];
        for (tag, bytes) in (14..).zip(kinds) {
            put(&mut writer, tag, bytes);
        }
        if let Some(trigger) = &report.trigger {
            writer.record(18, |inner| {
                inner.bytes(1, &trigger.comm);
                put(inner, 2, trigger.pid.map(u64::from));
                inner.number(3, trigger.gfp_mask);
                inner.signed(4, trigger.order.into());
                if let Some(adj) = trigger.adj {
                    inner.signed(5, adj.into());
                }
            });
        }
        put_bytes(&mut writer, 19, report.mems_allowed.as_deref());
        for piece in report.pieces.iter() {
            writer.bytes(20, piece.label().as_bytes());
        }
        writer.record(21, |inner| {
            let mut domain = domain.clone();
            for (tag, slot) in (1..).zip(details(&mut domain)) {
                put(inner, tag, *slot);
            }
        });
        if let Some(pages) = domain.machine {
            writer.record(22, |inner| {
                for (tag, count) in (1..).zip([pages.free, pages.present, pages.reserved]) {
                    inner.number(tag, count);
                }
            });
        }
        for home in &self.homes {
            writer.record(23, |inner| home.put(inner));
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut entry = Self::new(Box::default(), 0, Report::default());
        let mut pieces = Vec::new();
        let report = &mut entry.report;
        read_fields(bytes, |tag, value| {
            match tag {
                1 => entry.boot = value.bytes()?.into(),
                2 => entry.zero_micros = value.signed()?,
                3 => report.when = when(value)?,
                4 => report.level = at(&Level::ALL, value)?,
                5 => report.limit = Some(path(value)?),
                6 => report.task_memcg = Some(path(value)?),
                7 => report.group = Some(path(value)?),
                8 => report.constraint = Some(value.bytes()?.into()),
                9 => report.is_global = value.switch()?,
                10 => report.no_killable = value.number()?,
                11 => report.has_gap = value.switch()?,
                12 => report.victims.push(victim(value)?),
                13 => report.domain.memory = Some(charge(value)?),
                14 => report.domain.anon = Some(value.number()?),
                15 => report.domain.file = Some(value.number()?),
                16 => report.domain.shmem = Some(value.number()?),
                17 => report.domain.kernel = Some(value.number()?),
                18 => report.trigger = Some(trigger(value)?),
                19 => report.mems_allowed = Some(value.bytes()?.into()),
                20 => pieces.extend(Piece::of_label(value.bytes()?)),
                21 => read_details(value, &mut report.domain)?,
                22 => report.domain.machine = Some(machine(value)?),
                23 => entry.homes.push(Home::read(value)?),
                _ => {}
            }
            Some(())
        })?;
        entry.report.pieces = pieces.into_iter().collect();
        Some(entry)
    }

    /// The report with its times by the wall clock, which other boots' times can be compared with.
    pub(crate) fn dated(&self) -> Report {
        let mut report = self.report.clone();
        let date = |when: &mut When| {
            when.calendar = when
                .micros
                .and_then(|micros| calendar(self.zero_micros.saturating_add_unsigned(micros)));
        };
        date(&mut report.when);
        report
            .victims
            .iter_mut()
            .for_each(|victim| date(&mut victim.when));
        report
    }
}

/// A label holds no more of a path than its end.
fn shorten(words: &str) -> String {
    const LETTERS_MAX: usize = 120;
    let count = words.chars().count();
    words.chars().skip(count.saturating_sub(LETTERS_MAX)).collect()
}

#[cfg(test)]
mod tests;
