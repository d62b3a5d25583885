//! The columns of a sample: what each is called in the header of a trace, and the field it stands for.
//!
//! Their order is by how often they change, because a row says which ones did in as many bytes as the last one needs. A column
//! that is added goes wherever that puts it; a reader finds them by name.

use forestall_decide::{
    Bytes, GroupId, GroupSample, Limit, LimitHits, Moment, NodeSample, ProcessSample, Span, Stall,
};

use crate::code::Code;

/// One column of a row `T`.
#[derive(Debug)]
pub(crate) struct Column<T: 'static> {
    /// Its name, which is its meaning for good.
    pub(crate) name: &'static str,
    /// The field as a number.
    pub(crate) get: fn(&T) -> u64,
    /// Sets the field; false where the number has no meaning here.
    pub(crate) set: fn(&mut T, u64) -> bool,
}

/// More columns than this fit no row's mask.
pub(crate) const COLUMNS_MAX: usize = 64;

macro_rules! column {
    ($name:literal, $field:ident) => {
        Column {
            name: $name,
            get: |row| row.$field,
            set: |row, value| {
                row.$field = value;
                true
            },
        }
    };
    ($name:literal, $kind:ident($field:ident)) => {
        Column {
            name: $name,
            get: |row| row.$field.0,
            set: |row, value| {
                row.$field = $kind(value);
                true
            },
        }
    };
    ($name:literal, code $field:ident) => {
        Column {
            name: $name,
            get: |row| row.$field.code(),
            set: |row, value| Code::of(value).map(|word| row.$field = word).is_some(),
        }
    };
    ($name:literal, bool $field:ident) => {
        Column {
            name: $name,
            get: |row| u64::from(row.$field),
            set: |row, value| {
                row.$field = value == 1;
                value <= 1
            },
        }
    };
    // A number that may be absent: this column is the number, and the next one whether it is there.
    ($name:literal, known $field:ident) => {
        Column {
            name: $name,
            get: |row| u64::from(row.$field.is_some()),
            set: |row, value| {
                row.$field = (value == 1).then(|| row.$field.unwrap_or_default());
                value <= 1
            },
        }
    };
    ($name:literal, limit $field:ident) => {
        Column {
            name: $name,
            get: |row| row.$field.bytes().map_or(0, |bytes| bytes.0),
            set: |row, value| {
                row.$field = Limit::Bytes(Bytes(value));
                true
            },
        }
    };
    ($name:literal, max $field:ident) => {
        Column {
            name: $name,
            get: |row| u64::from(row.$field == Limit::Max),
            set: |row, value| {
                row.$field = match value {
                    1 => Limit::Max,
                    _ => Limit::Bytes(row.$field.bytes().unwrap_or_default()),
                };
                value <= 1
            },
        }
    };
    ($name:literal, stall $part:ident) => {
        Column {
            name: $name,
            get: |row| row.stall.map_or(0, |stall| stall.$part),
            set: |row, value| {
                let stall = row.stall.get_or_insert_with(Stall::default);
                stall.$part = value;
                true
            },
        }
    };
}

/// The machine.
pub(crate) const NODE: &[Column<NodeSample>] = &[
    column!("wake_late_micros", Span(wake_late)),
    column!("sample_cost_micros", Span(sample_cost)),
    Column {
        name: "sample_processor_micros",
        get: |row| row.sample_processor.map_or(0, |span| span.0),
        set: |row, value| {
            row.sample_processor = Some(Span(value));
            true
        },
    },
    column!("free_bytes", Bytes(free)),
    column!("available_bytes", Bytes(available)),
    column!("anon_bytes", Bytes(anon)),
    column!("cached_bytes", Bytes(cached)),
    column!("active_file_bytes", Bytes(active_file)),
    column!("inactive_file_bytes", Bytes(inactive_file)),
    column!("dirty_bytes", Bytes(dirty)),
    column!("slab_reclaimable_bytes", Bytes(slab_reclaimable)),
    column!("slab_unreclaimable_bytes", Bytes(slab_unreclaimable)),
    column!("page_tables_bytes", Bytes(page_tables)),
    column!("kernel_stack_bytes", Bytes(kernel_stack)),
    column!("buffers_bytes", Bytes(buffers)),
    column!("stall_some_micros", stall some_micros),
    column!("stall_full_micros", stall full_micros),
    column!("refault_file_pages", refault_file_pages),
    column!("shmem_bytes", Bytes(shmem)),
    column!("writeback_bytes", Bytes(writeback)),
    column!("percpu_bytes", Bytes(percpu)),
    column!("swap_free_bytes", Bytes(swap_free)),
    column!("unevictable_bytes", Bytes(unevictable)),
    column!("oom_kills", oom_kills),
    column!("hugetlb_bytes", Bytes(hugetlb)),
    column!("swap_total_bytes", Bytes(swap_total)),
    column!("watermark_min_bytes", Bytes(watermark_min)),
    column!("watermark_high_bytes", Bytes(watermark_high)),
    column!("total_bytes", Bytes(total)),
    column!("kubelet_present", bool kubelet_present),
    column!("swap_is_zram", bool swap_is_zram),
    column!("lru", code lru),
    Column {
        name: "cpus",
        get: |row| u64::from(row.cpus),
        set: |row, value| u32::try_from(value).map(|cpus| row.cpus = cpus).is_ok(),
    },
    column!("stall_known", known stall),
    column!("zswap_room_bytes", Bytes(zswap_room)),
    column!("kubelet_heard_at_micros", Moment(kubelet_heard_at)),
    column!("sample_processor_known", known sample_processor),
];

