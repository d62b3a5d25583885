//! The commands other than `agent`, one file each: its arguments and its `run`.

pub(crate) mod check_config;
pub(crate) mod completions;
pub(crate) mod free;
pub(crate) mod leak;
pub(crate) mod man;
pub(crate) mod node;
