//! Has the conditions stand on the Node: written when they change, at once and no more than once a second, and as a sign of life every five minutes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use forestall_kernel::parse::Vmstat;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::kill::KernelOom;
use super::runway::RunwayLow;
use super::{Condition, Kind};
use crate::agent::shared::Board;
use crate::cluster::attempt::{Attempts, NodeWitness, Told};
use crate::cluster::error::Trouble;
use crate::cluster::follow;
use crate::cluster::link::{Ask, Link};
use crate::cluster::notice::Notices;
use crate::cluster::seen::Seen;
use crate::cluster::shelf::Shelf;
use crate::cluster::slim::{each, lenient, text};
use crate::cluster::taint::{NodeTaint, TaintWish};
use crate::log::time::rfc3339_seconds;

/// Between two looks at what is so. A kill is told within five seconds, of which the guard and the ledger need none: the kernel's own count is looked at.
const LOOK_APART: Duration = Duration::from_secs(2);

/// Two writes are so far apart.
const WRITTEN_APART: Duration = Duration::from_secs(1);

/// That it is still so is written so often, as the kubelet does of its own (`nodeStatusReportFrequency`).
const SIGN_OF_LIFE: Duration = Duration::from_mins(5);

/// The first one comes sooner: in a rolling update the agent before this one ends after this one has begun, and its last word is that it does not know.
const FIRST_SIGN: Duration = Duration::from_mins(1);

/// The last word may take so long.
const LAST_WORD_TIME_MAX: Duration = Duration::from_millis(500);

/// What the conditions are made of.
#[derive(Clone, Debug)]
pub(crate) struct NodeSources {
    /// What the guard has seen.
    pub(crate) board: Arc<Board>,
    /// What the ledger has heard.
    pub(crate) notices: Notices,
    /// `/proc/vmstat`, wherever it is.
    pub(crate) vmstat: PathBuf,
    /// Whether the Node is tainted as well while its memory runs low.
    pub(crate) taint: TaintWish,
}

/// Keeps them true until the end of the agent, and says then that nobody knows any more.
pub(crate) async fn keep(sources: NodeSources, shelf: Shelf, node: Arc<str>, witness: impl NodeWitness) {
    let notices = sources.notices.clone();
    let mut rules = Rules::new(sources);
    let mut standing = Standing::of(&node);
    let mut attempts = Attempts::of(Told::Conditions, WRITTEN_APART);
    let mut taint = NodeTaint::of(&node, rules.sources.taint.clone());
    let mut tries = Attempts::of(Told::Taint, WRITTEN_APART);
    while !notices.is_ending() {
        let conditions = rules.look(Instant::now());
        let link = shelf.link();
        if link.is_none() {
            attempts.begin_again();
            tries.begin_again();
            taint.forget();
        }
        let is_low = conditions.iter().any(Condition::is_grave);
        let was_read = shelf.own_node().is_some_and(|node| node.is_low);
        taint.look(is_low, was_read, Instant::now());
        let due = standing.due(conditions, Instant::now());
        let mut pause = LOOK_APART;
        if let Some(link) = link.as_ref().filter(|_| !due.is_empty()) {
            if attempts.left(Instant::now()).is_zero() {
                let went = standing.write(link, &due).await;
                attempts.note(&went, &witness);
            }
            pause = pause.min(attempts.left(Instant::now()));
        }
        if let Some(link) = link.filter(|_| taint.is_due(Instant::now()))
            && tries.left(Instant::now()).is_zero()
        {
            let went = taint.write(&link, Instant::now()).await;
            tries.note(&went, &witness);
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = notices.rung() => {}
        }
    }
    if let Some(link) = shelf.link().filter(|_| taint.is_set()) {
        let _ = timeout(LAST_WORD_TIME_MAX, taint.lift(&link)).await;
    }
    // Only what was said can be taken back.
    if let Some(link) = shelf.link().filter(|_| standing.is_written()) {
        let last = Kind::ALL.map(Condition::of_nobody);
        let _ = timeout(LAST_WORD_TIME_MAX, standing.write(&link, &last)).await;
    }
    notices.fall_silent();
}

/// What is so.
struct Rules {
    sources: NodeSources,
    runway: RunwayLow,
    kills: KernelOom,
}

impl Rules {
    fn new(sources: NodeSources) -> Self {
        Self {
            sources,
            runway: RunwayLow::default(),
            kills: KernelOom::new(SystemTime::now()),
        }
    }

