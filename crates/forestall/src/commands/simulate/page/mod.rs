//! The answer as one page that needs nothing else: no network, no script, no font of its own. It can be mailed, printed, and
//! read in the dark, on a telephone, and by those who do not see charts.
//!
//! Equal runs give equal bytes: the page carries no date and no chance. It refuses to trust a name: whatever comes from a
//! scenario is escaped.

mod chart;
mod fleet;
mod markup;
mod node;
mod scale;
mod story;

use std::fmt::Write as _;

use forestall_decide::Span;
use forestall_sim::{RULES, World};

use self::markup::text;
use super::Run;
use super::foretold;
use super::source::Source;
use super::table::{ADDED, ROWS, added};
use super::timeline::{left_out, of_mode, otherwise, seconds};

const STYLE: &str = include_str!("style.css");

/// What the figures on top say: the name, and the figure of one run.
type Card = (&'static str, fn(&Run) -> String);

const CARDS: [Card; 5] = [
    ("died", |run| run.report.tally.deaths().to_string()),
    ("of them innocent", |run| run.report.tally.innocent.to_string()),
    ("kernel kills", |run| {
        run.report.tally.kernel_kills_all().to_string()
    }),
    ("kubelet evictions", |run| run.report.tally.evictions.to_string()),
    ("alarms lead, median", |run| {
        run.report
            .tally
            .lead_median()
            .map_or_else(|| "–".to_owned(), |span: Span| span.to_string())
    }),
];

/// The page, whole. `shown` are the nodes that have curves of their own.
pub(super) fn render(source: &Source, world: &World, runs: &[Run], shown: &[u32], checked: bool) -> String {
    let mut out = String::with_capacity(1 << 18);
    let title = text(source.title());
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n<h1>{title}</h1>"
    );
    let seeds = runs.first().map_or(1, |run| run.seed);
    let _ = writeln!(
        out,
        "<p class=\"faint\">A simulated run of {} with seed {seeds}, {}. Equal seeds give equal runs.</p>",
        world.duration,
        counted(world)
    );
    introduction(&mut out, source);
    out.push_str("</header>\n");
    summary(&mut out, runs);
    if checked {
        rules(&mut out, runs);
    }
    fleet::section(&mut out, world, shown, runs);
    for node in shown {
        node::section(&mut out, world, *node, runs);
    }
    for run in runs {
        if let Some(more) = left_out(&run.report.events_left_out) {
            let _ = writeln!(
                out,
                "<p class=\"faint\">{}: facts that were not kept are {more}.</p>",
                text(run.variant)
            );
        }
    }
    let _ = writeln!(
        out,
        "<footer><p class=\"faint\">Written by forestall {}. Kernel, kubelet and scheduler are simulated; the agent's decisions are \
         those of the engine that runs on nodes.</p></footer>\n</main>\n</body>\n</html>",
        env!("CARGO_PKG_VERSION")
    );
    out
}

fn counted(world: &World) -> String {
    let many = |count: usize, one: &str, more: &str| {
        let name = if count == 1 { one } else { more };
        format!("{count} {name}")
    };
    format!(
        "{} and {}",
        many(world.nodes.len(), "node", "nodes"),
        many(world.pods.len(), "kind of pod", "kinds of pods")
    )
}

fn introduction(out: &mut String, source: &Source) {
    let Some(scenario) = source.scenario() else { return };
    if !scenario.about.trim().is_empty() {
        let _ = writeln!(out, "<p>{}</p>", text(scenario.about.trim()));
    }
    for (head, lines) in [
        ("What it reproduces", &scenario.reproduces),
        ("What does not hold", &scenario.does_not_hold),
    ] {
        if lines.is_empty() {
            continue;
        }
        let _ = write!(out, "<details><summary>{head}</summary><ul>");
        for line in lines {
            let _ = write!(out, "<li>{}</li>", text(line.trim()));
        }
        out.push_str("</ul></details>\n");
    }
}

fn summary(out: &mut String, runs: &[Run]) {
    out.push_str(
        "<section aria-labelledby=\"summary\">\n<h2 id=\"summary\">Summary</h2>\n<div class=\"pair\">\n",
    );
    for run in runs {
        let _ = write!(
            out,
            "<article>\n<h3>{}</h3>\n<dl class=\"cards\">",
            text(run.variant)
        );
        for (name, figure) in CARDS {
            let _ = write!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", figure(run));
        }
        out.push_str("</dl>\n</article>\n");
    }
    out.push_str("</div>\n");
    for run in runs {
        if let Some(said) = of_mode(run.mode) {
            let _ = writeln!(out, "<p>{}: {said}.</p>", text(run.variant));
        }
        if let Some(said) = foretold::summary(run) {
            let _ = writeln!(
                out,
                "<p>Shadow kubelet, {}: {}.</p>",
                text(run.variant),
                text(&said)
            );
        }
    }
    out.push_str(
        "<details><summary>All figures</summary>\n<div class=\"wide\"><table><thead><tr><th scope=\"col\">Figure</th>",
    );
    for run in runs {
        let _ = write!(
            out,
            "<th scope=\"col\" class=\"number\">{}</th>",
            text(run.variant)
        );
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for (name, figure) in ROWS {
        let part = if name.starts_with(' ') {
            " class=\"part\""
        } else {
            ""
        };
        let _ = write!(out, "<tr><th scope=\"row\"{part}>{}</th>", name.trim());
        for run in runs {
            let _ = write!(out, "<td class=\"number\">{}</td>", figure(&run.report.tally));
        }
        out.push_str("</tr>\n");
    }
    if runs.iter().any(|run| run.added_deaths.is_some()) {
        let _ = write!(out, "<tr><th scope=\"row\">{ADDED}</th>");
        for run in runs {
            let _ = write!(out, "<td class=\"number\">{}</td>", added(run));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div></details>\n</section>\n");
}

/// Which rules were broken, where they were checked.
fn rules(out: &mut String, runs: &[Run]) {
    let broken: usize = runs.iter().map(|run| run.report.violations.len()).sum();
    let _ = writeln!(
        out,
        "<section aria-labelledby=\"rules\">\n<h2 id=\"rules\">Rules</h2>\n<p>{} rules checked, broken {broken} times.</p>",
        RULES.len()
    );
    if broken > 0 {
        out.push_str("<ul>");
        for violation in runs.iter().flat_map(|run| &run.report.violations) {
            let _ = write!(
                out,
                "<li>{} after {} s on node {}: {}</li>",
                text(violation.rule),
                seconds(violation.at),
                violation.node,
                text(&violation.what)
            );
        }
        out.push_str("</ul>\n");
    }
    for run in runs {
        for it in &run.report.otherwise {
            let _ = writeln!(out, "<p>{}, {}.</p>", text(run.variant), text(&otherwise(it)));
        }
    }
    out.push_str("</section>\n");
}
