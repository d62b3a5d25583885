use std::collections::BTreeSet;

use forestall_decide::{
    Bytes, BytesPerSecond, Confidence, Decision, GroupId, Limit, NodeSample, Preset, ProcessId, Runway,
    Sample, Span, WallKind, WallReading,
};
use forestall_kernel::oom::Level;
use http_body_util::BodyExt;
use hyper::{Method, StatusCode};

use super::*;
use crate::agent::shared::{self, Command, Degraded, Ends, Heard, Keeping, Names, Tick};
use crate::ledger::{Levels, Missed, Totals, Whom};
use crate::log::words;

mod reference;

/// Cgroups whose names try to break out of a label.
struct Hostile;

impl Names for Hostile {
    fn group(&self, id: GroupId) -> Option<&[u8]> {
        match id.0 {
            1 => Some(b"/a\"} 1\nforged_total 9\n"),
            2 => Some(b"/b\\"),
            3 => Some(b"/c\xff,{}="),
            _ => None,
        }
    }
    fn process(&self, _: ProcessId) -> Option<&[u8]> {
        None
    }
}

fn reading(scope: u64) -> WallReading {
    WallReading {
        wall: WallKind::Container,
        scope: Some(GroupId(scope)),
        limit: Limit::Bytes(Bytes::mebi(100)),
        distance: Bytes::mebi(10),
        growth: BytesPerSecond(1 << 20),
        growth_fast: BytesPerSecond(2 << 20),
        runway: Runway {
            p10: Span::secs(5),
            p50: Span::secs(10),
            p90: Span::FOREVER,
        },
        stall_some_permille: 3,
        stall_full_permille: 0,
        confidence: Confidence::High,
        culprit: None,
        alarmed: false,
    }
}

fn published() -> Ends {
    let mut ends = shared::open().expect("an eventfd");
    publish(&mut ends, &node());
    let mut totals = Totals::default();
    let whom = Whom {
        level: "container".to_owned(),
        namespace: "shop".to_owned(),
        pod: "cart\"0".to_owned(),
        container: "web".to_owned(),
        unit: String::new(),
    };
    totals.add(whom, 3);
    let desk = &ends.board.kills;
    desk.set_totals(&totals);
    let mut untold = Levels::default();
    untold.add(Level::Pod, 2);
    desk.set_heard(Heard {
        told: 3,
        lost: 7,
        untold,
        missed: Missed {
            overwritten: 5,
            ..Missed::default()
        },
        doubles: 6,
    });
    desk.set_keeping(Keeping::On);
    ends
}

fn node() -> NodeSample {
    NodeSample {
        total: Bytes::mebi(1000),
        free: Bytes::mebi(300),
        cached: Bytes::mebi(200),
        oom_kills: 4,
        ..NodeSample::default()
    }
}

fn publish(ends: &mut Ends, node: &NodeSample) {
    let readings: Vec<WallReading> = (1..=6).map(reading).collect();
    let sample = Sample {
        node: *node,
        ..Sample::default()
    };
    let decision = Decision {
        readings: &readings,
        alarms: &[],
        endings: &[],
        actions: &[],
        refusals: &[],
        passed_over: &[],
        ignored: &[],
        kubelet: None,
        wake_in: Span::secs(1),
    };
    ends.post.publish(
        &Tick {
            now: clock::now(),
            took: Span(400),
            followed: 4096,
            left_out: 17,
            lost: &[],
        },
        &sample,
        &decision,
        &Hostile,
    );
}

fn pages_of(ends: &Ends) -> Pages {
    let board = Arc::clone(&ends.board);
    Pages::new(Arc::clone(&board), Eye::new(board, ends.commander.clone()))
}

