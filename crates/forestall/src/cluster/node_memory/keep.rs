//! Has the figures stand in the cluster: one PATCH, which makes the object where there is none, of an agent that speaks as itself.
//!
//! It leaves no last word: in a rolling update the agent that ends would take back what the one beside it has just said. What is left behind grows old.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::Method;
use tokio::time::{Instant, sleep};

use super::Figures;
use super::course::{SIGN_OF_LIFE, Written};
use crate::agent::clock;
use crate::agent::shared::Board;
use crate::cluster::attempt::{Attempts, NodeWitness, Told};
use crate::cluster::error::{Refusal, Trouble};
use crate::cluster::follow::encoded;
use crate::cluster::link::{Ask, Link};
use crate::cluster::own_node;
use crate::cluster::seen::Seen;
use crate::cluster::shelf::Shelf;

/// Between two looks at what is so; what is written is written a minute apart.
const LOOK_APART: Duration = Duration::from_secs(5);

/// Keeps them true; never comes to an end by itself.
pub(crate) async fn keep(
    board: Arc<Board>,
    shelf: Shelf,
    node: Arc<str>,
    witness: impl NodeWitness,
) -> Infallible {
    let path = path_of(&node);
    let mut written: Option<Written> = None;
    let mut asked = Instant::now();
    let mut attempts = Attempts::of(Told::NodeMemory, Duration::ZERO);
    loop {
        let link = shelf.link();
        if link.is_none() {
            attempts.begin_again();
        }
        if let Some(link) = link.filter(|_| attempts.left(Instant::now()).is_zero())
            && let Some(seen) = Seen::on(&board)
            && let Some(figures) = Figures::of(&seen)
            && let figures = figures.with(shelf.own_node().as_ref(), shelf.requested())
            && written
                .as_ref()
                .is_none_or(|written| written.is_outdated(&figures, &seen, Instant::now()))
        {
            // The line has read it when it began.
            if asked.elapsed() >= SIGN_OF_LIFE {
                asked = Instant::now();
                if let Ok(own) = own_node::read(&link, &node).await {
                    shelf.set_own_node(Some(own));
                }
            }
            let own = shelf.own_node();
            let figures = figures.with(own.as_ref(), shelf.requested());
            let uid = own.as_ref().and_then(|own| own.uid.as_deref());
            let object = figures.object(&node, uid, seen_at(&seen));
            let went = write(&link, &path, object.to_string()).await;
            attempts.note(&went, &witness);
            if went.is_ok() {
                written = Some(Written::new(figures, &seen, written.as_ref(), Instant::now()));
            }
        }
        sleep(LOOK_APART).await;
    }
}

/// Whatever else has been written there by this name is ours to replace (`force`), and what we write no more goes: server-side apply.
fn path_of(node: &str) -> String {
    format!(
        "/apis/{}/nodememories/{}?fieldManager=forestall&force=true",
        super::VERSION,
        encoded(node)
    )
}

/// By the wall clock of this machine, which knows how long ago it was by another one.
fn seen_at(seen: &Seen) -> SystemTime {
    let age = clock::now().since(seen.at);
    let now = SystemTime::now();
    now.checked_sub(Duration::from_micros(age.0)).unwrap_or(now)
}

/// As itself also where pods are read as the node: a node has no right to a kind that Kubernetes does not know, and whoever gave it one would give it to every
/// node. The token says which node it is.
async fn write(link: &Link, path: &str, object: String) -> Result<(), Trouble> {
    let ask = Ask {
        method: Method::PATCH,
        path,
        content: Some(("application/apply-patch+yaml", object.into())),
    };
    match link.as_itself().ask(ask).await {
        Ok(_) => Ok(()),
        Err(Trouble::Refused(refusal)) if refusal.code == 404 => {
            let message = "the cluster does not know nodememories.forestall.io; apply its CustomResourceDefinition (deploy/kustomize/node-memory)";
            Err(Trouble::Refused(Refusal {
                message: message.to_owned(),
                ..refusal
            }))
        }
        Err(why) => Err(why),
    }
}
