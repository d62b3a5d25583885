//! All nodes together: how low the lowest of them is, and on which of them somebody died.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use forestall_decide::Span;
use forestall_sim::{FleetRow, World};

use super::chart::{Area, Chart, Line, Point};
use super::markup::text;
use super::scale::Scale;
use crate::commands::simulate::Run;

/// So many nodes are named.
const NODES_MAX: usize = 10;

/// The part of the page about all nodes; nothing where there is one alone.
pub(super) fn section(out: &mut String, world: &World, shown: &[u32], runs: &[Run]) {
    if world.nodes.len() < 2 {
        return;
    }
    let _ = writeln!(
        out,
        "<section aria-labelledby=\"fleet\">\n<h2 id=\"fleet\">All {} nodes</h2>",
        world.nodes.len()
    );
    if shown.len() < world.nodes.len() {
        let _ = writeln!(
            out,
            "<p class=\"faint\">Below, {} of them with curves of their own: where most died, and of equals those that came lowest.</p>",
            shown.len()
        );
    }
    out.push_str("<div class=\"pair\">\n");
    let rows = || runs.iter().flat_map(|run| &run.report.curves.fleet);
    let highest = rows().map(|row| row.highest).max().unwrap_or_default();
    let scale = Scale::new(world.duration, highest.0);
    for (index, run) in runs.iter().enumerate() {
        let _ = writeln!(out, "<article>\n<h3>{}</h3>", text(run.variant));
        chart(&run.report.curves.fleet, scale, index, run, world.duration).render(out);
        out.push_str("</article>\n");
    }
    out.push_str("</div>\n");
    table(out, world, runs);
    out.push_str("</section>\n");
}

fn chart(rows: &[FleetRow], scale: Scale, index: usize, run: &Run, duration: Span) -> Chart {
    let points =
        |of: fn(&FleetRow) -> u64| -> Vec<Point> { rows.iter().map(|row| (row.at, of(row))).collect() };
    let tally = &run.report.tally;
    let description = format!(
        "Over {duration}, {} died on {} nodes; {} nodes were lost.",
        tally.deaths(),
        tally.nodes_hit,
        tally.nodes_lost
    );
    Chart {
        scale,
        id: format!("f{index}"),
        title: "Available memory of the nodes, as their kubelets count it".to_owned(),
        description,
        areas: vec![Area {
            class: "area kind0".to_owned(),
            name: "from the lowest node to the highest".to_owned(),
            lower: points(|row| row.lowest.0),
            upper: points(|row| row.highest.0),
        }],
        lines: vec![
            Line {
                class: "line kernel-view",
                name: "the least that any kernel has available".to_owned(),
                points: points(|row| row.kernel_lowest.0),
            },
            Line {
                class: "line kubelet-view",
                name: "the node in the middle".to_owned(),
                points: points(|row| row.median.0),
            },
        ],
        walls: Vec::new(),
        stripes: Vec::new(),
        moments: Vec::new(),
    }
}

/// Deaths by node, most first.
fn table(out: &mut String, world: &World, runs: &[Run]) {
    let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
    for run in runs {
        for (node, deaths) in &run.report.tally.by_node {
            *sums.entry(*node).or_default() += deaths;
        }
    }
    let mut nodes: Vec<(u32, u64)> = sums.into_iter().collect();
    nodes.sort_by_key(|(node, deaths)| (std::cmp::Reverse(*deaths), *node));
    if nodes.is_empty() {
        out.push_str("<p>Nobody died on any node.</p>\n");
        return;
    }
    out.push_str("<details open><summary>Deaths by node</summary>\n<div class=\"wide\"><table><thead><tr><th scope=\"col\">Node</th>");
    for run in runs {
        let _ = write!(
            out,
            "<th scope=\"col\" class=\"number\">{}</th>",
            text(run.variant)
        );
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for (node, _) in nodes.iter().take(NODES_MAX) {
        let name = world.nodes.get(*node as usize).map_or("", |spec| &spec.name);
        let _ = write!(out, "<tr><td>{}</td>", text(name));
        for run in runs {
            let deaths = run.report.tally.by_node.get(node).copied().unwrap_or(0);
            let _ = write!(out, "<td class=\"number\">{deaths}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    if nodes.len() > NODES_MAX {
        let _ = writeln!(
            out,
            "<p class=\"faint\">And {} nodes more on which somebody died.</p>",
            nodes.len() - NODES_MAX
        );
    }
    out.push_str("</details>\n");
}
