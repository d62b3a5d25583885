//! What the agent says while it runs.

pub(crate) mod escape;
