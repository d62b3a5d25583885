//! One node of the page: its curves in each run side by side, what happened there, and the figures as a table.

use std::fmt::Write as _;

use forestall_decide::kubelet::{KubeletConfig, Signal};
use forestall_decide::{Bytes, Moment, Span};
use forestall_sim::{CurveRow, NodeCurve, NodeSpec, World};

use super::chart::{Area, Chart, Line, Point, Wall};
use super::markup::{html, text};
use super::scale::Scale;
use super::story::Story;
use crate::commands::simulate::Run;
use crate::commands::simulate::foretold;
use crate::commands::simulate::timeline::seconds;

/// Rows of the table that stands for a curve.
const INSTANTS: u64 = 12;

/// What is the same in all runs of a node, so that they can be compared: the scales.
struct Scales {
    available: Scale,
    pods: Scale,
}

/// The node's part of the page.
pub(super) fn section(out: &mut String, world: &World, node: u32, runs: &[Run]) {
    let Some(spec) = world.nodes.get(node as usize) else {
        return;
    };
    let _ = writeln!(
        out,
        "<section aria-labelledby=\"n{node}\">\n<h2 id=\"n{node}\">Node {}</h2>\n<p class=\"faint\">{}</p>\n<div class=\"pair runs\">",
        text(&spec.name),
        text(&about(spec))
    );
    let scales = scales(world.duration, spec, node, runs);
    for (index, run) in runs.iter().enumerate() {
        let Some(curve) = run.report.curves.nodes.iter().find(|curve| curve.node == node) else {
            continue;
        };
        let id = format!("e{index}n{node}");
        let end = Moment(0) + world.duration;
        let story = Story::new(id.clone(), node, &run.report.events, end);
        let _ = writeln!(out, "<article>\n<h3>{}</h3>", text(run.variant));
        story.lanes(&scales.available, out);
        available(spec, curve, &story, scales.available, &id).render(out);
        // Each part has a row of its own in every run, so that runs stand side by side.
        match pods(spec, curve, &story, scales.pods, &id) {
            Some(chart) => chart.render(out),
            None => out.push_str("<p class=\"faint\">There are no pods.</p>\n"),
        }
        story.legend(out);
        shadow(out, node, run);
        story.table(out);
        figures(out, curve, world.duration);
        out.push_str("</article>\n");
    }
    out.push_str("</div>\n</section>\n");
}

/// What the agent's shadow kubelet foretold here first, and what came of it.
fn shadow(out: &mut String, node: u32, run: &Run) {
    let all = &run.report.foretellings;
    let told = match all.of(node) {
        Some(foretelling) => {
            let told = foretold::of(foretelling);
            format!(
                "Shadow kubelet: after {} s it said that {}. {}",
                seconds(foretelling.at),
                html(&told.said()),
                html(&told.outcome())
            )
        }
        None if all.untold.contains(&node) => {
            "Shadow kubelet: the first eviction here was not foretold.".to_owned()
        }
        None => "Shadow kubelet: no eviction was foretold.".to_owned(),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "<p>{told}</p>");
}

/// The machine in a sentence.
fn about(spec: &NodeSpec) -> String {
    let mut about = format!("{} of memory", amount(spec.memory.0));
    let Some(config) = &spec.kubelet else {
        return format!("{about}, no kubelet");
    };
    let hard = config.hard(Signal::MemoryAvailable);
    let _ = write!(about, "; its kubelet evicts below {}", amount(hard.0));
    if config.enforces_pods {
        let _ = write!(
            about,
            "; pods are evicted above {} and killed at {}",
            amount(allocatable(spec).0),
            amount(config.kubepods_limit().0)
        );
    }
    about
}

/// Where pods are evicted for what they hold together.
fn allocatable(spec: &NodeSpec) -> Bytes {
    spec.kubelet.as_ref().map_or(Bytes::ZERO, |config| {
        config.kubepods_limit() - config.hard(Signal::AllocatableMemoryAvailable)
    })
}

/// Binary units with two decimals below ten of them.
pub(super) fn amount(bytes: u64) -> String {
    for (unit, scale) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= scale {
            let hundredths = u128::from(bytes) * 100 / u128::from(scale);
            return match hundredths % 100 {
                0 => format!("{} {unit}", hundredths / 100),
                _ if hundredths >= 10_000 => format!("{} {unit}", hundredths / 100),
                rest => format!("{}.{rest:02} {unit}", hundredths / 100),
            };
        }
    }
    format!("{bytes} bytes")
}

