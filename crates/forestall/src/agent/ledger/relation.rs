//! Who sent SIGKILL to whom, by what `/proc` shows of both: whether they lived in one container, whether it hit the container's first process,
//! and whether the sender was one of the node's own programs.
//!
//! It refuses to take what it could not read for an answer: most who send a signal are gone a moment later.

use forestall_decide::is_account;
use forestall_kernel::cgroup::Identity;
use forestall_kernel::parse::{memberships, memory_path};

/// What was read of a process; `None` where it was gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) cgroup: Option<Vec<u8>>,
    pub(super) status: Option<Vec<u8>>,
}

impl Shown {
    /// Where it lives. On v1 who is ending stands at the root, wherever it was.
    fn path(&self) -> Option<&[u8]> {
        let cgroup = self.cgroup.as_deref()?;
        let is_v1 = memberships(cgroup).any(|line| line.has_controller(b"memory"));
        memory_path(cgroup).filter(|path| !is_v1 || *path != b"/")
    }

    /// Its real user.
    pub(super) fn uid(&self) -> Option<u32> {
        number(self.values(b"Uid:")?.next()?)
    }

    /// Whether it is PID 1 of a PID namespace below the reader's, as a container's own process is. In the reader's own nobody can tell: a
    /// container that shares the host's has its first process there, too.
    fn is_first(&self) -> Option<bool> {
        let mut last = None;
        let mut count = 0;
        for value in self.values(b"NSpid:")? {
            (last, count) = (number(value), count + 1);
        }
        last.filter(|_| count > 1).map(|last| last == 1)
    }

    fn values(&self, key: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
        let mut lines = self.status.as_deref()?.split(|byte| *byte == b'\n');
        let values = lines.find_map(|line| line.strip_prefix(key))?;
        let words = values.split(u8::is_ascii_whitespace);
        Some(words.filter(|word| !word.is_empty()))
    }
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What follows from both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Relation {
    /// Where whoever was sent it lived.
    pub(super) path: Option<Box<[u8]>>,
    /// The sender lived in the same container.
    pub(super) is_inside: Option<bool>,
    /// It was sent to PID 1 of its PID namespace.
    pub(super) is_of_first: Option<bool>,
    /// The sender was root or an account of the system's, and in no container.
    pub(super) is_on_node: Option<bool>,
}

impl Relation {
    /// Of whom it was sent to and of the sender; `moved` is where somebody put the former, if anybody did.
    pub(super) fn of(its: &Shown, theirs: &Shown, moved: Option<&[u8]>) -> Self {
        let path = its.path().or(moved);
        let place = theirs.path();
        let is_inside = path.and_then(|path| match container_of(path) {
            Some(own) => place.map(|place| container_of(place).is_some_and(|other| other == own)),
            // Who is in no container was sent it by nobody in the same one.
            None => Some(false),
        });
        let is_trusted = |uid: u32| uid == 0 || is_account(uid);
        let is_on_node = match (theirs.uid().map(is_trusted), place.map(container_of)) {
            (Some(false), _) | (_, Some(Some(_))) => Some(false),
            (Some(true), Some(None)) => Some(true),
            _ => None,
        };
        Self {
            path: path.map(Box::from),
            is_inside,
            is_of_first: its.is_first(),
            is_on_node,
        }
    }
}

/// What tells a container from every other one: of a pod's its ID with the pod's, of others the path down to the ID.
fn container_of(path: &[u8]) -> Option<Vec<u8>> {
    match Identity::of_path(path) {
        Identity::Container(container) => Some([container.pod.uid.as_bytes(), b"/", &container.id].concat()),
        Identity::Host => {
            let names = path.split(|byte| *byte == b'/');
            let mut end = 0;
            let mut last = None;
            for name in names {
                end += name.len() + 1;
                if has_id(name) {
                    last = Some(end - 1);
                }
            }
            path.get(..last?).map(<[u8]>::to_vec)
        }
        Identity::Pod(_) | Identity::Qos(_) | Identity::Kubepods => Some(path.to_vec()),
    }
}

/// A runtime's ID: 64 hexadecimal digits in a row.
fn has_id(name: &[u8]) -> bool {
    name.split(|byte| !byte.is_ascii_hexdigit())
        .any(|digits| digits.len() == 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "b27201334a41cd0749d053b18378d7ea65617b8e26277197ea25c974da1a5a8a";
    const OTHER: &str = "8371caad8cc369f16c55ce039fbbe0e4fd1be88e72f119bce94ccd5d07d152fe";

    /// `Documentation/filesystems/proc.rst`: real, effective, saved set, and filesystem UIDs; `NSpid` from the reader's namespace inwards.
    fn shown(cgroup: &str, uid: u32, ns_pid: &str) -> Shown {
        let pod = "/kubepods/burstable/pod1";
        let cgroup = cgroup
            .replace("POD", pod)
            .replace("ID", ID)
            .replace("OTHER", OTHER);
        Shown {
            cgroup: Some(cgroup.into_bytes()),
            status: Some(
                format!("Name:\ta\nUid:\t{uid}\t7\t7\t7\nGid:\t5\t5\t5\t5\nNSpid:\t{ns_pid}\n").into_bytes(),
            ),
        }
    }

    fn said(its: &Shown, theirs: &Shown) -> [Option<bool>; 3] {
        let relation = Relation::of(its, theirs, None);
        [relation.is_inside, relation.is_of_first, relation.is_on_node]
    }

    #[test]
    fn what_is_not_there_any_more_is_not_known() {
        let own = shown("0::POD/ID\n", 0, "700\t1");
        let gone = Shown::default();
        assert_eq!(said(&own, &gone), [None, Some(true), None]);
        assert_eq!(said(&gone, &own), [None, None, Some(false)]);
        // On v1 who is ending stands at the root.
        let ending = shown("5:memory:/\n0::/\n", 0, "1");
        assert_eq!(said(&own, &ending), [None, Some(true), None]);
    }

    #[test]
    fn a_sender_is_inside_by_the_container_and_not_by_its_cgroup() {
        let own = shown("0::POD/ID\n", 0, "700\t1");
        for (place, is_inside) in [
            ("0::POD/ID/deeper\n", true),
            ("0::POD/OTHER\n", false),
            ("0::/kubepods/burstable/pod2/ID\n", false),
            ("0::/system.slice/kubelet.service\n", false),
            ("0::/\n", false),
        ] {
            let sender = shown(place, 0, "9");
            assert_eq!(said(&own, &sender)[0], Some(is_inside), "{place}");
        }
        // A container of no pod's.
        let docker = shown("0::/system.slice/docker-ID.scope/a\n", 0, "9\t2");
        assert_eq!(said(&docker, &docker)[..2], [Some(true), Some(false)]);
    }

    #[test]
    fn one_of_the_nodes_own_is_roots_or_a_services_and_in_no_container() {
        let own = shown("0::POD/ID\n", 0, "700\t1");
        for (place, uid, is_on_node) in [
            ("0::/system.slice/earlyoom.service\n", 0, true),
            // Its unit has DynamicUser=, systemd-oomd an account.
            ("0::/system.slice/earlyoom.service\n", 64_000, true),
            ("0::/system.slice/systemd-oomd.service\n", 990, true),
            ("0::/user.slice/user-1000.slice/session-3.scope\n", 1000, false),
            ("0::POD/OTHER\n", 0, false),
            ("0::/system.slice/docker-OTHER.scope\n", 0, false),
        ] {
            let sender = shown(place, uid, "9");
            assert_eq!(said(&own, &sender)[2], Some(is_on_node), "{place} {uid}");
        }
    }
}
