//! What an operator may set. Every default is stated here once; the example configuration is generated from it.

use crate::rung::{Rung, Rungs};
use crate::units::{Bytes, BytesPerSecond, Span};

/// How far the agent goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// No prediction is scored, nothing is done.
    Observe,
    /// Everything but the last write.
    #[default]
    Shadow,
    /// Acts.
    Enforce,
}

/// Who is chosen where no culprit explains it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victims {
    /// The cgroup whose growth explains it; where nobody does and pods are known, as `Kubelet`.
    #[default]
    Culprit,
    /// The kubelet's own order: over request, then priority, then usage over request.
    Kubelet,
    /// The lowest priority first (war story A): the highest oom_score_adj stands for it off-cluster.
    Priority,
}

/// A rule taken from a public document, kept runnable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preset {
    /// forestall's own rules.
    #[default]
    Forestall,
    /// War story A: used above a percentage, or page cache above 15 % of memory.
    WarStoryA,
    /// The gist: SysRq f whenever less than a number of bytes is available, looked at every minute.
    Gist,
}

/// The policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How far to go.
    pub mode: Mode,
    /// Whose rules.
    pub preset: Preset,
    /// Who may be a victim.
    pub victims: Victims,
    /// The rungs that may be used.
    pub rungs: Rungs,
    /// The share of the growth, in permille, that one cgroup must explain to be the culprit (rule 6).
    pub culprit_share_permille: u64,
    /// How long a victim may take to end after TERM before KILL.
    pub term_grace: Span,
    /// How long a kill may take to show its effect before it is judged to have none.
    pub effect_deadline: Span,
    /// No second kill at the same wall before this has passed since the first one's effect.
    pub kill_cooldown: Span,
    /// The time between two looks while some memory grows but no wall is near; a preset's poll interval.
    pub tick_calm: Span,
    /// The longest time between two looks while nothing is to be lost. Longer than `tick_calm` only where PSI triggers
    /// do the waiting.
    pub tick_idle: Span,
    /// How fast memory can be filled on this machine at the most: measured at start, and assumed to begin at any moment.
    pub fill_rate: BytesPerSecond,
    /// The time between two looks while a wall is near.
    pub tick_near: Span,
    /// The shortest time between two looks, whatever happens.
    pub tick_min: Span,
    /// The kubelet's hard threshold `memory.available`; its own default is 100Mi.
    pub kubelet_eviction_hard: Bytes,
    /// War story A: "actually used" above this many permille.
    pub war_story_used_permille: u64,
    /// War story A: page cache above this many permille.
    pub war_story_cache_permille: u64,
    /// The gist: act below this many available bytes.
    pub gist_available_bytes_min: Bytes,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Shadow,
            preset: Preset::Forestall,
            victims: Victims::Culprit,
            // `sysrq` is the kernel's choice of victim, now; the others change a pod's life by way of the API server, or need
            // its consent. Each is asked for.
            rungs: Rungs::of(&[Rung::Reclaim, Rung::Kill]),
            culprit_share_permille: 800,
            term_grace: Span::secs(2),
            effect_deadline: Span::secs(10),
            kill_cooldown: Span::secs(2),
            tick_calm: Span::secs(1),
            tick_idle: Span::secs(1),
            fill_rate: BytesPerSecond(1 << 30),
            tick_near: Span::millis(100),
            tick_min: Span::millis(10),
            kubelet_eviction_hard: Bytes::mebi(100),
            war_story_used_permille: 850,
            war_story_cache_permille: 150,
            gist_available_bytes_min: Bytes::mebi(350),
        }
    }
}
