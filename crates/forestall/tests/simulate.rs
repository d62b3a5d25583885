//! `forestall simulate` as it is typed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const LEAK: &str = "\
title: a leak
duration: 5m
seed: 3
nodes:
  - name: worker
    memory: 1000Mi
    kubelet: { evictionHard: 100Mi }
pods:
  - name: leak
    node: 0
    containers:
      - name: app
        load:
          leak: { rate: 10Mi/s }
";

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forestall"))
        .arg("simulate")
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .expect("the binary was built")
}

fn file(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("scenario.yaml");
    std::fs::write(&path, text).expect("a writable directory");
    path
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn the_answer_is_the_same_every_time_and_holds_no_progress() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(dir.path(), LEAK);
    let path = path.to_str().expect("text");
    for args in [
        vec![path, "--compare"],
        vec![path, "-o", "json"],
        vec![path, "--compare", "-o", "html"],
        vec!["random", "--seed", "2"],
    ] {
        let (first, second) = (run(&args), run(&args));
        assert_eq!(first.status.code(), Some(0), "{args:?}: {}", text(&first.stderr));
        assert_eq!(first.stdout, second.stdout, "{args:?}");
        assert!(first.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn without_an_agent_the_kubelet_evicts_and_the_table_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(dir.path(), LEAK);
    let output = run(&[path.to_str().expect("text"), "--no-agent"]);
    let said = text(&output.stdout);
    let row = said
        .lines()
        .find(|line| line.starts_with("evictions by the kubelet"));
    // 900 MiB at 10 MiB/s: 90 s and up to ten more; the pressure that follows lasts five minutes, so there is no second one.
    assert!(row.is_some_and(|row| row.ends_with(" 1")), "{said}");
    assert!(said.contains("kubelet evicts leak-0"), "{said}");
}

#[test]
fn what_the_shadow_kubelet_foretold_is_held_against_what_the_kubelet_did() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(
        dir.path(),
        &LEAK.replace("evictionHard: 100Mi", "evictionHard: 400Mi"),
    );
    let policy = dir.path().join("policy.yaml");
    std::fs::write(&policy, "mode: shadow\n").expect("a writable directory");
    let asked = |format| {
        let paths = [&path, &policy].map(|path| path.to_str().expect("text"));
        run(&[paths[0], "--policy", paths[1], "-o", format])
    };
    let answer: serde_json::Value = serde_json::from_slice(&asked("json").stdout).expect("JSON");
    let forecast = &answer["runs"][0]["kubelet_forecast"];
    assert_eq!(forecast["version"], 1);
    let [node] = forecast["nodes"].as_array().expect("nodes").as_slice() else {
        panic!("{forecast}")
    };
    assert_eq!(node["possible_victims"], serde_json::json!(["leak-0"]));
    // 600 MiB at 10 MiB/s, and the kubelet looks every ten seconds: said most of a minute before, and off by half a round at most.
    let evicted = &node["evicted"];
    assert_eq!(
        (
            &evicted["whom"][0],
            &evicted["right_pod"],
            &evicted["within_bounds"]
        ),
        (&"leak-0".into(), &true.into(), &true.into())
    );
    let after = evicted["after_micros"].as_u64().expect("a time");
    assert!((45_000_000..=66_000_000).contains(&after), "{after}");
    let error = evicted["error_micros"].as_i64().expect("a time");
    assert!(error.abs() <= 6_000_000, "{error}");
    let table = asked("text").stdout;
    let table = text(&table);
    assert!(
        table.contains("the kubelet will evict leak-0 at kubelet-") && table.contains("one that was named"),
        "{table}"
    );
    let page = asked("html").stdout;
    assert!(text(&page).contains("the kubelet will evict leak-0 at kubelet-"));
    // With 100 MiB the kernel's own reserve is met 3.4 s after the threshold, and for that the kubelet seldom looks in time.
    let path = file(dir.path(), LEAK);
    let answer: serde_json::Value = serde_json::from_slice(&asked("json").stdout).expect("JSON");
    let node = &answer["runs"][0]["kubelet_forecast"]["nodes"][0];
    assert_eq!(node["evicted"], serde_json::Value::Null);
    assert_eq!(
        (&node["killed_first"]["whom"][0], &node["kernel_first_said"]),
        (&"leak-0/app".into(), &true.into())
    );
    // Where nobody looks on, nothing is said.
    let none = run(&[path.to_str().expect("text"), "--no-agent", "-o", "json"]);
    let answer: serde_json::Value = serde_json::from_slice(&none.stdout).expect("JSON");
    assert_eq!(answer["runs"][0]["kubelet_forecast"], serde_json::Value::Null);
}

#[test]
fn many_seeds_are_summed_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(dir.path(), LEAK);
    let output = run(&[path.to_str().expect("text"), "--seeds", "1..5"]);
    let said = text(&output.stdout);
    assert!(
        said.lines()
            .any(|line| line.starts_with("no agent") && line.contains(" 5 ")),
        "{said}"
    );
}

