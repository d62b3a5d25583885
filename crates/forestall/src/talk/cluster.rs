//! The line to the API server as a task of this thread: what comes over it goes to the guard, and what is to be said of it to the log.

use std::path::PathBuf;
use std::sync::Arc;

use forestall_decide::Pods;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use super::Talker;
use crate::agent::shared::{Board, Commander};
use crate::cluster::{Access, Audience, Line, Trouble};
use crate::log::Level;

/// So much waits to be said; what comes on top is left out.
const UNSAID_MAX: usize = 64;

/// What the line needs.
#[derive(Clone, Debug)]
pub(crate) struct ClusterSetup {
    /// How the server is reached.
    pub(crate) access: Access,
    /// This node.
    pub(crate) node: String,
    /// Where its cgroups are mounted.
    pub(crate) cgroup_root: PathBuf,
}

/// What is to be said.
pub(super) type Saying = (Level, String);

/// The running line; nothing where there is no cluster.
pub(super) struct Follower {
    said: Receiver<Saying>,
    task: Option<JoinHandle<()>>,
}

impl Follower {
    /// The next thing to be said; never, where there is no line.
    pub(super) async fn next(&mut self) -> Saying {
        match self.said.recv().await {
            Some(saying) => saying,
            None => std::future::pending().await,
        }
    }

    /// Ends it.
    pub(super) fn end(self) {
        if let Some(task) = self.task {
            task.abort();
        }
    }
}

impl Talker {
    /// Starts the line, where there is a cluster.
    pub(super) fn follow_cluster(&self) -> Follower {
        let (say, said) = channel(UNSAID_MAX);
        let task = self.setup.cluster.clone().map(|setup| {
            let listener = Listener {
                board: Arc::clone(&self.setup.board),
                commander: self.setup.commander.clone(),
                say,
            };
            tokio::spawn(async move {
                let mut line = Line::new(setup.access, &setup.node, setup.cgroup_root, listener);
                match line.keep().await {}
            })
        });
        Follower { said, task }
    }
}

/// Hands on what comes.
struct Listener {
    board: Arc<Board>,
    commander: Commander,
    say: Sender<Saying>,
}

impl Listener {
    fn say(&self, level: Level, what: String) {
        // A log that is not written to stops nothing.
        let _ = self.say.try_send((level, what));
    }
}

impl Audience for Listener {
    fn pods(&mut self, pods: Pods, left_out: u64) -> bool {
        self.board.note_api(|api| {
            api.pods = pods.list.len() as u64;
            api.left_out = left_out;
            api.told_at = pods.cluster.api.then_some(pods.told_at).or(api.told_at);
        });
        self.commander.pods(Arc::new(pods))
    }

    fn is_there(&mut self, count: usize) {
        self.board.note_api(|api| api.away = None);
        self.say(
            Level::Info,
            format!("the API server knows of {count} pods on this node"),
        );
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
