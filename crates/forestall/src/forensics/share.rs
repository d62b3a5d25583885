//! What filled the memory that ran out, by kind, and who else was in it.
//!
//! Kinds do not overlap. What the kernel's figures do not account for is shown as such and put to nobody.

use forestall_kernel::oom::{Domain, Level, Piece, Report, Row, Seen};

/// What most machines have, where a report does not tell.
const PAGE_BYTES_USUAL: u64 = 4096;

/// A kind of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Heaps and stacks.
    Anon,
    /// Shared memory, tmpfs, emptyDirs of medium Memory.
    Shmem,
    /// Page cache of files.
    File,
    /// The kernel's own.
    Kernel,
    /// Locked, of whatever kind.
    Locked,
    /// What no figure accounts for.
    Untold,
    /// Free: of the machine some always is, below its watermarks or elsewhere.
    Free,
}

impl Kind {
    /// A short fixed word.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Anon => "anon",
            Self::Shmem => "shmem",
            Self::File => "file",
            Self::Kernel => "kernel",
            Self::Locked => "locked",
            Self::Untold => "untold",
            Self::Free => "free",
        }
    }

    /// Its letter in a bar.
    pub(crate) const fn glyph(self) -> char {
        match self {
            Self::Anon => '█',
            Self::Shmem => '▓',
            Self::File => '▒',
            Self::Kernel => '#',
            Self::Locked => '=',
            Self::Untold => '?',
            Self::Free => '·',
        }
    }

    /// The SGR parameters of its colour.
    pub(crate) const fn colour(self) -> &'static str {
        match self {
            Self::Anon => "31",
            Self::Shmem => "35",
            Self::File => "36",
            Self::Kernel => "33",
            Self::Locked => "34",
            Self::Untold | Self::Free => "2",
        }
    }
}

/// What filled it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// Each kind that is there, bytes; the order is that of [`Kind`].
    pub(crate) parts: Vec<(Kind, u64)>,
    /// All of it, bytes.
    pub(crate) total: u64,
}

impl Share {
    /// What a report tells; `None` where it tells nothing of it.
    pub(crate) fn of(report: &Report) -> Option<Self> {
        let page_bytes = report.page_bytes().unwrap_or(PAGE_BYTES_USUAL);
        let mut domain = report.domain.clone();
        domain.settle_machine(page_bytes);
        let domain = &domain;
        let mut parts: Vec<(Kind, u64)> = [
            (Kind::Anon, domain.anon),
            (Kind::Shmem, domain.shmem),
            (Kind::File, domain.file),
            (Kind::Kernel, kernel(domain)),
        ]
        .into_iter()
        .filter_map(|(kind, bytes)| Some((kind, bytes?)))
        .collect();
        if parts.is_empty() {
            return None;
        }
        let mut known = sum(&parts);
        if let Some(pages) = domain.machine {
            let bytes = |count: u64| count.saturating_mul(page_bytes);
            // The lists of the machine have what is locked apart; the figures of a cgroup have it among its kinds.
            parts.push((Kind::Locked, domain.unevictable.unwrap_or(0)));
            let free = bytes(pages.free);
            known = sum(&parts).saturating_add(free);
            let total = bytes(pages.present.saturating_sub(pages.reserved)).max(known);
            parts.push((Kind::Untold, total - known));
            parts.push((Kind::Free, free));
            return Some(Self::with(parts, total));
        }
        let total = domain.memory.map_or(known, |memory| memory.usage.max(known));
        parts.push((Kind::Untold, total - known));
        Some(Self::with(parts, total))
    }

    fn with(mut parts: Vec<(Kind, u64)>, total: u64) -> Self {
        parts.retain(|(kind, bytes)| *bytes > 0 || *kind < Kind::Locked);
        Self { parts, total }
    }

