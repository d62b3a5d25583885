//! The kubelet's configuration on its way from files to the guard.

use std::sync::Arc;
use std::time::Duration;

use forestall_decide::WallKind;
use forestall_decide::kubelet::{Signal, memory_available};

use super::Talker;
use crate::agent::KubeletNews;
use crate::agent::shared::Compared;
use crate::cluster::Believed;
use crate::log::Level;

/// Between two looks for a kubelet that was started anew; most of them cost a few calls.
pub(super) const KUBELET_SPACING: Duration = Duration::from_mins(1);

impl Talker {
    /// Looks, says what was found, and hands it to the guard.
    pub(super) fn follow_kubelet(&mut self) {
        let at_start = self.setup.kubelet_news.take();
        let news = at_start.or_else(|| {
            self.setup.board.read_snapshot(&mut self.seen);
            self.setup.kubelet.look(self.seen.node.kubelet_present)
        });
        self.take_kubelet_news(news);
    }

    /// Takes what the kubelet says it runs with.
    pub(super) fn hear_kubelet(&mut self, configz: &str) {
        let needed = self.setup.ground.resident_code();
        let news = self.setup.kubelet.hear(configz);
        self.take_kubelet_news(news);
        self.setup.ground.give_back_code(needed.as_ref());
    }

    /// Puts what the kubelet believes beside what its own rules make of our figures.
    pub(super) fn compare_with_kubelet(&mut self, believed: Believed) {
        self.setup.board.read_snapshot(&mut self.seen);
        let seen = &self.seen;
        let node = believed.node.map(|believed| Compared {
            signal: Signal::MemoryAvailable,
            believed,
            counted: memory_available(&seen.node),
            size: seen.node.total,
        });
        // The wall stands at the hard threshold where there is no other.
        let signal = Signal::AllocatableMemoryAvailable;
        let config = self.kubelet_config.as_ref();
        let hard = config.filter(|config| {
            let thresholds = config.thresholds.iter();
            thresholds.filter(|threshold| threshold.signal == signal).count() == 1
        });
        let mut rows = seen.rows();
        let row = rows.find(|row| row.reading.wall == WallKind::KubeletAllocatable);
        let pods = (|| {
            Some(Compared {
                signal,
                believed: believed.pods?,
                counted: row?.reading.distance + hard?.hard(signal),
                size: row?.reading.limit.bytes()?,
            })
        })();
        let is_there = seen.at.is_some();
        self.setup.board.note_api(|api| {
            api.kubelet_silent = None;
            api.compared = node.into_iter().chain(pods).filter(|_| is_there).collect();
        });
    }

    /// It does not say; that is told once.
    pub(super) fn lose_kubelet(&mut self, why: String) {
        let mut is_new = false;
        let said = why.clone();
        self.setup.board.note_api(|api| {
            is_new = api.kubelet_silent.as_ref() != Some(&why);
            api.kubelet_silent = Some(why);
            api.compared.clear();
        });
        if is_new {
            let line = format!(
                "the kubelet does not say what it runs with: {said}; its files are read, or its defaults assumed"
            );
            self.setup.logger.say(Level::Warn, "kubelet", &line);
        }
    }

    fn take_kubelet_news(&mut self, news: Option<KubeletNews>) {
        let Some(news) = news else { return };
        for (level, line) in &news.lines {
            self.setup.logger.say(*level, "kubelet", line);
        }
        let Some(config) = news.config else { return };
        self.kubelet_config = Some(Arc::clone(&config));
        let assumed = self.setup.settings.policy.kubelet_eviction_hard;
        let default = forestall_decide::Policy::default().kubelet_eviction_hard;
        let real = config.hard(Signal::MemoryAvailable);
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
