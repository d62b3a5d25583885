//! Which cgroups pods and containers have here: their numbers, which are what samples know them by.
//!
//! It lists directories and asks for their inodes, from `kubepods` down to containers and no deeper, and reads no file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use forestall_decide::{GroupId, PodUid};
use forestall_kernel::cgroup::Identity;

use super::pod::Places;

/// From the root of the hierarchy to containers, `kubepods` itself some levels down (kind puts it into a slice of the node's container).
const DEPTH_MAX: usize = 8;

/// So many directories are looked at: 4,096 pods with four containers each.
const DIRECTORIES_MAX: usize = 20_480;

/// The cgroups of pods.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    pods: BTreeMap<PodUid, GroupId>,
    containers: BTreeMap<(PodUid, Box<[u8]>), GroupId>,
}

impl Groups {
    /// Those below `root`, the hierarchy's mount point. What cannot be read is not there.
    pub(crate) fn find(root: &Path) -> Self {
        let mut groups = Self::default();
        let mut left = DIRECTORIES_MAX;
        groups.walk(root, b"", 0, &mut left);
        groups
    }

    fn walk(&mut self, folder: &Path, path: &[u8], depth: usize, left: &mut usize) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if *left == 0 || depth == DEPTH_MAX {
                return;
            }
            *left -= 1;
            let mut path = path.to_vec();
            path.push(b'/');
            path.extend_from_slice(entry.file_name().as_bytes());
            let group = GroupId(entry.ino());
            let below: PathBuf = match Identity::of_path(&path) {
                Identity::Pod(pod) => {
                    let Some(uid) = number_of(pod.uid.as_bytes()) else {
                        continue;
                    };
                    self.pods.insert(uid, group);
                    entry.path()
                }
                Identity::Container(container) => {
                    if let Some(uid) =
                        number_of(container.pod.uid.as_bytes()).filter(|_| !container.is_monitor)
                    {
                        self.containers.insert((uid, container.id), group);
                    }
                    continue;
                }
                Identity::Kubepods | Identity::Qos(_) | Identity::Host => entry.path(),
            };
            self.walk(&below, &path, depth + 1, left);
        }
    }
}

impl Places for Groups {
    fn of_pod(&self, uid: PodUid) -> Option<GroupId> {
        self.pods.get(&uid).copied()
    }

    fn of_container(&self, uid: PodUid, id: &str) -> Option<GroupId> {
        self.containers.get(&(uid, id.as_bytes().into())).copied()
    }
}

/// A UID's 128 bits: 32 hexadecimal digits, with dashes or, a static pod's, without.
pub(super) fn number_of(text: &[u8]) -> Option<PodUid> {
    let (mut number, mut digits) = (0_u128, 0);
    for byte in text.iter().filter(|byte| **byte != b'-') {
        number = number << 4 | u128::from(char::from(*byte).to_digit(16)?);
        digits += 1;
    }
    (digits == 32 && number != 0).then_some(PodUid(number))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn pods_and_containers_are_found_under_both_drivers_and_deeper_ones_are_not() {
        let root = tempfile::tempdir().expect("a directory");
        let id = "ab".repeat(32);
        let make = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(&path).expect("made");
            GroupId(fs::metadata(path).expect("it is there").ino())
        };
        let one = make("kubepods/burstable/pod0330b2c1-a15b-4cdd-b5e5-72d4a90bee82");
        let of_one = make(&format!(
            "kubepods/burstable/pod0330b2c1-a15b-4cdd-b5e5-72d4a90bee82/{id}"
        ));
        make(&format!(
            "kubepods/burstable/pod0330b2c1-a15b-4cdd-b5e5-72d4a90bee82/{id}/inner"
        ));
        let slice = "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod11111111_2222_3333_4444_555555555555.slice";
        let other = make(slice);
        let of_other = make(&format!("{slice}/cri-containerd-{id}.scope"));
        make("system.slice/ssh.service");
        let groups = Groups::find(root.path());
        let uids = [
            0x0330_b2c1_a15b_4cdd_b5e5_72d4_a90b_ee82,
            0x1111_1111_2222_3333_4444_5555_5555_5555,
        ]
        .map(PodUid);
        assert_eq!(uids.map(|uid| groups.of_pod(uid)), [Some(one), Some(other)]);
        assert_eq!(
            uids.map(|uid| groups.of_container(uid, &id)),
            [Some(of_one), Some(of_other)]
        );
        assert_eq!((groups.pods.len(), groups.containers.len()), (2, 2));
        assert_eq!(groups.of_pod(PodUid(7)), None);
    }
}
