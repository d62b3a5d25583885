//! The line to the API server, kept up: connects, follows this node's pods, tells of them, and begins again where it breaks off.
//!
//! Losing the server is a state and no error: it is told once, what was known keeps its age, and the guard goes on with what needs no server.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use forestall_decide::{Moment, Pods};
use tokio::time::{Instant, sleep, sleep_until};

use super::access::Access;
use super::error::Trouble;
use super::follow::{self, Step, pause_after};
use super::header::Skew;
use super::identity::{self, Identity};
use super::link::Link;
use super::news::{Teller, heard_at};
use super::rights;
use super::shelf::Shelf;
use crate::agent::clock;
use crate::log::escape;

/// Changes that come so close together are told as one.
const TOLD_APART: Duration = Duration::from_millis(200);

/// Where nothing changes, that the server is there is told so often: what is older than a minute counts as unknown.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// A watch that ends sooner is no way to follow anything: before the next one there is a pause. client-go waits for as long
/// (k8s.io/client-go `tools/cache/reflector.go`, "very short watch").
const WATCH_TIME_MIN: Duration = Duration::from_secs(1);

/// Who hears of it.
pub(crate) trait Audience {
    /// The pods, how sure that is, and how many are left out because there are too many. False where it could not be taken: it is
    /// told again.
    fn pods(&mut self, pods: Pods, left_out: u64) -> bool;
    /// For the log: the server is there, and why it is not spoken to as this node, if so.
    fn is_there(&mut self, count: usize, not_as_node: Option<&str>);
    /// How far the server's clock is from ours, where its answers say.
    fn skew(&mut self, skew: Skew);
    /// Whether pods may be evicted, or why not.
    fn may_evict(&mut self, may: Result<(), String>);
    /// It is not, any more or at all.
    fn is_away(&mut self, why: &Trouble);
    /// An annotation that is not understood.
    fn complain(&mut self, what: &str);
}

/// The line.
#[derive(Debug)]
pub(crate) struct Line<A> {
    access: Access,
    node: String,
    shelf: Shelf,
    pods: follow::Pods,
    teller: Teller,
    audience: A,
    /// Which boot of its kernel this machine is on.
    boot: Option<String>,
    /// Why that could not be compared with the node's, as it was told last.
    uncompared: Option<String>,
    /// When all was last known to be true.
    told_at: Moment,
    is_up: bool,
    /// What was told last of its being away.
    away: Option<Trouble>,
    tries: u32,
}

impl<A: Audience> Line<A> {
    /// To this server, for this node; `boot` is this machine's `boot_id`, and `cgroup_root` where the cgroups are mounted.
    pub(crate) fn new(
        access: Access,
        node: &str,
        boot: Option<String>,
        cgroup_root: PathBuf,
        shelf: Shelf,
        audience: A,
    ) -> Self {
        Self {
            access,
            node: node.to_owned(),
            shelf,
            pods: follow::Pods::of_node(node),
            teller: Teller::new(cgroup_root),
            audience,
            boot,
            uncompared: None,
            told_at: Moment(0),
            is_up: false,
            away: None,
            tries: 0,
        }
    }

    /// Never comes to an end by itself.
    pub(crate) async fn keep(&mut self) -> Infallible {
        loop {
            let Err(trouble) = self.hold().await;
            self.lose(&trouble).await;
        }
    }

    async fn hold(&mut self) -> Result<Infallible, Trouble> {
        let link = Link::connect(&self.access).await?;
        self.hold_over(&link).await
    }

