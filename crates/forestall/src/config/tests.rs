use std::path::PathBuf;

use clap::{Args as _, FromArgMatches as _};
use forestall_decide::{Bytes, Mode, Policy, Preference, Preferred, Preset, Rung, Rungs, Span, Victims};

use super::budget::{Budget, Tokens};
use super::*;
use crate::config::choice::{Mode as ModeWord, Preset as PresetWord};
use crate::config::notify::Notify;

mod any_text;
mod manifests;

pub(super) fn check(text: &str) -> Result<Settings, Invalid> {
    parse(text).and_then(|raw| Settings::check(&raw))
}

fn flags(fill: impl FnOnce(&mut AgentArgs)) -> Result<Settings, Invalid> {
    let mut args = AgentArgs::default();
    fill(&mut args);
    load(&args)
}

#[test]
fn the_example_is_up_to_date_and_says_what_the_defaults_are() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/config.example.yaml");
    let fresh = render::example();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("it has a parent")).expect("the directory can be made");
        std::fs::write(&path, &fresh).expect("the example can be written");
    }
    let kept = std::fs::read_to_string(&path).expect("the example is in the repository");
    assert_eq!(kept, fresh, "run the test with UPDATE=1 and commit the result");
    assert_eq!(check(&kept), Ok(Settings::default()));
}

#[test]
fn what_makes_no_sense_is_told_with_its_place_unless_a_flag_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("c.yaml");
    let shown = path.display();
    let said = |text: &str, fill: &dyn Fn(&mut AgentArgs)| {
        std::fs::write(&path, text).expect("a file");
        let mut args = AgentArgs {
            config: Some(path.clone()),
            ..AgentArgs::default()
        };
        fill(&mut args);
        load(&args).expect_err(text).to_string()
    };
    let wrong = said("mode: shadow\nrecorder: {keep: 5s}\n", &|_| {});
    assert!(
        wrong.starts_with(&format!("{shown}:2:18: recorder.keep: too short")),
        "{wrong}"
    );
    let wrong = said("kubeletConfig: relative/x\n", &|_| {});
    assert!(
        wrong.starts_with(&format!("{shown}:1:16: kubeletConfig: ")),
        "{wrong}"
    );
    let hour = Some(Span::secs(3600));
    let wrong = said("timing: {interval: 1s}\n", &|args| args.interval = hour);
    assert!(
        wrong.starts_with(&format!("{shown}: timing.interval (--interval): ")),
        "{wrong}"
    );
}

#[test]
fn tracing_is_on_in_enforce_mode_or_where_somebody_says_so() {
    for (text, on) in [
        ("{}", false),
        ("mode: shadow\n", false),
        ("mode: enforce\n", true),
        ("mode: enforce\nledger: {tracing: false}\n", false),
        ("ledger: {tracing: true}\n", true),
    ] {
        let raw = parse(text).expect("a configuration");
        assert_eq!(Settings::check(&raw).expect("sound").ledger.tracing, on, "{text}");
    }
}

#[test]
fn what_is_printed_is_read_back() {
    let settings = Settings {
        policy: Policy {
            mode: Mode::Enforce,
            victims: Victims::Priority,
            culprit_share_permille: 755,
            tick_near: Span::millis(50),
            term_grace: Span(1_500_000),
            kubelet_eviction_hard: Bytes::mebi(750),
            ..Policy::default()
        },
        preferences: vec![
            Preference {
                namespaces: vec!["kube-system".into(), "a: \"b\" # }".into()],
                labels: vec![("tier".into(), "batch".into()), ("x/y".into(), "null".into())],
                priority_classes: vec!["low".into()],
                verdict: Preferred::Never,
            },
            Preference {
                verdict: Preferred::Weight(-7),
                ..Preference::default()
            },
        ],
        beside: true,
        taint: super::taint::Taint::PreferNoSchedule,
        budget: Budget {
            evictions: Some(Tokens::Permille(125)),
            namespaces: [("shop".to_owned(), 0), ("true".to_owned(), 3)].into(),
            priority_classes: [("null".to_owned(), 1_000)].into(),
            cooldown: Span::secs(90),
            controllers: Some(3),
            controller_cooldown: Span::secs(7_200),
            room: true,
        },
        force_empty: true,
        require: vec![Rung::Kill, Rung::Reclaim],
        listen: Listen::Off,
        root: PathBuf::from("/host: \"a\"/#b"),
        recorder: checked::Recorder {
            on: false,
            keep: Span::secs(90),
            size_max: Bytes::mebi(5),
        },
        ledger: checked::Ledger {
            on: false,
            tracing: false,
        },
        notify: Notify {
            exec: vec!["/bin/page".to_owned(), "a \"b\" #c".to_owned()],
            webhook: None,
            events: vec!["alarm".to_owned(), "killed".to_owned()],
            timeout: Span::secs(3),
        },
        kubelet: KubeletFile::At(PathBuf::from("/host/a: \"b\"/#c")),
        record: None,
    };
    assert_eq!(check(&render::render(&settings, false)), Ok(settings));
}

