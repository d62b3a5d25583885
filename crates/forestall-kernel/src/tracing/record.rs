//! The two events, read out of their records.
//!
//! A field that a kernel does not have is `None`; a record without the fields that every kernel has is none. It refuses to
//! conclude: that a signal of the kernel's was for memory is known only where a victim was marked, too.

use super::format::{EventFormat, Field};

/// The name a process gives itself: any bytes but NUL, at most 15 of them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Comm {
    bytes: [u8; 16],
    length: u8,
}

impl Comm {
    /// The bytes up to the first NUL, cut off after sixteen.
    pub fn of(bytes: &[u8]) -> Self {
        let mut comm = Self::default();
        let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        for (to, from) in comm.bytes.iter_mut().zip(name) {
            *to = *from;
            comm.length += 1;
        }
        comm
    }

    /// A name as a file has it, with a line's end behind it.
    pub(super) fn of_line(line: &[u8]) -> Self {
        Self::of(line.strip_suffix(b"\n").unwrap_or(line))
    }

    /// The name, to be escaped before anybody sees it.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl core::fmt::Debug for Comm {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// What a marked victim held, where the kernel says so (6.8 and later, and stable releases of 6.1). Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VictimMemory {
    /// Address space.
    pub total_vm_bytes: u64,
    /// Resident, anonymous.
    pub anon_bytes: u64,
    /// Resident, of files.
    pub file_bytes: u64,
    /// Resident, shared memory.
    pub shmem_bytes: u64,
    /// Page tables.
    pub page_tables_bytes: u64,
}

/// `oom:mark_victim`: the OOM killer has chosen this process, or met one that is ending already. Once for each process of a
/// group that is killed; not at all for one that only shares a victim's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkedVictim {
    /// When, nanoseconds of the instance's clock.
    pub at_nanos: u64,
    /// Who needed memory when the OOM killer was called: a thread's number in the machine's own numbering.
    pub trigger_pid: i32,
    /// The victim: a process's number, or one of its threads'.
    pub pid: i32,
    /// Its name; `None` before 6.8.
    pub comm: Option<Comm>,
    /// Its user; `None` before 6.8.
    pub uid: Option<u32>,
    /// Its `oom_score_adj`; `None` before 6.8.
    pub oom_score_adj: Option<i32>,
    /// What it held; `None` before 6.8.
    pub memory: Option<VictimMemory>,
}

/// `signal:signal_generate` of SIGKILL: somebody sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KillSignal {
    /// When, nanoseconds of the instance's clock.
    pub at_nanos: u64,
    /// The thread that sent it, in the machine's own numbering; of a signal of the OOM killer, who needed memory.
    pub sender_pid: i32,
    /// To whom.
    pub pid: i32,
    /// The receiver's name.
    pub comm: Comm,
    /// `si_code`: see [`KillSignal::is_kernels`].
    pub code: i32,
    /// It was for the whole process, and not for one thread.
    pub is_for_group: bool,
    /// `TRACE_SIGNAL_*`: 0 is delivered, 1 ignored, 2 pending already, 4 delivered without its information.
    pub result: i32,
}

impl KillSignal {
    /// `SI_KERNEL` (128): sent by the kernel itself, in the name of whoever it was working for. That is the OOM killer (5.4 and
    /// later) where a victim was marked, too, and for a process that shares a victim's memory. It is also the end of a namespace
    /// whose first process has ended (`zap_pid_ns_processes`) and of whoever uses up `RLIMIT_CPU`, which are not for memory. Below 1
    /// it was a process: 0 for `kill(2)` and `cgroup.kill`.
    pub const fn is_kernels(&self) -> bool {
        self.code == 128
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceEvent {
    /// The OOM killer marked a victim.
    Marked(MarkedVictim),
    /// SIGKILL was sent.
    Signal(KillSignal),
}

impl TraceEvent {
    /// When, nanoseconds of the instance's clock.
    pub const fn at_nanos(&self) -> u64 {
        match self {
            Self::Marked(marked) => marked.at_nanos,
            Self::Signal(signal) => signal.at_nanos,
        }
    }
}

/// Where the fields of `oom:mark_victim` lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct VictimFields {
    id: u16,
    trigger_pid: Field,
    pid: Field,
    comm: Option<Field>,
    uid: Option<Field>,
    oom_score_adj: Option<Field>,
    memory: Option<[Field; 5]>,
}

impl VictimFields {
    pub(super) fn parse(content: &[u8]) -> Option<Self> {
        let format = EventFormat::of(content);
        let field = |name: &str| format.field(name.as_bytes());
        let memory = || {
            Some([
                field("total_vm")?,
                field("anon_rss")?,
                field("file_rss")?,
                field("shmem_rss")?,
                field("pgtables")?,
            ])
        };
        Some(Self {
            id: format.id()?,
            trigger_pid: field("common_pid")?,
            pid: field("pid")?,
            comm: field("comm"),
            uid: field("uid"),
            oom_score_adj: field("oom_score_adj"),
            memory: memory(),
        })
    }

