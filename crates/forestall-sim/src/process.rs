//! Kills of one process alone: where `memory.oom.group` is not set (the kubelet's `singleProcessOOMKill`, its default on cgroup
//! v1) the kernel ends the process that it picked, and the container lives on (mm/oom_kill.c, `oom_kill_process`).
//!
//! Of a container with several processes is known what the largest holds. Another is started in its place, and its load fills anew what
//! was lost. It refuses to tell one process from another: each is as large, and the last one is PID 1, whose end is the container's.

use forestall_decide::{Bytes, Moment};

use crate::memory::Part;
use crate::node::Node;

impl Node {
    /// What a kill by the kernel takes of this container; `None`: all of it, for nothing is left beside the largest process, or
    /// because the kernel is told so. A container that stands still under a brake ends as one.
    pub(crate) fn process_to_lose(&self, at: usize, index: usize, now: Moment) -> Option<Bytes> {
        let container = &self.pods[at].containers[index];
        let held = container.memory.sum(&[Part::Anon, Part::Kernel], now) + container.swapped;
        container
            .largest_process
            .filter(|_| self.spec.kills_one_process && !container.is_paused())
            .filter(|largest| (Bytes(1)..held).contains(largest))
    }

    /// One process is over at once, with so much.
    pub(crate) fn lose_process(&mut self, at: usize, index: usize, size: Bytes, now: Moment) {
        let stood = self.change(at, index, now, |container| {
            // Its load reckons at full pace.
            let stood = container.hasten(now);
            if let Some(more) = container.running.lose_process(&mut container.memory, size) {
                container.turn = Some(container.turn.unwrap_or(now) + more);
            }
            stood
        });
        self.kernel.stall_for(stood);
    }
}