#[test]
fn a_preference_says_one_thing_and_nothing_that_is_not_known() {
    for (text, word) in [
        (
            "preferences: [{ weight: 1, never: true }]\n",
            "preferences: number 1: ",
        ),
        (
            "preferences:\n- weight: 1\n- namespaces: [a]\n",
            "preferences: number 2: ",
        ),
        ("preferences: [{ never: false }]\n", "never: true or a weight"),
        ("preferences: [{ never: \"true\" }]\n", "1:24: this is no boolean"),
        ("preferences: [{ weight: 3000000000 }]\n", "1:25: "),
        ("preferences: [{ label: a }]\n", "label"),
    ] {
        let Invalid { message: error, .. } = check(text).expect_err(text);
        assert!(error.contains(word), "{text}: {error}");
    }
    // What a label says may well be the text `true`.
    let spot = check("preferences: [{ labels: { spot: \"true\" }, weight: 5 }]\n").expect("sound");
    assert_eq!(spot.preferences[0].labels, [("spot".into(), "true".into())]);
    let many = "- { weight: 1 }\n".repeat(Preference::COUNT_MAX + 1);
    let Invalid { message: error, .. } = check(&format!("preferences:\n{many}")).expect_err("too many");
    assert!(error.contains("more than 1000"), "{error}");
}

#[test]
fn zero_is_the_same_in_every_unit() {
    let settings = check("gist: {minAvailable: 0}\nkubeletEvictionHard: 0\n").expect("sound");
    assert_eq!(settings.policy.gist_available_bytes_min, Bytes::ZERO);
    // And where it would do nothing it is refused.
    let Invalid { message: error, .. } =
        check("preset: gist\ngist: {minAvailable: 0}\n").expect_err("never acts");
    assert!(error.contains("would never act"), "{error}");
}

#[test]
fn errors_name_line_and_column_and_what_to_write() {
    for (text, place, word) in [
        ("mode: shadow\nmood: enforce\n", "2:1: ", "mood"),
        ("timing:\n  interval: 5\n", "2:13: ", "2s or 1m"),
        ("timing:\n  tickFar: 5s\n", "2:3: ", "tickFar"),
        ("mode: destroy\n", "1:7: ", "destroy"),
        ("gist: {minAvailable: 12Mb}\n", "1:22: ", "350Mi"),
        ("gist: {minAvailable: 0.000001Ki}\n", "1:22: ", "less than a byte"),
        ("kubeletEvictionHard: 100mi\n", "1:22: ", "maybe Mi is meant"),
        ("timing: {killCooldown: 1e400s}\n", "1:24: ", "2s or 1m"),
        ("timing: {killCooldown: -1s}\n", "1:24: ", "2s or 1m"),
        ("timing: {termGrace: .nan}\n", "1:21: ", "2s or 1m"),
        ("timing: {termGrace: ''}\n", "1:21: ", "2s or 1m"),
        ("timing: {termGrace: 99999999999999999h}\n", "1:21: ", "too large"),
        ("warStoryA: {cachePercent: 15%%}\n", "1:27: ", "between 0 and 100"),
        (
            "timing: {interval: 0s}\n",
            "timing.interval (--interval): 0s is too short",
            "at least 10ms",
        ),
        (
            "preset: war-story-a\nwarStoryA: {usedPercent: 100, cachePercent: 100}\n",
            "warStoryA.usedPercent",
            "would never act",
        ),
        ("warStoryA:\n  usedPercent: 185\n", "2:16: ", "between 0 and 100"),
        ("recorder: {sizeMax: 64}\n", "1:21: ", "350Mi"),
        ("recorder: {sizeMax: 10Ki}\n", "recorder.sizeMax", "at least 1Mi"),
        ("notify: {exec: [page]}\n", "notify.exec", "/usr/local/bin/page"),
        ("notify: {webhook: \"https://a/\"}\n", "notify.webhook", "curl"),
        (
            "notify: {events: [killed, death]}\n",
            "notify.events",
            "killed, alarm, action, outcome",
        ),
        ("notify: {timeout: 1h}\n", "notify.timeout", "at most 1m"),
        ("recorder: {keep: 5s}\n", "recorder.keep", "at least 1m"),
        ("listen: everywhere\n", "1:9: ", "127.0.0.1:9090"),
        ("beside: yes\n", "1:9: ", "bool"),
        ("forceEmpty: 1\n", "1:13: ", "bool"),
        ("rungs:\n  kill: \"true\"\n", "2:9: ", "without quotes"),
        ("mode: shadow\nmode: enforce\n", "2:1: ", "mode"),
        ("root: \"\"\n", "root: ", "write / for this machine"),
        ("mode: [shadow\n", "", ""),
        ("mode: [a]\n", "1:7: ", "write one of observe, shadow, enforce"),
        (
            "mode: {shadow: 1}\n",
            "1:7: ",
            "write one of observe, shadow, enforce",
        ),
        (
            "preset: [gist]\n",
            "1:9: ",
            "write one of forestall, war-story-a, gist",
        ),
        (
            "beside: true\nvictims: {}\n",
            "2:10: ",
            "write one of culprit, kubelet, priority",
        ),
        (
            "require: [kill, [a]]\n",
            "1:17: ",
            "write one of reclaim, brake, warn",
        ),
        (
            "require: [kill, slay]\n",
            "1:17: ",
            "\"slay\" is no word that is known here; write one of reclaim",
        ),
        ("- a\n- b\n", "1:1: ", ""),
        ("kubeletEvictionHard: [1Mi]\n", "1:22: ", "expected string"),
    ] {
        let Invalid { message: error, .. } = check(text).expect_err(text);
        assert!(error.starts_with(place), "{text:?} gave {error:?}");
        assert!(error.contains(word), "{text:?} gave {error:?}");
        assert!(
            !error.contains('\n') && !error.contains(" at line"),
            "{text:?} gave {error:?}"
        );
    }
}

