//! Stable pseudonyms: the first name met is number one, the same name gets the same one everywhere in a trace. Numbered rather
//! than hashed, because a name that can be guessed can be hashed and compared.
//!
//! UIDs are no names to an engine: the lower of two decides where nothing else does, and whoever has none is not believed. So
//! their numbers follow their order, which takes all of them beforehand.

use std::collections::{BTreeMap, BTreeSet};

use forestall_decide::{Asks, Pod, PodUid, Pods, Policy};

/// Parts of cgroup paths that say what a cgroup is, and not whose.
const KEPT: [&str; 9] = [
    "kubepods",
    "kubepods.slice",
    "besteffort",
    "burstable",
    "kubepods-besteffort.slice",
    "kubepods-burstable.slice",
    "system.slice",
    "user.slice",
    "init.scope",
];
/// Priority classes that every cluster has.
const KEPT_CLASSES: [&str; 3] = ["", "system-node-critical", "system-cluster-critical"];

/// The names met so far.
#[derive(Debug, Default)]
pub(super) struct Pseudonyms {
    parts: BTreeMap<Vec<u8>, usize>,
    processes: BTreeMap<Vec<u8>, usize>,
    texts: BTreeMap<(&'static str, Box<str>), usize>,
    /// All of the trace, in their order.
    uids: Vec<PodUid>,
}

impl Pseudonyms {
    /// Those of a trace that these UIDs occur in.
    pub(super) fn numbering(uids: BTreeSet<PodUid>) -> Self {
        Self {
            uids: uids.into_iter().filter(|uid| *uid != PodUid::default()).collect(),
            ..Self::default()
        }
    }

    /// A path, part by part, so that who lies below whom still shows.
    pub(super) fn path(&mut self, path: &[u8]) -> Vec<u8> {
        let parts = path.split(|byte| *byte == b'/').map(|part| self.part(part));
        parts.collect::<Vec<_>>().join(&b'/')
    }

    fn part(&mut self, part: &[u8]) -> Vec<u8> {
        if part.is_empty() || KEPT.iter().any(|kept| kept.as_bytes() == part) {
            return part.to_vec();
        }
        let kind = [&b".slice"[..], b".scope", b".service"]
            .into_iter()
            .find(|kind| part.ends_with(kind))
            .unwrap_or_default();
        let number = number(&mut self.parts, part.to_vec());
        [format!("g{number}").as_bytes(), kind].concat()
    }

    /// A process's name.
    pub(super) fn process(&mut self, name: &[u8]) -> Vec<u8> {
        format!("p{}", number(&mut self.processes, name.to_vec())).into_bytes()
    }

    /// Everything that Kubernetes' users have named. A field that is added does not compile before it is thought of here.
    pub(super) fn pods(&mut self, pods: &Pods) -> Pods {
        Pods {
            told_at: pods.told_at,
            list: pods.list.iter().map(|pod| self.pod(pod)).collect(),
            cluster: pods.cluster,
            kubelet_evictions: pods.kubelet_evictions,
        }
    }

    fn pod(&mut self, pod: &Pod) -> Pod {
        let Pod {
            uid,
            group,
            namespace,
            name,
            labels,
            qos,
            priority,
            priority_class,
            request,
            owner,
            origin,
            grace,
            terminating_since,
            memory_volumes,
            asks,
            standing,
            containers,
        } = pod;
        let number = self.uids.partition_point(|known| known <= uid);
        let mut labels: Vec<_> = labels
            .iter()
            .map(|(key, value)| (self.text("key", key), self.text("value", value)))
            .collect();
        labels.sort();
        let class = if KEPT_CLASSES.contains(&&**priority_class) {
            priority_class.clone()
        } else {
            self.text("class", priority_class)
        };
        Pod {
            uid: PodUid(number as u128),
            group: *group,
            namespace: self.text("ns", namespace),
            name: self.text("pod", name),
            labels,
            qos: *qos,
            priority: *priority,
            priority_class: class,
            request: *request,
            owner: *owner,
            origin: *origin,
            grace: *grace,
            terminating_since: *terminating_since,
            memory_volumes: *memory_volumes,
            asks: without_text(*asks),
            standing: without_text(*standing),
            containers: containers.iter().copied().map(without_text).collect(),
        }
    }

    fn text(&mut self, what: &'static str, text: &str) -> Box<str> {
        let number = number(&mut self.texts, (what, text.into()));
        format!("{what}{number}").into()
    }
}

/// What can be copied bit by bit holds no text. A policy that does one day needs pseudonyms of its own.
pub(super) const fn without_text<T: Copy>(value: T) -> T {
    value
}

const _: fn(Policy) -> Policy = without_text;
const _: fn(Asks) -> Asks = without_text;

/// The number of a kernel's release (`6.1.0` of `6.1.0-13-acme-amd64`): what a kernel does goes by it, and what stands behind may
/// name whoever built it.
pub(super) fn release_number(release: &str) -> &str {
    let end = release
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(release.len());
    release.get(..end).unwrap_or_default().trim_end_matches('.')
}

fn number<K: Ord>(known: &mut BTreeMap<K, usize>, name: K) -> usize {
    let next = known.len() + 1;
    *known.entry(name).or_insert(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_the_same_pseudonym_and_no_name_stays() {
        let mut pseudonyms = Pseudonyms::default();
        let path = b"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12.slice/cri-containerd-ab.scope";
        let one = pseudonyms.path(path);
        assert_eq!(one, b"/kubepods.slice/kubepods-burstable.slice/g1.slice/g2.scope");
        assert_eq!(
            pseudonyms.path(b"/system.slice/shop.service"),
            b"/system.slice/g3.service"
        );
        assert_eq!(pseudonyms.path(path), one);
        assert_eq!(pseudonyms.process(b"mysqld"), b"p1");
        assert_eq!(pseudonyms.process(b"java"), b"p2");
        assert_eq!(pseudonyms.process(b"mysqld"), b"p1");
    }

    #[test]
    fn of_a_kernels_release_its_number_is_left() {
        for (release, number) in [
            ("6.1.0-13-acme-amd64", "6.1.0"),
            ("5.10.223", "5.10.223"),
            ("6.12.acme", "6.12"),
            ("acme-6.1", ""),
            ("", ""),
        ] {
            assert_eq!(release_number(release), number);
        }
    }

    #[test]
    fn uids_are_numbered_in_their_order_and_none_stays_none() {
        let pod = |uid| Pod {
            uid: PodUid(uid),
            ..Pod::default()
        };
        let pods = Pods {
            list: vec![pod(900), pod(0), pod(5), pod(77)],
            ..Pods::default()
        };
        let uids = pods.list.iter().map(|pod| pod.uid).collect();
        let named = Pseudonyms::numbering(uids).pods(&pods);
        let numbers: Vec<u128> = named.list.iter().map(|pod| pod.uid.0).collect();
        assert_eq!(numbers, [3, 0, 1, 2]);
    }
}