    pub(super) async fn hold_over(&mut self, link: &Link) -> Result<Infallible, Trouble> {
        let mut link = link.impersonating(rights::user_of(&self.node));
        let mut not_as_node = None;
        let mut is_reviewed = false;
        loop {
            let mut lines = match self.pods.begin(&link).await {
                Err(Trouble::Refused(refusal)) if refusal.code == 403 => match not_as_node {
                    None => {
                        not_as_node = Some(refusal.message);
                        link = link.as_itself();
                        continue;
                    }
                    Some(as_node) => return Err(rights::refused_as_both(&as_node, refusal)),
                },
                // What has been forgotten is listed, over the same connection.
                Err(Trouble::Refused(refusal)) if refusal.is_expired() && self.tries == 0 => {
                    self.tries += 1;
                    continue;
                }
                begun => begun?,
            };
            if !is_reviewed {
                self.compare(&link).await?;
            }
            self.shelf.set_link(Some(link.clone()));
            if let Some(skew) = link.skew() {
                self.audience.skew(skew);
            }
            if !std::mem::replace(&mut is_reviewed, true) {
                let lacks = rights::lacks_to_evict(&link).await?;
                self.audience.may_evict(lacks.map_or(Ok(()), Err));
            }
            let begun = Instant::now();
            let mut next = begun;
            let mut is_told = false;
            let ended = loop {
                tokio::select! {
                    step = self.pods.step(&mut lines) => match step {
                        Ok(Step::Changed) => next = next.min(Instant::now() + TOLD_APART),
                        Ok(Step::Told) => {}
                        Ok(Step::Ended) => break Ok(()),
                        Err(trouble) => break Err(trouble),
                    },
                    () = self.shelf.purse().changed() => next = next.min(Instant::now()),
                    () = sleep_until(next) => {
                        let is_taken = self.tell(heard_at(clock::now()), true, not_as_node.as_deref());
                        next = Instant::now() + if is_taken { HEARTBEAT } else { TOLD_APART };
                        is_told = true;
                    }
                }
            };
            let is_sound = begun.elapsed() >= WATCH_TIME_MIN;
            if is_sound && is_told {
                self.tries = 0;
            }
            match ended {
                Ok(()) if is_sound => {}
                Err(Trouble::Refused(refusal)) if is_sound && refusal.is_expired() => {}
                Ok(()) => {
                    return Err(Trouble::Broken(format!(
                        "the API server ended a watch within {WATCH_TIME_MIN:?} of its beginning"
                    )));
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Whether the node is this machine. Where it is not, nothing is known of the pods here, and whoever asks for one's eviction would ask for a stranger's.
    async fn compare(&mut self, link: &Link) -> Result<(), Trouble> {
        let compared = identity::compare(link, &self.node, self.boot.as_deref()).await;
        self.shelf.set_own_node(compared.node);
        match compared.identity {
            Identity::Same => self.uncompared = None,
            Identity::Untold(why) => {
                if self.uncompared.as_ref() != Some(&why) {
                    let node = escape::bytes(self.node.as_bytes());
                    let what = format!("whether node {node} is this machine is not known: {why}");
                    self.audience.complain(&what);
                    self.uncompared = Some(why);
                }
            }
            Identity::Other(which) => {
                self.pods = follow::Pods::of_node(&self.node);
                self.told_at = Moment(0);
                self.tell(self.told_at, false, None);
                return Err(Trouble::Elsewhere(format!(
                    "node {} is another machine, or its kubelet has not told of this start yet: it runs on {which}; where that lasts, take NODE_NAME from spec.nodeName (downward API)",
                    escape::bytes(self.node.as_bytes())
                )));
            }
        }
        Ok(())
    }

    fn tell(&mut self, told_at: Moment, has_api: bool, not_as_node: Option<&str>) -> bool {
        let mut complaints = Vec::new();
        let (purse, now) = (self.shelf.purse(), Instant::now());
        let allowed = (purse.left(now), purse.elsewhere(now));
        let told = self.teller.tell(
            &self.pods,
            has_api,
            told_at,
            clock::now(),
            allowed,
            &mut complaints,
        );
        for what in complaints {
            self.audience.complain(&what);
        }
        let count = told.list.len();
        self.shelf.set_pods(&self.pods, &told);
        let is_taken = self.audience.pods(told, self.pods.left_out());
        if has_api {
            self.told_at = told_at;
            if !std::mem::replace(&mut self.is_up, true) {
                self.audience.is_there(count, not_as_node);
            }
        }
        is_taken
    }

    /// Tells that the server is away, once, and waits.
    pub(super) async fn lose(&mut self, trouble: &Trouble) {
        self.shelf.set_link(None);
        if std::mem::replace(&mut self.is_up, false) || self.tries == 0 {
            self.tell(self.told_at, false, None);
            self.away = None;
        }
        // The same reason is told once.
        if self.away.as_ref() != Some(trouble) {
            self.audience.is_away(trouble);
            self.away = Some(trouble.clone());
        }
        let pause = pause_after(trouble, self.tries);
        self.tries = self.tries.saturating_add(1);
        sleep(pause).await;
    }
}
