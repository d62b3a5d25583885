//! The table of processes: columns by the names in its head, the largest rows, and the sum of all.
//!
//! Columns came and went (`nr_ptes`, `nr_pmds`, `pgtables_bytes`, `rss_anon`), so none is known by its place. However many processes
//! there are, only the largest are kept.

use super::report::kept_name;
use crate::parse::{Cursor, unsigned, words};

/// So many rows are kept.
pub const TOP_ROWS: usize = 16;

/// More columns than any kernel has.
const COLUMNS_MAX: usize = 16;

/// A process of the table. Memory is in pages, whose size the table does not say ([`Report::page_bytes`](super::Report::page_bytes)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The process.
    pub pid: u32,
    /// Its user.
    pub uid: Option<u32>,
    /// Address space, pages.
    pub total_vm_pages: Option<u64>,
    /// Resident memory of all kinds, pages.
    pub rss_pages: Option<u64>,
    /// Anonymous memory, pages (from 6.8 on).
    pub anon_pages: Option<u64>,
    /// Mapped files, pages (from 6.8 on).
    pub file_pages: Option<u64>,
    /// Mapped shared memory, pages (from 6.8 on).
    pub shmem_pages: Option<u64>,
    /// Page tables, bytes (from 4.15 on).
    pub page_tables_bytes: Option<u64>,
    /// What is in swap, pages.
    pub swap_pages: Option<u64>,
    /// Its `oom_score_adj`.
    pub adj: Option<i32>,
    /// Its name.
    pub comm: Box<[u8]>,
}

/// What the table says of the domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Rows that were seen.
    pub processes: u64,
    /// The sum of their resident memory, pages; what they share is counted for each.
    pub rss_pages: u64,
    /// The sum of what they have in swap, pages.
    pub swap_pages: u64,
    /// The largest by resident memory, the largest first; of equals the one that stood first.
    pub largest: Vec<Row>,
}

impl Table {
    /// The row of a process, if it is among the largest.
    pub fn row(&self, pid: u32) -> Option<&Row> {
        self.largest.iter().find(|row| row.pid == pid)
    }

    /// Every row that was seen is kept.
    pub(crate) fn is_complete(&self) -> bool {
        self.processes == self.largest.len() as u64
    }

    /// Takes in one row; says whether it was one.
    pub(crate) fn add(&mut self, columns: &Columns, text: &[u8]) -> bool {
        let Some(seen) = columns.read(text) else {
            return false;
        };
        let rss = seen.row.rss_pages.unwrap_or(0);
        self.processes = self.processes.saturating_add(1);
        self.rss_pages = self.rss_pages.saturating_add(rss);
        self.swap_pages = self.swap_pages.saturating_add(seen.row.swap_pages.unwrap_or(0));
        let place = self
            .largest
            .partition_point(|row| row.rss_pages.unwrap_or(0) >= rss);
        if place < TOP_ROWS {
            self.largest.truncate(TOP_ROWS - 1);
            let comm = kept_name(seen.comm);
            self.largest.insert(place, Row { comm, ..seen.row });
        }
        true
    }
}

/// A column that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Uid,
    TotalVm,
    Rss,
    Anon,
    File,
    Shmem,
    PageTables,
    Swap,
    Adj,
    Name,
    Unknown,
}

/// The columns behind the pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    columns: [Column; COLUMNS_MAX],
}

struct Seen<'a> {
    row: Row,
    comm: &'a [u8],
}

