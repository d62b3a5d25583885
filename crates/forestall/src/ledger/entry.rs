//! What the ledger keeps: a report without the table of processes, and what was heard of a boot so far.
//!
//! Records of tagged fields: one that is added later is passed over by older programs.

use forestall_kernel::kmsg::{Calendar, When};
use forestall_kernel::oom::{
    CgroupPath, Charge, Domain, Level, MachinePages, Piece, Report, Seen, Trigger, Victim,
};
use forestall_kernel::parse::Limit;
use forestall_trace::record::{Value, Writer, read_fields};

/// One report of one boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot: Box<[u8]>,
    /// What the wall clock read when the log's clock of that boot read 0, microseconds since 1970.
    pub(crate) zero_micros: i64,
    /// What is kept of it.
    pub(crate) report: Report,
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
}

impl Tally {
    /// Kills that the kernel counted and that no line told of; `None` where it does not count.
    pub(crate) fn unattributed(&self) -> Option<u64> {
        self.counted
            .map(|counted| counted.saturating_sub(self.kill_lines))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.bytes(1, &self.boot);
        put(&mut writer, 2, self.through);
        writer.number(3, self.kill_lines);
        writer.number(4, self.lost);
        put(&mut writer, 5, self.counted);
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
                _ => {}
            }
            Some(())
        })?;
        Some(tally)
    }
}

/// The levels by the numbers that stand for them.
const LEVELS: [Level; 10] = [
    Level::Unknown,
    Level::Container,
    Level::Pod,
    Level::Qos,
    Level::Kubepods,
    Level::OtherCgroup,
    Level::SomeCgroup,
    Level::Node,
    Level::Numa,
    Level::Cpuset,
];

/// What says that somebody was killed, likewise.
const SEEN: [Seen; 4] = [Seen::KillLine, Seen::SharesMemory, Seen::Named, Seen::ReaperOnly];

