//! The rules that keep the ladder harmless, by name, so that a test can take one of them away and see who notices.
//!
//! An engine asks `holds` where it keeps a rule. Without the feature `mutations` the answer is always yes and costs nothing.
//! What it refuses to do: be configured. No policy, no file and no input can take a rule away.

macro_rules! rules {
    ($($(#[doc = $says:literal])+ $name:ident,)+) => {
        /// A rule that the engine keeps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[doc = $says])+ $name,)+
        }

        impl Rule {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}

rules! {
    /// At a pod's or container's own limit nobody is killed.
    OwnLimit,
    /// At the kubelet's walls nobody is killed, whatever was refused there.
    KubeletsWall,
    /// The next look comes within a quarter of the time in which memory could be filled.
    Sight,
    /// While an easing of ours runs, and a second after, stalls confirm nothing.
    OwnStalls,
    /// What a sample says is protected is not touched.
    Protected,
    /// A pod that opted out, or that the operator spares, is not touched.
    OptOut,
    /// Nor is its page cache.
    ProtectedCache,
    /// Static, mirror and critical pods are not touched.
    Critical,
    /// A DaemonSet's pod is not touched: it comes straight back.
    DaemonSet,
    /// A pod that nobody brings back is not touched unless it agreed.
    Naked,
    /// Without news of the pods only a dominant culprit is acted upon.
    Modesty,
    /// A kill is of one container or process.
    Smallest,
    /// Whoever was killed twice within ten minutes is evicted.
    SecondKill,
    /// Whose memory outlives a kill is evicted.
    Outlives,
    /// One ending at a time, unless the runway cannot wait.
    OneAtATime,
    /// Nobody ends while terminating pods give back enough in time.
    OnItsWay,
    /// After a kill by the kernel its victim's memory is waited for.
    KernelsVictim,
    /// No eviction without a token of the cluster's budget.
    Token,
    /// A disruption budget that refused is not asked again at once.
    Blocked,
    /// Nothing is asked of an API server that is away.
    ApiAway,
    /// No eviction of what has nowhere to go.
    PlaceToGo,
    /// No eviction whose grace period does not fit.
    GraceFits,
    /// A brake is bounded in time.
    BrakeEnds,
    /// No reclaim against a kubelet wall while a certain leak is near.
    NoHiding,
    /// An alarm that was acted upon is never counted as right.
    HonestScore,
    /// An alarm's horizon is fixed, and at its end there is a verdict.
    Horizon,
    /// Whoever ended without an alarm is a miss.
    Misses,
    /// Nobody ends on one signal.
    Confirmation,
    /// Nobody ends before the last moment that fits.
    LastMoment,
    /// No pod is evicted or braked for much more growth than has been seen.
    Lasting,
    /// The culprit goes first.
    CulpritFirst,
    /// Nobody is killed for growth that ends, before the wall, at a limit of his own or at what he was promised.
    Excused,
    /// Who took what is missing beyond his request is killed before a culprit that keeps within his own.
    BreakerFirst,
    /// No pod ends for growth that comes mostly from outside the pods.
    HostsOwn,
    /// Where nobody is the culprit, only such a one goes as frees enough, or a few who do together.
    FreesEnough,
    /// And enough is no less than what grows until he is gone.
    Outgrows,
    /// Nobody is evicted while page cache alone would do.
    CacheFirst,
    /// No limit is raised unless the pod asks for it.
    GrowthAsked,
    /// Nobody is warned who has not asked for it.
    WarningAsked,
    /// No limit is raised where the node has no room.
    RoomToGrow,
    /// Nobody is evicted who is on the way out already.
    Terminating,
    /// One eviction a token, however old the news of the budget are.
    OneAToken,
    /// No eviction begins while somebody is ending who is gone before the wall, but for those who go at once because nobody alone frees enough.
    OneEviction,
    /// Nor does that of whoever was killed twice.
    OneRepeater,
    /// Stalls end nobody where nobody is the culprit.
    StallsCulprit,
    /// One look is enough only in the last quarter.
    LastQuarter,
    /// What a brake that was just put on comes to is seen first.
    BrakeSeen,
    /// Growth from before a brake is on, or let go, leads to nobody's end.
    BrakedGrowth,
    /// Whom a brake holds may have more than it has: it must be able to go on.
    BrakeRoom,
    /// Who was warned is given time.
    WarnedOnce,
    /// And is neither braked nor evicted meanwhile.
    WarnedFree,
    /// Nothing that needs to know the pods is done on old news of them.
    FreshNews,
    /// What the policy has switched off is not done.
    RungOff,
}

#[cfg(not(feature = "mutations"))]
pub(crate) const fn holds(_: Rule) -> bool {
    true
}

#[cfg(feature = "mutations")]
mod mutation {
    use core::cell::Cell;

    use super::Rule;

    thread_local! {
        /// The rule that engines on this thread do not keep.
        static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// Puts back what was there, also when a test panics.
    struct Until(Option<Rule>);

    impl Drop for Until {
        fn drop(&mut self) {
            BROKEN.set(self.0);
        }
    }

    /// Runs something while no engine on this thread keeps `rule`. For tests alone.
    pub fn without<R>(rule: Rule, run: impl FnOnce() -> R) -> R {
        let _until = Until(BROKEN.replace(Some(rule)));
        run()
    }

    pub(crate) fn holds(rule: Rule) -> bool {
        BROKEN.get() != Some(rule)
    }
}

#[cfg(feature = "mutations")]
pub(crate) use mutation::holds;
#[cfg(feature = "mutations")]
pub use mutation::without;