/// The index of a group's parent; a table that moves its rows moves these along.
pub(crate) const PARENT: &str = "parent";

/// A cgroup.
pub(crate) const GROUP: &[Column<GroupSample>] = &[
    column!("current_bytes", Bytes(current)),
    column!("anon_bytes", Bytes(anon)),
    column!("active_file_bytes", Bytes(active_file)),
    column!("inactive_file_bytes", Bytes(inactive_file)),
    column!("stall_some_micros", stall some_micros),
    column!("stall_full_micros", stall full_micros),
    column!("refault_file_pages", refault_file_pages),
    column!("slab_reclaimable_bytes", Bytes(slab_reclaimable)),
    column!("dirty_bytes", Bytes(dirty)),
    column!("shmem_bytes", Bytes(shmem)),
    column!("writeback_bytes", Bytes(writeback)),
    column!("swap_current_bytes", Bytes(swap_current)),
    column!("unevictable_bytes", Bytes(unevictable)),
    column!("oom_kills", oom_kills),
    column!("limit_bytes", limit limit),
    column!("limit_is_max", max limit),
    column!("min_bytes", Bytes(min)),
    column!("swap_limit_bytes", limit swap_limit),
    column!("swap_limit_is_max", max swap_limit),
    column!("kind", code kind),
    column!("leaf", bool leaf),
    column!("populated", bool populated),
    column!("protection", code protection),
    column!("stall_known", known stall),
    Column {
        name: PARENT,
        get: |row| row.parent.map_or(0, |index| u64::from(index) + 1),
        set: |row, value| {
            row.parent = value.checked_sub(1).and_then(|index| u32::try_from(index).ok());
            value == 0 || row.parent.is_some()
        },
    },
    Column {
        name: "limit_hits_own",
        get: |row| hits(row).1,
        set: |row, value| set_hits(row, (hits(row).0.max(1), value, hits(row).2)),
    },
    Column {
        name: "limit_hits_within",
        get: |row| hits(row).2,
        set: |row, value| set_hits(row, (1, hits(row).1, value)),
    },
    // Stands behind the numbers, which alone do not tell whose they are.
    Column {
        name: "limit_hits_kind",
        get: |row| hits(row).0,
        set: |row, value| set_hits(row, (value, hits(row).1, hits(row).2)),
    },
];

/// Whose counts of a limit's hits these are (0: nobody's, 1: those of v2, 2: those of v1), and the counts.
const fn hits(row: &GroupSample) -> (u64, u64, u64) {
    match row.limit_hits {
        LimitHits::Unknown => (0, 0, 0),
        LimitHits::Ooms { own, within } => (1, own, within),
        LimitHits::Failures(own) => (2, own, 0),
    }
}

const fn set_hits(row: &mut GroupSample, (kind, own, within): (u64, u64, u64)) -> bool {
    row.limit_hits = match kind {
        0 => LimitHits::Unknown,
        1 => LimitHits::Ooms { own, within },
        2 => LimitHits::Failures(own),
        _ => return false,
    };
    true
}

/// When a process was read; most are read with their sample, and then this says nothing.
pub(crate) const READ_AT: &str = "read_at_micros";

/// A process.
pub(crate) const PROCESS: &[Column<ProcessSample>] = &[
    column!("unreclaimable_bytes", Bytes(unreclaimable)),
    column!("read_at_micros", Moment(read_at)),
    Column {
        name: "group",
        get: |row| row.group.map_or(0, |group| group.0),
        set: |row, value| {
            row.group = Some(GroupId(value));
            true
        },
    },
    column!("group_known", known group),
    column!("protection", code protection),
];
