//! Kills of a recording that come one after another.

use std::path::Path;

use forestall_decide::{
    Bytes, GroupId, GroupKind, GroupSample, Input, Limit, LimitHits, Mode, Moment, NodeSample, Owner, Pod,
    PodContainer, PodUid, Pods, Policy, Preference, Qos, Rung, Rungs, Sample, Span, Standing, Target,
    WallKind,
};
use forestall_trace::{Encoder, Names, Origin, Reader};
use serde_json::Value;
use tempfile::TempDir;

use super::compare::look_back;
use super::kills::KernelKill;
use super::lane::{Decided, Lane, Score};
use super::play::play;
use super::report::Report;
use super::undone::Passed;
use super::{Asked, Choice, Output, ReplayArgs, answer, table};
use crate::config::choice::Preset;
use crate::exit::Exit;

const LIMIT: u64 = 300 << 20;
const LOOK: u64 = 100_000;

/// Three containers grow evenly to limits of their own, which they meet after 20, 22 and 24 s; a fourth one meets its own between
/// two looks, 26 s after the beginning. Each is killed there, and v2's counters tell.
fn sample(look: u64) -> Sample {
    let at = look * LOOK;
    let ends = [20, 22, 24, 26].map(|secs| secs * 1_000_000);
    let killed = ends.map(|end| u64::from(at > end));
    let group = |id, parent, kind, anon: u64, kills, own| GroupSample {
        id: GroupId(id),
        parent,
        kind,
        leaf: matches!(kind, GroupKind::Container(_)),
        populated: true,
        limit: match kind {
            GroupKind::Container(_) => Limit::Bytes(Bytes(LIMIT)),
            _ => Limit::Max,
        },
        current: Bytes(anon),
        anon: Bytes(anon),
        oom_kills: kills,
        limit_hits: LimitHits::Ooms { own, within: kills },
        ..GroupSample::default()
    };
    let mut groups = vec![group(1, None, GroupKind::Kubepods, 0, killed.iter().sum(), 0)];
    for ((id, end), killed) in (2..).step_by(2).zip(ends).zip(killed) {
        let is_leak = end < 26_000_000;
        let anon = if killed > 0 || !is_leak {
            10 << 20
        } else {
            LIMIT / end * at
        };
        let pod = u32::try_from(groups.len()).expect("few");
        groups.push(group(
            id,
            Some(0),
            GroupKind::Pod(Qos::Burstable),
            anon,
            killed,
            0,
        ));
        let container = GroupKind::Container(Qos::Burstable);
        groups.push(group(id + 1, Some(pod), container, anon, killed, killed));
        groups[0].anon += Bytes(anon);
        groups[0].current += Bytes(anon);
    }
    let (total, used) = (Bytes::mebi(8192), groups[0].anon + Bytes::mebi(100));
    Sample {
        node: NodeSample {
            total,
            free: total - used,
            available: total - used,
            anon: used,
            oom_kills: killed.iter().sum(),
            cpus: 2,
            ..NodeSample::default()
        },
        groups,
        processes: Vec::new(),
    }
}

fn trace(origin: Origin) -> Vec<u8> {
    let mut names = Names::default();
    for id in 1..10 {
        names.name_group(
            GroupId(id),
            format!("/{}/{}/{id}", origin.node, origin.boot).as_bytes(),
        );
    }
    let mut encoder = Encoder::new(origin, Policy::default());
    encoder.name(&names);
    let mut out = Vec::new();
    encoder.open_segment(Moment(0), 1_795_255_200_000_000, &mut out);
    for look in 1..300 {
        encoder.input(Moment(look * LOOK), Input::Sample(&sample(look)), &mut out);
    }
    out
}

fn report() -> Report {
    let out = trace(Origin::default());
    let played = play(Reader::open(&out).expect("it plays"), [None, None]);
    let names = ["recorded"; 2].map(str::to_owned);
    Report::new(&played, &names).expect("it was played for both")
}

#[test]
fn a_kill_that_came_after_another_was_foretold_by_its_own_alarm() {
    let report = report();
    let value = serde_json::to_value(&report).expect("JSON");
    let kills = value["kernel_kills"].as_array().expect("a list");
    let alarmed = |kill: &Value| kill["policy"]["alarm_micros"].as_u64();
    let leads: Vec<_> = kills.iter().map(alarmed).collect();
    let [Some(first), Some(second), Some(third), None] = leads[..] else {
        panic!("{leads:?}")
    };
    // A wall is foretold when the median says a minute or less, and each leak is a few seconds old by then.
    for (lead, end) in [(first, 20), (second, 22), (third, 24)] {
        assert!((10_000_000..end * 1_000_000).contains(&lead), "{lead} of {end} s");
    }
    assert!(kills.iter().all(|kill| kill["policy"]["alarm_scored"] == true));
    let summary = &value["summary"];
    assert_eq!(
        (&summary["kernel_kills"], &summary["kernel_kills_alarmed"]),
        (&4.into(), &3.into())
    );
    let text = table::render(&report);
    assert_eq!(
        text.matches("policy: no alarm, nobody ended").count(),
        1,
        "{text}"
    );
}

