//! The reference is made from the page itself, so that it cannot name what is not there.

use super::*;

#[test]
fn the_reference_of_metrics_is_up_to_date() {
    let ends = published();
    ends.board
        .set_degraded(vec![Degraded::new("kill", "as an example")]);
    ends.board.note_api(|api| {
        api.told_at = Some(crate::agent::clock::now());
        api.skew = Some(crate::cluster::Skew::default());
        api.compared = vec![crate::agent::shared::Compared {
            signal: forestall_decide::kubelet::Signal::MemoryAvailable,
            believed: Bytes(1),
            counted: Bytes(2),
            size: Bytes(4),
        }];
    });
    let page = metrics::render(&ends.board).expect("it renders");
    let mut fresh = String::from(
        "# Metrics\n\nGenerated from the code. Served at `/metrics` as OpenMetrics text, in base units.\n\n\
         | name | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for help in page.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (name, meaning) = help.split_once(' ').expect("a name and a meaning");
        let kind = page
            .lines()
            .find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")))
            .expect("a type");
        let total = if kind == "counter" { "_total" } else { "" };
        let series = format!("{name}{}{{", if kind == "histogram" { "_bucket" } else { total });
        let line = page
            .lines()
            .find(|line| line.starts_with(&series))
            .unwrap_or_else(|| panic!("{series} has no series"));
        let (_, labels, _) = parse_series(line);
        let labels: Vec<&str> = labels.iter().map(|(label, _)| label.as_str()).collect();
        fresh += &[
            "| `",
            name,
            total,
            "` | ",
            kind,
            " | ",
            &labels.join(", "),
            " | ",
            meaning,
            " |\n",
        ]
        .concat();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/metrics.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &fresh).expect("the reference can be written");
    }
    let kept = std::fs::read_to_string(path).expect("the reference is in the repository");
    assert_eq!(kept, fresh, "run the test with UPDATE=1 and commit the result");
}