impl Entry {
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

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        let report = &self.report;
        writer.bytes(1, &self.boot);
        writer.signed(2, self.zero_micros);
        put_when(&mut writer, 3, &report.when);
        writer.number(4, place(&LEVELS, &report.level));
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
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut entry = Self {
            boot: Box::default(),
            zero_micros: 0,
            report: Report::default(),
        };
        let mut pieces = Vec::new();
        let report = &mut entry.report;
        read_fields(bytes, |tag, value| {
            match tag {
                1 => entry.boot = value.bytes()?.into(),
                2 => entry.zero_micros = value.signed()?,
                3 => report.when = when(value)?,
                4 => report.level = at(&LEVELS, value)?,
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

/// A moment in UTC.
fn calendar(unix_micros: i64) -> Option<Calendar> {
    const DAY_MICROS: i64 = 86_400_000_000;
    let since = unix_micros.rem_euclid(DAY_MICROS);
    let part = |unit: i64, count: i64| u8::try_from(since / unit % count).ok();
    // Days are counted from March of the year 0 on, so that the leap day is a year's last.
    let days = unix_micros.div_euclid(DAY_MICROS) + 719_468;
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let is_next_year = month >= 10;
    Some(Calendar {
        year: u16::try_from(cycle * 400 + year + i64::from(is_next_year)).ok(),
        month: u8::try_from(if is_next_year { month - 9 } else { month + 3 }).ok()?,
        day: u8::try_from(day - (153 * month + 2) / 5 + 1).ok()?,
        hour: part(3_600_000_000, 24)?,
        minute: part(60_000_000, 60)?,
        second: part(1_000_000, 60)?,
        micros: u32::try_from(since % 1_000_000).ok()?,
        offset_minutes: Some(0),
    })
}

/// What is finer than the kinds of memory, and the size of a page, in the order in which it is kept.
fn details(domain: &mut Domain) -> [&mut Option<u64>; 12] {
    [
        &mut domain.slab_reclaimable,
        &mut domain.slab_unreclaimable,
        &mut domain.slab,
        &mut domain.kernel_stack,
        &mut domain.page_tables,
        &mut domain.percpu,
        &mut domain.sock,
        &mut domain.vmalloc,
        &mut domain.file_dirty,
        &mut domain.file_writeback,
        &mut domain.unevictable,
        &mut domain.page_bytes,
    ]
}

fn read_details(value: Value<'_>, domain: &mut Domain) -> Option<()> {
    let mut slots = details(domain);
    read_fields(value.bytes()?, |tag, value| {
        let place = usize::try_from(tag.checked_sub(1)?).ok()?;
        if let Some(slot) = slots.get_mut(place) {
            **slot = Some(value.number()?);
        }
        Some(())
    })
}

fn machine(value: Value<'_>) -> Option<MachinePages> {
    let mut pages = MachinePages::default();
    read_fields(value.bytes()?, |tag, value| {
        match tag {
            1 => pages.free = value.number()?,
            2 => pages.present = value.number()?,
            3 => pages.reserved = value.number()?,
            _ => {}
        }
        Some(())
    })?;
    Some(pages)
}

fn put(writer: &mut Writer<'_>, tag: u64, value: Option<u64>) {
    if let Some(value) = value {
        writer.number(tag, value);
    }
}

fn put_bytes(writer: &mut Writer<'_>, tag: u64, value: Option<&[u8]>) {
    if let Some(value) = value {
        writer.bytes(tag, value);
    }
}

fn put_when(writer: &mut Writer<'_>, tag: u64, when: &When) {
    writer.record(tag, |inner| {
        put(inner, 1, when.sequence);
        put(inner, 2, when.micros);
    });
}

fn put_path(writer: &mut Writer<'_>, tag: u64, path: Option<&CgroupPath>) {
    if let Some(path) = path {
        writer.record(tag, |inner| {
            inner.bytes(1, &path.path);
            inner.switch(2, path.is_cut);
        });
    }
}

fn put_victim(writer: &mut Writer<'_>, victim: &Victim) {
    put_when(writer, 1, &victim.when);
    writer.number(2, victim.pid.into());
    writer.bytes(3, &victim.comm);
    put(writer, 4, victim.uid.map(u64::from));
    if let Some(adj) = victim.adj {
        writer.signed(5, adj.into());
    }
    let amounts = [
        victim.total_vm,
        victim.anon,
        victim.file,
        victim.shmem,
        victim.page_tables,
    ];
    for (tag, bytes) in (6..).zip(amounts) {
        put(writer, tag, bytes);
    }
    put_path(writer, 11, victim.memcg.as_ref());
    writer.number(12, place(&SEEN, &victim.seen));
}

/// Its number; of what has none the first one's, which is the least that can be said.
fn place<T: PartialEq>(all: &[T], one: &T) -> u64 {
    all.iter().position(|known| known == one).unwrap_or(0) as u64
}

/// What has that number; a newer program's is the first one.
fn at<T: Copy>(all: &[T], value: Value<'_>) -> Option<T> {
    let place = usize::try_from(value.number()?).unwrap_or(usize::MAX);
    all.get(place).or(all.first()).copied()
}

fn when(value: Value<'_>) -> Option<When> {
    let mut when = When::default();
    read_fields(value.bytes()?, |tag, value| {
        match tag {
            1 => when.sequence = Some(value.number()?),
            2 => when.micros = Some(value.number()?),
            _ => {}
        }
        Some(())
    })?;
    Some(when)
}

fn path(value: Value<'_>) -> Option<CgroupPath> {
    let mut path = CgroupPath::default();
    read_fields(value.bytes()?, |tag, value| {
        match tag {
            1 => path.path = value.bytes()?.into(),
            2 => path.is_cut = value.switch()?,
            _ => {}
        }
        Some(())
    })?;
    Some(path)
}

fn charge(value: Value<'_>) -> Option<Charge> {
    let mut charge = Charge {
        limit: Limit::Max,
        ..Charge::default()
    };
    read_fields(value.bytes()?, |tag, value| {
        match tag {
            1 => charge.usage = value.number()?,
            2 => charge.limit = Limit::from_bytes(value.number()?),
            3 => charge.failures = value.number()?,
            _ => {}
        }
        Some(())
    })?;
    Some(charge)
}

fn trigger(value: Value<'_>) -> Option<Trigger> {
    let mut trigger = Trigger::default();
    read_fields(value.bytes()?, |tag, value| {
        match tag {
            1 => trigger.comm = value.bytes()?.into(),
            2 => trigger.pid = Some(u32::try_from(value.number()?).ok()?),
            3 => trigger.gfp_mask = value.number()?,
            4 => trigger.order = i32::try_from(value.signed()?).ok()?,
            5 => trigger.adj = Some(i32::try_from(value.signed()?).ok()?),
            _ => {}
        }
        Some(())
    })?;
    Some(trigger)
}

fn victim(value: Value<'_>) -> Option<Victim> {
    let mut victim = Victim::default();
    read_fields(value.bytes()?, |tag, value| {
        match tag {
            1 => victim.when = when(value)?,
            2 => victim.pid = u32::try_from(value.number()?).ok()?,
            3 => victim.comm = value.bytes()?.into(),
            4 => victim.uid = Some(u32::try_from(value.number()?).ok()?),
            5 => victim.adj = Some(i32::try_from(value.signed()?).ok()?),
            6 => victim.total_vm = Some(value.number()?),
            7 => victim.anon = Some(value.number()?),
            8 => victim.file = Some(value.number()?),
            9 => victim.shmem = Some(value.number()?),
            10 => victim.page_tables = Some(value.number()?),
            11 => victim.memcg = Some(path(value)?),
            12 => victim.seen = at(&SEEN, value)?,
            _ => {}
        }
        Some(())
    })?;
    Some(victim)
}

#[cfg(test)]
mod tests;