#[test]
fn an_empty_file_is_a_mistake_and_empty_braces_are_not() {
    for text in ["", "\n\n", "# only words\n", "---\n"] {
        let Invalid { message: error, .. } = check(text).expect_err(text);
        assert!(error.contains("write {}"), "{error}");
    }
    assert_eq!(check("{}"), Ok(Settings::default()));
}

#[test]
fn fields_that_contradict_each_other_are_refused() {
    for (text, field) in [
        ("timing: {interval: 1s, tickNear: 2s}", "tickNear"),
        ("timing: {tickMin: 1us}", "tickMin"),
        ("timing: {tickNear: 5ms}", "tickMin"),
        ("timing: {interval: 1h}", "interval"),
        ("timing: {termGrace: 1h}", "termGrace"),
        ("timing: {tickMin: 200ms}", "tickMin"),
        ("timing: {interval: 0s}", "interval (--interval)"),
        ("timing: {interval: 9ms}", "interval (--interval)"),
        ("timing: {interval: 5s, tickNear: 2s}", "tickNear"),
        ("timing: {effectDeadline: 0}", "effectDeadline"),
        ("timing: {effectDeadline: 499ms}", "effectDeadline"),
        ("timing: {killCooldown: 0}", "killCooldown"),
        ("timing: {killCooldown: 99ms}", "killCooldown"),
        ("culpritSharePercent: 30", "culpritSharePercent"),
        ("require: [sysrq]", "rungs.sysrq"),
        ("preset: gist\nrungs: {sysrq: false}", "rungs.sysrq"),
        ("preset: gist\ngist: {minAvailable: 0}", "minAvailable"),
        ("preset: war-story-a\nwarStoryA: {usedPercent: 0}", "usedPercent"),
        (
            "preset: war-story-a\nwarStoryA: {cachePercent: 0}",
            "cachePercent",
        ),
    ] {
        let Invalid { message: error, .. } = check(text).expect_err(text);
        assert!(error.contains(field), "{text:?} gave {error:?}");
    }
}

#[test]
fn the_least_of_each_time_is_enough() {
    let least = "timing: {interval: 1ms, tickNear: 1ms, tickMin: 1ms, termGrace: 0, effectDeadline: 500ms, \
                 killCooldown: 100ms}";
    assert!(check(least).is_ok(), "{:?}", check(least));
    // Others' rules poll as seldom as they say.
    assert!(check("preset: gist\ntiming: {interval: 10m}").is_ok());
}

#[test]
fn a_threshold_above_all_memory_is_refused() {
    let total = Bytes::mebi(1024);
    let against = |text: &str| checked::check_against(&check(text).expect("it is sound").policy, total);
    assert_eq!(against("kubeletEvictionHard: 1023Mi"), Ok(()));
    for (text, field) in [
        ("kubeletEvictionHard: 1Gi", "kubeletEvictionHard: 1Gi"),
        (
            "preset: gist\ngist: {minAvailable: 2Gi}",
            "gist.minAvailable: 2Gi",
        ),
    ] {
        let Invalid { message: error, .. } = against(text).expect_err(text);
        assert!(error.contains(field) && error.contains("1.0GiB"), "{error}");
    }
    // The preset that does not read it may have it.
    assert_eq!(against("gist: {minAvailable: 2Gi}"), Ok(()));
}

