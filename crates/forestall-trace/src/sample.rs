//! A sample as what has changed since the one before.

use forestall_decide::{
    Bytes, GroupId, GroupKind, GroupSample, Limit, LimitHits, Moment, NodeSample, ProcessId, ProcessSample,
    Sample,
};

use crate::column::{Column, GROUP, NODE, PARENT, PROCESS, READ_AT};
use crate::header::Columns;
use crate::table::{Key, Table, read_row, write_row};
use crate::varint::Cursor;

/// The roster of cgroups has changed.
const GROUPS_MOVED: u8 = 1;
/// The roster of processes has changed.
const PROCESSES_MOVED: u8 = 2;
/// Most processes were read with this sample: their times are told against its own.
const PROCESSES_FRESH: u8 = 4;

/// The last sample, column by column; the same on both sides.
#[derive(Debug)]
pub(crate) struct SampleState {
    node: Vec<u64>,
    groups: Table,
    processes: Table,
    keys: Vec<Key>,
}

impl SampleState {
    /// Nothing seen yet, with the columns of a header.
    pub(crate) fn new(columns: &Columns) -> Self {
        Self {
            node: vec![0; columns.node.len()],
            groups: Table::new(columns.group.len(), columns.parent),
            processes: Table::new(columns.process.len(), None),
            keys: Vec::new(),
        }
    }

    /// Back to nothing, as at every key frame.
    pub(crate) fn clear(&mut self) {
        self.node.fill(0);
        self.groups.clear();
        self.processes.clear();
    }

    /// The cgroup is in the last sample.
    pub(crate) fn has_group(&self, id: GroupId) -> bool {
        self.groups.keys().contains(&[id.0, 0])
    }

    /// The process is.
    pub(crate) fn has_process(&self, id: ProcessId) -> bool {
        self.processes.keys().contains(&process_key(id))
    }

    /// Appends a sample.
    pub(crate) fn write(&mut self, at: Moment, sample: &Sample, out: &mut Vec<u8>) {
        let flags = out.len();
        out.push(0);
        let mut told = 0;
        if !write_row(&mut self.node, &sample.node, NODE, out) {
            out.push(0);
        }
        let keys = sample.groups.iter().map(|group| [group.id.0, 0]);
        if write_roster(&mut self.groups, keys, &mut self.keys, out) {
            told |= GROUPS_MOVED;
        }
        self.groups.write_rows(&sample.groups, GROUP, out);
        let keys = sample.processes.iter().map(|process| process_key(process.id));
        if write_roster(&mut self.processes, keys, &mut self.keys, out) {
            told |= PROCESSES_MOVED;
        }
        let fresh = sample.processes.iter().filter(|process| process.read_at == at);
        if fresh.count() * 2 > sample.processes.len() {
            told |= PROCESSES_FRESH;
            if let Some(column) = PROCESS.iter().position(|column| column.name == READ_AT) {
                self.processes.fill(column, at.0);
            }
        }
        self.processes.write_rows(&sample.processes, PROCESS, out);
        if let Some(byte) = out.get_mut(flags) {
            *byte = told;
        }
    }

    /// Takes a sample over into `sample`, which holds the one before. `None` where the bytes are not understood; what is
    /// held is worth nothing then.
    pub(crate) fn read(
        &mut self,
        at: Moment,
        columns: &Columns,
        cursor: &mut Cursor<'_>,
        sample: &mut Sample,
    ) -> Option<()> {
        let told = cursor.byte()?;
        read_row(&mut self.node, cursor, |column, value| {
            set(&columns.node, NODE, column, &mut sample.node, value)
        })?;
        let moved = told & GROUPS_MOVED != 0;
        if moved {
            self.groups.read_roster(cursor)?;
        }
        let groups = &mut sample.groups;
        self.groups.read_rows(cursor, |row, column, value| {
            moved
                || groups
                    .get_mut(row)
                    .is_some_and(|group| set(&columns.group, GROUP, column, group, value))
        })?;
        if moved {
            let rows = self.groups.keys().iter().zip(self.groups.rows());
            rebuild(groups, rows, |key| blank_group(*key), &columns.group, GROUP)?;
        }
        let moved = told & PROCESSES_MOVED != 0;
        if moved {
            self.processes.read_roster(cursor)?;
        }
        let processes = &mut sample.processes;
        if told & PROCESSES_FRESH != 0
            && let Some(column) = columns.read_at
        {
            self.processes.fill(column, at.0);
            for process in processes.iter_mut() {
                process.read_at = at;
            }
        }
        self.processes.read_rows(cursor, |row, column, value| {
            moved
                || processes
                    .get_mut(row)
                    .is_some_and(|process| set(&columns.process, PROCESS, column, process, value))
        })?;
        if moved {
            let rows = self.processes.keys().iter().zip(self.processes.rows());
            rebuild(
                processes,
                rows,
                |key| blank_process(*key),
                &columns.process,
                PROCESS,
            )?;
        }
        // A newer program may have added something at the end.
        Some(())
    }
}

