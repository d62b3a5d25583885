//! The rung `evict`: asks the API server to evict (`policy/v1` Eviction), and stays until the pod's memory has come back.
//!
//! The server honours disruption budgets and the pod's own grace period, and is told the UID, so that nobody else of the same name is evicted. What it refuses
//! to do: delete a pod, evict past a budget, ask for what was called off, and call it done because the server said yes.
//!
//! Source: `k8s.io/api/policy/v1` types, k/k `pkg/registry/core/pod/storage/eviction.go`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use forestall_act::{Eviction, EvictionDesk};
use forestall_decide::{OutcomeKind, Target};
use hyper::Method;
use hyper::body::Bytes;
use rustix::io::Errno;
use serde_json::json;
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::budget::{Purse, give_back, server_time};
use super::destination::{self, Found, Load};
use super::error::Trouble;
use super::event;
use super::link::{Ask, Link};
use super::series::{self, NodeNews};
use super::shelf::{Named, Shelf};

/// Between two looks whether anybody still lives in the pod's cgroup.
const LOOK_APART: Duration = Duration::from_millis(100);

/// A server that is busy is asked so often; it says when. Where that is later than this it is not waited for: the engine asks again, if there is still reason to.
const TRIES_MAX: u32 = 3;
const BUSY_PAUSE: Duration = Duration::from_secs(1);
const BUSY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Room on another node is looked for so long at the most, since the pod has to be gone in time.
const ROOM_FOUND_WITHIN: Duration = Duration::from_secs(2);

/// Who hears in words what an outcome has no room for.
pub(crate) trait Witness: Clone + Send + Sync + 'static {
    /// Of a rehearsal: the server would have evicted the pod.
    fn would_evict(&self, pod: &Named);
    /// The server did not do it, or in a rehearsal would not.
    fn is_refused(&self, pod: &Named, why: &Trouble, is_rehearsal: bool);
    /// Whether another node has room for it could not be found out; it is evicted all the same.
    fn is_sent_anywhere(&self, pod: &Named, why: &str);
    /// That it was evicted could not be written on the pod.
    fn is_unmarked(&self, pod: &Named, why: &Trouble);
    /// That pods were could not be written on the Node.
    fn is_unmarked_on_node(&self, why: &Trouble);
}

/// Carries out evictions, several at a time, until it is dropped.
pub(crate) async fn carry_out_all<W: Witness>(
    desk: Arc<EvictionDesk>,
    shelf: Shelf,
    node: Arc<str>,
    witness: W,
) -> io::Result<()> {
    // An eventfd reads like a pipe that holds eight bytes.
    let bell = Receiver::from_owned_fd_unchecked(desk.bell().try_clone_to_owned()?)?;
    let mut under_way = JoinSet::new();
    let news = NodeNews::default();
    let kept = series::keep(news.clone(), shelf.clone(), Arc::clone(&node), witness.clone());
    under_way.spawn(async move { match kept.await {} });
    loop {
        while bell.try_read(&mut [0; 8]).is_ok_and(|count| count > 0) {}
        while let Some(eviction) = desk.take() {
            under_way.spawn(carry_out(
                eviction,
                shelf.clone(),
                Arc::clone(&node),
                news.clone(),
                witness.clone(),
            ));
        }
        tokio::select! {
            ready = bell.readable() => ready?,
            // There may be room for one that waits.
            Some(_) = under_way.join_next() => {}
        }
    }
}

async fn carry_out(eviction: Eviction, shelf: Shelf, node: Arc<str>, news: NodeNews, witness: impl Witness) {
    let end_by = Instant::now() + Duration::from_micros(eviction.action().deadline.0);
    let Target::Group(group) = eviction.action().target else {
        return eviction.end(failed(Errno::INVAL));
    };
    let Some(pod) = shelf.pod_of(group) else {
        return eviction.end(OutcomeKind::Gone);
    };
    let Some(link) = shelf.link() else {
        return eviction.end(failed(Errno::HOSTUNREACH));
    };
    let asked = timeout_at(
        end_by,
        ask_with_tokens(&link, &node, shelf.purse(), &pod, &eviction, &witness),
    )
    .await;
    let slow = || {
        Err(Trouble::Slow(
            "the API server has not come to a decision".to_owned(),
            Duration::from_micros(eviction.action().deadline.0),
        ))
    };
    match asked.unwrap_or_else(|_| slow()) {
        Ok(()) if eviction.is_rehearsal() => {
            witness.would_evict(&pod);
            eviction.end(OutcomeKind::Done);
        }
        Ok(()) => {
            eviction.agreed();
            news.note(&pod, &eviction.action().evidence, SystemTime::now());
            let evidence = eviction.action().evidence;
            let marked = event::write(&link, &node, &pod, &evidence);
            // The engine waits for the one, and nobody for the other.
            let ended = async {
                let is_gone = wait_for_the_end(&eviction, end_by).await;
                eviction.end(if is_gone {
                    OutcomeKind::Done
                } else {
                    OutcomeKind::NoEffect
                });
            };
            let (marked, ()) = tokio::join!(marked, ended);
            if let Err(why) = marked {
                witness.is_unmarked(&pod, &why);
            }
        }
        Err(why) => {
            witness.is_refused(&pod, &why, eviction.is_rehearsal());
            eviction.end(kind_of(&why));
        }
    }
}

