//! What a guest reports: one JSON object a line, on its second serial port.
//!
//! Times are milliseconds since the guest's boot.

use serde::{Deserialize, Serialize};

use crate::plan::Role;
use crate::rights::Rights;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Report {
    /// The guest is shaped and about to start the pods.
    Booted {
        /// When.
        at_millis: u64,
        /// `uname -r`.
        kernel: String,
        /// `MemTotal`.
        memory_bytes: u64,
        /// The limit that `kubepods` got.
        kubepods_limit_bytes: Option<u64>,
        /// The value of `lru_gen/enabled`, where there is one.
        lru_gen: Option<String>,
    },
    /// The plan cannot be carried out on this kernel (a module is missing, say). Not a failure of anyone.
    Unable {
        /// Why.
        why: String,
    },
    /// The culprits start now.
    Started {
        /// When.
        at_millis: u64,
    },
    /// A line of the agent, or of the stand-in for the kubelet.
    Said {
        /// When.
        at_millis: u64,
        /// Who.
        by: Speaker,
        /// The line, as it came.
        line: String,
    },
    /// A line of the kernel's log about a kill.
    Kernel {
        /// When.
        at_millis: u64,
        /// The line.
        line: String,
    },
    /// Where memory stands, about once a second.
    Gauge {
        /// When.
        at_millis: u64,
        /// `MemAvailable`.
        available_bytes: u64,
        /// `memory.current` of `kubepods`.
        kubepods_bytes: u64,
        /// Its `anon`.
        anon_bytes: u64,
        /// Its `active_file`.
        active_file_bytes: u64,
        /// Its `inactive_file`.
        inactive_file_bytes: u64,
        /// PSI `some` total of the machine, microseconds.
        stall_micros: u64,
    },
    /// Somebody ended.
    Death {
        /// When.
        at_millis: u64,
        /// Whose part in the story it was.
        role: Option<Role>,
        /// The pod's or service's name.
        name: String,
        /// By whom.
        by: Cause,
        /// How: `exit 0`, `signal 9`.
        how: String,
    },
    /// Which pressure triggers a set of rights may arm on a file.
    Triggers {
        /// Who tried.
        rights: Rights,
        /// The file, by what it stands for.
        file: PressureFile,
        /// The windows that were allowed, microseconds, shortest first.
        windows_micros: Vec<u32>,
        /// Why the file could not be tried at all.
        why_not: Option<String>,
    },
    /// Whether a set of rights is enough for one of the agent's (its self-test).
    Right {
        /// Who tried.
        rights: Rights,
        /// The right's name in the self-test.
        name: String,
        /// Whether it works.
        works: bool,
        /// What the kernel said, where it does not.
        errno: Option<String>,
        /// What it costs not to have it, and what takes its place.
        cost: String,
    },
    /// What the sources of kills told of one kind of kill.
    Kills(KillsTold),
    /// What the agent's ledger keeps of a storm.
    Storm(StormKept),
    /// What one brake came to.
    Brake(BrakeSeen),
    /// How long reactions took.
    Reacted {
        /// Whose.
        who: Reactor,
        /// Each of them, microseconds, the shortest first.
        micros: Vec<u64>,
    },
    /// What the machine went through meanwhile.
    Thrashed {
        /// How long it was.
        span_millis: u64,
        /// Pages of files that had to be read again (`workingset_refault_file`).
        refaulted_pages: u64,
        /// PSI `some total` of the machine, microseconds.
        stall_micros: u64,
        /// `MemAvailable` at the end.
        available_bytes: u64,
        /// The agent's memory that is locked (`VmLck`), bytes.
        agent_locked_bytes: u64,
    },
    /// A piece of the agent's recording; the pieces come in order, one file behind the other.
    Recording {
        /// Its bytes as pairs of hex digits.
        hex: String,
    },
    /// The run is over.
    Ended {
        /// When.
        at_millis: u64,
        /// Why.
        why: End,
        /// How far `oom_kill` of /proc/vmstat has moved since the culprits started.
        oom_kills: u64,
        /// The longest time between two looks of the guest's own loop: how starved a resident process was.
        starved_millis: u64,
    },
}

