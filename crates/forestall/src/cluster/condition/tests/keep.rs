//! What is written on the Node, over simulated time, by a scripted server.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};

use super::*;
use crate::agent::shared::{self, Ends};
use crate::cluster::TaintWish;
use crate::cluster::seen::tests::publish;
use crate::cluster::shelf::Shelf;
use crate::cluster::tests::{Answer, SILENCE, Stage, answer, refusal};
use crate::cluster::{NodeSources, NodeWitness, Notices, Told, Trouble};
use crate::config::taint::Taint;

const READ: &str = "GET /api/v1/nodes/n1";
const CALM_RUNWAY: &str = "MemoryRunwayLow False RunwayEnough";
const WRITTEN: &str = "PATCH /api/v1/nodes/n1/status";

#[derive(Clone, Default)]
pub(in crate::cluster) struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    pub(in crate::cluster) fn all(&self) -> Vec<String> {
        self.0.lock().expect("a list").clone()
    }

    fn note(&self, what: String) {
        self.0.lock().expect("a list").push(what);
    }
}

impl NodeWitness for Heard {
    fn is_untold(&self, what: Told, why: &Trouble) {
        self.note(format!("{what:?} untold: {why}"));
    }
    fn is_told_again(&self, what: Told) {
        self.note(format!("{what:?} told"));
    }
}

/// An agent on n1 and its server.
struct Trial {
    stage: Stage,
    ends: Ends,
    shelf: Shelf,
    notices: Notices,
    folder: TempDir,
    heard: Heard,
    kept: JoinHandle<()>,
}

impl Trial {
    /// One that has looked and has a connection.
    async fn begin(answers: Vec<Answer>) -> Self {
        Self::begin_with(Taint::None, answers).await
    }

    async fn begin_with(taint: Taint, answers: Vec<Answer>) -> Self {
        let stage = Stage::set(answers).await;
        let mut ends = shared::open().expect("an eventfd");
        publish(&mut ends, &node(), &[far()]);
        let folder = TempDir::new().expect("a directory");
        let (shelf, notices, heard) = (Shelf::default(), Notices::default(), Heard::default());
        shelf.set_link(Some(stage.link.clone()));
        let sources = NodeSources {
            taint: TaintWish::of(taint),
            board: Arc::clone(&ends.board),
            notices: notices.clone(),
            vmstat: folder.path().join("vmstat"),
        };
        let trial = Self {
            kept: tokio::spawn(keep::keep(sources, shelf.clone(), "n1".into(), heard.clone())),
            stage,
            ends,
            shelf,
            notices,
            folder,
            heard,
        };
        trial.kills(3);
        trial
    }

    fn kills(&self, count: u64) {
        let path = self.folder.path().join("vmstat");
        std::fs::write(path, format!("pgfault 1\noom_kill {count}\n")).expect("room");
    }

    fn asked(&self) -> Vec<String> {
        self.stage.asked()
    }

    /// The conditions of the last write, by type.
    fn written(&self) -> Vec<Value> {
        let bodies = self.stage.bodies();
        let last: Value = serde_json::from_str(bodies.last().expect("a request")).expect("JSON");
        last["status"]["conditions"]
            .as_array()
            .expect("conditions")
            .clone()
    }

    /// Types, statuses and reasons of the last write.
    fn said(&self) -> Vec<String> {
        let word = |one: &Value, key: &str| one[key].as_str().expect("a text").to_owned();
        self.written()
            .iter()
            .map(|one| ["type", "status", "reason"].map(|key| word(one, key)).join(" "))
            .collect()
    }
}

/// A wall that nobody comes to.
fn far() -> WallReading {
    reading(WallKind::Kernel, 500, Span::FOREVER)
}

fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}

/// A Node as an agent that was killed has left it.
const LEFT: &str = r#"{"kind":"Node","metadata":{"uid":"1"},"status":{"conditions":[
    {"type":"Ready","status":"True","lastTransitionTime":"2020-01-01T00:00:00Z"},
    {"type":"MemoryRunwayLow","status":"True","lastTransitionTime":"2021-01-01T00:00:00Z"},
    {"type":"KernelOOM","status":"False","lastTransitionTime":"2022-01-01T00:00:00Z"}]}}"#;

fn some(count: usize) -> Vec<Answer> {
    let writes = (0..count).map(|_| answer(WRITTEN, "{}"));
    std::iter::once(answer(READ, LEFT)).chain(writes).collect()
}