/// Where that is asked for: an error where no other node has room for the pod.
async fn look_for_room(
    link: &Link,
    node: &str,
    purse: &Purse,
    pod: &Named,
    eviction: &Eviction,
    witness: &impl Witness,
) -> Result<(), Trouble> {
    if !purse.asks_for_room() {
        return Ok(());
    }
    let load = Load {
        holds: eviction.action().bytes,
        request: pod.request,
    };
    let slow = |_| Ok(Found::Unknown(format!("not within {ROOM_FOUND_WITHIN:?}")));
    let found = timeout(
        ROOM_FOUND_WITHIN,
        destination::find(link, node, load, server_time(link)),
    )
    .await;
    match found.unwrap_or_else(slow)? {
        Found::Room => {}
        Found::Unknown(why) => witness.is_sent_anywhere(pod, &why),
        Found::Nowhere { nodes, most } => {
            purse.note_room(most, Instant::now());
            let holds = load.holds;
            return Err(Trouble::Nowhere { holds, nodes, most });
        }
    }
    Ok(())
}

/// Asks with the tokens that it takes; what comes to nothing costs none. A rehearsal spends nothing.
async fn ask_with_tokens(
    link: &Link,
    node: &str,
    purse: &Purse,
    pod: &Named,
    eviction: &Eviction,
    witness: &impl Witness,
) -> Result<(), Trouble> {
    look_for_room(link, node, purse, pod, eviction, witness).await?;
    if eviction.is_rehearsal() {
        return ask(link, pod, eviction).await;
    }
    let tokens = purse.take(link, node, pod).await?;
    let asked = ask(link, pod, eviction).await;
    // Where nobody knows what became of it, it may have been granted.
    if matches!(
        asked,
        Err(Trouble::Refused(_) | Trouble::Setup(_) | Trouble::CalledOff)
    ) {
        give_back(link, &tokens).await;
    }
    asked
}

/// Asks until there is an answer that stands.
async fn ask(link: &Link, pod: &Named, eviction: &Eviction) -> Result<(), Trouble> {
    let (path, body) = request(pod, eviction.is_rehearsal());
    let mut tries = 1;
    loop {
        if eviction.is_called_off() {
            return Err(Trouble::CalledOff);
        }
        let ask = Ask {
            method: Method::POST,
            path: &path,
            content: Some(("application/json", body.clone())),
        };
        match link.ask(ask).await {
            Err(Trouble::Refused(busy)) if busy.code == 429 && !busy.is_of_one_pod() => {
                let pause = busy.retry_after.unwrap_or(BUSY_PAUSE);
                if tries >= TRIES_MAX || pause > BUSY_PAUSE_MAX {
                    return Err(Trouble::Refused(busy));
                }
                tries += 1;
                sleep(pause).await;
            }
            answer => return answer.map(drop),
        }
    }
}

/// Where it goes, and what it says. The grace period is the pod's own: none is named.
fn request(pod: &Named, is_rehearsal: bool) -> (String, Bytes) {
    let mut options = json!({ "preconditions": { "uid": pod.uid } });
    if is_rehearsal && let Some(options) = options.as_object_mut() {
        options.insert("dryRun".to_owned(), json!(["All"]));
    }
    let body = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": { "namespace": pod.namespace, "name": pod.name },
        "deleteOptions": options,
    });
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/eviction",
        super::follow::encoded(&pod.namespace),
        super::follow::encoded(&pod.name)
    );
    (path, body.to_string().into())
}

async fn wait_for_the_end(eviction: &Eviction, end_by: Instant) -> bool {
    while eviction.is_there() {
        if Instant::now() >= end_by {
            return false;
        }
        sleep(LOOK_APART).await;
    }
    true
}

/// What the engine has to know of it.
fn kind_of(why: &Trouble) -> OutcomeKind {
    match why {
        Trouble::Refused(refusal) => match refusal.code {
            // 409: the precondition; a pod of this name is another one by now.
            404 | 409 => OutcomeKind::Gone,
            401 => failed(Errno::ACCESS),
            403 if refusal.is_by_rules() => failed(Errno::ACCESS),
            // A server that is too busy says nothing of this pod: nobody else has to go for that.
            429 if !refusal.is_of_one_pod() => failed(Errno::BUSY),
            500 if !refusal.is_of_one_pod() => failed(Errno::IO),
            501.. => failed(Errno::IO),
            // What stands against this pod need not stand against another: its budget, or an admission plugin (KubeVirt's webhook answers 429, others 400 and 403).
            _ => OutcomeKind::Blocked,
        },
        Trouble::Spent { .. } | Trouble::Nowhere { .. } => OutcomeKind::Blocked,
        Trouble::Slow(..) => failed(Errno::TIMEDOUT),
        Trouble::CalledOff => failed(Errno::CANCELED),
        Trouble::Setup(_) => failed(Errno::NOENT),
        Trouble::Unreachable(_) | Trouble::Broken(_) | Trouble::TooLarge(_) | Trouble::Elsewhere(_) => {
            failed(Errno::HOSTUNREACH)
        }
    }
}

fn failed(errno: Errno) -> OutcomeKind {
    OutcomeKind::Failed(errno.raw_os_error())
}

#[cfg(test)]
pub(super) mod tests;