impl Columns {
    /// Reads the table's head; `None` for any other line.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut line = Cursor::new(text);
        line.take(b"[")?;
        line.blanks();
        line.take(b"pid")?;
        line.blanks();
        line.take(b"]")?;
        let mut columns = [Column::Unknown; COLUMNS_MAX];
        let mut has_name = false;
        for (slot, word) in columns.iter_mut().zip(words(line.rest())) {
            *slot = match word {
                b"uid" => Column::Uid,
                b"total_vm" => Column::TotalVm,
                b"rss" => Column::Rss,
                b"rss_anon" => Column::Anon,
                b"rss_file" => Column::File,
                b"rss_shmem" => Column::Shmem,
                b"pgtables_bytes" => Column::PageTables,
                b"swapents" => Column::Swap,
                b"oom_score_adj" => Column::Adj,
                b"name" => Column::Name,
                _ => Column::Unknown,
            };
            has_name |= *slot == Column::Name;
        }
        has_name.then_some(Self { columns })
    }

    /// Reads a row; `None` for any other line, and for a row that is cut. The comm is borrowed, so that a row that is not kept costs
    /// nothing.
    fn read<'a>(&self, text: &'a [u8]) -> Option<Seen<'a>> {
        let (pid, mut line) = row_start(text)?;
        let mut row = Row {
            pid,
            ..Row::default()
        };
        for column in self.columns {
            if column == Column::Name {
                // One blank stands between the last figure and the name, which may begin with blanks of its own.
                line.take(b" ")?;
                return Some(Seen {
                    row,
                    comm: line.rest(),
                });
            }
            line.blanks();
            let word = line.word();
            let number = unsigned(word);
            // Whatever else stands in such brackets has no figures behind them.
            if number.is_none() && matches!(column, Column::Uid | Column::TotalVm | Column::Rss) {
                return None;
            }
            let small = number.map(|value| u32::try_from(value).unwrap_or(u32::MAX));
            match column {
                Column::Uid => row.uid = small,
                Column::TotalVm => row.total_vm_pages = number,
                Column::Rss => row.rss_pages = number,
                Column::Anon => row.anon_pages = number,
                Column::File => row.file_pages = number,
                Column::Shmem => row.shmem_pages = number,
                Column::PageTables => row.page_tables_bytes = number,
                Column::Swap => row.swap_pages = number,
                Column::Adj => {
                    row.adj = Cursor::new(word)
                        .signed_digits()
                        .and_then(|adj| i32::try_from(adj).ok());
                }
                Column::Name | Column::Unknown => {}
            }
        }
        None
    }
}

/// `[  123]` and what follows it; `None` for a line that is no row.
pub(crate) fn row_start(text: &[u8]) -> Option<(u32, Cursor<'_>)> {
    let mut line = Cursor::new(text);
    line.take(b"[")?;
    line.blanks();
    let pid = u32::try_from(line.digits()?).ok()?;
    line.take(b"]")?;
    Some((pid, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &[&str]) -> Table {
        let (head, rows) = lines.split_first().expect("a head");
        let columns = Columns::parse(head.as_bytes()).expect("a head");
        let mut table = Table::default();
        for row in rows {
            table.add(&columns, row.as_bytes());
        }
        table
    }

    #[test]
    fn columns_go_by_their_names() {
        let old = table(&[
            "[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name",
            "[28438]     7 28438  5063909   119961    1661   3   136409          -998 java",
        ]);
        let row = old.row(28438).expect("kept");
        assert_eq!(
            (row.uid, row.total_vm_pages, row.rss_pages),
            (Some(7), Some(5_063_909), Some(119_961))
        );
        assert_eq!(
            (row.swap_pages, row.adj, row.page_tables_bytes),
            (Some(136_409), Some(-998), None)
        );
        assert_eq!(&*row.comm, b"java");
        let new = table(&[
            "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
            "[    675]     0   675   162013    10969    10712      257         3   155648        0             0 test progs ",
        ]);
        let row = new.row(675).expect("kept");
        assert_eq!(
            (row.anon_pages, row.file_pages, row.shmem_pages),
            (Some(10_712), Some(257), Some(3))
        );
        assert_eq!(
            (row.page_tables_bytes, row.adj, &*row.comm),
            (Some(155_648), Some(0), &b"test progs "[..])
        );
    }

    #[test]
    fn the_largest_are_kept_and_all_are_counted() {
        let head = "[ pid ] uid tgid total_vm rss swapents oom_score_adj name".to_owned();
        let rows = (1..=100_u64).map(|pid| format!("[ {pid} ] 0 1 1 {} 2 0 p{pid}", pid % 50));
        let rows: Vec<String> = rows.map(|row| row.replace(" ]", "]")).collect();
        let lines: Vec<&str> = std::iter::once(head.as_str())
            .chain(rows.iter().map(String::as_str))
            .collect();
        let table = table(&lines);
        // Twice 0 + 1 + … + 49.
        assert_eq!(
            (table.processes, table.rss_pages, table.swap_pages),
            (100, 2450, 200)
        );
        let pids: Vec<u32> = table.largest.iter().map(|row| row.pid).collect();
        assert_eq!(
            pids,
            [49, 99, 48, 98, 47, 97, 46, 96, 45, 95, 44, 94, 43, 93, 42, 92]
        );
        assert!(!table.is_complete());
    }

    #[test]
    fn what_is_no_row_is_passed_over() {
        let table = table(&[
            "[ pid ] uid rss name",
            "[ 1",
            "[ 1]",
            "[ 1] 0 5",
            "[ x] 0 5 a",
            "[ 3] usb 1-1: new device",
            "oom-kill:",
            "[ 2] 0 6 ",
        ]);
        assert_eq!((table.processes, table.rss_pages), (1, 6));
        assert_eq!(Columns::parse(b"[ pid ] uid rss"), None);
        assert_eq!(Columns::parse(b"[ 12 ] name"), None);
    }
}
