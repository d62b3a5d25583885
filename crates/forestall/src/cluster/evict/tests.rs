//! Orders through the real desk, a directory that looks like a pod's cgroup, and a scripted server.

mod pace;
mod tokens;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use forestall_act::{ActConfig, Actor, ActorHandle, CgroupPlace, CgroupVersion, Order, Place};
use forestall_decide::{Action, ActionId, Evidence, GroupId, GroupKind, Outcome, Qos, Rung, Span};
use tempfile::TempDir;

use super::super::tests::{Answer, SILENCE, Stage, answer, refusal};
use super::*;
use crate::agent::own_wall;

/// What `k8s.io/kubernetes` 1.37's API server answers where a budget is used up.
const BUDGET: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Cannot evict pod as it would violate the pod's disruption budget.","reason":"TooManyRequests","details":{"causes":[{"reason":"DisruptionBudget","message":"The disruption budget web needs 1 healthy pods and has 1 currently"}]},"code":429}"#;
const CREATED: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":201}"#;

pub(crate) fn created(body: &str) -> Answer {
    Answer {
        status: 201,
        ..answer("", body)
    }
}

#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub(crate) fn all(&self) -> String {
        self.0.lock().expect("a list").join("; ")
    }

    fn note(&self, what: String) {
        self.0.lock().expect("a list").push(what);
    }
}

impl Witness for Told {
    fn would_evict(&self, pod: &Named) {
        self.note(format!("would evict {}", pod.name));
    }
    fn is_refused(&self, _: &Named, why: &Trouble, is_rehearsal: bool) {
        self.note(format!("refused {is_rehearsal}: {why}"));
    }
    fn is_sent_anywhere(&self, pod: &Named, why: &str) {
        self.note(format!("{} goes anywhere: {why}", pod.name));
    }
    fn is_unmarked(&self, _: &Named, why: &Trouble) {
        self.note(format!("unmarked: {why}"));
    }
    fn is_unmarked_on_node(&self, why: &Trouble) {
        self.note(format!("unmarked on the node: {why}"));
    }
}

pub(crate) fn pod() -> Named {
    Named {
        namespace: "shop".to_owned(),
        name: "cart-0".to_owned(),
        uid: "0330b2c1-a15b-4cdd-b5e5-72d4a90bee82".to_owned(),
        class: String::new(),
        controller: None,
        request: forestall_decide::Bytes::ZERO,
    }
}

fn evicting() -> ActConfig {
    ActConfig {
        evicts: true,
        ..ActConfig::default()
    }
}

/// One pod, one order, and what came of it.
struct Trial {
    stage: Stage,
    handle: ActorHandle,
    desk: EvictionDesk,
    cgroup: TempDir,
    shelf: Shelf,
    news: NodeNews,
    told: Told,
}

impl Trial {
    async fn set(answers: Vec<Answer>) -> Self {
        let stage = Stage::set(answers).await;
        let mut handle = Actor::start(&evicting()).expect("three threads");
        let desk = handle.take_desk().expect("nobody has it yet");
        let cgroup = tempfile::tempdir().expect("a directory");
        fs::write(cgroup.path().join("cgroup.procs"), "").expect("room");
        fs::write(cgroup.path().join("cgroup.events"), "populated 0\n").expect("room");
        let shelf = Shelf::default();
        shelf.set_link(Some(stage.link.clone()));
        shelf.put(group_of(cgroup.path()), pod());
        Self {
            stage,
            handle,
            desk,
            cgroup,
            shelf,
            news: NodeNews::default(),
            told: Told::default(),
        }
    }

    fn order(&self) -> Order {
        order_for(&self.cgroup)
    }

    async fn run(&self, eviction: Eviction) {
        let (shelf, news) = (self.shelf.clone(), self.news.clone());
        carry_out(eviction, shelf, "n1".into(), news, self.told.clone()).await;
    }

    /// What the engine is told of an order, in order.
    async fn outcomes(&self) -> Vec<OutcomeKind> {
        self.handle.submit(self.order()).expect("taken");
        self.run(self.desk.take().expect("an order")).await;
        std::iter::from_fn(|| self.handle.take_outcome())
            .map(|Outcome { kind, .. }| kind)
            .collect()
    }

    fn told(&self) -> String {
        self.told.all()
    }
}

