//! Which lines a report was made of: what a reader may build on.

/// One kind of line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    /// `X invoked oom-killer: …`
    Header,
    /// `CPU: … PID: …`
    Banner,
    /// `Task in … killed as a result of limit of …`
    LimitLine,
    /// `memory: usage …`
    Usage,
    /// `Memory cgroup stats for …`
    Stats,
    /// `Mem-Info:`
    MemInfo,
    /// The table of processes.
    Table,
    /// `oom-kill:constraint=…`
    Verdict,
    /// `Kill process … or sacrifice child`
    Chosen,
    /// `Killed process …`
    Kill,
    /// `Tasks in … are going to be killed …`
    Group,
    /// `oom_reaper: …`
    Reaper,
    /// `OOM victim … is already exiting`
    Exiting,
    /// `Out of memory and no killable processes...`
    NoKillable,
    /// `N callbacks suppressed`
    Suppressed,
    /// `sysrq: Manual OOM execution`
    Sysrq,
    /// `Kernel panic - not syncing: Out of memory …`
    Panic,
    /// No line, but the cgroups' counters: they told whose limit it was.
    Counters,
    /// No line, but the kernel's tracing: it told who was chosen, and for whom the kernel was at work.
    Mark,
}

impl Piece {
    const ALL: [Self; 19] = [
        Self::Header,
        Self::Banner,
        Self::LimitLine,
        Self::Usage,
        Self::Stats,
        Self::MemInfo,
        Self::Table,
        Self::Verdict,
        Self::Chosen,
        Self::Kill,
        Self::Group,
        Self::Reaper,
        Self::Exiting,
        Self::NoKillable,
        Self::Suppressed,
        Self::Sysrq,
        Self::Panic,
        Self::Counters,
        Self::Mark,
    ];

    /// A short fixed word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Banner => "banner",
            Self::LimitLine => "limit",
            Self::Usage => "usage",
            Self::Stats => "stats",
            Self::MemInfo => "mem-info",
            Self::Table => "table",
            Self::Verdict => "verdict",
            Self::Chosen => "chosen",
            Self::Kill => "kill",
            Self::Group => "group",
            Self::Reaper => "reaper",
            Self::Exiting => "exiting",
            Self::NoKillable => "no-killable",
            Self::Suppressed => "suppressed",
            Self::Sysrq => "sysrq",
            Self::Panic => "panic",
            Self::Counters => "counters",
            Self::Mark => "mark",
        }
    }

    /// The one that has this word.
    pub fn of_label(label: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|piece| piece.label().as_bytes() == label)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    bits: u32,
}

impl Pieces {
    /// Whether lines of this kind were seen.
    pub const fn has(self, piece: Piece) -> bool {
        self.bits & piece.bit() != 0
    }

    /// All that were seen, in the order in which the kernel prints them.
    pub fn iter(self) -> impl Iterator<Item = Piece> {
        Piece::ALL.into_iter().filter(move |piece| self.has(*piece))
    }

    /// One more.
    pub fn add(&mut self, piece: Piece) {
        self.bits |= piece.bit();
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.bits |= other.bits;
    }
}

impl FromIterator<Piece> for Pieces {
    fn from_iter<I: IntoIterator<Item = Piece>>(pieces: I) -> Self {
        let mut all = Self::default();
        pieces.into_iter().for_each(|piece| all.add(piece));
        all
    }
}
