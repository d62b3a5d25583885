//! The map as a drawing: the pods and the node as bars with the walls across them, and every figure in text beside them.

mod paper;

use self::paper::{MARGIN, Paper, WIDTH};
use super::machine::Pods;
use super::report::Report;
use crate::commands::free::shown::{human, mebi, percent};

/// Height of a bar.
const BAR: u64 = 30;
/// Closer than this, two letters would touch.
const LETTER: u64 = 14;

/// The whole drawing.
pub(crate) fn drawing(report: &Report) -> String {
    let mut paper = Paper::default();
    paper.y = 36;
    let capacity = report.division.capacity_bytes;
    let title = format!("Memory of a node with {} ({}Ki)", human(capacity), capacity >> 10);
    paper.text(MARGIN, 0, "big", &title);
    paper.y += 4;
    for source in &report.sources {
        paper.paragraph("faint", source);
    }
    picture(&mut paper, report);
    walls(&mut paper, report);
    if report.kubelet {
        division(&mut paper, report);
    }
    blind(&mut paper, report);
    for note in &report.notes {
        paper.y += 4;
        paper.paragraph("faint", &format!("Note: {note}"));
    }
    paper.finish(&title, &description(report))
}

/// The map in a sentence, for those who do not see it.
fn description(report: &Report) -> String {
    let walls = report.walls.iter().map(|wall| {
        let distance = wall
            .distance_bytes
            .map_or_else(String::new, |bytes| format!(", {} MiB away", mebi(bytes)));
        format!("{} at {} MiB{distance}", wall.name(), mebi(wall.at_bytes))
    });
    walls.collect::<Vec<_>>().join("; ")
}