    /// Of one kind, bytes.
    pub(crate) fn bytes(&self, kind: Kind) -> u64 {
        let part = self.parts.iter().find(|(known, _)| *known == kind);
        part.map_or(0, |(_, bytes)| *bytes)
    }

    /// Of one kind, in percent of all, rounded.
    pub(crate) fn percent(&self, kind: Kind) -> u64 {
        percent(self.bytes(kind), self.total)
    }

    /// A bar of so many cells, one kind after the other; whatever is there has a cell where there is room.
    pub(crate) fn bar(&self, width: usize) -> Vec<Kind> {
        let mut cells = Vec::with_capacity(width);
        let mut passed = 0_u128;
        for (kind, bytes) in &self.parts {
            passed += u128::from(*bytes);
            let end = passed * width as u128 / u128::from(self.total.max(1));
            let end = usize::try_from(end).unwrap_or(width).min(width);
            let least = usize::from(*bytes > 0 && cells.len() < width) + cells.len();
            cells.resize(end.max(least), *kind);
        }
        if let Some(last) = cells.last().copied() {
            cells.resize(width, last);
        }
        cells
    }
}

fn sum(parts: &[(Kind, u64)]) -> u64 {
    parts.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
}

/// `part` of `whole` in percent, rounded; 0 where there is no whole.
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    let (part, whole) = (u128::from(part), u128::from(whole));
    (part * 100 + whole / 2)
        .checked_div(whole)
        .and_then(|percent| u64::try_from(percent).ok())
        .unwrap_or(0)
}

/// The kernel's own, put together of its parts where no line has the sum.
fn kernel(domain: &Domain) -> Option<u64> {
    let slab = match (domain.slab_reclaimable, domain.slab_unreclaimable) {
        (None, None) => domain.slab,
        (one, other) => Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0))),
    };
    let parts = [
        slab,
        domain.kernel_stack,
        domain.page_tables,
        domain.percpu,
        domain.sock,
        domain.vmalloc,
    ];
    let told = parts.iter().any(Option::is_some);
    let of_parts = parts
        .iter()
        .flatten()
        .fold(0_u64, |sum, part| sum.saturating_add(*part));
    domain.kernel.or(told.then_some(of_parts))
}

/// What a process held, bytes: as its kill line says, or as the table does. Each kill line has the heap; where that cannot be read, the rest
/// is no sum.
pub(crate) fn held(report: &Report, pid: u32) -> Option<u64> {
    let victim = report.victims.iter().find(|victim| victim.pid == pid);
    let by_line = victim.and_then(|victim| {
        let shared = [victim.file, victim.shmem];
        let add = |sum: u64, part: &u64| sum.saturating_add(*part);
        Some(shared.iter().flatten().fold(victim.anon?, add))
    });
    by_line.or_else(|| row_bytes(report, report.table.row(pid)?))
}

/// What a row of the table holds, bytes.
pub(crate) fn row_bytes(report: &Report, row: &Row) -> Option<u64> {
    let page_bytes = report.page_bytes().unwrap_or(PAGE_BYTES_USUAL);
    row.rss_pages.map(|pages| pages.saturating_mul(page_bytes))
}

/// The processes that were there and were not killed, the largest first.
pub(crate) fn survivors(report: &Report) -> impl Iterator<Item = &Row> {
    let is_victim = |row: &&Row| report.victims.iter().any(|victim| victim.pid == row.pid);
    report.table.largest.iter().filter(move |row| !is_victim(row))
}

/// The memory of a cgroup or machine that ran out, bytes.
pub(crate) fn limit(report: &Report) -> Option<u64> {
    report.domain.memory.and_then(|memory| memory.limit.bytes())
}

/// Somebody was looked for or named, and what became of it is not there.
pub(crate) fn is_unfinished(report: &Report) -> bool {
    let is_told =
        has_victim(report) || report.no_killable > 0 || !report.exiting.is_empty() || report.is_panic();
    let has_begun = [Piece::Header, Piece::Verdict, Piece::Group]
        .iter()
        .any(|piece| report.pieces.has(*piece));
    has_begun && !is_told
}

