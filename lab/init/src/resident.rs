//! Who lives in the guest, and how each of them ended.
use std::path::PathBuf;

use forestall_lab_init::plan::Role;
use forestall_lab_init::report::Cause;
use rustix::process::WaitStatus;

/// A process that this init has started and waits for. In a PID namespace of its own, the shim above it stands for it.
#[derive(Clone, Debug)]
pub(crate) struct Resident {
    /// The pod's or service's name.
    pub(crate) name: String,
    /// Its part in the story; `None` for what the verdict does not look at.
    pub(crate) role: Option<Role>,
    /// The cgroup that it alone lives in; `None` in the root cgroup.
    pub(crate) cgroup: Option<PathBuf>,
    /// The number of the process.
    pub(crate) pid: i32,
    /// Whether a shim stands for it.
    pub(crate) shimmed: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// With a code.
    Exit(i32),
    /// By a signal.
    Signal(i32),
}

impl How {
    /// As the kernel says it, or as a shim passes it on.
    pub(crate) fn of(status: WaitStatus, shimmed: bool) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (_, Some(signal)) => Self::Signal(signal),
            (Some(code), None) if shimmed && code > 128 => Self::Signal(code - 128),
            (code, None) => Self::Exit(code.unwrap_or(-1)),
        }
    }

    /// By whom, from what is known: the kernel counts its own kills, the stand-in for the kubelet says whom it ends, and
    /// a process that ended with a code of its own ended itself. Who else would have sent the signal is the agent.
    pub(crate) fn cause(self, oom_killed: bool, evicted: bool, agent_runs: bool) -> Cause {
        match self {
            _ if oom_killed => Cause::Kernel,
            _ if evicted => Cause::Kubelet,
            Self::Signal(_) if agent_runs => Cause::Agent,
            _ => Cause::Itself,
        }
    }
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_count_comes_before_everything_else() {
        assert_eq!(How::Signal(9).cause(true, true, true), Cause::Kernel);
        assert_eq!(How::Signal(9).cause(false, true, true), Cause::Kubelet);
        assert_eq!(How::Signal(9).cause(false, false, true), Cause::Agent);
        assert_eq!(How::Signal(9).cause(false, false, false), Cause::Itself);
        assert_eq!(How::Exit(0).cause(false, false, true), Cause::Itself);
    }
}
