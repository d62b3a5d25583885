//! Why bytes are no trace that this program can read. Damage further in is no error: it is an [`crate::Item`].

/// A trace that cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not begin as a trace does.
    #[error("this is no trace: it does not begin with the mark of one")]
    NoTrace,
    /// Written by a program whose format this one does not know.
    #[error(
        "the trace has format {major}.{minor}, and this program reads {}.x; use a newer forestall",
        crate::VERSION.major
    )]
    Newer {
        /// The format's major number.
        major: u8,
        /// Its minor number.
        minor: u8,
    },
    /// Its head is cut or damaged, so nothing in it can be understood.
    #[error("the head of the trace is {0}; nothing after it can be understood")]
    Head(&'static str),
}
