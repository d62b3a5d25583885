//! The line to the API server as a task of this thread, and those who evict over it: what comes goes to the guard, and what is to be said of it to the log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use forestall_decide::Pods;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Talker;
use crate::agent::shared::{Api, Board, Commander};
use crate::cluster::{
    Access, Audience, Believed, KillWord, KubeletAudience, Line, Named, NodeSources, NodeWitness, Purse,
    Shelf, Skew, TaintWish, Told, Trouble, Witness, ask_kubelet, carry_out_all, keep_conditions,
    keep_node_memory,
};
use crate::commands::explain::headline;
use crate::ledger::Entry;
use crate::log::{Level, escape};

/// So much waits to be said; what comes on top is left out.
const UNSAID_MAX: usize = 64;

/// The last word to the cluster may take so long.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);

/// What the line needs.
#[derive(Clone, Debug)]
pub(crate) struct ClusterSetup {
    /// How the server is reached.
    pub(crate) access: Access,
    /// This node.
    pub(crate) node: String,
    /// Which boot of its kernel this machine is on, where that can be read.
    pub(crate) boot: Option<String>,
    /// Where its cgroups are mounted.
    pub(crate) cgroup_root: PathBuf,
    /// `/proc/vmstat`, wherever it is.
    pub(crate) vmstat: PathBuf,
    /// The budget of evictions, as it is configured now.
    pub(crate) purse: Purse,
    /// Whether the Node is tainted while its memory runs low, as it is configured now.
    pub(crate) taint: TaintWish,
}

/// What comes of it for this thread.
pub(super) enum News {
    /// To be said.
    Say(Level, String),
    /// Whether pods may be evicted, or why not.
    MayEvict(Result<(), String>),
    /// The kubelet says what it runs with.
    KubeletRunsWith(String),
    /// It says what it believes to be available.
    KubeletBelieves(Believed),
    /// It does not answer, or not as it should.
    KubeletIsSilent(String),
}

/// The running line; nothing where there is no cluster.
pub(super) struct Follower {
    news: Receiver<News>,
    /// They end with it.
    _tasks: JoinSet<()>,
}

impl Follower {
    /// What comes next; never, where there is no line.
    pub(super) async fn next(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }
}

impl Talker {
    /// Starts the line, where there is a cluster.
    pub(super) fn follow_cluster(&self) -> Follower {
        let (tell, news) = channel(UNSAID_MAX);
        let mut tasks = JoinSet::new();
        if let Some(setup) = self.setup.cluster.clone() {
            self.start_line(setup, tell, &mut tasks);
        }
        Follower { news, _tasks: tasks }
    }

    /// By itself, because its frame is large: an agent without a cluster never touches that much of its stack.
    #[inline(never)]
    fn start_line(&self, setup: ClusterSetup, tell: Sender<News>, tasks: &mut JoinSet<()>) {
        let ClusterSetup {
            access,
            node,
            boot,
            cgroup_root,
            vmstat,
            purse,
            taint,
        } = setup;
        let listener = Listener {
            board: Arc::clone(&self.setup.board),
            commander: self.setup.commander.clone(),
            tell,
        };
        if let Some(proxy) = access.proxy() {
            let what = format!("the API server is spoken to through the proxy {proxy} (HTTPS_PROXY)");
            listener.say(Level::Info, what);
        }
        let shelf = Shelf::with(purse);
        if let Some(desk) = self.setup.desk.clone() {
            let (shelf, node, witness) = (shelf.clone(), Arc::from(&*node), listener.clone());
            tasks.spawn(async move {
                if let Err(error) = carry_out_all(desk, shelf, node, witness.clone()).await {
                    let why = format!("nobody carries out evictions: {error}; restart the agent");
                    witness.say(Level::Error, why);
                }
            });
        }
        let sources = NodeSources {
            board: Arc::clone(&self.setup.board),
            notices: self.notices.clone(),
            vmstat,
            taint,
        };
        tasks.spawn(keep_conditions(
            sources,
            shelf.clone(),
            Arc::from(&*node),
            listener.clone(),
        ));
        let figures = keep_node_memory(
            Arc::clone(&self.setup.board),
            shelf.clone(),
            Arc::from(&*node),
            listener.clone(),
        );
        tasks.spawn(async move { match figures.await {} });
        if let Some(access) = access.of_kubelet() {
            let listener = listener.clone();
            tasks.spawn(async move { match ask_kubelet(access, listener).await {} });
        }
        tasks.spawn(async move {
            let mut line = Line::new(access, &node, boot, cgroup_root, shelf, listener);
            match line.keep().await {}
        });
    }