#[test]
fn a_deed_is_about_a_kill_though_somebody_else_was_killed_in_between() {
    let mut lane = Lane::new(None);
    lane.decided.push(Decided {
        at: Moment(10_000_000),
        unix_micros: 0,
        rung: Rung::Kill,
        target: Target::Group(GroupId(3)),
        wall: WallKind::Kubepods,
        scope: Some(GroupId(1)),
        rule: "one-look",
        sound: true,
        passed: Passed::default(),
        times: 1,
        last: Moment(10_000_000),
    });
    let kill = |secs: u64, own_limit| KernelKill {
        at: Moment(secs * 1_000_000),
        unix_micros: 0,
        processes: 1,
        groups: vec![GroupId(3)],
        own_limit,
    };
    let kills = [kill(12, Some(GroupId(5))), kill(15, None), kill(18, None)];
    let leads = [1, 2].map(|index| {
        let since = kills[index].before_at_wall(&kills);
        let before = look_back(&lane, &kills[index], Score::Missed, since);
        before.deed.map(|(_, lead)| lead)
    });
    assert_eq!(leads, [Some(Span::secs(5)), None]);
}

/// What is said of the files of a folder, or of one of them.
fn said(path: &Path, output: Output) -> (String, Exit) {
    let args = ReplayArgs {
        trace: path.to_owned(),
        policy: Choice::Preset(Preset::Gist),
        against: Choice::Recorded,
        output,
    };
    answer(&args).expect("it plays")
}

#[test]
fn recordings_of_several_machines_and_boots_are_each_told_as_if_alone() {
    let of = |node: &str, boot: &str, run, segment| Origin {
        run,
        segment,
        node: node.into(),
        boot: boot.into(),
        ..Origin::default()
    };
    let directory = TempDir::new().expect("a directory");
    let (folder, alone) = (directory.path().join("all"), directory.path().join("alone"));
    std::fs::create_dir_all(&folder).expect("a directory");
    std::fs::create_dir_all(&alone).expect("a directory");
    // The same numbers of cgroups and the same moments in all of them, and two machines' files between one another.
    let recordings = [of("a", "1", 1, 0), of("b", "2", 2, 0), of("a", "3", 3, 0)];
    for (number, origin) in recordings.into_iter().enumerate() {
        let name = format!("{number}.ftr");
        let bytes = trace(origin);
        std::fs::write(folder.join(&name), &bytes).expect("a file");
        std::fs::write(alone.join(name), bytes).expect("a file");
    }
    // The second agent of a boot goes on with the first one's recording.
    std::fs::write(folder.join("9.ftr"), trace(of("b", "2", 4, 0))).expect("a file");
    let value = |path: &Path| -> Value { serde_json::from_str(&said(path, Output::Json).0).expect("JSON") };
    let all = value(&folder);
    assert_eq!(
        (&all["kind"], &all["version"]),
        (&"replay-list".into(), &1.into())
    );
    let recordings = all["recordings"].as_array().expect("a list");
    let known: Vec<_> = recordings
        .iter()
        .map(|one| {
            let trace = &one["trace"];
            (
                trace["node"].as_str(),
                trace["boot"].as_str(),
                trace["runs"].as_u64(),
            )
        })
        .collect();
    let of = |node, boot, runs| (Some(node), Some(boot), Some(runs));
    assert_eq!(known, [of("a", "1", 1), of("b", "2", 2), of("a", "3", 1)]);
    for number in [0, 2] {
        assert_eq!(recordings[number], value(&alone.join(format!("{number}.ftr"))));
    }
    assert_eq!(recordings[0]["kernel_kills"][0]["cgroups"][0], "/a/1/3");
    // Four in each of four traces.
    assert_eq!(all["summary"]["kernel_kills"], 16);
    let (text, exit) = said(&folder, Output::Table);
    assert_eq!(exit, Exit::Clean);
    for line in [
        "RECORDING 1 OF 3: a, boot 1\n",
        "RECORDING 3 OF 3: a, boot 3\n",
        "ALL 3 RECORDINGS\n",
        "kernel   16 kills;",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!said(&alone.join("0.ftr"), Output::Table).0.contains("RECORDING"));
}