/// Kills of one kind: what the init knows, and what each source told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillsTold {
    /// The kind.
    pub story: String,
    /// Processes that ended by SIGKILL, as whoever waits for them knows.
    pub ended: usize,
    /// Of those, marked as victims of the OOM killer.
    pub marked: usize,
    /// Of those, sent SIGKILL by the kernel.
    pub by_kernel: usize,
    /// Of those, sent SIGKILL by a process.
    pub by_process: usize,
    /// That process's name, escaped.
    pub sender: Option<String>,
    /// At whose limit it was, by the counters.
    pub limit: String,
    /// At whose limit it was; empty where the counters cannot know.
    pub limit_expected: Vec<String>,
    /// Kills, by the counters of the topmost cgroup.
    pub counted: u64,
    /// Groups killed as one, by the same.
    pub groups: u64,
    /// How far `oom_kill` of /proc/vmstat has moved.
    pub vmstat: u64,
    /// Records that tracing has lost.
    pub lost: u64,
    /// From a record's own time to its reading, microseconds: the median and the longest.
    pub late_micros: [u64; 2],
    /// How long it took, milliseconds.
    pub took_millis: u64,
    /// What the sources told is what happened.
    pub holds: bool,
}

/// A storm: what the init knows, and what the agent's ledger keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StormKept {
    /// Which.
    pub storm: String,
    /// Processes that ended by SIGKILL, as whoever waits for them knows.
    pub ended: usize,
    /// Of those, kept.
    pub kept: usize,
    /// Of those, with the cgroup in which they lived.
    pub placed: usize,
    /// Of those, with the level at which the limit was.
    pub levelled: usize,
    /// Kept more than once.
    pub twice: usize,
    /// Kills that the kernel counted and the ledger does not know, as it says.
    pub unattributed: u64,
    /// Records of the log that were lost, as it says.
    pub lost_records: u64,
    /// Records that the log had meanwhile.
    pub records: u64,
    /// The agent's largest resident memory (`VmHWM`), KiB.
    pub agent_peak_kib: u64,
    /// Processor time that the agent used, its ledger's thread alone, and a bare reader of the log beside it, milliseconds.
    pub cpu_millis: [u64; 3],
    /// From the moment when a bare reader of the kernel's tracing knows it to its being kept, where kills came one by one, microseconds:
    /// the median, and the longest.
    pub delay_micros: [u64; 2],
    /// How long it took, milliseconds.
    pub took_millis: u64,
}

/// A brake, as the container's own files show it from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrakeSeen {
    /// What happened to it.
    pub what: String,
    /// What the container grew by in a second before, bytes.
    pub pace_before: u64,
    /// Its `memory.high` while it was braked.
    pub high_bytes: u64,
    /// How long it was.
    pub held_millis: u64,
    /// What it grew by meanwhile.
    pub grew_bytes: u64,
    /// How long some task of it waited for memory meanwhile (`memory.pressure`).
    pub stalled_millis: u64,
    /// So long after it was lifted it went on, where it was left to.
    pub goes_on_after_millis: Option<u64>,
    /// Its agent was ended by force, and the brake stood for as long as nobody came.
    pub orphaned: bool,
    /// So long after another agent was started it was lifted.
    pub freed_after_start_millis: Option<u64>,
    /// Its `memory.high` at the end.
    pub high_at_end: String,
    /// How those in the container answered.
    pub answers: Vec<AnswersSeen>,
}

/// How one in the braked container answered, before and while it was braked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswersSeen {
    /// What an answer takes of memory, and gives back.
    pub takes_bytes: usize,
    /// Until the brake was on.
    pub before: Answers,
    /// What was asked while it was on.
    pub braked: Answers,
}

/// How long answers took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// How many were asked for.
    pub asked: usize,
    /// Half of them took no longer.
    pub median_micros: u64,
    /// 99 of a hundred took no longer.
    pub p99_micros: u64,
    /// The longest.
    pub longest_micros: u64,
    /// How many took longer than a second.
    pub late: usize,
}

/// A pressure file, by what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PressureFile {
    /// `/proc/pressure/memory`.
    Machine,
    /// `memory.pressure` of the root cgroup.
    RootCgroup,
    /// `memory.pressure` of `kubepods`, which belongs to root.
    ChildCgroup,
    /// `memory.pressure` of a cgroup whose file was given to [`Rights::NOBODY`].
    LentCgroup,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Speaker {
    /// The agent under test.
    Agent,
    /// The stand-in for the kubelet.
    Kubelet,
}

/// By whom somebody ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The kernel's OOM killer.
    Kernel,
    /// The agent, as nobody else was left.
    Agent,
    /// The stand-in for the kubelet.
    Kubelet,
    /// It came to its own end.
    Itself,
}

/// Who reacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reactor {
    /// The agent under test.
    Agent,
    /// The loop of poll and pread beside it.
    BareLoop,
}

/// Why a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Something ended, and the aftermath has passed.
    Settled,
    /// Nothing ended in time.
    Deadline,
}