fn get(pages: &Pages, path: &str) -> (StatusCode, String) {
    let response = pages.answer(&Method::GET, path);
    let status = response.status();
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let body = runtime
        .block_on(response.into_body().collect())
        .expect("a full body")
        .to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

/// A part that is more than the whole, whatever part it is.
#[test]
fn figures_of_the_machine_that_cannot_be_are_not_published() {
    let more = Bytes::mebi(1001);
    let changes: [fn(&mut NodeSample, Bytes); 4] = [
        |node, more| node.anon = more,
        |node, more| node.available = more,
        |node, more| node.cached = more,
        |node, more| node.swap_free = more,
    ];
    for change in changes {
        let mut ends = shared::open().expect("an eventfd");
        let mut impossible = node();
        impossible.oom_kills = 5;
        change(&mut impossible, more);
        publish(&mut ends, &impossible);
        let pages = pages_of(&ends);
        let (_, text) = get(&pages, "/metrics");
        assert!(!text.contains("_memory_bytes{"), "{text}");
        assert!(!text.contains("forestall_blind_bytes{") && !text.contains("actual_usage_percent{"));
        assert!(text.contains("forestall_kernel_oom_kills_total{} 5"), "{text}");
    }
}

/// One series as OpenMetrics 1.0 writes it: a name, labels in braces with escaped values, a number.
fn parse_series(line: &str) -> (String, Vec<(String, String)>, f64) {
    let is_name = |name: &str| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
    };
    let end = line.find(['{', ' ']).expect("a name ends");
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"").expect("a label has a value");
            assert!(is_name(key), "{line}");
            let (mut value, mut letters) = (String::new(), after.char_indices());
            let close = loop {
                match letters.next().expect("a value ends") {
                    (at, '"') => break at,
                    (_, '\\') => match letters.next().expect("an escape goes on").1 {
                        'n' => value.push('\n'),
                        quoted @ ('"' | '\\') => value.push(quoted),
                        other => panic!("unknown escape {other} in {line}"),
                    },
                    (_, plain) => value.push(plain),
                }
            };
            labels.push((key.to_owned(), value));
            rest = &after[close + 1..];
            if let Some(more) = rest.strip_prefix(',') {
                assert!(!more.starts_with('}'), "{line}");
                rest = more;
            }
        }
        rest = &rest[1..];
    }
    let number = rest.strip_prefix(' ').expect("one space before the number");
    (name.to_owned(), labels, number.parse().expect("a number"))
}

#[test]
fn the_metrics_page_is_valid_whatever_cgroups_are_called() {
    let ends = published();
    let page = metrics::render(&ends.board).expect("it renders");
    let lines: Vec<&str> = page.lines().collect();
    assert_eq!(lines.last(), Some(&"# EOF"));
    let (mut families, mut seen, mut current) = (BTreeSet::new(), BTreeSet::new(), String::new());
    for line in &lines[..lines.len() - 1] {
        if let Some(about) = line.strip_prefix("# ") {
            let mut words = about.splitn(3, ' ');
            let (kind, name, what) = (words.next(), words.next(), words.next());
            let name = name.expect("a name").to_owned();
            match kind {
                Some("HELP") => assert!(families.insert(name.clone()), "{name} twice"),
                Some("TYPE") => assert!(matches!(what, Some("gauge" | "counter" | "histogram")), "{line}"),
                _ => panic!("{line}"),
            }
            current = name;
            continue;
        }
        let (name, labels, value) = parse_series(line);
        let suffix = name
            .strip_prefix(&current)
            .unwrap_or_else(|| panic!("{name} stands under {current}"));
        assert!(
            ["", "_total", "_sum", "_count", "_bucket"].contains(&suffix),
            "{line}"
        );
        assert!(value >= 0.0, "{line}");
        assert!(seen.insert((name, labels.clone())), "twice: {line}");
    }
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels: Vec<_> = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        lines
            .iter()
            .filter(|line| !line.starts_with('#'))
            .map(|line| parse_series(line))
            .find_map(|(found, found_labels, value)| {
                (found == name && found_labels == labels).then_some(value)
            })
    };
    let scope = "/a\"} 1\\x0aforged_total 9\\x0a";
    assert_eq!(
        value(
            "forestall_wall_distance_bytes",
            &[("wall", "container"), ("scope", scope)]
        ),
        Some(10_485_760.0)
    );
    let runway = |bound| {
        value(
            "forestall_wall_runway_seconds",
            &[("wall", "container"), ("scope", "inode:5"), ("bound", bound)],
        )
    };
    assert_eq!(
        (runway("p10"), runway("p50"), runway("p90")),
        (Some(5.0), Some(10.0), Some(f64::INFINITY))
    );
    assert_eq!(value("node_memory_actual_usage_percent", &[]), Some(50.0));
    assert_eq!(value("forestall_kernel_oom_kills_total", &[]), Some(4.0));
    let killed = [
        ("level", "container"),
        ("namespace", "shop"),
        ("pod", "cart\"0"),
        ("container", "web"),
        ("unit", ""),
    ];
    assert_eq!(value("forestall_oom_kills_total", &killed), Some(3.0));
    assert_eq!(value("forestall_ledger_gap", &[]), Some(1.0));
    assert_eq!(
        value("forestall_ledger_unattributed_kills", &[("level", "pod")]),
        Some(2.0)
    );
    assert_eq!(value("forestall_ledger_doubles", &[]), Some(6.0));
    let missed = [("what", "overwritten")];
    assert_eq!(value("forestall_ledger_missed_records_total", &missed), Some(5.0));
    assert_eq!(value("forestall_ledger_lost_records_total", &[]), Some(7.0));
    assert_eq!(value("forestall_ticks_total", &[]), Some(1.0));
    assert_eq!(value("forestall_cgroups", &[("state", "followed")]), Some(4096.0));
    assert_eq!(value("forestall_cgroups", &[("state", "left-out")]), Some(17.0));
    let bucket = |le| value("forestall_tick_seconds_bucket", &[("le", le)]);
    assert_eq!(
        (bucket("0.00025"), bucket("0.0005"), bucket("+Inf")),
        (Some(0.0), Some(1.0), Some(1.0))
    );
    assert_eq!(value("forestall_blind_bytes", &[]), Some(0.0));
    let all_zero = [("rung", "kill"), ("outcome", "done"), ("mode", "enforce")];
    assert_eq!(
        value("forestall_actions_total", &all_zero),
        Some(0.0),
        "series exist before anything happened"
    );
}