    fn read(&self, at_nanos: u64, record: &[u8]) -> Option<MarkedVictim> {
        // Its figures are in units of 1024 bytes (`PG_COUNT_TO_KB` in `include/trace/events/oom.h`).
        let bytes = |field: Field| Some(field.unsigned(record)?.saturating_mul(1024));
        let memory = |[total_vm, anon, file, shmem, page_tables]: [Field; 5]| {
            Some(VictimMemory {
                total_vm_bytes: bytes(total_vm)?,
                anon_bytes: bytes(anon)?,
                file_bytes: bytes(file)?,
                shmem_bytes: bytes(shmem)?,
                page_tables_bytes: bytes(page_tables)?,
            })
        };
        let uid = |field: Field| u32::try_from(field.unsigned(record)?).ok();
        Some(MarkedVictim {
            at_nanos,
            trigger_pid: self.trigger_pid.signed(record)?,
            pid: self.pid.signed(record)?,
            comm: self.comm.and_then(|field| field.bytes(record)).map(Comm::of),
            uid: self.uid.and_then(uid),
            oom_score_adj: self.oom_score_adj.and_then(|field| field.signed(record)),
            memory: self.memory.and_then(memory),
        })
    }
}

/// Where the fields of `signal:signal_generate` lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignalFields {
    id: u16,
    sender_pid: Field,
    sig: Field,
    code: Field,
    comm: Field,
    pid: Field,
    group: Field,
    result: Field,
}

impl SignalFields {
    pub(super) fn parse(content: &[u8]) -> Option<Self> {
        let format = EventFormat::of(content);
        let field = |name: &str| format.field(name.as_bytes());
        Some(Self {
            id: format.id()?,
            sender_pid: field("common_pid")?,
            sig: field("sig")?,
            code: field("code")?,
            comm: field("comm")?,
            pid: field("pid")?,
            group: field("group")?,
            result: field("result")?,
        })
    }

    fn read(&self, at_nanos: u64, record: &[u8]) -> Option<KillSignal> {
        Some(KillSignal {
            at_nanos,
            sender_pid: self.sender_pid.signed(record)?,
            pid: self.pid.signed(record)?,
            comm: Comm::of(self.comm.bytes(record)?),
            code: self.code.signed(record)?,
            is_for_group: self.group.signed(record)? != 0,
            result: self.result.signed(record)?,
        })
    }
}

/// Where the fields of `cgroup:cgroup_attach_task` lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct MoveFields {
    id: u16,
    hierarchy: Field,
    pid: Field,
    path: Field,
}

impl MoveFields {
    pub(super) fn parse(content: &[u8]) -> Option<Self> {
        let format = EventFormat::of(content);
        let field = |name: &str| format.field(name.as_bytes());
        Some(Self {
            id: format.id()?,
            hierarchy: field("dst_root")?,
            pid: field("pid")?,
            path: field("dst_path")?,
        })
    }

    fn read<'a>(&self, record: &'a [u8]) -> Option<Told<'a>> {
        // Version 2 is the one of number 0.
        if self.hierarchy.signed(record)? != 0 {
            return Some(Told::Other);
        }
        let path = self.path.bytes(record)?.split(|byte| *byte == 0).next()?;
        let pid = self.pid.signed(record)?;
        Some(Told::Moved { pid, path })
    }
}

/// The events that are known here, and what they are told by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// `common_type` of any record, the first field of all.
    pub(super) kind: Field,
    pub(super) victim: Option<VictimFields>,
    pub(super) signal: Option<SignalFields>,
    pub(super) moved: Option<MoveFields>,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told<'a> {
    Event(TraceEvent),
    /// Somebody was put into this cgroup of version 2.
    Moved {
        pid: i32,
        path: &'a [u8],
    },
    /// Of another event, or another signal, which somebody else may have switched on.
    Other,
    Malformed,
}

impl Known {
    pub(super) fn read<'a>(&self, at_nanos: u64, record: &'a [u8]) -> Told<'a> {
        let Some(kind) = self.kind.unsigned(record) else {
            return Told::Malformed;
        };
        let event = if let Some(victim) = self.victim.as_ref().filter(|fields| u64::from(fields.id) == kind) {
            victim.read(at_nanos, record).map(TraceEvent::Marked)
        } else if let Some(signal) = self.signal.as_ref().filter(|fields| u64::from(fields.id) == kind) {
            match signal.sig.signed(record) {
                Some(9) => signal.read(at_nanos, record).map(TraceEvent::Signal),
                Some(_) => return Told::Other,
                None => None,
            }
        } else if let Some(moved) = self.moved.as_ref().filter(|fields| u64::from(fields.id) == kind) {
            return moved.read(record).unwrap_or(Told::Malformed);
        } else {
            return Told::Other;
        };
        event.map_or(Told::Malformed, Told::Event)
    }
}