#[test]
fn the_gist_in_one_line() {
    let settings = flags(|args| {
        args.preset = Some(PresetWord::Gist);
        args.mode = Some(ModeWord::Enforce);
        args.min_available = Some(Bytes::mebi(350));
        args.interval = Some(Span::secs(60));
    })
    .expect("it is sound");
    let policy = settings.policy;
    assert_eq!((policy.preset, policy.mode), (Preset::Gist, Mode::Enforce));
    assert_eq!(policy.rungs, Rungs::of(&[Rung::Sysrq]));
    assert_eq!(
        (policy.tick_calm, policy.tick_near),
        (Span::secs(60), Span::secs(60))
    );
    assert_eq!(policy.gist_available_bytes_min, Bytes(367_001_600));
}

#[test]
fn war_story_a_in_one_line() {
    let settings = flags(|args| {
        args.preset = Some(PresetWord::WarStoryA);
        args.used_percent = Some(900);
    })
    .expect("it is sound");
    let policy = settings.policy;
    assert_eq!(
        (policy.victims, policy.rungs),
        (Victims::Priority, Rungs::of(&[Rung::Kill]))
    );
    assert_eq!(
        (policy.war_story_used_permille, policy.war_story_cache_permille),
        (900, 150)
    );
    assert_eq!(
        (policy.tick_calm, policy.tick_near),
        (Span::secs(2), Span::secs(2))
    );
}

#[test]
fn flags_of_another_preset_are_refused() {
    let Invalid { message: error, .. } =
        flags(|args| args.min_available = Some(Bytes::mebi(1))).expect_err("no preset");
    assert!(error.contains("--preset gist"), "{error}");
    let wrong = flags(|args| {
        args.preset = Some(PresetWord::Gist);
        args.cache_percent = Some(150);
    });
    assert!(
        wrong
            .expect_err("wrong preset")
            .message
            .contains("--preset war-story-a")
    );
}

#[test]
fn flags_win_over_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("forestall.yaml");
    std::fs::write(&path, "mode: enforce\nlisten: none\ntiming: {interval: 5s}\n").expect("a file");
    let settings = flags(|args| {
        args.config = Some(path);
        args.mode = Some(ModeWord::Observe);
    })
    .expect("it is sound");
    assert_eq!(settings.policy.mode, Mode::Observe);
    assert_eq!(settings.listen, Listen::Off);
    assert_eq!(settings.policy.tick_calm, Span::secs(5));
}

#[test]
fn the_word_none_records_nothing_and_is_no_directory() {
    let recorded = |typed: &str| {
        let command = AgentArgs::augment_args(clap::Command::new("agent"));
        let found = command
            .try_get_matches_from(["agent", "--record", typed])
            .expect("it is understood");
        let args = AgentArgs::from_arg_matches(&found).expect("it is understood");
        let settings = load(&args).expect("it is sound");
        (settings.recorder.on, settings.record)
    };
    assert_eq!(recorded("none"), (false, None));
    assert_eq!(recorded("./none"), (true, Some(PathBuf::from("./none"))));
    assert_eq!(recorded("/trace"), (true, Some(PathBuf::from("/trace"))));
}

#[test]
fn files_that_are_no_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("f");
    let error = |args: &AgentArgs| load(args).expect_err("refused").message;
    let at = |path: &std::path::Path| AgentArgs {
        config: Some(path.to_owned()),
        ..AgentArgs::default()
    };
    assert!(error(&at(dir.path())).contains("is a directory"));
    assert!(error(&at(&dir.path().join("none"))).contains("No such file"));
    std::fs::write(&path, b"mode: shadow\nroot: \xff\n").expect("a file");
    assert!(error(&at(&path)).contains("f:2:7: is not UTF-8"));
    std::fs::write(&path, vec![b'#'; 2 << 20]).expect("a file");
    assert!(error(&at(&path)).contains("larger than 1MiB"));
    assert!(error(&at(std::path::Path::new("/dev/null"))).contains("not a regular file"));
}

#[test]
fn no_change_of_the_example_is_a_panic_or_a_refusal_without_a_place() {
    let example = render::example().into_bytes();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("c.yaml");
    let keep = |content: &[u8], read: &mut dyn FnMut(&Path)| {
        std::fs::write(&path, content).expect("a file");
        read(&path);
    };
    // A part of it is left out, told twice, or has another sign put in.
    let mut state = 1_u64;
    let mut pick = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).expect("a few bits") % below
    };
    for _ in 0..300 {
        let mut text = example.clone();
        for _ in 0..=pick(3) {
            let at = pick(text.len());
            let part = at..(at + pick(30)).min(text.len());
            match pick(3) {
                0 => drop(text.drain(part)),
                1 => {
                    let twice = text[part].to_vec();
                    text.splice(at..at, twice);
                }
                _ => text[at] = b"\n :-{}[]\"'#&*!|>%0\xff\0"[pick(20)],
            }
        }
        any_text::judge(&text, keep);
    }
}