    /// Has the cluster told of a kill.
    pub(super) fn tell_cluster(&self, entry: &Entry) {
        if self.setup.cluster.is_some() && !entry.report.victims.is_empty() {
            self.notices.kill(KillWord {
                level: entry.report.level,
                words: format!("{}{}", headline(&entry.report), entry.of_whom()),
            });
        }
    }

    /// Has the cluster told that nobody tells it anything any more, and waits for that no longer than it is worth.
    pub(super) async fn leave_cluster(&self) {
        if self.setup.cluster.is_some() {
            self.notices.end();
            let _ = timeout(FAREWELL_TIME_MAX, self.notices.ended()).await;
        }
    }

    /// Says it, or has the guard go on with what may be done now.
    pub(super) fn take_cluster_news(&mut self, news: News) {
        match news {
            News::Say(level, what) => self.setup.logger.say(level, "cluster", &what),
            News::KubeletRunsWith(configz) => self.hear_kubelet(&configz),
            News::KubeletBelieves(believed) => self.compare_with_kubelet(believed),
            News::KubeletIsSilent(why) => self.lose_kubelet(why),
            News::MayEvict(may) => {
                if self.setup.ground.set_evict(may) {
                    self.is_untold = true;
                    self.try_rights_again();
                }
            }
        }
    }
}

/// Hands on what comes.
#[derive(Clone)]
struct Listener {
    board: Arc<Board>,
    commander: Commander,
    tell: Sender<News>,
}

impl Listener {
    fn say(&self, level: Level, what: String) {
        // A log that is not written to stops nothing.
        let _ = self.tell.try_send(News::Say(level, what));
    }
}

impl Audience for Listener {
    fn pods(&mut self, pods: Pods, left_out: u64) -> bool {
        let mut left_out_before = 0;
        self.board.note_api(|api| {
            left_out_before = api.left_out;
            api.pods = pods.list.len() as u64;
            api.left_out = left_out;
            api.told_at = pods.cluster.api.then_some(pods.told_at).or(api.told_at);
        });
        match (left_out_before, left_out) {
            (0, 1..) => self.say(
                Level::Warn,
                format!(
                    "{left_out} pods of this node are not followed, because there are more than 4,096 of them or they are larger than any pod that somebody runs: \
                     nothing is known of them, and nothing is done to them"
                ),
            ),
            (1.., 0) => self.say(Level::Info, "all pods of this node are followed again".to_owned()),
            _ => {}
        }
        self.commander.pods(Arc::new(pods))
    }

    fn is_there(&mut self, count: usize, not_as_node: Option<&str>) {
        self.board.note_api(|api| api.away = None);
        let whom = not_as_node.map_or_else(
            || "asked as the node itself".to_owned(),
            |why| format!("asked as the ServiceAccount, since as the node it was refused: {why}"),
        );
        self.say(
            Level::Info,
            format!("the API server knows of {count} pods on this node ({whom})"),
        );
    }

    fn skew(&mut self, skew: Skew) {
        let mut was_large = false;
        self.board.note_api(|api| {
            was_large = api.skew.is_some_and(Skew::is_large);
            api.skew = Some(skew);
        });
        match (was_large, skew.is_large()) {
            (false, true) => self.say(Level::Warn, say_skew(skew)),
            (true, false) => self.say(
                Level::Info,
                "the API server's clock and this machine's agree again".to_owned(),
            ),
            _ => {}
        }
    }

    fn may_evict(&mut self, may: Result<(), String>) {
        // The channel is never full of these: one comes with each connection.
        let _ = self.tell.try_send(News::MayEvict(may));
    }