    /// Nothing is said of what was not looked at yet.
    fn look(&mut self, now: Instant) -> Vec<Condition> {
        let counted = std::fs::read(&self.sources.vmstat);
        let counted = counted.ok().and_then(|text| Vmstat::parse(&text).oom_kills);
        self.kills.count(counted, now);
        if let Some(heard) = self.sources.board.kills.heard() {
            self.kills.attribute(heard.untold, now);
        }
        for word in self.sources.notices.take_kills() {
            self.kills.tell(word, now);
        }
        let seen = Seen::on(&self.sources.board);
        let runway = seen.map(|seen| self.runway.look(&seen, now));
        runway.into_iter().chain([self.kills.look(now)]).collect()
    }
}

/// One as it stands on the Node by this agent's word.
#[derive(Clone, Debug)]
struct Written {
    condition: Condition,
    since: String,
    again_at: Instant,
}

/// All that do.
#[derive(Debug)]
struct Standing {
    path: String,
    written: [Option<Written>; Kind::ALL.len()],
}

impl Standing {
    fn of(node: &str) -> Self {
        Self {
            path: format!("/api/v1/nodes/{}", follow::encoded(node)),
            written: [None, None],
        }
    }

    fn of_kind(&self, kind: Kind) -> Option<&Written> {
        self.written.get(kind as usize)?.as_ref()
    }

    fn is_written(&self) -> bool {
        self.written.iter().any(Option::is_some)
    }

    /// What is to be written: nothing, or all of it at once, so that signs of life go together. What a message says in other words is no change.
    fn due(&self, conditions: Vec<Condition>, now: Instant) -> Vec<Condition> {
        let is_due = |condition: &Condition| {
            self.of_kind(condition.kind).is_none_or(|written| {
                let is_same = written.condition.status == condition.status
                    && written.condition.reason == condition.reason;
                !is_same || now >= written.again_at
            })
        };
        if conditions.iter().any(is_due) {
            conditions
        } else {
            Vec::new()
        }
    }

    async fn write(&mut self, link: &Link, conditions: &[Condition]) -> Result<(), Trouble> {
        let said = rfc3339_seconds(SystemTime::now());
        // What an agent before this one has written may still be so.
        let is_first = conditions
            .iter()
            .any(|condition| self.of_kind(condition.kind).is_none());
        let found = if is_first {
            self.read(link).await?
        } else {
            Vec::new()
        };
        let since: Vec<String> = conditions
            .iter()
            .map(|condition| self.since(condition, &found).unwrap_or(&said).to_owned())
            .collect();
        let objects: Vec<Value> = conditions
            .iter()
            .zip(&since)
            .map(|(condition, since)| condition.object(since, &said))
            .collect();
        let path = format!("{}/status", self.path);
        let patch = json!({ "status": { "conditions": objects } });
        let ask = Ask {
            method: Method::PATCH,
            path: &path,
            content: Some(("application/strategic-merge-patch+json", patch.to_string().into())),
        };
        link.ask(ask).await?;
        for (condition, since) in conditions.iter().zip(since) {
            let now = Instant::now();
            // A change takes no sign of life's place: the last word of an agent before this one may come in between.
            let again_at = match self.of_kind(condition.kind) {
                None => now + FIRST_SIGN,
                Some(before) if before.again_at > now => before.again_at,
                Some(_) => now + SIGN_OF_LIFE,
            };
            if let Some(written) = self.written.get_mut(condition.kind as usize) {
                *written = Some(Written {
                    condition: condition.clone(),
                    since,
                    again_at,
                });
            }
        }
        Ok(())
    }

    /// Since when it has had this status, where it had it before.
    fn since<'a>(&'a self, condition: &Condition, found: &'a [Found]) -> Option<&'a str> {
        if let Some(written) = self.of_kind(condition.kind) {
            return (written.condition.status == condition.status).then_some(&*written.since);
        }
        let is_it =
            |found: &&Found| found.kind == condition.kind.label() && found.status == condition.status.label();
        let found = found.iter().find(is_it)?;
        Some(&*found.last_transition_time).filter(|time| is_time(time))
    }

    async fn read(&self, link: &Link) -> Result<Vec<Found>, Trouble> {
        let answer = link.ask(Ask::get(&self.path)).await?;
        let node: FoundNode = follow::read(&answer)?;
        Ok(node.status.conditions)
    }
}

/// What the server would take for a time, as it wrote one; anything else would be refused for ever.
fn is_time(text: &str) -> bool {
    let is_of_one = |byte: u8| byte.is_ascii_digit() || b"-:TZ".contains(&byte);
    text.len() == "2006-01-02T15:04:05Z".len() && text.bytes().all(is_of_one)
}

/// `v1.Node`, as far as it is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct FoundNode {
    #[serde(deserialize_with = "lenient")]
    status: FoundStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FoundStatus {
    #[serde(deserialize_with = "each")]
    conditions: Vec<Found>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Found {
    #[serde(rename = "type", deserialize_with = "text")]
    kind: String,
    #[serde(deserialize_with = "text")]
    status: String,
    #[serde(deserialize_with = "text")]
    last_transition_time: String,
}
