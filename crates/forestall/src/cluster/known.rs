//! The pods that are known, in bounded room: what there is no room for is left out, and counted.
//!
//! More pods than this one node never has, and larger ones nobody runs. Both can be made, by whoever may write pods, and neither may cost the agent its life. It
//! refuses to make room by forgetting somebody who is well: who came first stays.

use std::collections::BTreeMap;

use super::slim::SlimPod;

/// The kubelet's default is 110.
const PODS_MAX: usize = 4096;

/// More than this of one pod is no pod that somebody runs: a hundred containers with their names, limits and volumes are a third of it.
const POD_BYTES_MAX: usize = 64 << 10;

/// All of them together: 2 KiB each are a pod with a few containers. While they are listed anew there are twice as many, beside a page of the list, and the
/// agent's container has 64 MiB.
const BYTES_MAX: usize = 8 << 20;

/// Them.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By UID as the API has it.
    pods: BTreeMap<String, SlimPod>,
    bytes: usize,
    /// Those for whom there was no room.
    pub(super) left_out: u64,
}

impl Known {
    pub(super) fn iter(&self) -> impl Iterator<Item = &SlimPod> {
        self.pods.values()
    }

    pub(super) fn of_uid(&self, uid: &str) -> Option<&SlimPod> {
        self.pods.get(uid)
    }

    /// Takes one that has come, or is another now. True where anything of it has changed that is read.
    pub(super) fn put(&mut self, pod: SlimPod, is_new: bool) -> bool {
        let before = self.take(&pod.metadata.uid);
        let weight = pod.weight();
        if weight > POD_BYTES_MAX || self.bytes + weight > BYTES_MAX || self.pods.len() >= PODS_MAX {
            // Whoever has been left out is told of again whenever it changes, and counted when it came.
            self.left_out += u64::from(is_new || before.is_some());
            return before.is_some();
        }
        if before.is_none() && !is_new {
            self.left_out = self.left_out.saturating_sub(1);
        }
        let is_other = before.is_none_or(|before| !is_same(before, &pod));
        self.bytes += weight;
        self.pods.insert(pod.metadata.uid.clone(), pod);
        is_other
    }

    /// Forgets one that is gone. True where it was known.
    pub(super) fn remove(&mut self, uid: &str) -> bool {
        let is_known = self.take(uid).is_some();
        if !is_known {
            self.left_out = self.left_out.saturating_sub(1);
        }
        is_known
    }

    fn take(&mut self, uid: &str) -> Option<SlimPod> {
        let pod = self.pods.remove(uid)?;
        self.bytes -= pod.weight();
        Some(pod)
    }
}

/// Nothing has changed of what is read.
fn is_same(mut before: SlimPod, now: &SlimPod) -> bool {
    before
        .metadata
        .resource_version
        .clone_from(&now.metadata.resource_version);
    before == *now
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One whose weight is this and that of an empty one.
    fn pod(uid: usize, more: usize) -> SlimPod {
        let mut pod = SlimPod::default();
        pod.metadata.uid = format!("{uid:08}");
        pod.metadata.name = "n".repeat(more);
        pod
    }

    fn held(known: &Known) -> usize {
        known.iter().map(SlimPod::weight).sum()
    }

    #[test]
    fn however_large_pods_are_all_of_them_have_bounded_room() {
        let mut known = Known::default();
        for uid in 0..10_000 {
            known.put(pod(uid, 60 << 10), true);
        }
        let count = known.iter().count();
        // 8 MiB by a little more than 60 KiB each.
        assert!((130..=136).contains(&count), "{count}");
        assert_eq!(known.left_out, 10_000 - count as u64);
        // Whoever grows beyond its room is left out itself, and so is nobody else.
        for uid in 0..count {
            known.put(pod(uid, 63 << 10), false);
            assert!(held(&known) <= BYTES_MAX && held(&known) == known.bytes);
        }
        assert!(known.iter().count() >= count - 7);
        for uid in 0..10_000 {
            known.remove(&pod(uid, 0).metadata.uid);
        }
        assert_eq!((known.iter().count(), known.bytes, known.left_out), (0, 0, 0));
    }
}