/// A container without a limit takes 5 MiB in every look of a machine of 1 GiB; its pod said that it is not to be touched.
fn leak_of_one_who_opted_out(mode: Mode) -> Vec<u8> {
    let pods = Pods {
        list: vec![Pod {
            uid: PodUid(7),
            group: Some(GroupId(3)),
            namespace: "bakery".into(),
            name: "till".into(),
            owner: Owner::Controller,
            standing: Standing {
                vetoed: true,
                ..Standing::default()
            },
            containers: vec![PodContainer {
                group: GroupId(4),
                request: Bytes(0),
                limit: Limit::Max,
                restarts: 0,
            }],
            ..Pod::default()
        }],
        ..Pods::default()
    };
    let recorded = Policy {
        mode,
        ..Policy::default()
    };
    let mut encoder = Encoder::new(Origin::default(), recorded);
    let mut out = Vec::new();
    encoder.open_segment(Moment(0), 1_795_255_200_000_000, &mut out);
    encoder.input(Moment(0), Input::Pods(&pods), &mut out);
    for look in 1..200 {
        let held = Bytes::mebi(5 * look);
        let group = |id, parent, kind| GroupSample {
            id: GroupId(id),
            parent,
            kind,
            leaf: matches!(kind, GroupKind::Container(_)),
            populated: true,
            current: held,
            anon: held,
            ..GroupSample::default()
        };
        let free = Bytes::mebi(1024) - held;
        let sample = Sample {
            node: NodeSample {
                total: Bytes::mebi(1024),
                free,
                available: free,
                anon: held,
                cpus: 2,
                ..NodeSample::default()
            },
            groups: vec![
                group(1, None, GroupKind::Kubepods),
                group(3, Some(0), GroupKind::Pod(Qos::Burstable)),
                group(4, Some(1), GroupKind::Container(Qos::Burstable)),
            ],
            processes: Vec::new(),
        };
        encoder.input(Moment(look * LOOK), Input::Sample(&sample), &mut out);
    }
    out
}

fn told_of(out: &[u8]) -> (Value, String) {
    let all = Policy {
        rungs: Rungs::all(),
        ..Policy::default()
    };
    let all = Asked {
        policy: all,
        preferences: None,
    };
    let played = play(Reader::open(out).expect("it plays"), [Some(&all), None]);
    let names = ["all", "recorded"].map(str::to_owned);
    let report = Report::new(&played, &names).expect("it was played for both");
    (
        serde_json::to_value(&report).expect("JSON"),
        table::render(&report),
    )
}

#[test]
fn who_was_not_ended_is_told_with_the_reason_once_for_all_the_looks_at_which_it_stands() {
    let (value, text) = told_of(&leak_of_one_who_opted_out(Mode::Shadow));
    assert_eq!(value["actions"], serde_json::json!([]));
    let kernels = |side: &str| -> Vec<Value> {
        let list = value[side]["not_done"].as_array().expect("a list");
        list.iter().filter(|it| it["wall"] == "kernel").cloned().collect()
    };
    let passed = serde_json::json!({ "rung": "evict", "name": "bakery/till", "why": "opted-out" });
    let has_passed = |it: &Value| {
        it["passed_over"]
            .as_array()
            .is_some_and(|list| list.contains(&passed))
    };
    assert!(kernels("policy").iter().any(has_passed), "{value}");
    // Without the rung nobody is passed over for it, and the kill is refused all the same.
    let [refused] = &kernels("against")[..] else {
        panic!("{value}")
    };
    assert_eq!(
        (&refused["reason"], &refused["protection"]),
        (&"spared".into(), &"opted-out".into())
    );
    assert!(refused["times"].as_u64() > Some(1), "{refused}");
    for line in [
        "no evict of bakery/till: it is opted out (opted-out)\n",
        "kernel: the culprit's pod may not be touched: it is opted out (opted-out), ",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

/// Under another configuration the pod's opting out by the operator is what that one says; its own word is kept.
#[test]
fn another_policys_preferences_are_weighed_in_the_place_of_the_recorded_ones() {
    let out = leak_of_one_who_opted_out(Mode::Shadow);
    let kills = |preferences| {
        let asked = Asked {
            policy: Policy {
                mode: Mode::Enforce,
                ..Policy::default()
            },
            preferences,
        };
        let played = play(Reader::open(&out).expect("it plays"), [Some(&asked), None]);
        let [Some(lane), _] = played.asked() else {
            panic!("it was asked for")
        };
        lane.decided.iter().filter(|it| it.rung == Rung::Kill).count()
    };
    let bakery = Preference {
        namespaces: vec!["bakery".into()],
        ..Preference::default()
    };
    assert_eq!([kills(None), kills(Some(vec![bakery]))], [0, 0]);
    assert!(kills(Some(Vec::new())) > 0);
}

#[test]
fn a_recording_of_one_who_only_looked_on_tells_what_another_policy_would_have_said() {
    let (value, text) = told_of(&leak_of_one_who_opted_out(Mode::Observe));
    assert!(value["policy"]["sound"]["alarms"].as_u64() > Some(0), "{value}");
    assert_eq!(value["against"]["sound"]["alarms"], 0);
    assert_eq!(value["against"]["not_done"], serde_json::json!([]));
    assert!(
        text.contains("recorded in observe: the recorded policy claimed nothing"),
        "{text}"
    );
}
