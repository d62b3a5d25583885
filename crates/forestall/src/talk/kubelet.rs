//! The kubelet's configuration on its way from files to the guard.

use std::sync::Arc;
use std::time::Duration;

use super::Talker;
use crate::log::Level;

/// Between two looks for a kubelet that was started anew; most of them cost a few calls.
pub(super) const KUBELET_SPACING: Duration = Duration::from_mins(1);

impl Talker {
    /// Looks, says what was found, and hands it to the guard.
    pub(super) fn follow_kubelet(&mut self) {
        let at_start = self.setup.kubelet_news.take();
        let Some(news) = at_start.or_else(|| {
            self.setup.board.read_snapshot(&mut self.seen);
            self.setup.kubelet.look(self.seen.node.kubelet_present)
        }) else {
            return;
        };
        for (level, line) in &news.lines {
            self.setup.logger.say(*level, "kubelet", line);
        }
        let Some(config) = news.config else { return };
        let assumed = self.setup.settings.policy.kubelet_eviction_hard;
        let default = forestall_decide::Policy::default().kubelet_eviction_hard;
        let real = config.hard(forestall_decide::kubelet::Signal::MemoryAvailable);
        if assumed != default && assumed != real {
            let line = format!(
                "kubeletEvictionHard says {assumed}, and the kubelet runs with {real}: the latter counts"
            );
            self.setup.logger.say(Level::Warn, "kubelet", &line);
        }
        if !self.setup.commander.kubelet(Arc::clone(&config)) {
            self.setup.kubelet.forget();
            let line = "the guard has not taken the changes before this one; this one is tried again";
            self.setup.logger.say(Level::Error, "kubelet", line);
        }
    }
}