    fn is_away(&mut self, why: &Trouble) {
        self.board.note_api(|api| api.away = Some(why.to_string()));
        self.say(
            Level::Warn,
            format!("{why}: what pods ask for is as old as its last word, and nothing is done that needs it; it is tried again"),
        );
    }

    fn complain(&mut self, what: &str) {
        self.say(Level::Warn, what.to_owned());
    }
}

impl KubeletAudience for Listener {
    fn runs_with(&mut self, configz: String) {
        let _ = self.tell.try_send(News::KubeletRunsWith(configz));
    }

    fn believes(&mut self, believed: Believed) {
        let _ = self.tell.try_send(News::KubeletBelieves(believed));
    }

    fn is_silent(&mut self, why: &Trouble) {
        let _ = self.tell.try_send(News::KubeletIsSilent(why.to_string()));
    }
}

impl Witness for Listener {
    fn would_evict(&self, pod: &Named) {
        self.say(
            Level::Info,
            format!("dry run: the API server would evict {}", shown(pod)),
        );
    }

    fn is_refused(&self, pod: &Named, why: &Trouble, is_rehearsal: bool) {
        let tried = if is_rehearsal {
            "dry run: the API server would not evict"
        } else {
            "not evicted:"
        };
        self.say(Level::Warn, format!("{tried} {}: {why}", shown(pod)));
    }

    fn is_sent_anywhere(&self, pod: &Named, why: &str) {
        let what = format!(
            "whether another node has room for {} is not known, and it is evicted all the same: {why}",
            shown(pod)
        );
        self.say(Level::Warn, what);
    }

    fn is_unmarked(&self, pod: &Named, why: &Trouble) {
        self.say(
            Level::Warn,
            format!("no Event says that {} was evicted: {why}", shown(pod)),
        );
    }

    fn is_unmarked_on_node(&self, why: &Trouble) {
        let what = format!("no Event says on the Node that pods were evicted: {why}; it is tried again");
        self.say(Level::Warn, what);
    }
}

impl NodeWitness for Listener {
    fn is_untold(&self, what: Told, why: &Trouble) {
        let (name, lost) = words_of(what);
        let why = format!("{lost}: {why}; it is tried again");
        self.say(Level::Warn, format!("{name}: {why}"));
        self.board.note_api(|api| *refused(api, what) = Some(why));
    }

    fn is_told_again(&self, what: Told) {
        let (name, _) = words_of(what);
        self.say(Level::Info, format!("{name}: written, as it should be"));
        self.board.note_api(|api| *refused(api, what) = None);
    }
}

/// What it is called, and what is missing without it.
const fn words_of(what: Told) -> (&'static str, &'static str) {
    match what {
        Told::Conditions => (
            "conditions of the Node",
            "the Node says neither that its memory runs low nor that the kernel has killed",
        ),
        Told::NodeMemory => (
            "NodeMemory",
            "the cluster has no figures of this node, or old ones",
        ),
        Told::Taint => (
            "taint of the Node",
            "whether the scheduler keeps newcomers away from this node is not as it should be",
        ),
    }
}

const fn refused(api: &mut Api, what: Told) -> &mut Option<String> {
    match what {
        Told::Conditions => &mut api.conditions_refused,
        Told::NodeMemory => &mut api.node_memory_refused,
        Told::Taint => &mut api.taint_refused,
    }
}

fn say_skew(skew: Skew) -> String {
    let (seconds, way) = (
        skew.millis.unsigned_abs() / 1_000,
        if skew.millis < 0 { "behind" } else { "ahead of" },
    );
    format!(
        "the API server's clock is {seconds} s {way} this machine's: no decision depends on it, but logs and Events cannot be put side by side, and tokens and \
         certificates are refused too early or too late; see that both are kept (chrony, systemd-timesyncd)"
    )
}

fn shown(pod: &Named) -> String {
    escape::bytes(format!("{}/{}", pod.namespace, pod.name).as_bytes())
}

#[cfg(test)]
mod tests;