#[tokio::test(start_paused = true)]
async fn at_the_start_the_truth_is_written_and_then_nothing_but_a_sign_of_life() {
    let begun = Instant::now();
    let trial = Trial::begin(some(9)).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(trial.asked(), [READ, WRITTEN]);
    assert_eq!(trial.said(), [CALM_RUNWAY, "KernelOOM False NoKill"]);
    let written = trial.written();
    // What was True was lifted now, and what was False has been for years.
    assert_ne!(written[0]["lastTransitionTime"], "2021-01-01T00:00:00Z");
    assert_eq!(written[0]["lastTransitionTime"], written[0]["lastHeartbeatTime"]);
    assert_eq!(written[1]["lastTransitionTime"], "2022-01-01T00:00:00Z");
    // Once more after a minute, since the agent before may have ended since, and then every five.
    for (minute, count) in [(2, 3), (5, 3), (7, 4), (10, 4), (12, 5)] {
        sleep_until(begun + minutes(minute)).await;
        assert_eq!(trial.asked().len(), count, "after {minute} minutes");
    }
    assert_eq!(trial.written()[1]["lastTransitionTime"], "2022-01-01T00:00:00Z");
    assert_eq!(trial.heard.all(), [""; 0]);
    trial.kept.abort();
}

#[tokio::test(start_paused = true)]
async fn a_change_in_the_first_minute_puts_off_no_sign_of_life() {
    let trial = Trial::begin(some(9)).await;
    sleep(Duration::from_secs(30)).await;
    trial.kills(4);
    sleep(Duration::from_secs(25)).await;
    assert_eq!(trial.asked(), [READ, WRITTEN, WRITTEN]);
    // The agent before this one may have said that it knows nothing any more.
    sleep(Duration::from_secs(10)).await;
    assert_eq!(trial.asked(), [READ, WRITTEN, WRITTEN, WRITTEN]);
    assert_eq!(trial.said(), [CALM_RUNWAY, "KernelOOM True LimitUnknown"]);
    trial.kept.abort();
}

#[tokio::test(start_paused = true)]
async fn a_kill_stands_on_the_node_within_five_seconds_with_what_is_known_of_it() {
    let trial = Trial::begin(some(9)).await;
    sleep(Duration::from_secs(20)).await;
    trial.kills(4);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(trial.said(), [CALM_RUNWAY, "KernelOOM True LimitUnknown"]);
    let since = trial.written()[1]["lastTransitionTime"].clone();
    assert_eq!(since, trial.written()[1]["lastHeartbeatTime"]);
    trial.notices.kill(word(Level::Pod));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(trial.said(), [CALM_RUNWAY, "KernelOOM True PodLimit"]);
    assert_eq!(trial.written()[1]["lastTransitionTime"], since);
    sleep(minutes(11)).await;
    assert_eq!(trial.said(), [CALM_RUNWAY, "KernelOOM False NoKill"]);
    trial.kept.abort();
}

