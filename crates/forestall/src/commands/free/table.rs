//! The answer as text: the table of free(1) with what it leaves out below it, and JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::report::{Owner, Report, Row, Swap};
use super::shown::{human, percent};

/// The unit of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes.
    Bytes,
    /// Kibibytes.
    Kibi,
    /// Mebibytes.
    Mebi,
    /// Gibibytes.
    Gibi,
    /// Whichever fits.
    Human,
}

impl Unit {
    fn show(self, bytes: u64) -> String {
        match self {
            Self::Bytes => bytes.to_string(),
            Self::Kibi => (bytes >> 10).to_string(),
            Self::Mebi => (bytes >> 20).to_string(),
            Self::Gibi => (bytes >> 30).to_string(),
            Self::Human => human(bytes),
        }
    }
}

/// The versioned envelope of JSON: fields may be added, none changes its meaning within a version.
#[derive(Serialize)]
struct Versioned<'a> {
    kind: &'static str,
    version: u32,
    #[serde(flatten)]
    report: &'a Report,
}

/// The report as JSON.
pub(crate) fn json(report: &Report) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(&Versioned {
        kind: "free",
        version: 1,
        report,
    })?;
    text.push('\n');
    Ok(text)
}

/// The report as a table.
pub(crate) fn table(report: &Report, unit: Unit, wide: bool) -> String {
    let mut text = String::new();
    let cache: &[&str] = if wide {
        &["buffers", "cache"]
    } else {
        &["buff/cache"]
    };
    let head = ["total", "used", "free", "shared"]
        .iter()
        .chain(cache)
        .chain(&["available"]);
    line(&mut text, "", head.map(|name| (*name).to_owned()));
    let node = if let Some(limited) = &report.limited {
        line(&mut text, "Cgroup:", row(limited, unit, wide));
        "Node:"
    } else {
        "Mem:"
    };
    line(&mut text, node, row(&report.node, unit, wide));
    line(&mut text, "Swap:", swap(&report.swap, unit));
    facts(&mut text, report);
    text
}

fn line(text: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    let _ = write!(text, "{name:<8}");
    for cell in cells {
        let _ = write!(text, "{cell:>12}");
    }
    text.push('\n');
}

fn row(row: &Row, unit: Unit, wide: bool) -> impl Iterator<Item = String> {
    let mut cells: Vec<String> = [row.total_bytes, row.used_bytes, row.free_bytes, row.shared_bytes]
        .map(|bytes| unit.show(bytes))
        .into();
    if wide {
        cells.push(
            row.buffers_bytes
                .map_or_else(|| "-".to_owned(), |bytes| unit.show(bytes)),
        );
        cells.push(unit.show(row.cache_bytes));
    } else {
        cells.push(unit.show(row.cache_bytes.saturating_add(row.buffers_bytes.unwrap_or(0))));
    }
    cells.push(unit.show(row.available_bytes));
    cells.into_iter()
}

fn swap(swap: &Swap, unit: Unit) -> impl Iterator<Item = String> {
    [swap.total_bytes, swap.used_bytes, swap.free_bytes]
        .map(|bytes| unit.show(bytes))
        .into_iter()
}

/// What stands below the table.
fn facts(text: &mut String, report: &Report) {
    text.push('\n');
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    match &report.limit {
        Some(limit) => {
            let owner = match limit.owner {
                Owner::Own => "of this cgroup",
                Owner::Ancestor => "of an ancestor",
                Owner::UnseenAncestor => "of an ancestor that cannot be seen",
            };
            fact("limit", format!("{} {owner}, {}", human(limit.bytes), limit.file));
            fact(
                "distance",
                limit.distance_bytes.map_or_else(
                    || "not known, because it is not known what is used".to_owned(),
                    |left| {
                        let share = percent(left, limit.bytes);
                        format!("{} ({share}) until the kernel kills here", human(left))
                    },
                ),
            );
        }
        None if !report.complete => fact("limit", "none that could be read: see the notes".to_owned()),
        None if report.own.is_some() => fact("limit", "none but the machine itself".to_owned()),
        None => {}
    }
    if let Some(own) = &report.own {
        fact("cgroup", format!("{} (cgroup {})", own.path, own.version));
        fact("usage", format!("{} charged to it", human(own.usage_bytes)));
        fact(
            "working set",
            format!("{} as the kubelet counts", human(own.working_set_bytes)),
        );
        fact(
            "reclaimable",
            format!("{} that the kernel can drop", human(own.reclaimable_bytes)),
        );
    }
    for note in &report.notes {
        fact("note", note.clone());
    }
}
