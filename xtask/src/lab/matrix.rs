//! All runs at a glance: a row a scenario, a column a kernel, without the agent and with it.
use std::collections::BTreeSet;
use std::fmt::Write as _;

use forestall_lab_init::plan::Hierarchy;

use super::results::{Results, Run};
use super::scenario::{self, Scenario, With, Without};

/// Where the page of results is kept, from the workspace's root.
pub(crate) const PAGE: &str = "docs/benchmarks/lab.md";

/// The matrix as a Markdown table. A cell counts the runs as demanded of all runs, `without → with`.
pub(crate) fn render(results: &Results) -> String {
    let mut columns: Vec<(&str, Hierarchy)> = Vec::new();
    for run in &results.runs {
        let column = (run.kernel.as_str(), run.hierarchy);
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let mut table = String::from("| scenario |");
    for (kernel, hierarchy) in &columns {
        let suffix = if *hierarchy == Hierarchy::V1 { " v1" } else { "" };
        let _ = write!(table, " {kernel}{suffix} |");
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(columns.len()));
    table.push('\n');
    for scenario in scenario::ALL.iter() {
        let runs: Vec<&Run> = results
            .runs
            .iter()
            .filter(|run| run.scenario == scenario.name)
            .collect();
        if runs.is_empty() {
            continue;
        }
        let _ = write!(table, "| `{}` |", scenario.name);
        for column in &columns {
            let here = |with_agent: bool| {
                let runs = runs.iter().filter(|run| {
                    run.with_agent == with_agent && (run.kernel.as_str(), run.hierarchy) == *column
                });
                let (mut held, mut all) = (0, 0);
                for run in runs {
                    all += 1;
                    held += u32::from(run.verdict.holds);
                }
                match all {
                    0 => "–".to_owned(),
                    _ => format!("{held}/{all}"),
                }
            };
            let _ = write!(table, " {} → {} |", here(false), here(true));
        }
        table.push('\n');
    }
    table
}

/// The page: what the scenarios are, the matrix, every run with its seed and times.
pub(crate) fn page(results: &Results) -> String {
    let mut page = String::from(
        "# The lab's results\n\nWritten by `cargo xtask lab --write`. Real kernels under emulation, so seconds are long ones. Each scenario \
         runs without the agent, where what it is named for must really happen, and with it, as it ships: no configuration, uid 0, \
         `CAP_KILL` alone. A cell counts the runs that went as demanded, *without → with*.\n\n",
    );
    page.push_str(&render(results));
    page.push_str("\nKernels: ");
    let kernels: Vec<String> = results
        .kernels
        .iter()
        .map(|kernel| format!("{} (Debian's {})", kernel.name, kernel.package_version))
        .collect();
    page.push_str(&kernels.join(", "));
    let commits: BTreeSet<&str> = results
        .runs
        .iter()
        .filter_map(|run| run.commit.as_deref())
        .collect();
    let commits: Vec<&str> = commits.into_iter().collect();
    let _ = write!(page, ". The agent is of commit {}.", commits.join(", "));
    page.push_str("\n\n| scenario | what happens | demanded without | demanded with |\n|---|---|---|---|\n");
    for Scenario {
        name,
        about,
        without,
        with,
        ..
    } in scenario::ALL.iter()
    {
        let (without, with) = (demanded_without(*without), demanded_with(*with));
        let _ = writeln!(page, "| `{name}` | {about} | {without} | {with} |");
    }
    if !results.skipped.is_empty() {
        page.push_str("\nLeft out:\n\n");
        for skipped in &results.skipped {
            let _ = writeln!(page, "- {}: {}", skipped.what, skipped.why);
        }
    }
    page.push_str(
        "\n## Every run\n\nFIRST is the time from the culprit's start to the first death, GAP the longest time between two looks of the agent.\n\n```\n",
    );
    page.push_str(&results.table());
    page.push_str("```\n");
    page
}

const fn demanded_without(without: Without) -> &'static str {
    match without {
        Without::KernelKills => "the kernel kills",
        Without::KubeletEvicts => "the kubelet evicts",
        Without::NobodyEnds => "nobody ends",
    }
}

const fn demanded_with(with: With) -> &'static str {
    match with {
        With::CulpritEnds => "the culprit ends by the agent, nobody else, and the kernel kills nobody",
        With::NobodyEnds => "nobody ends",
        With::OwnLimit => "the culprit ends by its own limit, and nobody else",
        With::CulpritNamed => "the agent ends no innocent, and names the culprit",
    }
}

#[cfg(test)]
mod tests {
    use super::super::verdict::{Story, Verdict};
    use super::*;

    fn run(kernel: &str, with_agent: bool, seed: u64, holds: bool) -> Run {
        Run {
            kernel: kernel.into(),
            hierarchy: Hierarchy::V2,
            scenario: "burst".into(),
            seed,
            memory_mib: 1024,
            with_agent,
            commit: None,
            verdict: Verdict {
                holds,
                outcome: "agent ended burster".into(),
            },
            story: Story::default(),
        }
    }

    #[test]
    fn a_cell_counts_what_held_of_what_ran() {
        let mut results = Results::empty();
        results.take(run("6.1", true, 1, true));
        results.take(run("6.1", true, 2, false));
        results.take(run("6.1", false, 1, true));
        results.take(run("5.10", true, 1, true));
        // The same run once more, of a later build: the earlier one gives way.
        results.take(run("5.10", true, 1, false));
        let table = render(&results);
        assert_eq!(
            table,
            "| scenario | 5.10 | 6.1 |\n|---|---|---|\n| `burst` | – → 0/1 | 1/1 → 1/2 |\n"
        );
        assert!(page(&results).contains("burst"));
    }
}
