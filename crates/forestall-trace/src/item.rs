//! What a reader finds, in the order in which it was recorded.

use forestall_decide::kubelet::KubeletConfig;
use forestall_decide::{Input, Moment, Pods, Policy};

use crate::header::Version;

/// One thing found.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A fresh engine begins here: at the beginning, in another run, and wherever something before is missing.
    Begin(Begin<'a>),
    /// An input, and the moment at which the engine was given it.
    Input(Moment, Input<'a>),
    /// The run ends here, and its recorder said so. A run without it is still being recorded, its recorder was ended by force, or
    /// what followed is cut off. Before version 1.1 no recorder said so.
    End,
    /// The recorder could not keep up: so many inputs were not written here. What follows is sound, but the engine of the
    /// recorder had seen more.
    Lost(u64),
    /// An input of a kind that only a newer program knows.
    Unknown(u8),
    /// Bytes that do not hold what was written, or that only a newer program reads, from this offset on; reading goes on behind
    /// them, with a fresh engine.
    Damaged {
        /// Where in the segment.
        offset: usize,
        /// How many bytes are passed over.
        bytes: usize,
        /// The version of the segment that they begin with, where only a newer program reads it.
        newer: Option<Version>,
    },
    /// The same at the end of the segment: a tail that was not written to its end, or damage with nothing sound behind it.
    Torn {
        /// Where in the segment.
        offset: usize,
        /// How many bytes are cut off.
        bytes: usize,
        /// As for damage with something sound behind it.
        newer: Option<Version>,
    },
}

/// What a fresh engine begins with.
#[derive(Clone, Copy, Debug)]
pub struct Begin<'a> {
    /// Why a fresh one.
    pub cause: Cause,
    /// How many inputs of this run are missing before it, where that can be told.
    pub missing: Option<u64>,
    /// The moment of the last input before.
    pub at: Moment,
    /// The policy in force.
    pub policy: &'a Policy,
    /// The kubelet's configuration, if it was known.
    pub kubelet: Option<&'a KubeletConfig>,
    /// The pods, if they were known.
    pub pods: Option<&'a Pods>,
}

/// Why a fresh engine begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The trace begins.
    Opening,
    /// Another run of the recorder begins: the agent was started again, or the machine.
    Run,
    /// Something before it is missing or damaged.
    Gap,
}
