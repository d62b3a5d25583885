//! The map for people: bars, walls, division and both views.

use std::fmt::Write as _;

use super::bar::{self, Cell, Fill};
use super::map::Wall;
use super::report::Report;
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
    if report.kubelet {
        let fill = report.pods.as_ref().map_or_else(
            || Fill {
                used: used(report, 0),
                cache: 0,
            },
            |pods| Fill {
                used: pods.working_set_bytes,
                cache: pods.usage_bytes.saturating_sub(pods.working_set_bytes),
            },
        );
        draw(text, "pods", &bar::pods(&report.division, fill, width), style);
    }
    let fill = report.views.map_or_else(
        || Fill {
            used: report
                .walls
                .iter()
                .rev()
                .find_map(|wall| wall.used_bytes)
                .unwrap_or(0),
            cache: 0,
        },
        |views| Fill {
            used: views.kernel_used_bytes,
            cache: views.kernel_available_bytes.saturating_sub(views.free_bytes),
        },
    );
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

fn used(report: &Report, index: usize) -> u64 {
    report
        .walls
        .get(index)
        .and_then(|wall| wall.used_bytes)
        .unwrap_or(0)
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
    for (letter, wall) in lettered(report) {
        let is_next = report.next_wall == Some(wall.kind);
        let line = format!(
            "{letter}  {:<20}{:>12}{:>12}{:>12}  {}",
            wall.kind.name(),
            mebi(wall.at_bytes),
            shown(wall.used_bytes),
            shown(wall.distance_bytes),
            wall.kind.consequence(),
        );
        let _ = writeln!(text, "{}", if is_next { style.paint("1", &line) } else { line });
    }
    if let Some(next) = report
        .walls
        .iter()
        .find(|wall| report.next_wall == Some(wall.kind))
    {
        let distance = next.distance_bytes.unwrap_or(0);
        let crossed = if distance == 0 { "crossed: " } else { "" };
        let share = percent(distance, next.at_bytes);
        let line = format!(
            "{crossed}{}, {} away ({share} of it)",
            next.kind.name(),
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
    let division = &report.division;
    let capacity = division.capacity_bytes;
    let head = format!("   {:<20}{:>12}{:>14}{:>12}", "DIVISION", "MiB", "KiB", "SHARE");
    let _ = writeln!(text, "{}", style.paint("2", &head));
    let mut line = |name: &str, bytes: u64, sgr: &str| {
        let line = format!(
            "   {name:<20}{:>12}{:>14}{:>12}",
            mebi(bytes),
            format!("{}Ki", bytes >> 10),
            percent(bytes, capacity)
        );
        let _ = writeln!(text, "{}", style.paint(sgr, &line));
    };
    line("capacity", capacity, "");
    line("- kube-reserved", division.kube_reserved_bytes, "");
    line("- system-reserved", division.system_reserved_bytes, "");
    if division.hugepages_bytes > 0 {
        line("- huge pages", division.hugepages_bytes, "");
    }
    line("= kubepods limit", division.kubepods_limit_bytes, "1");
    line("- eviction-hard", division.eviction_hard_bytes, "");
    line("= allocatable", division.allocatable_bytes, "1");
    if let Some(percent) = report.top_node_percent {
        let _ = writeln!(
            text,
            "   kubectl top node shows {percent} % (of allocatable, which is not all of the node)"
        );
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
        let blind = &views.blind;
        let parts = [
            ("slab", Some(blind.slab_bytes)),
            ("page tables", Some(blind.page_tables_bytes)),
            ("kernel stacks", Some(blind.kernel_stack_bytes)),
            ("per processor", Some(blind.percpu_bytes)),
            ("huge pages", Some(blind.hugetlb_bytes)),
            ("sockets", blind.sockets_bytes),
            ("unnamed", Some(blind.unnamed_bytes)),
        ];
        for (name, bytes) in parts {
            let shown = bytes.map_or_else(|| "-".to_owned(), mebi);
            let _ = writeln!(text, "     {name:<18}{shown:>12}");
        }
    }
    text.push('\n');
}
