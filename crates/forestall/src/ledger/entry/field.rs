//! The parts of an entry as tagged fields, each with the function that writes it and the one that reads it.

use forestall_kernel::kmsg::{Calendar, When};
use forestall_kernel::oom::{CgroupPath, Charge, Domain, MachinePages, Seen, Trigger, Victim};
use forestall_kernel::parse::Limit;
use forestall_trace::record::{Value, Writer, read_fields};

/// What says that somebody was killed, by the numbers that stand for it.
const SEEN: [Seen; 5] = [
    Seen::KillLine,
    Seen::SharesMemory,
    Seen::Named,
    Seen::ReaperOnly,
    Seen::Marked,
];

/// A moment in UTC.
pub(super) fn calendar(unix_micros: i64) -> Option<Calendar> {
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
pub(super) fn details(domain: &mut Domain) -> [&mut Option<u64>; 12] {
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

pub(super) fn read_details(value: Value<'_>, domain: &mut Domain) -> Option<()> {
    let mut slots = details(domain);
    read_fields(value.bytes()?, |tag, value| {
        let place = usize::try_from(tag.checked_sub(1)?).ok()?;
        if let Some(slot) = slots.get_mut(place) {
            **slot = Some(value.number()?);
        }
        Some(())
    })
}

pub(super) fn machine(value: Value<'_>) -> Option<MachinePages> {
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

pub(super) fn put(writer: &mut Writer<'_>, tag: u64, value: Option<u64>) {
    if let Some(value) = value {
        writer.number(tag, value);
    }
}

pub(super) fn put_bytes(writer: &mut Writer<'_>, tag: u64, value: Option<&[u8]>) {
    if let Some(value) = value {
        writer.bytes(tag, value);
    }
}

pub(super) fn put_when(writer: &mut Writer<'_>, tag: u64, when: &When) {
    writer.record(tag, |inner| {
        put(inner, 1, when.sequence);
        put(inner, 2, when.micros);
    });
}

pub(super) fn put_path(writer: &mut Writer<'_>, tag: u64, path: Option<&CgroupPath>) {
    if let Some(path) = path {
        writer.record(tag, |inner| {
            inner.bytes(1, &path.path);
            inner.switch(2, path.is_cut);
        });
    }
}

pub(super) fn put_victim(writer: &mut Writer<'_>, victim: &Victim) {
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
pub(super) fn place<T: PartialEq>(all: &[T], one: &T) -> u64 {
    all.iter().position(|known| known == one).unwrap_or(0) as u64
}

/// What has that number; a newer program's is the first one.
pub(super) fn at<T: Copy>(all: &[T], value: Value<'_>) -> Option<T> {
    let place = usize::try_from(value.number()?).unwrap_or(usize::MAX);
    all.get(place).or(all.first()).copied()
}

pub(super) fn when(value: Value<'_>) -> Option<When> {
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

pub(super) fn path(value: Value<'_>) -> Option<CgroupPath> {
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

pub(super) fn charge(value: Value<'_>) -> Option<Charge> {
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

pub(super) fn trigger(value: Value<'_>) -> Option<Trigger> {
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

pub(super) fn victim(value: Value<'_>) -> Option<Victim> {
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