/// Somebody was killed, or a line says so.
pub(crate) fn has_victim(report: &Report) -> bool {
    !report.victims.is_empty()
}

/// The machine's memory ran out, or a part of it.
pub(crate) fn is_machines(level: Level) -> bool {
    matches!(level, Level::Node | Level::Numa | Level::Cpuset)
}

/// All that is known of a kill is that somebody was named.
pub(crate) fn is_by_name_alone(report: &Report) -> bool {
    let is_named = |seen: Seen| matches!(seen, Seen::Named | Seen::ReaperOnly);
    has_victim(report) && report.victims.iter().all(|victim| is_named(victim.seen))
}

#[cfg(test)]
mod tests {
    use forestall_kernel::oom::{Charge, MachinePages};
    use forestall_kernel::parse::Limit;

    use super::*;

    fn cgroup() -> Report {
        let mut report = Report::default();
        report.domain.memory = Some(Charge {
            usage: 1000,
            limit: Limit::from_bytes(1000),
            failures: 8,
        });
        report.domain.anon = Some(600);
        report.domain.shmem = Some(200);
        report.domain.file = Some(0);
        report.domain.kernel = Some(100);
        report
    }

    #[test]
    fn what_no_figure_accounts_for_is_put_to_nobody() {
        let share = Share::of(&cgroup()).expect("figures");
        assert_eq!(
            share.parts,
            [
                (Kind::Anon, 600),
                (Kind::Shmem, 200),
                (Kind::File, 0),
                (Kind::Kernel, 100),
                (Kind::Untold, 100)
            ]
        );
        assert_eq!((share.total, share.percent(Kind::Shmem)), (1000, 20));
        let bar: String = share.bar(10).iter().map(|kind| kind.glyph()).collect();
        assert_eq!(bar, "██████▓▓#?");
        // The smallest part is seen, and a bar is never longer than it should be.
        assert_eq!(share.bar(3).len(), 3);
        assert_eq!(Share::of(&Report::default()), None);
    }

    #[test]
    fn a_machine_has_what_is_free_and_locked_apart() {
        let mut report = Report::default();
        report.domain.machine = Some(MachinePages {
            free: 10,
            present: 120,
            reserved: 20,
            ..MachinePages::default()
        });
        report.domain.page_bytes = Some(4096);
        report.domain.anon = Some(40 * 4096);
        report.domain.unevictable = Some(5 * 4096);
        report.domain.slab_reclaimable = Some(4096);
        report.domain.slab_unreclaimable = Some(2 * 4096);
        let share = Share::of(&report).expect("figures");
        assert_eq!(share.total, 100 * 4096);
        // 100 − 40 − 3 − 5 − 10.
        assert_eq!(share.bytes(Kind::Untold), 42 * 4096);
        assert_eq!(
            (share.bytes(Kind::Kernel), share.bytes(Kind::Locked)),
            (3 * 4096, 5 * 4096)
        );
        assert_eq!(share.bytes(Kind::Free), 10 * 4096);
    }

    #[test]
    fn a_process_holds_what_its_kill_line_says_and_else_what_the_table_does() {
        let mut report = cgroup();
        report.table.largest.push(Row {
            pid: 7,
            rss_pages: Some(3),
            ..Row::default()
        });
        assert_eq!(held(&report, 7), Some(3 * 4096));
        report.victims.push(forestall_kernel::oom::Victim {
            pid: 7,
            anon: Some(5),
            file: Some(6),
            ..Default::default()
        });
        assert_eq!(held(&report, 7), Some(11));
        assert_eq!(held(&report, 8), None);
        assert_eq!(survivors(&report).count(), 0);
        // A figure that no machine has is none, and does not leave a process that held nothing.
        report.victims[0].anon = None;
        assert_eq!(held(&report, 7), Some(3 * 4096));
    }
}