#[test]
fn what_is_no_scenario_is_usage_and_says_where() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(dir.path(), &LEAK.replace("duration", "durration"));
    let output = run(&[path.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("scenario.yaml:2:1: "),
        "{}",
        text(&output.stderr)
    );
    for args in [
        vec!["random", "--seeds", "5..1"],
        vec!["random", "--seeds", "5"],
        vec!["random", "--seed", "1", "--seeds", "1..2"],
        vec!["random", "--no-agent", "--compare"],
    ] {
        assert_eq!(run(&args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(run(&["nothing-here.yaml"]).status.code(), Some(1));
}

/// A scenario whose every name tries to get out of the page, or to forge a line of it.
const HOSTILE: &str = r#"
title: "</title><script>alert(1)</script>"
about: "<img src=x onerror=alert(2)> \x1b[2J \u202e"
reproduces: ["</li></ul><b>"]
doesNotHold: ["\" onload=\"alert(3)"]
duration: 6m
nodes:
  - { name: "a\"><script>", memory: 1000Mi, kubelet: { evictionHard: 100Mi } }
  - { name: b, memory: 1000Mi }
pods:
  - name: "</svg><style>*{display:none}</style>\x1b[2m"
    node: 0
    containers:
      - { name: "'><i>\x1b[1m", load: { leak: { rate: 10Mi/s } } }
  - name: away
    node: 1
    containers:
      - { name: app, limit: 64Mi, load: { leak: { rate: 10Mi/s } } }
faults:
  - { kind: kubelet-away, from: 1m, for: 30s }
"#;

fn page(scenario: &str, args: &[&str]) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(dir.path(), scenario);
    let mut all = vec![path.to_str().expect("text"), "-o", "html"];
    all.extend(args);
    let output = run(&all);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// Every element's name in the page, its attributes, and whether each is closed by its own end.
fn elements(page: &str) -> Vec<(&str, &str)> {
    const VOID: [&str; 2] = ["!DOCTYPE", "meta"];
    let (mut all, mut open) = (Vec::new(), Vec::new());
    let mut rest = page;
    while let Some((_, tail)) = rest.split_once('<') {
        let (tag, tail) = tail.split_once('>').expect("a tag ends");
        assert!(!tag.contains('<'), "{tag}");
        rest = tail;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in order");
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        if !VOID.contains(&name) && !attributes.ends_with('/') {
            open.push(name);
        }
        all.push((name, attributes));
    }
    assert!(open.is_empty(), "{open:?} stay open");
    all
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = attributes.split_once(&format!("{name}=\""))?;
    rest.split('"').next()
}

#[test]
fn nothing_from_outside_gets_out_of_its_place_in_the_page() {
    let page = page(HOSTILE, &["--compare"]);
    let known = [
        "!DOCTYPE",
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "header",
        "footer",
        "section",
        "article",
        "h1",
        "h2",
        "h3",
        "p",
        "div",
        "span",
        "ul",
        "li",
        "dl",
        "dt",
        "dd",
        "details",
        "summary",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "figure",
        "figcaption",
        "svg",
        "desc",
        "path",
        "rect",
        "a",
    ];
    for (name, attributes) in elements(&page) {
        assert!(known.contains(&name), "{name}");
        assert!(!attributes.contains(" on"), "{attributes}");
    }
    // Written out, it is all there.
    assert!(page.contains("&lt;/svg&gt;&lt;style&gt;") && page.contains("\\x1b[2J"));
    assert!(!page.contains(['\u{1b}', '\u{202e}']));
    // Once.
    assert!(!page.contains("\\\\x1b"));
}

#[test]
fn the_page_needs_nothing_else_and_every_mark_leads_to_its_row() {
    let page = page(HOSTILE, &["--compare"]);
    for foreign in ["http:", "https:", "src=\"", "@import", "url(", "<script"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let elements = elements(&page);
    let mut ids: Vec<&str> = elements
        .iter()
        .filter_map(|(_, attributes)| attribute(attributes, " id").or_else(|| attribute(attributes, "id")))
        .collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id is given once");
    let links: Vec<&str> = elements
        .iter()
        .filter(|(name, _)| *name == "a")
        .filter_map(|(_, attributes)| attribute(attributes, "href"))
        .collect();
    assert!(!links.is_empty());
    for link in links {
        let target = link.strip_prefix('#').expect("within the page");
        assert!(ids.contains(&target), "{link}");
    }
    // Each chart is named and described for those who do not see it.
    for (_, attributes) in elements.iter().filter(|(name, _)| *name == "svg") {
        let named = attribute(attributes, "aria-labelledby");
        let hidden = attributes.contains("aria-hidden=\"true\"");
        assert!(hidden || named.is_some_and(|named| named.split(' ').all(|id| ids.contains(&id))));
    }
    for said in [
        "kubelet evicts below 100 MiB",
        "fault: kubelet-away",
        "no agent",
        "prefers-color-scheme: dark",
        "@media print",
    ] {
        assert!(page.contains(said), "{said}");
    }
    // 1000 MiB are used up after 100 s, and the kubelet is away then: the container's own line at 64 MiB is met after 6.4 s.
    assert!(page.contains("<td class=\"number\">6.400</td>"));
}

#[test]
fn curves_are_in_the_json_with_a_version_of_their_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(dir.path(), LEAK);
    let path = path.to_str().expect("text");
    let json = |args: &[&str]| -> serde_json::Value {
        let mut all = vec![path, "-o", "json"];
        all.extend(args);
        serde_json::from_slice(&run(&all).stdout).expect("JSON")
    };
    let answer = json(&[]);
    let curves = &answer["runs"][0]["curves"];
    assert_eq!(curves["version"], 1);
    let node = &curves["nodes"][0];
    assert_eq!((&node["node"], &node["name"]), (&0.into(), &"worker".into()));
    assert_eq!(node["memory_bytes"], 1_048_576_000_u64);
    let length = |field: &str| node[field].as_array().map(Vec::len);
    let moments = length("at_micros").expect("moments");
    assert!((2..=2010).contains(&moments), "{moments}");
    for field in [
        "kernel_available_bytes",
        "kubelet_available_bytes",
        "pods_working_set_bytes",
        "pods_charged_bytes",
    ] {
        assert_eq!(length(field), Some(moments), "{field}");
    }
    assert_eq!(node["pods"][0]["name"], "leak");
    // The first and the last moment are the run's own.
    assert_eq!(node["at_micros"][0], 0);
    assert_eq!(node["at_micros"][moments - 1], 300_000_000);
    // Many seeds have no curve.
    assert!(json(&["--seeds", "1..2"])["runs"][1]["curves"].is_null());
}

#[test]
fn a_page_shows_one_seed() {
    let output = run(&["random", "-o", "html", "--seeds", "1..2"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("one seed"),
        "{}",
        text(&output.stderr)
    );
    let page = page_of_seed("random", "7");
    elements(&page);
}

fn page_of_seed(source: &str, seed: &str) -> String {
    let output = run(&[source, "-o", "html", "--seed", seed, "--checkers"]);
    text(&output.stdout).to_owned()
}

#[test]
fn of_many_nodes_those_are_shown_on_which_somebody_died() {
    // More than are watched at once, so that the curves take a second run.
    // Slow enough for a look of the kubelet between its threshold of 100 MiB and the kernel's lowest mark of 44.
    let many = "\
title: many
duration: 4m
nodes:
  - { name: w, count: 70, memory: 1000Mi }
pods:
  - { name: leak, node: 66, owner: nobody, containers: [{ name: app, load: { leak: { rate: 5Mi/s } } }] }
  - { name: calm, node: each, containers: [{ name: app, base: 50Mi }] }
";
    let page = page(many, &[]);
    elements(&page);
    assert!(page.contains("All 70 nodes") && page.contains("<h2 id=\"n66\">Node w-66</h2>"));
    assert_eq!(
        page.matches("<h2 id=\"n").count(),
        1,
        "nothing happens on the others"
    );
    assert!(page.contains("kubelet evicts leak-0"));
}

#[test]
fn what_a_preset_does_by_its_own_document_is_said_and_breaks_no_rule() {
    let dir = tempfile::tempdir().expect("a directory");
    // A reader holds 400 MiB of page cache, more than 15 % of memory, and nothing grows: the public rule ends it.
    let scenario = "title: cache\nduration: 2m\nseed: 1\npolicy: { preset: war-story-a, interval: 2s }\n\
                    nodes: [{ name: w, memory: 1Gi, kubelet: { evictionHard: 100Mi } }]\n\
                    pods: [{ name: reader, node: 0, containers: [{ name: a, base: 50Mi, load: { reader: { file: 400Mi, \
                    rate: 40Mi/s } } }] }]\n";
    let path = file(dir.path(), scenario);
    let path = path.to_str().expect("text");
    let output = run(&[path, "--checkers"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let said = text(&output.stdout);
    assert!(said.contains("rules checked, broken 0 times"), "{said}");
    assert!(
        said.contains("cache-first: the preset war-story-a does otherwise by its own document, "),
        "{said}"
    );
    let output = run(&[path, "--checkers", "-o", "json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let run = &value["runs"][0];
    assert_eq!(run["violations"], serde_json::json!([]));
    let first = &run["preset_otherwise"][0];
    assert_eq!(
        (&first["preset"], &first["first"]["rule"]),
        (&"war-story-a".into(), &"cache-first".into())
    );
}

/// A DaemonSet's pod and two others leak evenly, so that nobody explains it; there is no other node.
const EVEN: &str = "title: even\nduration: 4m\nseed: 3\npolicy: { mode: MODE, rungs: { evict: true } }\n\
                    nodes: [{ name: w, memory: 2000Mi, kubelet: { evictionHard: 100Mi } }]\npods:\n  \
                    - { name: daemon, node: 0, owner: daemonset, containers: [{ name: a, load: { leak: { rate: 3Mi/s } } }] }\n  \
                    - { name: slow, count: 2, node: 0, containers: [{ name: a, load: { leak: { rate: 3Mi/s } } }] }\n";

#[test]
fn who_was_passed_over_is_said_with_the_reason_and_what_is_only_announced_is_not_said_to_be_done() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = |mode: &str, format: &str| {
        let path = file(dir.path(), &EVEN.replace("MODE", mode));
        let output = run(&[path.to_str().expect("text"), "-o", format]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    let daemon = "no evict of daemon-0: its DaemonSet would bring it straight back (daemon-set)";
    let (enforce, shadow) = (said("enforce", "text"), said("shadow", "text"));
    for story in [&enforce, &shadow, &said("enforce", "html")] {
        assert!(story.contains(daemon), "{story}");
    }
    assert!(enforce.contains("agent orders kill of slow-"), "{enforce}");
    assert!(shadow.contains("agent would order kill of slow-"), "{shadow}");
    assert!(!shadow.contains("agent orders"), "{shadow}");
    assert!(shadow.contains("mode shadow: what the agent would order is announced and not done"));
    assert!(said("shadow", "html").contains("the agent would order kill"));
    // Whoever looks on alone raises no alarm and orders nothing, and that is said.
    let observe = said("observe", "text");
    assert!(
        observe.contains("mode observe: the agent raises no alarm and orders nothing"),
        "{observe}"
    );
    assert!(
        !observe.contains("alarm: ") && !observe.contains("order kill"),
        "{observe}"
    );
    // Nor did it miss anybody.
    let missed = |story: &str| {
        let row = story
            .lines()
            .find(|line| line.starts_with("deaths without alarm"));
        row.map(|row| row.split_whitespace().last().map(str::to_owned))
    };
    assert_eq!(missed(&observe), Some(Some("-".to_owned())));
    assert_eq!(missed(&shadow), Some(Some("0".to_owned())));
    let value: serde_json::Value = serde_json::from_str(&said("enforce", "json")).expect("JSON");
    let run = &value["runs"][0];
    assert_eq!(run["mode"], "enforce");
    let events = run["events"].as_array().expect("a list");
    let kill = |event: &&serde_json::Value| {
        event["what"]
            .as_str()
            .is_some_and(|what| what.starts_with("agent orders kill of slow-"))
    };
    let kill = events.iter().find(kill).expect("a kill");
    let daemon = serde_json::json!({ "rung": "evict", "name": "daemon-0", "why": "daemon-set" });
    let list = kill["passed_over"].as_array().expect("a list");
    assert!(list.contains(&daemon), "{kill}");
    assert_eq!(kill["passed_over_count"], list.len());
    // Somebody was due before, and nobody could be found.
    let nobody = "agent ends nobody at kubelet-node: everybody was passed over";
    assert_eq!(events.iter().filter(|event| event["what"] == nobody).count(), 1);
}
