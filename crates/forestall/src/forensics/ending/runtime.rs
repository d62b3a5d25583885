//! Languages' runtimes that give up for want of memory: by which words they say so, and with which code they end.
//!
//! A code differs for PID 1 of a PID namespace, which a container's own process is: SIGABRT is ignored there, so that `abort()` falls
//! through to an instruction that faults, and 134 becomes 139.

/// A runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// Java's.
    Jvm,
    /// Node's, V8.
    Node,
    /// Go's.
    Go,
    /// Python's.
    Python,
    /// .NET's.
    Dotnet,
    /// Of C++: an allocation that nobody caught.
    Cpp,
    /// Of Rust: an allocation that failed.
    Rust,
}

/// What each one writes.
const WORDS: [(&str, Runtime); 11] = [
    ("java.lang.OutOfMemoryError", Runtime::Jvm),
    (
        "There is insufficient memory for the Java Runtime Environment",
        Runtime::Jvm,
    ),
    ("JavaScript heap out of memory", Runtime::Node),
    ("Reached heap limit Allocation failed", Runtime::Node),
    ("fatal error: runtime: out of memory", Runtime::Go),
    ("runtime: out of memory: cannot allocate", Runtime::Go),
    ("System.OutOfMemoryException", Runtime::Dotnet),
    ("std::bad_alloc", Runtime::Cpp),
    ("memory allocation of ", Runtime::Rust),
    ("numpy.core._exceptions._ArrayMemoryError", Runtime::Python),
    ("MemoryError", Runtime::Python),
];

impl Runtime {
    /// Whose words these are.
    pub(super) fn of_words(words: &str) -> Option<Self> {
        let said = |(mark, _): &&(&str, Self)| words.contains(mark);
        let (mark, runtime) = WORDS.iter().find(said)?;
        // Others may speak of an allocation of something, too.
        let is_whole = *mark != "memory allocation of " || words.contains(" bytes failed");
        is_whole.then_some(*runtime)
    }

    /// Whether its giving up ends with this code. A process of which nobody knows whether it was the first may be either.
    pub(super) const fn may_end_with(self, code: i32, is_first: Option<bool>) -> bool {
        let (may_be_first, may_be_other) =
            (!matches!(is_first, Some(false)), !matches!(is_first, Some(true)));
        match self {
            // Uncaught, ExitOnOutOfMemoryError, CrashOnOutOfMemoryError; 0 where only a thread ended of it.
            Self::Jvm => {
                matches!(code, 0 | 1 | 3) || (code == 134 && may_be_other) || (code == 127 && may_be_first)
            }
            Self::Node | Self::Cpp | Self::Rust | Self::Dotnet => {
                (code == 134 && may_be_other) || (code == 139 && may_be_first)
            }
            Self::Go => code == 2,
            Self::Python => code == 1,
        }
    }

    /// Its name.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Jvm => "JVM",
            Self::Node => "Node",
            Self::Go => "Go",
            Self::Python => "Python",
            Self::Dotnet => ".NET",
            Self::Cpp => "C++",
            Self::Rust => "Rust",
        }
    }
}