#[test]
fn the_mode_is_a_series_and_of_actions_those_that_can_come_to_count() {
    let mut ends = published();
    for is in [Mode::Enforce, Mode::Observe, Mode::Shadow] {
        let policy = Policy {
            mode: is,
            ..Policy::default()
        };
        ends.post.policy(Moment(2_000_000), &policy);
        let page = metrics::render(&ends.board).expect("it renders");
        for mode in [Mode::Observe, Mode::Shadow, Mode::Enforce] {
            let series = format!(
                "forestall_mode{{mode=\"{}\"}} {}\n",
                words::mode(mode),
                i32::from(mode == is)
            );
            assert!(page.contains(&series), "{series}{page}");
        }
        // By hand: the rungs that there is a hand for, and how each of them can end.
        let acted = ["done", "no-effect", "gone", "vetoed", "failed"];
        let mut expected = Vec::new();
        for (rung, ends) in [
            ("reclaim", &acted[..]),
            ("brake", &acted),
            ("kill", &acted),
            (
                "evict",
                &["blocked", "done", "no-effect", "gone", "vetoed", "failed"],
            ),
            ("sysrq", &["done", "no-effect", "failed"]),
        ] {
            expected.extend(ends.iter().map(|end| (rung, *end, "enforce")));
            expected.push((rung, "not-tried", "shadow"));
        }
        let series = |(rung, outcome, mode)| {
            format!("forestall_actions_total{{rung=\"{rung}\",outcome=\"{outcome}\",mode=\"{mode}\"}} 0")
        };
        let expected: BTreeSet<String> = expected.into_iter().map(series).collect();
        let lines = page
            .lines()
            .filter(|line| line.starts_with("forestall_actions_total{"));
        assert_eq!(lines.map(str::to_owned).collect::<BTreeSet<_>>(), expected);
    }
}

#[test]
fn cgroups_that_are_left_out_are_told_when_their_number_changes() {
    let mut left_out = LeftOut::default();
    let mut due = |secs: u64, count| left_out.due(count, Moment(secs * 1_000_000));
    assert_eq!(due(1, 4), None, "the start has said so");
    assert_eq!(due(59, 5), None, "too soon");
    let said = due(61, 5).expect("another number");
    assert!(said.starts_with("5 cgroups are not followed"), "{said}");
    assert_eq!(due(200, 5), None, "nothing new");
    assert_eq!(
        due(120 + 81, 0).as_deref(),
        Some("all cgroups are followed again")
    );
}