#[tokio::test(start_paused = true)]
async fn kills_that_go_on_are_written_no_more_than_once_a_second_and_only_when_that_says_more() {
    let trial = Trial::begin(some(40)).await;
    sleep(Duration::from_secs(3)).await;
    let before = trial.asked().len();
    let levels = [
        Level::Unknown,
        Level::Container,
        Level::Pod,
        Level::Qos,
        Level::Kubepods,
        Level::Node,
    ];
    for (nth, level) in (0..).zip(levels.iter().cycle().take(200)) {
        trial.kills(4 + nth);
        trial.notices.kill(word(*level));
        sleep(Duration::from_millis(50)).await;
    }
    // Ten seconds, of which each limit that is graver is told once.
    let writes = trial.asked().len() - before;
    assert!((1..=2).contains(&writes), "{writes} writes: {:?}", trial.asked());
    assert_eq!(trial.said(), [CALM_RUNWAY, "KernelOOM True NodeOutOfMemory"]);
    trial.kept.abort();
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_is_told_once_and_asked_for_more_and_more_seldom() {
    let forbidden = || {
        let body = r#"{"code":403,"reason":"Forbidden","message":"cannot patch resource \"nodes/status\""}"#;
        [answer(READ, "{}"), refusal(WRITTEN, 403, body)]
    };
    let answers = (0..16).flat_map(|_| forbidden());
    let last = [answer(READ, "{}"), answer(WRITTEN, "{}")];
    let trial = Trial::begin(answers.chain(last).collect()).await;
    sleep(minutes(60)).await;
    let heard = trial.heard.all();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(
        heard[0].contains("cannot patch resource") && heard[0].contains("deploy/"),
        "{heard:?}"
    );
    // Six in the first minutes, and then one in ten minutes.
    let tries = trial.asked().len() / 2;
    assert!((10..=14).contains(&tries), "{tries}");
    sleep(minutes(60)).await;
    assert_eq!(
        trial.heard.all().get(1).map(String::as_str),
        Some("Conditions told")
    );
    trial.kept.abort();
}

/// Six tries are answered so, which is told once, and then that it is over.
async fn tell_of(answers: impl Fn() -> Answer, words: &str, tries_before_it_is_told: usize) {
    let tries = (0..6).flat_map(|_| [answer(READ, "{}"), answers()]);
    let trial = Trial::begin(tries.chain(some(9)).collect()).await;
    for _ in 0..300 {
        if trial.heard.all().is_empty() {
            sleep(Duration::from_secs(1)).await;
        }
    }
    assert!(trial.heard.all()[0].contains(words), "{:?}", trial.heard.all());
    assert_eq!(trial.asked().len() / 2, tries_before_it_is_told, "{words}");
    sleep(minutes(30)).await;
    let heard = trial.heard.all();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(heard[1], "Conditions told");
    trial.kept.abort();
}

#[tokio::test(start_paused = true)]
async fn whatever_keeps_a_condition_from_being_written_is_told_once_and_so_is_its_end() {
    let status = |code, reason| {
        let body = format!(r#"{{"code":{code},"reason":"{reason}","message":"so it is"}}"#);
        move || refusal(WRITTEN, code, &body)
    };
    tell_of(status(404, "NotFound"), "so it is", 1).await;
    // What may be over by the next try is told when it is not.
    tell_of(status(409, "Conflict"), "so it is", 3).await;
    tell_of(status(500, "InternalError"), "so it is", 3).await;
    tell_of(|| refusal(WRITTEN, SILENCE, ""), "has not answered", 3).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_server_nothing_is_asked_and_with_one_again_what_is_true_then() {
    let mut trial = Trial::begin(some(9)).await;
    trial.shelf.set_link(None);
    sleep(minutes(5)).await;
    assert_eq!(trial.asked(), [""; 0]);
    let alarm = WallReading {
        alarmed: true,
        ..reading(WallKind::Kubepods, 50, Span::secs(20))
    };
    publish(&mut trial.ends, &node(), &[alarm]);
    trial.shelf.set_link(Some(trial.stage.link.clone()));
    sleep(Duration::from_secs(3)).await;
    assert_eq!(
        trial.said(),
        ["MemoryRunwayLow True Alarm", "KernelOOM False NoKill"]
    );
    // It was True before, by the word of another agent.
    assert_eq!(trial.written()[0]["lastTransitionTime"], "2021-01-01T00:00:00Z");
    trial.kept.abort();
}

#[tokio::test(start_paused = true)]
async fn at_the_end_nobody_knows_any_more_and_what_was_never_said_is_not_taken_back() {
    let trial = Trial::begin(some(9)).await;
    sleep(Duration::from_secs(3)).await;
    trial.notices.end();
    trial.notices.ended().await;
    assert_eq!(
        trial.said(),
        [
            "MemoryRunwayLow Unknown AgentEnded",
            "KernelOOM Unknown AgentEnded"
        ]
    );
    trial.kept.await.expect("it has ended");
    let trial = Trial::begin(some(9)).await;
    trial.notices.end();
    trial.notices.ended().await;
    assert_eq!(trial.asked(), [""; 0]);
}

/// The Node is read before each change of its taints, and both conditions stand before anybody is kept away.
#[tokio::test(start_paused = true)]
async fn the_taint_follows_the_condition_and_is_lifted_before_the_last_word() {
    let tainted = r#"{"spec":{"taints":[{"key":"forestall.io/memory-runway-low","effect":"NoSchedule"}]}}"#;
    let changed = || answer("PATCH /api/v1/nodes/n1", "{}");
    let written = || answer(WRITTEN, "{}");
    let set = [written(), written(), answer(READ, "{}"), changed()];
    let lift = [answer(READ, tainted), changed(), written()];
    let mut answers = some(1);
    answers.extend(set.into_iter().chain(lift));
    let mut trial = Trial::begin_with(Taint::NoSchedule, answers).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(trial.asked(), [READ, WRITTEN]);
    // A runway that is short is told, and may be long again in a moment.
    let short = reading(WallKind::Kernel, 100, Span::secs(20));
    publish(&mut trial.ends, &node(), &[short]);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(trial.asked()[2..], [WRITTEN]);
    assert_eq!(trial.said()[0], "MemoryRunwayLow True RunwayShort");
    let low = WallReading {
        alarmed: true,
        ..short
    };
    publish(&mut trial.ends, &node(), &[low]);
    sleep(Duration::from_secs(3)).await;
    let change = "PATCH /api/v1/nodes/n1";
    assert_eq!(trial.asked()[3..], [WRITTEN, READ, change]);
    trial.notices.end();
    trial.notices.ended().await;
    assert_eq!(trial.asked()[6..], [READ, change, WRITTEN]);
    assert_eq!(trial.said()[0], "MemoryRunwayLow Unknown AgentEnded");
    assert_eq!(trial.heard.all(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_node_with_absurd_conditions_costs_nothing_but_when_they_began() {
    let absurd = r#"{"status":{"conditions":[7,{"type":"KernelOOM","status":"False","lastTransitionTime":"\u001b[31m"},
        {"type":"MemoryRunwayLow","status":"False","lastTransitionTime":null}]}}"#;
    let trial = Trial::begin(vec![answer(READ, absurd), answer(WRITTEN, "{}")]).await;
    sleep(Duration::from_secs(3)).await;
    for condition in trial.written() {
        assert_eq!(condition["lastTransitionTime"], condition["lastHeartbeatTime"]);
    }
    trial.kept.abort();
}
