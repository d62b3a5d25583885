//! What is fitted: how fast an emulated guest works, what a process costs it, and what it has in use by itself.
use std::collections::BTreeMap;

use forestall_decide::{Bytes, BytesPerSecond, Span};

/// The figures. A speed that nothing in the fitted half has reached stays at [`Parameters::UNBOUND`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// The searched figures, in the order of [`KNOBS`].
    pub(crate) values: [u64; KNOBS.len()],
    /// How fast a file is laid out on the disk.
    pub(crate) lay_out: BytesPerSecond,
    /// What a process costs `kubepods` beside what it holds.
    pub(crate) process_bytes: u64,
    /// What an agent that only watches costs it.
    pub(crate) agent_bytes: u64,
    /// Per kernel: what the machine has in use by itself.
    pub(crate) own_bytes: BTreeMap<String, u64>,
}

/// One searched figure.
pub(crate) struct Knob {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// What it is tried at, what is preferred where there is no difference first.
    pub(crate) grid: fn() -> Vec<u64>,
}

/// What is searched for.
pub(crate) const KNOBS: [Knob; 7] = [
    Knob {
        name: "filling anonymous memory",
        unit: "MiB/s",
        grid: speeds,
    },
    Knob {
        name: "writing to a memory-backed file",
        unit: "MiB/s",
        grid: speeds,
    },
    Knob {
        name: "filling page tables",
        unit: "MiB/s",
        grid: speeds,
    },
    Knob {
        name: "filling pipes",
        unit: "MiB/s",
        grid: speeds,
    },
    Knob {
        name: "reading a file",
        unit: "MiB/s",
        grid: speeds,
    },
    Knob {
        name: "from a pod's start to its first page",
        unit: "ms",
        grid: times,
    },
    Knob {
        name: "starting a process from a process",
        unit: "ms",
        grid: times,
    },
];

/// From what no guest here reaches downwards, a tenth less each time.
fn speeds() -> Vec<u64> {
    let next = |speed: &u64| Some(speed * 10 / 11).filter(|speed| *speed > 10);
    core::iter::successors(Some(Parameters::UNBOUND), next).collect()
}

fn times() -> Vec<u64> {
    (0..=40).map(|step| step * 10).collect()
}

impl Parameters {
    /// MiB a second that stand for "no bound".
    pub(crate) const UNBOUND: u64 = 2048;

    /// Before anything was fitted.
    pub(crate) fn unfitted() -> Self {
        Self {
            values: KNOBS.map(|knob| (knob.grid)().first().copied().unwrap_or_default()),
            lay_out: BytesPerSecond(Self::UNBOUND << 20),
            process_bytes: 0,
            agent_bytes: 0,
            own_bytes: BTreeMap::new(),
        }
    }

    const fn speed(&self, knob: usize) -> BytesPerSecond {
        BytesPerSecond(self.values[knob] << 20)
    }

    /// Anonymous memory.
    pub(crate) const fn fill(&self) -> BytesPerSecond {
        self.speed(0)
    }

    /// Shared memory.
    pub(crate) const fn write(&self) -> BytesPerSecond {
        self.speed(1)
    }

    /// Page tables.
    pub(crate) const fn tables(&self) -> BytesPerSecond {
        self.speed(2)
    }

    /// Pipes.
    pub(crate) const fn pipes(&self) -> BytesPerSecond {
        self.speed(3)
    }

    /// Files.
    pub(crate) const fn read(&self) -> BytesPerSecond {
        self.speed(4)
    }

    /// From the culprit's start to its first page.
    pub(crate) const fn start(&self) -> Span {
        Span::millis(self.values[5])
    }

    /// What a process takes to start another one.
    pub(crate) const fn spawn(&self) -> Span {
        Span::millis(self.values[6])
    }

    /// A process's own cost.
    pub(crate) const fn process(&self) -> Bytes {
        Bytes(self.process_bytes)
    }

    /// The agent's.
    pub(crate) const fn agent(&self) -> Bytes {
        Bytes(self.agent_bytes)
    }

    /// What a machine with this kernel has in use; the mean of all kernels for one that was not seen.
    pub(crate) fn own_bytes(&self, kernel: &str) -> Bytes {
        let mean = || {
            let count = u64::try_from(self.own_bytes.len()).unwrap_or(u64::MAX).max(1);
            self.own_bytes.values().sum::<u64>() / count
        };
        Bytes(self.own_bytes.get(kernel).copied().unwrap_or_else(mean))
    }
}
