//! Rows that follow one another from sample to sample: who is in the table, and which columns of which rows have changed.
//!
//! Reader and writer hold the same table and change it by the same bytes. It knows columns by number only; what they mean is
//! the business of `column`.

use crate::column::Column;
use crate::room::trim;
use crate::varint::{Cursor, put, put_difference, put_signed};

/// Who a row is about. A cgroup needs one number, a process two.
pub(crate) type Key = [u64; 2];

/// More rows than this no sample has; a reader refuses to make room for them.
const ROWS_MAX: usize = 1 << 16;

/// Room for so many rows is kept when a crowd has gone.
const ROWS_FEW: usize = 64;

/// Rows by position, each of `width` numbers.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    width: usize,
    /// The column that holds another row's position plus one, if there is one.
    parent: Option<usize>,
    keys: Vec<Key>,
    cells: Vec<u64>,
    keys_before: Vec<Key>,
    cells_before: Vec<u64>,
    moved: Vec<u64>,
}

impl Table {
    pub(crate) fn new(width: usize, parent: Option<usize>) -> Self {
        Self {
            width: width.max(1),
            parent,
            keys: Vec::new(),
            cells: Vec::new(),
            keys_before: Vec::new(),
            cells_before: Vec::new(),
            moved: Vec::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.cells.clear();
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.cells.chunks_exact(self.width)
    }

    /// Sets one column of every row.
    pub(crate) fn fill(&mut self, column: usize, value: u64) {
        for row in self.cells.chunks_exact_mut(self.width) {
            if let Some(cell) = row.get_mut(column) {
                *cell = value;
            }
        }
    }

    /// Writes how the present rows become those of `keys`, in their order, and makes them so. New rows are all zeros.
    pub(crate) fn write_roster(&mut self, keys: &[Key], out: &mut Vec<u8>) {
        let keys = keys.get(..ROWS_MAX).unwrap_or(keys);
        let from = out.len();
        put(out, keys.len() as u64);
        let (mut old, mut new) = (0, 0);
        let mut last = [0; 2];
        while new < keys.len() {
            let ahead = |key: &Key| self.keys.iter().skip(old).position(|other| other == key);
            let dropped = keys.get(new).and_then(ahead).unwrap_or(0);
            old += dropped;
            let pairs = self.keys.iter().skip(old).zip(keys.iter().skip(new));
            let kept = pairs.take_while(|(before, after)| before == after).count();
            (old, new) = (old + kept, new + kept);
            if let Some(key) = new.checked_sub(1).and_then(|at| keys.get(at)) {
                last = *key;
            }
            let is_new = |key: &&Key| !self.keys.iter().skip(old).any(|other| other == *key);
            let added = keys.iter().skip(new).take_while(is_new).count();
            for count in [dropped, kept, added] {
                put(out, count as u64);
            }
            for key in keys.iter().skip(new).take(added) {
                for (word, before) in key.iter().zip(last) {
                    put_signed(out, word.wrapping_sub(before).cast_signed());
                }
                last = *key;
            }
            new += added;
        }
        // Read back, so that both sides do the same to their rows.
        let written = out.get(from..).unwrap_or_default();
        let understood = self.read_roster(&mut Cursor::new(written));
        debug_assert!(understood.is_some(), "a roster that was just written is read");
    }

    /// Does what [`Table::write_roster`] wrote.
    pub(crate) fn read_roster(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let count = cursor.count().filter(|count| *count <= ROWS_MAX)?;
        core::mem::swap(&mut self.keys, &mut self.keys_before);
        core::mem::swap(&mut self.cells, &mut self.cells_before);
        self.clear();
        self.moved.clear();
        let mut old = 0_usize;
        let mut last = [0; 2];
        while self.keys.len() < count {
            let (dropped, kept, added) = (cursor.count()?, cursor.count()?, cursor.count()?);
            if kept == 0 && added == 0 || added > ROWS_MAX {
                return None;
            }
            let first = old.checked_add(dropped)?;
            let end = first.checked_add(kept)?;
            self.moved.resize(first.min(self.keys_before.len()), 0);
            let keys = self.keys_before.get(first..end)?;
            let cells = self
                .cells_before
                .get(first.checked_mul(self.width)?..end.checked_mul(self.width)?)?;
            for (key, position) in keys.iter().zip(self.keys.len()..) {
                self.moved.push(position as u64 + 1);
                last = *key;
            }
            self.keys.extend_from_slice(keys);
            self.cells.extend_from_slice(cells);
            if let Some(key) = self.keys.last() {
                last = *key;
            }
            old = end;
            for _ in 0..added {
                for word in &mut last {
                    *word = word.wrapping_add(cursor.signed()?.cast_unsigned());
                }
                self.keys.push(last);
            }
            self.cells.resize(self.keys.len() * self.width, 0);
            if self.keys.len() > count {
                return None;
            }
        }
        self.move_parents();
        self.keys_before.clear();
        self.cells_before.clear();
        let (keys, cells) = (self.keys.len(), self.cells.len());
        trim(&mut self.keys, ROWS_FEW);
        trim(&mut self.keys_before, keys.max(ROWS_FEW));
        trim(&mut self.cells, ROWS_FEW * self.width);
        trim(&mut self.cells_before, cells.max(ROWS_FEW * self.width));
        trim(&mut self.moved, keys.max(ROWS_FEW));
        Some(())
    }

    /// A kept row's parent has moved along.
    fn move_parents(&mut self) {
        let Some(parent) = self.parent else { return };
        for row in self.cells.chunks_exact_mut(self.width) {
            let Some(cell) = row.get_mut(parent) else { return };
            let before = cell.checked_sub(1).and_then(|index| usize::try_from(index).ok());
            *cell = before
                .and_then(|index| self.moved.get(index))
                .copied()
                .unwrap_or(0);
        }
    }

    /// Writes what has changed in every row, and takes it over. `rows` are those of the roster.
    pub(crate) fn write_rows<T>(&mut self, rows: &[T], columns: &[Column<T>], out: &mut Vec<u8>) {
        let bits = out.len();
        out.resize(bits + self.keys.len().div_ceil(8), 0);
        let cells = self.cells.chunks_exact_mut(self.width);
        for (index, (row, cells)) in rows.iter().zip(cells).enumerate() {
            if write_row(cells, row, columns, out)
                && let Some(byte) = out.get_mut(bits + index / 8)
            {
                *byte |= 1 << (index % 8);
            }
        }
    }

    /// Takes over what has changed; `took` hears of each cell and may refuse its value.
    pub(crate) fn read_rows(
        &mut self,
        cursor: &mut Cursor<'_>,
        mut took: impl FnMut(usize, usize, u64) -> bool,
    ) -> Option<()> {
        let bits = cursor.bytes(self.keys.len().div_ceil(8))?;
        for (at, byte) in bits.iter().enumerate() {
            let mut left = *byte;
            while left != 0 {
                let index = at * 8 + left.trailing_zeros() as usize;
                left &= left - 1;
                let from = index.checked_mul(self.width)?;
                let cells = self.cells.get_mut(from..from + self.width)?;
                read_row(cells, cursor, |column, value| took(index, column, value))?;
            }
        }
        Some(())
    }
}

/// Writes the mask of the columns that have changed, and their differences. False, and nothing written, if none has.
pub(crate) fn write_row<T>(cells: &mut [u64], row: &T, columns: &[Column<T>], out: &mut Vec<u8>) -> bool {
    let mut mask = 0_u64;
    for (at, (cell, column)) in cells.iter().zip(columns).enumerate() {
        mask |= u64::from(*cell != (column.get)(row)) << at;
    }
    if mask == 0 {
        return false;
    }
    put(out, mask);
    for (cell, column) in cells.iter_mut().zip(columns) {
        let value = (column.get)(row);
        if *cell != value {
            put_difference(out, *cell, value);
            *cell = value;
        }
    }
    true
}

/// Reads what [`write_row`] wrote; `took` hears of each cell and may refuse its value.
pub(crate) fn read_row(
    cells: &mut [u64],
    cursor: &mut Cursor<'_>,
    mut took: impl FnMut(usize, u64) -> bool,
) -> Option<()> {
    let mut mask = cursor.number()?;
    while mask != 0 {
        let column = mask.trailing_zeros() as usize;
        mask &= mask - 1;
        let cell = cells.get_mut(column)?;
        *cell = cursor.difference(*cell)?;
        took(column, *cell).then_some(())?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(ids: &[u64]) -> Vec<Key> {
        ids.iter().map(|id| [*id, 0]).collect()
    }

    #[test]
    fn rows_keep_their_figures_and_parents_while_others_come_and_go() {
        // Two columns: the parent's position plus one, and a figure.
        let mut table = Table::new(2, Some(0));
        let mut out = Vec::new();
        table.write_roster(&keys(&[10, 11, 12, 13]), &mut out);
        table.cells = vec![0, 100, 1, 110, 1, 120, 3, 130];
        let mut reader = table.clone();
        out.clear();
        // 11 goes, 20 comes in front, 21 behind: 12 moves from 2 to 2, 10 from 0 to 1, 13 stays a child of 12.
        table.write_roster(&keys(&[20, 10, 12, 21, 13]), &mut out);
        assert_eq!(table.cells, [0, 0, 0, 100, 2, 120, 0, 0, 3, 130]);
        let mut cursor = Cursor::new(&out);
        reader.read_roster(&mut cursor).expect("it is understood");
        assert!(cursor.is_empty());
        assert_eq!((reader.keys, reader.cells), (table.keys, table.cells));
    }

    #[test]
    fn an_unchanged_table_takes_a_bit_a_row() {
        let columns = [Column::<u64> {
            name: "n",
            get: |row| *row,
            set: |_, _| true,
        }];
        let mut table = Table::new(1, None);
        let mut out = Vec::new();
        table.write_roster(&keys(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), &mut out);
        let rows = [0, 0, 0, 0, 0, 0, 0, 0, 8192];
        out.clear();
        table.write_rows(&rows, &columns, &mut out);
        // Nine bits; then the mask of one column, and two pages (zigzag 4).
        assert_eq!(out, [0, 1, 1, 8]);
        out.clear();
        table.write_rows(&rows, &columns, &mut out);
        assert_eq!(out, [0, 0]);
    }

    #[test]
    fn a_roster_that_makes_no_progress_is_refused() {
        let mut table = Table::new(1, None);
        assert_eq!(table.read_roster(&mut Cursor::new(&[5, 0, 0, 0])), None);
        assert_eq!(table.read_roster(&mut Cursor::new(&[2, 0, 1, 0])), None);
        assert_eq!(
            table.read_roster(&mut Cursor::new(&[0xff, 0xff, 0xff, 0x7f])),
            None
        );
    }
}