/// Writes the roster if it is another one; true if so.
fn write_roster(
    table: &mut Table,
    keys: impl Iterator<Item = Key> + Clone,
    kept: &mut Vec<Key>,
    out: &mut Vec<u8>,
) -> bool {
    if table.keys().iter().copied().eq(keys.clone()) {
        return false;
    }
    kept.clear();
    kept.extend(keys);
    table.write_roster(kept, out);
    true
}

/// Sets a field by the number its column has in the trace; a column that is not known here changes nothing.
fn set<T>(known: &[Option<usize>], columns: &[Column<T>], column: usize, row: &mut T, value: u64) -> bool {
    let column = known
        .get(column)
        .copied()
        .flatten()
        .and_then(|at| columns.get(at));
    column.is_none_or(|column| (column.set)(row, value))
}

fn rebuild<'a, T>(
    into: &mut Vec<T>,
    rows: impl Iterator<Item = (&'a Key, &'a [u64])>,
    blank: impl Fn(&Key) -> T,
    known: &[Option<usize>],
    columns: &[Column<T>],
) -> Option<()> {
    into.clear();
    for (key, cells) in rows {
        let mut row = blank(key);
        for (column, value) in cells.iter().enumerate().filter(|(_, value)| **value != 0) {
            set(known, columns, column, &mut row, *value).then_some(())?;
        }
        into.push(row);
    }
    Some(())
}

const fn process_key(id: ProcessId) -> Key {
    [id.pid as u64, id.start_ticks]
}

/// A process all of whose columns are 0.
fn blank_process([pid, start_ticks]: Key) -> ProcessSample {
    ProcessSample {
        id: ProcessId {
            // Written from a u32; what is larger comes from no writer and names nobody.
            pid: u32::try_from(pid).unwrap_or(u32::MAX),
            start_ticks,
        },
        group: None,
        unreclaimable: Bytes::ZERO,
        read_at: Moment(0),
        protection: None,
    }
}

/// A cgroup all of whose columns are 0.
const fn blank_group([id, _]: Key) -> GroupSample {
    GroupSample {
        id: GroupId(id),
        parent: None,
        kind: GroupKind::Kubepods,
        leaf: false,
        populated: false,
        protection: None,
        limit: Limit::Bytes(Bytes::ZERO),
        min: Bytes::ZERO,
        current: Bytes::ZERO,
        anon: Bytes::ZERO,
        shmem: Bytes::ZERO,
        active_file: Bytes::ZERO,
        inactive_file: Bytes::ZERO,
        dirty: Bytes::ZERO,
        writeback: Bytes::ZERO,
        unevictable: Bytes::ZERO,
        slab_reclaimable: Bytes::ZERO,
        swap_current: Bytes::ZERO,
        swap_limit: Limit::Bytes(Bytes::ZERO),
        stall: None,
        refault_file_pages: 0,
        oom_kills: 0,
        limit_hits: LimitHits::Unknown,
    }
}

/// The sample that a reader begins with.
pub(crate) fn blank() -> Sample {
    Sample {
        node: NodeSample::default(),
        ..Sample::default()
    }
}

/// The position of the column of parents among the columns of cgroups.
pub(crate) fn parent_of(names: &[&str]) -> Option<usize> {
    names.iter().position(|name| *name == PARENT)
}