fn scales(duration: Span, spec: &NodeSpec, node: u32, runs: &[Run]) -> Scales {
    let rows = || {
        runs.iter()
            .flat_map(|run| &run.report.curves.nodes)
            .filter(|curve| curve.node == node)
            .flat_map(|curve| &curve.rows)
    };
    let available = rows()
        .map(|row| {
            row.kernel_available
                .max(row.kubelet_available.unwrap_or_default())
        })
        .max()
        .unwrap_or_default();
    let limit = spec
        .kubelet
        .as_ref()
        .filter(|config| config.enforces_pods)
        .map(KubeletConfig::kubepods_limit);
    let pods = rows()
        .map(|row| row.pods_charged.max(row.pods_working_set))
        .chain(limit)
        .max();
    Scales {
        available: Scale::new(duration, available.0),
        pods: Scale::new(duration, pods.unwrap_or_default().0),
    }
}

fn points(curve: &NodeCurve, of: impl Fn(&CurveRow) -> Bytes) -> Vec<Point> {
    curve.rows.iter().map(|row| (row.at, of(row).0)).collect()
}

/// The first, the lowest and the last of a line, in words.
fn course(name: &str, points: &[Point]) -> String {
    let lowest = points.iter().min_by_key(|(_, value)| *value);
    let (Some(first), Some(lowest), Some(last)) = (points.first(), lowest, points.last()) else {
        return String::new();
    };
    format!(
        "{name}: {} at first, {} at the lowest after {} s, {} at the end. ",
        amount(first.1),
        amount(lowest.1),
        seconds(lowest.0),
        amount(last.1)
    )
}

fn available(spec: &NodeSpec, curve: &NodeCurve, story: &Story<'_>, scale: Scale, id: &str) -> Chart {
    let kernel = points(curve, |row| row.kernel_available);
    let mut description = course("By the kernel's count", &kernel);
    let mut lines = vec![Line {
        class: "line kernel-view",
        name: "available, as the kernel counts it".to_owned(),
        points: kernel,
    }];
    let mut walls = Vec::new();
    if let Some(config) = &spec.kubelet {
        let kubelet = points(curve, |row| row.kubelet_available.unwrap_or_default());
        description.push_str(&course("By the kubelet's count", &kubelet));
        lines.push(Line {
            class: "line kubelet-view",
            name: "available, as the kubelet counts it".to_owned(),
            points: kubelet,
        });
        let thresholds = config
            .thresholds
            .iter()
            .filter(|threshold| threshold.signal == Signal::MemoryAvailable);
        for threshold in thresholds {
            let soft = if threshold.grace > Span(0) { "soft: " } else { "" };
            walls.push(Wall {
                at: threshold.value.0,
                name: format!("{soft}kubelet evicts below {}", amount(threshold.value.0)),
            });
        }
    }
    Chart {
        scale,
        id: format!("{id}a"),
        title: "Available memory of the node".to_owned(),
        description,
        areas: Vec::new(),
        lines,
        walls,
        stripes: story.faults(),
        moments: story.deaths(&scale),
    }
}