fn order_for(cgroup: &TempDir) -> Order {
    let id = group_of(cgroup.path());
    Order {
        action: Action {
            id: ActionId(3),
            rung: Rung::Evict,
            target: Target::Group(id),
            bytes: forestall_decide::Bytes::mebi(1),
            grace: Span::secs(1),
            deadline: Span::secs(20),
            escalate: false,
            evidence: Evidence {
                reading: own_wall(),
                time_to_effect: Span::secs(1),
                rule: "in-time",
            },
        },
        place: Place::Cgroup(CgroupPlace {
            dir: Arc::new(fs::File::open(cgroup.path()).expect("a directory").into()),
            id,
            kind: GroupKind::Pod(Qos::Burstable),
            path: cgroup.path().into(),
            version: CgroupVersion::V2,
        }),
    }
}

fn group_of(dir: &Path) -> GroupId {
    GroupId(fs::metadata(dir).expect("a directory").ino())
}

#[tokio::test]
async fn an_eviction_names_the_uid_leaves_the_grace_to_the_pod_and_is_written_on_it() {
    let trial = Trial::set(vec![created(CREATED), created("{}")]).await;
    assert_eq!(trial.outcomes().await, [OutcomeKind::Progress, OutcomeKind::Done]);
    assert_eq!(
        trial.stage.asked(),
        [
            "POST /api/v1/namespaces/shop/pods/cart-0/eviction",
            "POST /apis/events.k8s.io/v1/namespaces/shop/events"
        ]
    );
    let asked: serde_json::Value = serde_json::from_str(&trial.stage.bodies()[0]).expect("JSON");
    let expected = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": { "namespace": "shop", "name": "cart-0" },
        "deleteOptions": { "preconditions": { "uid": "0330b2c1-a15b-4cdd-b5e5-72d4a90bee82" } },
    });
    assert_eq!(asked, expected);
    assert_eq!(trial.told(), "");
}

