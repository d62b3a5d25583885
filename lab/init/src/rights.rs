//! The sets of rights that a process of a guest can be given: a user, and the capabilities that it keeps.

use serde::{Deserialize, Serialize};

/// One set of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rights {
    /// uid 0 with every capability.
    Full,
    /// uid 0 with `CAP_KILL` alone, as the agent is shipped.
    Shipped,
    /// uid 0 with `CAP_SYS_RESOURCE` alone.
    Resource,
    /// uid 0 with `CAP_SYS_RESOURCE` and `CAP_DAC_OVERRIDE`: the second is what a 0444 file asks of root.
    ResourceAndOverride,
    /// uid 0 without any capability.
    Bare,
    /// uid 65534 without any capability.
    Nobody,
}

impl Rights {
    /// Every set, the most powerful first.
    pub const ALL: [Self; 6] = [
        Self::Full,
        Self::ResourceAndOverride,
        Self::Resource,
        Self::Shipped,
        Self::Bare,
        Self::Nobody,
    ];

    /// The number of the user `nobody`, which owns nothing.
    pub const NOBODY: u32 = 65534;

    /// Who that is, for a table.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "uid 0, every capability",
            Self::ResourceAndOverride => "uid 0, SYS_RESOURCE and DAC_OVERRIDE",
            Self::Resource => "uid 0, SYS_RESOURCE",
            Self::Shipped => "uid 0, KILL",
            Self::Bare => "uid 0, none",
            Self::Nobody => "uid 65534, none",
        }
    }
}