/// What pods hold, against the walls of `kubepods`; nothing where there are no pods at any time.
fn pods(spec: &NodeSpec, curve: &NodeCurve, story: &Story<'_>, scale: Scale, id: &str) -> Option<Chart> {
    let charged = points(curve, |row| row.pods_charged);
    if charged.iter().all(|(_, value)| *value == 0) {
        return None;
    }
    let working = points(curve, |row| row.pods_working_set);
    let mut description = course("Pods' working set", &working);
    let mut areas = Vec::new();
    let mut lower: Vec<Point> = working.iter().map(|(at, _)| (*at, 0)).collect();
    for (kind, name) in curve.kinds.iter().enumerate() {
        let own = |row: &CurveRow| row.by_kind.get(kind).copied().unwrap_or_default().0;
        let upper: Vec<Point> = lower
            .iter()
            .zip(&curve.rows)
            .map(|((at, below), row)| (*at, below.saturating_add(own(row))))
            .collect();
        // Kinds that are never on this node are none of its parts.
        if curve.rows.iter().any(|row| own(row) > 0) {
            areas.push(Area {
                class: format!("area kind{kind}"),
                name: name.to_string(),
                lower: lower.clone(),
                upper: upper.clone(),
            });
        }
        lower = upper;
    }
    if curve.kinds.is_empty() {
        areas.push(Area {
            class: "area kind0".to_owned(),
            name: "all pods".to_owned(),
            lower,
            upper: working.clone(),
        });
    }
    let mut walls = Vec::new();
    if let Some(config) = spec.kubelet.as_ref().filter(|config| config.enforces_pods) {
        let (above, limit) = (allocatable(spec).0, config.kubepods_limit().0);
        walls.push(Wall {
            at: above,
            name: format!("kubelet evicts above {}", amount(above)),
        });
        walls.push(Wall {
            at: limit,
            name: format!("kernel kills at {}", amount(limit)),
        });
        let _ = write!(
            description,
            "Evicted above {}, killed at {}.",
            amount(above),
            amount(limit)
        );
    }
    Some(Chart {
        scale,
        id: format!("{id}p"),
        title: "Memory of the pods".to_owned(),
        description,
        areas,
        lines: vec![
            Line {
                class: "line charged",
                name: "charged to kubepods, all page cache included".to_owned(),
                points: charged,
            },
            Line {
                class: "line working",
                name: "working set, as the kubelet counts it".to_owned(),
                points: working,
            },
        ],
        walls,
        stripes: story.faults(),
        moments: story.deaths(&scale),
    })
}

/// A line's value at a moment, between two of its points straight.
fn at(points: &[Point], moment: Moment) -> u64 {
    let next = points.partition_point(|(at, _)| *at <= moment);
    let before = next.checked_sub(1).and_then(|index| points.get(index));
    match (before, points.get(next)) {
        (Some((from, low)), Some((to, high))) => {
            let (into, whole) = (moment.since(*from).0, to.since(*from).0.max(1));
            let moved = u128::from(low.abs_diff(*high)) * u128::from(into) / u128::from(whole);
            let moved = u64::try_from(moved).unwrap_or(u64::MAX);
            if high >= low {
                low.saturating_add(moved)
            } else {
                low.saturating_sub(moved)
            }
        }
        (Some((_, value)), None) | (None, Some((_, value))) => *value,
        (None, None) => 0,
    }
}

/// The curve for those who read figures.
fn figures(out: &mut String, curve: &NodeCurve, duration: Span) {
    let kernel = points(curve, |row| row.kernel_available);
    let working = points(curve, |row| row.pods_working_set);
    let kubelet: Option<Vec<Point>> = curve
        .rows
        .iter()
        .map(|row| Some((row.at, row.kubelet_available?.0)))
        .collect();
    out.push_str(
        "<details><summary>The curves as figures, MiB</summary>\n<div class=\"wide\"><table>\
         <thead><tr><th scope=\"col\" class=\"number\">Second</th><th scope=\"col\" class=\"number\">Available, kernel</th>\
         <th scope=\"col\" class=\"number\">Available, kubelet</th><th scope=\"col\" class=\"number\">Pods</th></tr></thead>\n<tbody>\n",
    );
    for step in 0..=INSTANTS {
        let moment = Moment(duration.0 / INSTANTS * step);
        let kubelet = kubelet
            .as_ref()
            .map_or_else(|| "–".to_owned(), |points| mebi(at(points, moment)));
        let _ = writeln!(
            out,
            "<tr><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{kubelet}</td><td class=\"number\">{}</td></tr>",
            seconds(moment),
            mebi(at(&kernel, moment)),
            mebi(at(&working, moment))
        );
    }
    out.push_str("</tbody></table></div></details>\n");
}

fn mebi(bytes: u64) -> String {
    (bytes >> 20).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_points_a_line_is_straight() {
        let points = [
            (Moment(0), 100),
            (Moment(10), 200),
            (Moment(10), 40),
            (Moment(20), 0),
        ];
        for (moment, value) in [(0, 100), (5, 150), (9, 190), (10, 40), (15, 20), (20, 0), (99, 0)] {
            assert_eq!(at(&points, Moment(moment)), value, "{moment}");
        }
        assert_eq!(at(&[], Moment(3)), 0);
    }

    #[test]
    fn amounts_have_the_figures_that_matter() {
        for (bytes, shown) in [
            (5_573_943_296, "5.19 GiB"),
            (750 << 20, "750 MiB"),
            (4 << 30, "4 GiB"),
            (1023, "1023 bytes"),
        ] {
            assert_eq!(amount(bytes), shown);
        }
    }
}
