//! The map for people: bars, walls, division and both views.

use std::fmt::Write as _;

use super::bar::{self, Cell, Fill};
use super::machine::Pods;
use super::report::Report;
use super::wall::Wall;
use crate::commands::free::shown::{human, mebi, percent};

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Columns of the terminal.
    pub(crate) columns: usize,
    /// Whether escape sequences are understood and wanted.
    pub(crate) colour: bool,
    /// Whether every part is listed.
    pub(crate) wide: bool,
    /// Whether the percentage of `kubectl top node` is explained.
    pub(crate) explains_top: bool,
}

impl Style {
    fn paint(self, sgr: &str, text: &str) -> String {
        if self.colour && !text.is_empty() && !sgr.is_empty() {
            format!("\x1b[{sgr}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Columns left of the bars.
const MARGIN: usize = 6;

/// The whole of it.
pub(crate) fn table(report: &Report, style: Style) -> String {
    let mut text = String::new();
    headline(&mut text, report, style);
    picture(&mut text, report, style);
    walls(&mut text, report, style);
    division(&mut text, report, style);
    views(&mut text, report, style);
    for note in &report.notes {
        let _ = writeln!(text, "{} {note}", style.paint("33", "note:"));
    }
    text
}

fn headline(text: &mut String, report: &Report, style: Style) {
    let capacity = report.division.capacity_bytes;
    let title = format!(
        "{} of memory, {}Ki = {} MiB",
        human(capacity),
        capacity >> 10,
        mebi(capacity)
    );
    let _ = writeln!(text, "{}", style.paint("1", &title));
    for source in &report.sources {
        let _ = writeln!(text, "{}", style.paint("2", source));
    }
    text.push('\n');
}

fn picture(text: &mut String, report: &Report, style: Style) {
    let width = style.columns.saturating_sub(MARGIN + 1).clamp(20, 96);
    let given = |used: Option<u64>| Fill {
        used: used.unwrap_or(0),
        cache: 0,
    };
    if report.kubelet {
        let measured = report.pods.as_ref().and_then(Pods::working_set_and_cache);
        let fill = measured.map_or(given(report.pods_used()), |(used, cache)| Fill { used, cache });
        draw(
            text,
            "pods",
            &bar::pods(&report.division, report.pods_line(), fill, width),
            style,
        );
    }
    let used = report.top.map(|top| top.usage_bytes);
    let fill = report.views.map_or(given(used), |views| Fill {
        used: views.kernel_used_bytes,
        cache: views.kernel_available_bytes.saturating_sub(views.free_bytes),
    });
    draw(
        text,
        "node",
        &bar::node(&report.division, report.kubelet, fill, width),
        style,
    );
    let marked: Vec<_> = lettered(report)
        .map(|(letter, wall)| (letter, wall.at_bytes))
        .collect();
    let marks = bar::marks(report.division.capacity_bytes, width, &marked);
    let _ = writeln!(text, "{:MARGIN$}{}", "", style.paint("1", &marks));
    let mut legend = vec![(Cell::Used, "used"), (Cell::Cache, "cache"), (Cell::Free, "free")];
    if report.kubelet {
        legend.extend([
            (Cell::Evicting, "the kubelet evicts"),
            (Cell::Reserved, "reserved for daemons"),
        ]);
    }
    let legend = legend.iter().map(|(cell, name)| {
        format!(
            "{} {}",
            style.paint(cell.colour(), &cell.glyph().to_string()),
            style.paint("2", name)
        )
    });
    let _ = writeln!(text, "{:MARGIN$}{}\n", "", legend.collect::<Vec<_>>().join("  "));
}

fn lettered(report: &Report) -> impl Iterator<Item = (char, &Wall)> {
    ('A'..='Z').zip(&report.walls)
}

/// One bar; neighbouring cells of one kind share an escape sequence.
fn draw(text: &mut String, name: &str, cells: &[Cell], style: Style) {
    let _ = write!(text, "{name:<MARGIN$}");
    for run in cells.chunk_by(|one, other| one == other) {
        let Some(first) = run.first() else { continue };
        let glyphs: String = run.iter().map(|cell| cell.glyph()).collect();
        text.push_str(&style.paint(first.colour(), &glyphs));
    }
    text.push('\n');
}

fn walls(text: &mut String, report: &Report, style: Style) {
    let shown = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), mebi);
    let head = format!(
        "   {:<20}{:>12}{:>12}{:>12}  WHAT HAPPENS THERE",
        "WALL", "AT MiB", "USED", "DISTANCE"
    );
    let _ = writeln!(text, "{}", style.paint("2", &head));
    for (index, (letter, wall)) in lettered(report).enumerate() {
        let is_next = report.next == Some(index);
        let line = format!(
            "{letter}  {:<20}{:>12}{:>12}{:>12}  {}",
            wall.name(),
            mebi(wall.at_bytes),
            shown(wall.used_bytes),
            shown(wall.distance_bytes),
            wall.consequence(),
        );
        let _ = writeln!(text, "{}", if is_next { style.paint("1", &line) } else { line });
    }
    if let Some(next) = report.next.and_then(|index| report.walls.get(index)) {
        let distance = next.distance_bytes.unwrap_or(0);
        let crossed = if distance == 0 { "crossed: " } else { "" };
        let share = percent(distance, next.at_bytes);
        let line = format!(
            "{crossed}{}, {} away ({share} of it)",
            next.name(),
            human(distance)
        );
        let sgr = if distance < next.at_bytes / 10 {
            "1;31"
        } else {
            "1;32"
        };
        let _ = writeln!(text, "next wall  {}", style.paint(sgr, &line));
    }
    text.push('\n');
}

fn division(text: &mut String, report: &Report, style: Style) {
    if !report.kubelet {
        return;
    }
    let head = format!(
        "   {:<20}{:>12}{:>14}{:>12}  SOURCE",
        "DIVISION", "MiB", "KiB", "SHARE"
    );
    let _ = writeln!(text, "{}", style.paint("2", &head));
    for line in report.lines() {
        let bytes = line.bytes;
        let figures = format!(
            "   {:<20}{:>12}{:>14}{:>12}",
            line.name,
            bytes.map_or_else(|| "none".to_owned(), mebi),
            bytes.map_or_else(String::new, |bytes| format!("{}Ki", bytes >> 10)),
            bytes.map_or_else(String::new, |bytes| percent(
                bytes,
                report.division.capacity_bytes
            )),
        );
        let figures = style.paint(if line.is_result { "1" } else { "" }, &figures);
        let source = style.paint("2", line.source);
        let line = format!("{figures}  {source}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if style.wide {
        for threshold in &report.thresholds {
            let _ = writeln!(text, "   {}", threshold.sentence());
        }
        let _ = writeln!(
            text,
            "   the node counts as under pressure for {} s after the last was met",
            report.pressure_transition_seconds
        );
    }
    text.push('\n');
    top(text, report, style);
}

fn top(text: &mut String, report: &Report, style: Style) {
    let Some(top) = &report.top else { return };
    let shown = format!(
        "kubectl top node shows {}Mi and {} %",
        top.shown_mebibytes, top.shown_percent
    );
    let rest = if style.explains_top {
        ""
    } else {
        " (of allocatable, which is not all of the node)"
    };
    let _ = writeln!(text, "{}{rest}", style.paint("1", &shown));
    if style.explains_top {
        for sentence in top.sentences(&report.division) {
            let _ = writeln!(text, "   {sentence}");
        }
    }
    text.push('\n');
}

fn views(text: &mut String, report: &Report, style: Style) {
    let Some(views) = &report.views else { return };
    let head = format!(
        "   {:<20}{:>12}{:>12}{:>12}",
        "BOTH VIEWS, MiB", "KERNEL", "KUBELET", "DIFFERENCE"
    );
    let _ = writeln!(text, "{}", style.paint("2", &head));
    let mut line = |name: &str, kernel: u64, kubelet: u64| {
        let (sign, apart) = if kubelet < kernel {
            ("-", kernel - kubelet)
        } else {
            ("+", kubelet - kernel)
        };
        let apart = format!("{sign}{}", mebi(apart));
        let _ = writeln!(
            text,
            "   {name:<20}{:>12}{:>12}{apart:>12}",
            mebi(kernel),
            mebi(kubelet)
        );
    };
    line("used", views.kernel_used_bytes, views.kubelet_used_bytes);
    line(
        "available",
        views.kernel_available_bytes,
        views.kubelet_available_bytes,
    );
    let _ = writeln!(
        text,
        "   {:<20}{:>12}  cache that the kubelet counts as used and the kernel can drop",
        "active cache",
        mebi(views.active_cache_bytes)
    );
    let _ = writeln!(
        text,
        "   {:<20}{:>12}  kernel memory that the kubelet does not see",
        "blind bytes",
        mebi(views.blind.total_bytes)
    );
    if style.wide {
        for (name, bytes) in views.blind.parts() {
            let shown = bytes.map_or_else(|| "-".to_owned(), mebi);
            let _ = writeln!(text, "     {name:<18}{shown:>12}");
        }
    }
    text.push('\n');
}