#[test]
fn before_the_first_look_there_is_nothing_to_show_and_nobody_is_ready() {
    let ends = shared::open().expect("an eventfd");
    let pages = pages_of(&ends);
    assert_eq!(get(&pages, "/healthz"), (StatusCode::OK, "starting\n".to_owned()));
    assert_eq!(get(&pages, "/readyz").0, StatusCode::SERVICE_UNAVAILABLE);
    let (status, page) = get(&pages, "/metrics");
    assert_eq!(status, StatusCode::OK);
    assert!(
        !page.contains("forestall_wall_distance_bytes") && page.contains("forestall_ticks_total{} 0"),
        "{page}"
    );
}

#[test]
fn before_figures_are_told_the_guard_is_asked_for_a_look() {
    let mut ends = shared::open().expect("an eventfd");
    let pages = pages_of(&ends);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let asked = |ends: &Ends, path| {
        runtime.block_on(pages.prepare(path));
        ends.commands.take()
    };
    // The rules of others look at their own pace.
    for (preset, look) in [(Preset::Forestall, Some(Command::Look)), (Preset::Gist, None)] {
        let policy = Policy {
            preset,
            ..Policy::default()
        };
        ends.post.policy(clock::now(), &policy);
        assert_eq!(asked(&ends, "/metrics"), look, "{preset:?}");
        assert_eq!(asked(&ends, "/healthz"), None);
    }
    ends.post.policy(clock::now(), &Policy::default());
    publish(&mut ends, &node());
    assert_eq!(asked(&ends, "/metrics"), None, "it has just looked");
}

#[test]
fn a_running_guard_is_ready_and_says_what_it_lacks() {
    let ends = published();
    ends.board.set_degraded(vec![Degraded::new(
        "reclaim",
        "memory.reclaim is \x1b[31mmissing",
    )]);
    let pages = pages_of(&ends);
    assert_eq!(get(&pages, "/healthz"), (StatusCode::OK, "ok\n".to_owned()));
    let (status, page) = get(&pages, "/readyz");
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        page,
        "ready\ndegraded: reclaim: memory.reclaim is \\x1b[31mmissing\n"
    );
}

#[test]
fn a_guard_that_does_not_look_is_neither_healthy_nor_ready() {
    let mut ends = shared::open().expect("an eventfd");
    let decision = Decision {
        readings: &[],
        alarms: &[],
        endings: &[],
        actions: &[],
        refusals: &[],
        passed_over: &[],
        ignored: &[],
        kubelet: None,
        wake_in: Span(0),
    };
    // Its last look was at the machine's boot, which is more than the margin of five seconds ago.
    ends.post
        .publish(&Tick::plain(Moment(1)), &Sample::default(), &decision, &Hostile);
    let pages = pages_of(&ends);
    for path in ["/healthz", "/readyz"] {
        let (status, page) = get(&pages, path);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(page.contains("should have looked"), "{page}");
    }
}

#[test]
fn what_is_not_there_and_what_is_not_asked_for() {
    let ends = published();
    let pages = pages_of(&ends);
    assert_eq!(get(&pages, "/debug").0, StatusCode::NOT_FOUND);
    assert_eq!(
        pages.answer(&Method::POST, "/metrics").status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[test]
fn a_panic_of_the_talk_thread_is_not_its_end() {
    let mut rounds = Vec::new();
    let mut pauses = Vec::new();
    keep_going(
        "talk",
        &mut rounds,
        |rounds| {
            rounds.push(rounds.len());
            match rounds.len() {
                1..=6 => panic!("as a test"),
                7 => Err(io::Error::other("no more descriptors")),
                _ => Ok(()),
            }
        },
        |_, why, length| {
            pauses.push((why.contains("panicked"), length.as_secs()));
            true
        },
    );
    assert_eq!(rounds.len(), 8);
    let expected = [
        (true, 1),
        (true, 2),
        (true, 4),
        (true, 8),
        (true, 16),
        (true, 30),
        (false, 30),
    ];
    assert_eq!(pauses, expected);
}