#[tokio::test]
async fn what_stands_against_it_is_told_apart() {
    let (gone, blocked, refused) = (OutcomeKind::Gone, OutcomeKind::Blocked, OutcomeKind::Failed);
    for (status, body, kind) in [
        (429, BUDGET, blocked),
        (404, r#"{"reason":"NotFound"}"#, gone),
        (
            409,
            r#"{"reason":"Conflict","message":"Precondition failed: UID in precondition: a, UID in object meta: b"}"#,
            gone,
        ),
        // What is said of one pod, by an admission webhook or of its two budgets, need not hold for another.
        (
            403,
            r#"{"reason":"Forbidden","message":"admission webhook \"keep.example\" denied the request: not now"}"#,
            blocked,
        ),
        (400, "", blocked),
        (
            500,
            r#"{"message":"This pod has more than one PodDisruptionBudget"}"#,
            blocked,
        ),
        (
            500,
            r#"{"reason":"InternalError","message":"Internal error occurred: failed calling webhook \"keep.example\": no endpoints"}"#,
            blocked,
        ),
        // EACCES, EIO of asm-generic/errno-base.h.
        (401, "", refused(13)),
        (
            500,
            r#"{"reason":"InternalError","message":"etcdserver: no leader"}"#,
            refused(5),
        ),
        (503, "", refused(5)),
    ] {
        let trial = Trial::set(vec![refusal("", status, body)]).await;
        assert_eq!(trial.outcomes().await, [kind], "{status}");
        assert!(
            trial.told().contains(&format!("answers {status}")),
            "{}",
            trial.told()
        );
    }
}

#[tokio::test]
async fn an_eviction_that_is_forbidden_is_told_with_verb_resource_and_where_the_rule_is() {
    let forbidden = r#"{"kind":"Status","code":403,"reason":"Forbidden","message":"pods \"cart-0\" is forbidden: User \"system:serviceaccount:forestall:forestall\" cannot create resource \"pods/eviction\" in API group \"\" in the namespace \"shop\""}"#;
    let trial = Trial::set(vec![refusal("eviction", 403, forbidden)]).await;
    // EACCES.
    assert_eq!(trial.outcomes().await, [OutcomeKind::Failed(13)]);
    let told = trial.told();
    assert!(
        told.contains(r#"cannot create resource "pods/eviction""#) && told.contains("deploy/ has the rules"),
        "{told}"
    );
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_when_it_says_and_not_for_ever() {
    let busy = || Answer {
        header: Some(("retry-after", "0")),
        ..refusal("", 429, r#"{"reason":"TooManyRequests"}"#)
    };
    let trial = Trial::set(vec![busy(), busy(), created(CREATED), created("{}")]).await;
    assert_eq!(trial.outcomes().await, [OutcomeKind::Progress, OutcomeKind::Done]);
    let trial = Trial::set(vec![busy(), busy(), busy(), created(CREATED)]).await;
    assert_eq!(trial.outcomes().await, [BUSY]);
}

/// KubeVirt's webhook answers so for each of its pods, and never otherwise: another one is next, as with a budget, and the server is asked once.
#[tokio::test]
async fn a_webhook_that_answers_as_if_it_were_busy_speaks_of_its_pod() {
    let evacuates = r#"{"reason":"TooManyRequests","message":"admission webhook \"virt-launcher-eviction-interceptor.kubevirt.io\" denied the request: Eviction triggered evacuation of VMI default/vm","code":429}"#;
    let trial = Trial::set(vec![refusal("", 429, evacuates), created(CREATED)]).await;
    assert_eq!(trial.outcomes().await, [OutcomeKind::Blocked]);
}

/// EBUSY of asm-generic/errno-base.h.
const BUSY: OutcomeKind = OutcomeKind::Failed(16);

/// Two pauses between three tries: a second each where none is named. Whoever asks for more than five is not asked again before that, nor waited for.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_is_waited_for_within_bounds_whatever_it_asks_for() {
    for (header, seconds) in [
        (None, 2),
        (Some("3"), 6),
        (Some("-3"), 2),
        (Some("5"), 10),
        (Some("6"), 0),
        (Some("18446744073709551616"), 0),
        (Some("Fri, 31 Dec 9999 23:59:59 GMT"), 0),
        (Some("Sun, 06 Nov 1994 08:49:37 GMT"), 0),
    ] {
        let busy = || Answer {
            header: header.map(|value| ("retry-after", value)),
            ..refusal("", 429, "")
        };
        let trial = Trial::set(vec![busy(), busy(), busy()]).await;
        let begun = Instant::now();
        assert_eq!(trial.outcomes().await, [BUSY], "{header:?}");
        assert_eq!(begun.elapsed().as_secs(), seconds, "{header:?}");
    }
}

/// The answer to one of two is cut off by the connection's own deadline (10 s), of the other by the order's.
#[tokio::test(start_paused = true)]
async fn an_eviction_that_gets_no_answer_is_given_up_by_its_deadline() {
    for (deadline, seconds) in [(20, 10), (4, 4)] {
        let trial = Trial::set(vec![Answer {
            status: SILENCE,
            ..answer("eviction", "")
        }])
        .await;
        let mut order = trial.order();
        order.action.deadline = Span::secs(deadline);
        trial.handle.submit(order).expect("taken");
        let begun = Instant::now();
        trial.run(trial.desk.take().expect("an order")).await;
        // ETIMEDOUT.
        let kind = trial.handle.take_outcome().expect("an answer").kind;
        assert_eq!(kind, OutcomeKind::Failed(110));
        assert_eq!(begun.elapsed().as_secs(), seconds);
        let told = trial.told();
        assert!(told.contains(&format!("within {seconds}s")), "{told}");
    }
}

/// The pod is gone at once, and its Event is never taken: that is given up after the connection's ten seconds, for which nobody waits.
#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_taken_keeps_nobody_from_hearing_of_the_end() {
    let hangs = Answer {
        status: SILENCE,
        ..answer("events", "")
    };
    let trial = Trial::set(vec![created(CREATED), hangs]).await;
    trial.handle.submit(trial.order()).expect("taken");
    let eviction = trial.desk.take().expect("an order");
    let begun = Instant::now();
    let mut ended_after = None;
    let heard = async {
        while ended_after.is_none() {
            sleep(LOOK_APART).await;
            let mut kinds = std::iter::from_fn(|| trial.handle.take_outcome()).map(|outcome| outcome.kind);
            ended_after = kinds
                .any(|kind| kind == OutcomeKind::Done)
                .then(|| begun.elapsed());
        }
    };
    tokio::join!(trial.run(eviction), heard);
    assert!(
        ended_after.expect("an end") < Duration::from_secs(1),
        "{ended_after:?}"
    );
    assert!(begun.elapsed() >= Duration::from_secs(10));
    assert!(trial.told().contains("unmarked: "), "{}", trial.told());
}

#[tokio::test]
async fn a_rehearsal_changes_nothing_and_is_told_in_words_alone() {
    let trial = Trial::set(vec![created(CREATED), refusal("", 429, BUDGET)]).await;
    for _ in 0..2 {
        trial.handle.rehearse(trial.order()).expect("taken");
        trial.run(trial.desk.take().expect("an order")).await;
    }
    assert!(trial.handle.take_outcome().is_none());
    let bodies = trial.stage.bodies();
    assert_eq!(bodies.len(), 2, "no Event either: {bodies:?}");
    for body in bodies {
        assert!(body.contains(r#""dryRun":["All"]"#), "{body}");
    }
    let told = trial.told();
    assert!(told.starts_with("would evict cart-0; refused true: "), "{told}");
}

#[tokio::test]
async fn without_a_server_or_a_pod_it_is_answered_at_once() {
    let trial = Trial::set(Vec::new()).await;
    trial.shelf.set_link(None);
    // EHOSTUNREACH.
    assert_eq!(trial.outcomes().await, [OutcomeKind::Failed(113)]);
    let trial = Trial {
        shelf: Shelf::default(),
        ..trial
    };
    assert_eq!(trial.outcomes().await, [OutcomeKind::Gone]);
    assert!(trial.stage.asked().is_empty());
}

#[tokio::test]
async fn what_was_called_off_is_not_asked_for_and_a_missing_event_is_told() {
    let trial = Trial::set(vec![created(CREATED), refusal("", 403, "{}")]).await;
    trial.handle.submit(trial.order()).expect("taken");
    let eviction = trial.desk.take().expect("an order");
    trial.handle.call_off();
    trial.run(eviction).await;
    // ECANCELED.
    let kind = trial.handle.take_outcome().expect("an answer").kind;
    assert_eq!(kind, OutcomeKind::Failed(125));
    assert!(trial.stage.asked().is_empty());
    assert_eq!(trial.outcomes().await, [OutcomeKind::Progress, OutcomeKind::Done]);
    assert!(trial.told().contains("unmarked: "), "{}", trial.told());
}

#[tokio::test]
async fn a_yes_is_no_effect_until_nobody_is_left() {
    let trial = Trial::set(vec![created(CREATED), created("{}")]).await;
    fs::write(trial.cgroup.path().join("cgroup.events"), "populated 1\n").expect("room");
    let mut order = trial.order();
    order.action.deadline = Span::millis(300);
    trial.handle.submit(order).expect("taken");
    trial.run(trial.desk.take().expect("an order")).await;
    let kinds: Vec<_> = std::iter::from_fn(|| trial.handle.take_outcome())
        .map(|outcome| outcome.kind)
        .collect();
    assert_eq!(kinds, [OutcomeKind::Progress, OutcomeKind::NoEffect]);
}

/// One after another over one connection. How long each took to be there is printed (`--nocapture`), and nothing depends on it.
#[tokio::test]
async fn orders_are_asked_for_each_once_and_in_order() {
    const ORDERS: usize = 32;
    let answers = (0..=ORDERS).flat_map(|_| [created(CREATED), created("{}")]);
    let Trial {
        stage,
        handle,
        desk,
        cgroup,
        shelf,
        told,
        ..
    } = Trial::set(answers.collect()).await;
    tokio::spawn(carry_out_all(Arc::new(desk), shelf, "n1".into(), told.clone()));
    let on_node = |request: &String| request.contains("/namespaces/default/events");
    let asked = || -> Vec<String> {
        let asked = stage.asked().into_iter();
        asked.filter(|request| !on_node(request)).collect()
    };
    let mut micros = Vec::new();
    for nth in 0..ORDERS {
        let before = std::time::Instant::now();
        handle.submit(order_for(&cgroup)).expect("taken");
        while asked().len() <= 2 * nth {
            tokio::task::yield_now().await;
        }
        micros.push(before.elapsed().as_micros());
        while !std::iter::from_fn(|| handle.take_outcome()).any(|outcome| outcome.kind == OutcomeKind::Done)
            || asked().len() < 2 * (nth + 1)
        {
            tokio::task::yield_now().await;
        }
    }
    let asked = asked();
    assert_eq!(asked.len(), 2 * ORDERS);
    // Of all of them one Event tells on the Node.
    assert_eq!(stage.asked().iter().filter(|request| on_node(request)).count(), 1);
    let is_eviction = |request: &&String| request.ends_with("/eviction");
    assert_eq!(asked.iter().filter(is_eviction).count(), ORDERS);
    assert_eq!(told.all(), "");
    micros.sort_unstable();
    let (middle, most) = (micros[ORDERS / 2], micros[ORDERS - 1]);
    println!("from the order to the server, {ORDERS} times: half within {middle} µs, all within {most} µs");
}
