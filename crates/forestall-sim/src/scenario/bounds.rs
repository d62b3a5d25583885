//! How much a scenario may come to: a file of some kilobytes must not stand for more memory, or more time, than a machine has.
//!
//! It refuses by what would be made of the file, and not by the file's size, which is bounded where it is read.

use forestall_decide::Preference;
use serde_saphyr::Spanned;

use super::checked::{Place, at};
use super::raw::{RawContainer, RawFault};
use crate::error::SimError;

/// More than the largest cluster that is supported has (5,000 nodes; 150,000 pods), with room.
const NODES_MAX: u64 = 20_000;
const PODS_MAX: u64 = 200_000;
/// With an agent a node takes some 13.6 KiB, a pod 5.0 KiB and a container 2.6 KiB (measured at a tenth of the bounds): together they are
/// 2.2 GiB, as the largest world was found to take; with checkers twice that.
const CONTAINERS_MAX: u64 = 400_000;
/// All of them are looked through whenever one of them changes.
const CONTAINERS_OF_ONE_MAX: usize = 1000;
/// So many follow one another: a change goes from each to the next.
pub(super) const FOLLOWERS_IN_A_ROW_MAX: usize = 16;
/// The longest name that Kubernetes takes (k/k `apimachinery/pkg/util/validation`, `DNS1123SubdomainMaxLength`).
const NAME_BYTES_MAX: usize = 253;
/// Names and labels of all copies together, as they are kept: more than a kibibyte for each pod there may be.
const TEXT_BYTES_MAX: u64 = 256 << 20;
/// What a label takes beside its letters.
const LABEL_BYTES: u64 = 64;
/// Each is looked at whenever something happens on its node.
const FAULTS_OF_NODE_MAX: u64 = 1000;
const FAULTS_MAX: u64 = 200_000;

/// A name of a length that Kubernetes takes.
pub(super) fn refuse_long(typed: &Spanned<String>) -> Result<(), SimError> {
    refuse_long_text(&typed.value, "a name", Place::of(typed))
}

/// The same for a text that is no name of its own; `what` has it.
pub(super) fn refuse_long_text(text: &str, what: &str, place: Place) -> Result<(), SimError> {
    if text.len() > NAME_BYTES_MAX {
        let why = format!("{what} has at most {NAME_BYTES_MAX} bytes, as in Kubernetes; make it shorter");
        return Err(at(place, &why));
    }
    Ok(())
}

/// The containers of one pod, or the processes of one host.
pub(super) fn refuse_many_containers(raw: &[RawContainer]) -> Result<(), SimError> {
    match raw.get(CONTAINERS_OF_ONE_MAX) {
        Some(one) => Err(at(
            Place::of(&one.name),
            "more than 1,000 containers in one pod, or processes on one host; make it fewer",
        )),
        None => Ok(()),
    }
}

/// Whom the operator spares or prefers.
pub(super) fn refuse_many_preferences<T>(raw: &[Spanned<T>]) -> Result<(), SimError> {
    match raw.get(Preference::COUNT_MAX) {
        Some(one) => Err(at(Place::of(one), "more than 1,000 preferences; make it fewer")),
        None => Ok(()),
    }
}

/// What the file has come to so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    nodes: u64,
    pods: u64,
    containers: u64,
    text: u64,
}

impl Sum {
    /// So many more nodes, each with these processes.
    pub(super) fn add_nodes(
        &mut self,
        count: u64,
        name: &Spanned<String>,
        host: &[RawContainer],
    ) -> Result<(), SimError> {
        refuse_long(name)?;
        self.nodes = self.nodes.saturating_add(count);
        if self.nodes > NODES_MAX {
            return Err(at(Place::of(name), "more than 20,000 nodes; make it fewer"));
        }
        let place = host.first().map_or(Place::of(name), |one| Place::of(&one.name));
        self.add_containers(count, host, place)?;
        self.add_text(count, name.value.len() as u64, Place::of(name))
    }

    /// So many more pods, each with these containers, and with `text` bytes of labels and names.
    pub(super) fn add_pods(
        &mut self,
        count: u64,
        name: &Spanned<String>,
        containers: &Spanned<Vec<RawContainer>>,
        text: u64,
    ) -> Result<(), SimError> {
        self.pods = self.pods.saturating_add(count);
        if self.pods > PODS_MAX {
            return Err(too_many(Place::of(containers)));
        }
        self.add_containers(count, &containers.value, Place::of(containers))?;
        self.add_text(
            count,
            text.saturating_add(name.value.len() as u64),
            Place::of(name),
        )
    }

    fn add_containers(&mut self, count: u64, raw: &[RawContainer], place: Place) -> Result<(), SimError> {
        let more = count.saturating_mul(raw.len() as u64);
        self.containers = self.containers.saturating_add(more);
        if self.containers > CONTAINERS_MAX {
            return Err(too_many(place));
        }
        let names = raw.iter().map(|one| one.name.value.len() as u64).sum();
        self.add_text(count, names, place)
    }

    fn add_text(&mut self, count: u64, bytes: u64, place: Place) -> Result<(), SimError> {
        self.text = self.text.saturating_add(count.saturating_mul(bytes));
        if self.text > TEXT_BYTES_MAX {
            return Err(at(
                place,
                "names and labels of all copies are more than 256Mi together; make them shorter, or fewer",
            ));
        }
        Ok(())
    }
}

fn too_many(place: Place) -> SimError {
    at(
        place,
        "that makes more than 200,000 pods or 400,000 containers, processes of hosts among them; make it fewer",
    )
}

/// What labels take in each copy.
pub(super) fn text_of<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> u64 {
    let one = |(key, value): (&String, &String)| (key.len() + value.len()) as u64 + LABEL_BYTES;
    labels.into_iter().map(one).sum()
}

/// As many faults as nodes can be asked about.
pub(super) fn refuse_many_faults(raw: &[RawFault], nodes: usize) -> Result<(), SimError> {
    let (mut all, mut most, mut sum) = (0, 0, 0_u64);
    let mut own = vec![0_u64; nodes];
    for one in raw {
        let place = Place::of(&one.kind);
        if let Some(node) = &one.node {
            // One that is not there is refused where faults are read.
            let Some(own) = own.get_mut(node.value.0 as usize) else {
                continue;
            };
            *own += 1;
            most = (*own).max(most);
            sum += 1;
        } else {
            all += 1;
            sum += nodes as u64;
        }
        if all + most > FAULTS_OF_NODE_MAX {
            return Err(at(place, "more than 1,000 faults on one node; make it fewer"));
        }
        if sum > FAULTS_MAX {
            return Err(at(
                place,
                "more than 200,000 faults on all nodes together; make it fewer, or name the nodes",
            ));
        }
    }
    Ok(())
}
