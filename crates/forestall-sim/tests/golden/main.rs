//! The scenarios under `scenarios/`: each gives the figures that it says it reproduces. The expected values are worked out by
//! hand beside them, from the published figures.

mod article;
mod stories;
mod walls;

use std::path::PathBuf;

use forestall_decide::WallKind;
use forestall_sim::{Event, Report, RunOptions, Scenario, What, parse_scenario};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

fn scenario(name: &str) -> Scenario {
    let path = folder().join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse_scenario(&text).unwrap_or_else(|error| panic!("{name}:{error}"))
}

fn run(scenario: &Scenario) -> Report {
    let options = RunOptions {
        keep: 100_000,
        ..RunOptions::default()
    };
    scenario.world.run(options, &mut |_| ()).expect("a sound world")
}

/// Deaths in order: who, at which wall (`None`: by itself), after how many seconds.
fn deaths(report: &Report) -> Vec<(String, Option<WallKind>, u64)> {
    let death = |event: &Event| {
        let (wall, victim) = match &event.what {
            What::KernelKilled { wall, victim, .. } | What::Evicting { wall, victim, .. } => {
                (Some(*wall), victim)
            }
            What::ContainerEnded { victim, .. } => (None, victim),
            _ => return None,
        };
        Some((victim.name.to_string(), wall, event.at.0 / 1_000_000))
    };
    report.events.iter().filter_map(death).collect()
}

#[test]
fn every_scenario_says_what_it_reproduces_and_what_does_not_hold() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).expect("scenarios") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_name().and_then(|name| name.to_str()).expect("text");
            let scenario = scenario(name);
            assert!(
                !scenario.reproduces.is_empty() && !scenario.does_not_hold.is_empty(),
                "{name}"
            );
            assert!(
                scenario.world.check().is_ok() && !scenario.about.is_empty(),
                "{name}"
            );
            count += 1;
        }
    }
    assert_eq!(count, 19);
}

/// The run with the curves of its first node.
fn run_with_curve(scenario: &Scenario) -> Report {
    let options = RunOptions {
        keep: 100_000,
        ..RunOptions::default()
    };
    scenario
        .world
        .run_and_watch(options, &[0], &mut |_| ())
        .expect("a sound world")
}

/// `part / whole` with so many decimals, rounded.
fn ratio(part: u64, whole: u64, decimals: u32) -> String {
    let scale = 10_u64.pow(decimals);
    let rounded = (part * scale * 2 + whole) / (whole * 2);
    let width = decimals as usize;
    format!("{}.{:0width$}", rounded / scale, rounded % scale)
}

#[test]
fn what_the_files_say_is_what_the_published_figures_give() {
    let percent = |part: u64, whole: u64, decimals| format!("{} %", ratio(part * 100, whole, decimals));
    for (name, said) in [
        // Accounted RSS × (1 + 0.4 d), actual RSS × 1.4.
        ("war-story-a-1.31", vec![percent(1400 - 1200, 1400, 1)]),
        (
            "war-story-a-1.32",
            vec![
                percent(400, 1400, 1),
                format!("actual {} % above", 400 * 100 / 1000),
                format!("{} % actual", 85 * 1400 / 1000),
                percent(1000, 1400, 1),
                // Short by s of what there is, cache is s / (1 - s) of RSS.
                format!(
                    "{} to {} %",
                    ratio(18 * 100, 100 - 18, 1),
                    ratio(22 * 100, 100 - 22, 1)
                ),
            ],
        ),
        (
            "war-story-a-agent",
            vec![
                percent(23 * 60 - 47, 23 * 60, 1),
                format!("{} s", ratio(23 * 60 * 6, 100, 1)),
                percent(42_000 - 1_200, 42_000, 1),
            ],
        ),
        (
            "war-story-b",
            vec![
                percent(100, 122, 2),
                format!("{} MiB", ratio(256 * 100, 122, 2)),
                format!("{} MiB", ratio(256 * 100, 22, 1)),
                format!("{} MiB", ratio(256 * 115, 100, 1)),
                ratio(1000, 780, 3),
                percent(115 * 78, 10_000, 1),
                percent(122 * 78, 10_000, 1),
                percent(124 - 7, 124, 2),
            ],
        ),
        // 5.70 GiB, the usage that is published, are 5976883.2Ki; kubectl divides by 4675304Ki.
        (
            "top-127",
            vec![
                percent(59_768_832, 46_753_040, 2),
                format!("{} MiB", ratio(11_169, 10, 1)),
            ],
        ),
        (
            "allocatable",
            vec![
                "4675304Ki (4565.73 MiB)".to_owned(),
                "4419304Ki (4315.73 MiB)".to_owned(),
            ],
        ),
    ] {
        let scenario = scenario(&format!("{name}.yaml"));
        let text = [scenario.reproduces, scenario.does_not_hold].concat().join(" ");
        for said in said {
            assert!(text.contains(&said), "{name} does not say {said:?}");
        }
    }
}

#[test]
fn what_the_reference_shows_is_read() {
    let path = folder().join("../docs/reference/scenario-format.md");
    let text = std::fs::read_to_string(path).expect("the reference");
    let blocks: Vec<&str> = text
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        // A part of a scenario is shown with what every scenario has.
        let whole = if block.starts_with("title:") {
            block.to_owned()
        } else {
            format!("title: a\nduration: 1m\nnodes: [{{ name: a, memory: 4Gi }}]\n{block}")
        };
        let world = parse_scenario(&whole)
            .unwrap_or_else(|error| panic!("{error} in\n{whole}"))
            .world;
        assert_eq!(world.pods.len(), 1);
    }
}