/// A part of a bar: until this figure, of this class.
type Part = (u64, &'static str);

fn picture(paper: &mut Paper, report: &Report) {
    let division = &report.division;
    let capacity = division.capacity_bytes;
    paper.y += 34;
    let letters = paper.y;
    paper.y += 8;
    let top = paper.y;
    if report.kubelet {
        let end = division.pods_end();
        let evicting = report.pods_line().min(end);
        let measured = report.pods.as_ref().and_then(Pods::working_set_and_cache);
        let (used, cache) = measured.unwrap_or((report.pods_used().unwrap_or(0), 0));
        let charged = used.saturating_add(cache);
        let parts = [
            (used, "used"),
            (charged, "cache"),
            (evicting, "free"),
            (end, "evicting"),
            (capacity, "reserved"),
        ];
        bar(paper, "All pods, as the kubelet counts them", &parts, capacity);
    }
    let hard = if report.kubelet {
        division.eviction_hard_bytes
    } else {
        0
    };
    let evicting = capacity.saturating_sub(hard);
    let end = [(evicting, "free"), (capacity, "evicting")];
    if let Some(views) = &report.views {
        let cached = capacity.saturating_sub(views.free_bytes);
        let kernel = [
            (views.kernel_used_bytes, "used"),
            (cached, "cache"),
            (capacity, "free"),
        ];
        bar(paper, "The node, as the kernel counts it", &kernel, capacity);
        if report.kubelet {
            let blind = views.kubelet_used_bytes.saturating_add(views.blind.total_bytes);
            let kubelet: Vec<Part> = [(views.kubelet_used_bytes, "used"), (blind, "blind")]
                .into_iter()
                .chain(end)
                .collect();
            bar(paper, "The node, as the kubelet counts it", &kubelet, capacity);
        }
    } else {
        let used = report.top.map_or(0, |top| top.usage_bytes);
        let parts: Vec<Part> = std::iter::once((used, "used")).chain(end).collect();
        bar(paper, "The node, as the kubelet counts it", &parts, capacity);
    }
    marks(paper, report, letters, top);
    axis(paper, capacity);
    legend(paper, report);
}

/// A bar from nothing to `capacity`; a part that ends before the one ahead of it is not seen.
fn bar(paper: &mut Paper, name: &str, parts: &[Part], capacity: u64) {
    paper.text(MARGIN, 14, "faint", name);
    paper.y += 20;
    let mut from = MARGIN;
    for (until, class) in parts {
        let to = place(*until, capacity);
        paper.region(from, to, BAR, class);
        from = from.max(to);
    }
    paper.region(MARGIN, WIDTH - MARGIN, BAR, "frame");
    paper.y += BAR + 4;
}

/// Where a figure lies from left to right.
fn place(bytes: u64, capacity: u64) -> u64 {
    let width = u128::from(WIDTH - 2 * MARGIN);
    let exact = u128::from(bytes.min(capacity)) * width / u128::from(capacity.max(1));
    MARGIN + u64::try_from(exact).unwrap_or(0)
}

/// The walls across the bars, each under its letter; letters that would touch move apart.
fn marks(paper: &mut Paper, report: &Report, letters: u64, top: u64) {
    let capacity = report.division.capacity_bytes;
    let bottom = paper.y;
    let mut sorted: Vec<_> = ('A'..='Z')
        .zip(&report.walls)
        .map(|(letter, wall)| (place(wall.at_bytes, capacity), letter))
        .collect();
    sorted.sort_unstable();
    let mut limit = WIDTH;
    let y = paper.y;
    for (x, letter) in sorted.into_iter().rev() {
        let at = x.min(limit);
        limit = at.saturating_sub(LETTER);
        paper.upright(x, top, bottom, "mark");
        paper.y = letters;
        paper.text(at, 0, "bold middle", &letter.to_string());
        paper.y = y;
    }
}

/// A tick each power of two of GiB or less, at most eight of them.
fn axis(paper: &mut Paper, capacity: u64) {
    let mut step = 1_u64;
    while capacity / step > 8 && step < 1 << 62 {
        step <<= 1;
    }
    let (from, to) = (paper.y, paper.y + 5);
    for count in 0..=capacity / step {
        let at = count.saturating_mul(step);
        let x = place(at, capacity);
        paper.upright(x, from, to, "tick");
        let anchor = if count == 0 { "faint" } else { "faint middle" };
        paper.text(x, 18, anchor, &human(at));
    }
    paper.y += 24;
}

fn legend(paper: &mut Paper, report: &Report) {
    let mut entries = vec![("used", "used"), ("cache", "cache"), ("free", "free")];
    if report.kubelet {
        entries.push(("evicting", "the kubelet evicts"));
        entries.push(("reserved", "not for pods"));
        if report.views.is_some() {
            entries.push(("blind", "blind: the kubelet does not see it"));
        }
    }
    paper.y += 8;
    let mut x = MARGIN;
    for (class, name) in entries {
        paper.region(x, x + 14, 14, class);
        paper.text(x + 20, 12, "faint", name);
        // About seven to a letter of this size.
        x += 44 + 7 * name.len() as u64;
    }
    paper.y += 14;
}

fn heading(paper: &mut Paper, columns: &[(u64, &str, &str)]) {
    paper.y += 34;
    for (x, classes, name) in columns {
        paper.text(*x, 0, &format!("faint {classes}"), name);
    }
    paper.y += 3;
}

fn walls(paper: &mut Paper, report: &Report) {
    heading(
        paper,
        &[
            (MARGIN, "", "Wall"),
            (290, "end", "At, MiB"),
            (395, "end", "Used"),
            (480, "end", "Distance"),
            (504, "", "What happens there"),
        ],
    );
    for (index, (letter, wall)) in ('A'..='Z').zip(&report.walls).enumerate() {
        let weight = if report.next == Some(index) { "bold" } else { "" };
        let shown = |bytes: Option<u64>| bytes.map_or_else(|| "–".to_owned(), mebi);
        paper.y += 19;
        paper.text(MARGIN, 0, "bold", &letter.to_string());
        paper.text(MARGIN + 20, 0, weight, &wall.name());
        paper.text(290, 0, &format!("end {weight}"), &mebi(wall.at_bytes));
        paper.text(395, 0, &format!("end {weight}"), &shown(wall.used_bytes));
        paper.text(480, 0, &format!("end {weight}"), &shown(wall.distance_bytes));
        paper.text(504, 0, weight, &wall.consequence());
    }
}

fn division(paper: &mut Paper, report: &Report) {
    heading(
        paper,
        &[
            (MARGIN, "", "Division"),
            (290, "end", "MiB"),
            (395, "end", "Ki"),
            (480, "end", "Share"),
            (504, "", "Source"),
        ],
    );
    for line in report.lines() {
        let weight = if line.is_result { "bold" } else { "" };
        paper.y += 19;
        paper.text(MARGIN, 0, weight, line.name);
        match line.bytes {
            Some(bytes) => {
                paper.text(290, 0, &format!("end {weight}"), &mebi(bytes));
                paper.text(395, 0, &format!("end {weight}"), &(bytes >> 10).to_string());
                let share = percent(bytes, report.division.capacity_bytes);
                paper.text(480, 0, &format!("end {weight}"), &share);
            }
            None => paper.text(290, 0, "end", "none"),
        }
        // The rest of the line has room for so many letters.
        if let Some(source) = paper::wrap(line.source, 66).first() {
            paper.text(504, 0, "faint", source);
        }
    }
    if let Some(top) = report.top {
        paper.y += 8;
        let text = format!(
            "kubectl top node shows {}Mi and {} %: of allocatable, which is not all of the node.",
            top.shown_mebibytes, top.shown_percent
        );
        paper.paragraph("bold", &text);
        for sentence in top.sentences(&report.division) {
            paper.paragraph("faint", &sentence);
        }
    }
}

fn blind(paper: &mut Paper, report: &Report) {
    let Some(views) = &report.views else { return };
    heading(
        paper,
        &[
            (MARGIN, "", "Both views, MiB"),
            (290, "end", "Kernel"),
            (395, "end", "Kubelet"),
        ],
    );
    for (name, kernel, kubelet) in [
        ("used", views.kernel_used_bytes, views.kubelet_used_bytes),
        (
            "available",
            views.kernel_available_bytes,
            views.kubelet_available_bytes,
        ),
    ] {
        paper.y += 19;
        paper.text(MARGIN, 0, "", name);
        paper.text(290, 0, "end", &mebi(kernel));
        paper.text(395, 0, "end", &mebi(kubelet));
    }
    let parts = views.blind.parts();
    let shown = parts
        .iter()
        .filter_map(|(name, bytes)| Some(format!("{name} {}", mebi((*bytes)?))));
    let parts = shown.collect::<Vec<_>>().join(", ");
    paper.y += 4;
    paper.paragraph(
        "",
        &format!("Blind bytes, MiB: {} ({parts})", mebi(views.blind.total_bytes)),
    );
    paper.paragraph(
        "",
        &format!(
            "Active cache, MiB: {}, which the kubelet counts as used and the kernel can drop",
            mebi(views.active_cache_bytes)
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_lie_where_they_belong_on_every_machine() {
        assert_eq!(place(0, 100), MARGIN);
        assert_eq!(place(100, 100), WIDTH - MARGIN);
        assert_eq!(place(50, 100), WIDTH / 2);
        assert_eq!(place(u64::MAX, 100), WIDTH - MARGIN);
        assert_eq!(place(u64::MAX, u64::MAX), WIDTH - MARGIN);
        assert_eq!(place(5, 0), MARGIN);
    }

    #[test]
    fn the_axis_has_few_ticks_whatever_the_size() {
        for capacity in [0, 1, 9, 7_291_510_784, 1 << 50, u64::MAX] {
            let mut paper = Paper::default();
            axis(&mut paper, capacity);
            let ticks = paper.finish("", "").matches("class=\"tick\"").count();
            assert!((1..=9).contains(&ticks), "{ticks} of {capacity}");
        }
    }
}
