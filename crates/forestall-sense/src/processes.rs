//! Processes outside `kubepods` that are large enough to matter.
//!
//! In calm times a slice of the process list is looked at in each sample, so that every process is seen within about ten
//! seconds, and the large ones, whose `status` is held open, are read in every sample. When a wall is near, all are read.
//! While every wall is far away only new processes are looked at at once, and the known ones within a minute.
//! In a cgroup whose growth the followed processes do not explain, its first processes are followed however small they are.
//! Kernel threads, the processes of pods and those whose cgroup cannot be placed (another cgroup namespace) are passed over:
//! which those are is decided once for each process.

mod comm;
mod suspects;
mod view;

use forestall_decide::{
    Bytes, Claim, Moment, OOM_SCORE_ADJ_SPARED, ProcessId, ProcessSample, Protection, Span,
};
use forestall_kernel::Error as KernelError;
use forestall_kernel::cgroup::{Home, Identity};
use forestall_kernel::file::{Buffer, HeldFile};
use forestall_kernel::parse::{ProcStatus, memory_path};
use forestall_kernel::process::{Process, ProcessFile};

use crate::agents;
use crate::pulse::Pulse;
use comm::Comm;
use suspects::{SUSPECTS_MAX, Suspects};
pub(crate) use view::View;

/// Every process is looked at within about this time.
const PASS_EVERY: Span = Span::secs(10);
/// And while every wall is far away within about this time.
const PASS_EVERY_AT_REST: Span = Span::secs(60);
/// A kernel thread stays one: at rest it is looked at in one of so many passes.
const PASSES_PER_KERNEL_THREAD: u64 = 10;
/// The process list is read no more often than this in calm times.
const LIST_EVERY: Span = Span::secs(1);
/// A followed process is looked at closely this often: a container's first process starts in its runtime's cgroup, and
/// anybody may be moved or take another name.
const FOLLOWED_EVERY: Span = Span::secs(1);
/// And so many of them at most in one sample, those first that were not looked at for longest: hundreds would hold up the sample
/// that a wall waits for.
const LOOKS_AT_FOLLOWED_MAX: usize = 32;
/// While every wall is far away nobody is blamed, and who it is may be known later.
const FOLLOWED_EVERY_AT_REST: Span = Span::secs(60);
/// Processes looked at in one sample at most. At least one is; how many follows from the time since the sample before, so
/// that samples in quick succession, when a wall is near, do not pay for the list again and again.
const SLICE_MAX: usize = 512;
/// A short list is gone through faster than the pass would have to be.
const LOOKS_PER_SECOND_MIN: u64 = 32;

/// A process that has been looked at.
#[derive(Clone, Copy, Debug)]
struct Seen {
    id: ProcessId,
    /// A kernel thread, in `kubepods`, or where nobody can say.
    is_passed_over: bool,
    is_kernel_thread: bool,
    pass: u64,
}

/// A process that is followed.
#[derive(Debug)]
struct Tracked {
    sample: ProcessSample,
    comm: Comm,
    status: HeldFile,
    looked_at: Moment,
    /// What `status` is of has ended; another thread may live on.
    has_ended: bool,
    /// It is followed for its cgroup's sake, however small it is.
    is_suspect: bool,
    /// What it held at least since growth is counted.
    base: Bytes,
}

/// Which processes are followed, and from what size on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessBounds {
    pub(crate) count_max: usize,
    pub(crate) share_permille: u64,
}

/// Reads processes.
#[derive(Debug)]
pub(crate) struct ProcessReader {
    bounds: ProcessBounds,
    pids: Vec<u32>,
    cursor: usize,
    listed_at: Option<Moment>,
    sliced_at: Moment,
    pass: u64,
    seen: Vec<Seen>,
    tracked: Vec<Tracked>,
    suspects: Suspects,
    pulse: Pulse,
    buffer: Buffer,
    /// Room for a path that has to be put together.
    path: Vec<u8>,
}

impl ProcessReader {
    pub(crate) fn new(bounds: ProcessBounds) -> Self {
        Self {
            bounds,
            pids: Vec::with_capacity(4096),
            cursor: 0,
            listed_at: None,
            sliced_at: Moment(0),
            pass: 0,
            seen: Vec::with_capacity(4096),
            tracked: Vec::with_capacity(bounds.count_max + SUSPECTS_MAX),
            suspects: Suspects::default(),
            pulse: Pulse::default(),
            buffer: Buffer::with_capacity(16 * 1024),
            path: Vec::new(),
        }
    }

    /// A kubelet was seen in the present pass over all processes or in the one before.
    pub(crate) const fn has_kubelet(&self) -> bool {
        self.pulse.has_kubelet()
    }

    /// When the kubelet last showed life; 0 where none was met.
    pub(crate) fn kubelet_heard_at(&mut self, now: Moment) -> Moment {
        self.pulse.feel(&mut self.buffer, now)
    }

    /// The name of a followed process.
    pub(crate) fn comm(&self, id: ProcessId) -> Option<&[u8]> {
        self.tracked
            .iter()
            .find(|tracked| tracked.sample.id == id)
            .map(|tracked| tracked.comm.as_bytes())
    }

    /// Brings `processes` up to date, in order of PID.
    pub(crate) fn read(&mut self, processes: &mut Vec<ProcessSample>, view: View<'_>, attention: bool) {
        let is_first = self.listed_at.is_none();
        self.read_tracked(view);
        self.look_at_tracked(view);
        self.look_at_slice(view, is_first);
        if view.may_rest && !is_first {
            self.look_at_new(view);
        }
        if attention && !is_first {
            self.look_at_all(view);
        }
        self.look_at_suspects(view);
        processes.clear();
        processes.reserve(self.tracked.capacity());
        processes.extend(self.tracked.iter().map(|tracked| tracked.sample));
    }

    /// What a process has to hold to be followed.
    fn bytes_min(&self, view: View<'_>) -> Bytes {
        Bytes(view.total.0 / 1000 * self.bounds.share_permille)
    }

    fn read_tracked(&mut self, view: View<'_>) {
        // Half of what it takes to get in, so that one at the edge does not come and go.
        let keep_min = Bytes(self.bytes_min(view).0 / 2);
        let buffer = &mut self.buffer;
        self.tracked.retain_mut(|tracked| {
            let Ok(status) = tracked.status.read_into(buffer).map(ProcStatus::parse) else {
                tracked.has_ended = true;
                return true;
            };
            if status.is_zombie() {
                tracked.has_ended = true;
                return true;
            }
            tracked.sample.unreclaimable = Bytes(status.unreclaimable());
            tracked.sample.read_at = view.now;
            tracked.base = tracked.base.min(tracked.sample.unreclaimable);
            tracked.is_suspect || tracked.sample.unreclaimable >= keep_min
        });
    }

    fn look_at_tracked(&mut self, view: View<'_>) {
        let every = if view.may_rest {
            FOLLOWED_EVERY_AT_REST
        } else {
            FOLLOWED_EVERY
        };
        let mut place = 0;
        while let Some(tracked) = self.tracked.get(place) {
            let pid = tracked.sample.id.pid;
            if tracked.has_ended {
                self.look(pid, view);
            }
            // It may have been dropped, and then the next one stands here.
            place += usize::from(
                self.tracked
                    .get(place)
                    .is_some_and(|tracked| tracked.sample.id.pid == pid),
            );
        }
        for _ in 0..LOOKS_AT_FOLLOWED_MAX {
            let stalest = self
                .tracked
                .iter()
                .min_by_key(|tracked| (tracked.looked_at, tracked.sample.id));
            match stalest {
                Some(tracked) if view.now.since(tracked.looked_at) >= every => {
                    self.look(tracked.sample.id.pid, view);
                }
                _ => break,
            }
        }
    }

    /// Looks at the next processes of the list, and begins a new pass at its end.
    fn look_at_slice(&mut self, view: View<'_>, everybody: bool) {
        if self.cursor >= self.pids.len() && !self.begin_pass(view) {
            return;
        }
        let elapsed = view.now.since(self.sliced_at);
        self.sliced_at = view.now;
        let count = self.pids.len() as u64;
        let share = if view.may_rest {
            count.saturating_mul(elapsed.0).div_ceil(PASS_EVERY_AT_REST.0)
        } else {
            let by_pass = count.saturating_mul(elapsed.0) / PASS_EVERY.0;
            by_pass.max(LOOKS_PER_SECOND_MIN.saturating_mul(elapsed.0) / 1_000_000)
        };
        let wanted = usize::try_from(share).unwrap_or(SLICE_MAX).clamp(1, SLICE_MAX);
        let wanted = if everybody { self.pids.len() } else { wanted };
        let end = self.cursor.saturating_add(wanted).min(self.pids.len());
        while self.cursor < end {
            if let Some(pid) = self.pids.get(self.cursor).copied()
                && !(view.may_rest && self.trust_kernel_thread(pid))
            {
                self.look(pid, view);
            }
            self.cursor += 1;
        }
    }

    /// Whether `pid` is known as a kernel thread that need not be looked at in this pass; it counts as met.
    fn trust_kernel_thread(&mut self, pid: u32) -> bool {
        let pass = self.pass;
        if pass.is_multiple_of(PASSES_PER_KERNEL_THREAD) {
            return false;
        }
        let place = self.seen.binary_search_by_key(&pid, |seen| seen.id.pid).ok();
        match place.and_then(|place| self.seen.get_mut(place)) {
            Some(seen) if seen.is_kernel_thread => {
                seen.pass = pass;
                true
            }
            _ => false,
        }
    }

    /// Looks at every process that has not been looked at before, and forgets those that have ended, so that a number
    /// given out again is new.
    fn look_at_new(&mut self, view: View<'_>) {
        // A pass that has just begun has read the list. Otherwise it is replaced in the middle of a pass: whom the pass misses
        // for that is forgotten at its end and therefore looked at as new.
        if self.listed_at != Some(view.now) && !self.list(view) {
            return;
        }
        self.cursor = self.cursor.min(self.pids.len());
        let pids = &self.pids;
        self.seen.retain(|seen| pids.binary_search(&seen.id.pid).is_ok());
        for index in 0..self.pids.len() {
            if let Some(pid) = self.pids.get(index).copied()
                && self.find_seen(pid).is_err()
            {
                self.look(pid, view);
            }
        }
    }

    /// Reads the process list anew, unless that was done a moment ago.
    fn begin_pass(&mut self, view: View<'_>) -> bool {
        if self.listed_at.is_some_and(|at| view.now.since(at) < LIST_EVERY) {
            return false;
        }
        // What was not met in a whole pass is gone.
        let pass = self.pass;
        self.seen.retain(|seen| seen.pass == pass);
        self.pass += 1;
        self.pulse.begin_pass();
        self.cursor = 0;
        self.listed_at = Some(view.now);
        self.list(view)
    }

    /// Reads the process list, in order, so that a list that replaces another goes on where that one was.
    fn list(&mut self, view: View<'_>) -> bool {
        let is_listed = view.proc.list_pids(&mut self.pids).is_ok();
        self.pids.sort_unstable();
        is_listed
    }

    /// Reads every process that is not passed over. Identities are verified by the slices, which go on meanwhile.
    fn look_at_all(&mut self, view: View<'_>) {
        // The list is replaced here, so that the pass in progress ends early and the next begins.
        if !self.list(view) {
            return;
        }
        self.cursor = self.cursor.min(self.pids.len());
        for index in 0..self.pids.len() {
            let Some(pid) = self.pids.get(index).copied() else {
                break;
            };
            let is_tracked = self.tracked.iter().any(|tracked| tracked.sample.id.pid == pid);
            let is_passed_over = self.find_seen(pid).is_ok_and(|seen| seen.is_passed_over);
            if !is_tracked && !is_passed_over {
                self.look(pid, view);
            }
        }
    }

    fn find_seen(&self, pid: u32) -> Result<Seen, usize> {
        let place = self.seen.binary_search_by_key(&pid, |seen| seen.id.pid)?;
        self.seen.get(place).copied().ok_or(place)
    }

    /// Looks at one process closely. That it ends meanwhile is normal.
    fn look(&mut self, pid: u32, view: View<'_>) {
        if self.look_inner(pid, view, false).is_err() {
            self.forget(pid);
        }
    }

    fn look_inner(&mut self, pid: u32, view: View<'_>, is_suspect: bool) -> Result<(), KernelError> {
        let process = view.proc.process(pid)?;
        let stat = process.stat(&mut self.buffer)?;
        let id = ProcessId {
            pid,
            start_ticks: stat.start_ticks,
        };
        let (comm, claim) = (Comm::new(stat.comm), Claim::of(stat.comm, stat.parent));
        let is_kernel_thread = stat.is_kernel_thread();
        let is_zombie = matches!(stat.state, b'Z' | b'X');
        let known = self.find_seen(pid).ok().filter(|seen| seen.id == id);
        let is_known_passed_over = known.is_some_and(|seen| seen.is_passed_over);
        let thread = if is_zombie && !is_known_passed_over {
            let Some(thread) = process.live_thread(&mut self.buffer)? else {
                // Nothing is left of it but its entry.
                self.forget(pid);
                return Ok(());
            };
            Some(thread)
        } else {
            None
        };
        let alive = thread.as_ref().unwrap_or(&process);
        let mut group = None;
        let is_passed_over = match known {
            Some(seen) if seen.is_passed_over => true,
            _ if is_kernel_thread => true,
            _ => {
                let content = alive.read(ProcessFile::Cgroup, &mut self.buffer)?;
                let shown = memory_path(content).unwrap_or_default();
                let is_in_pod = |path: &[u8]| Identity::of_path(path).is_in_kubepods();
                match view.vantage.find_home(shown, &mut self.path) {
                    Home::Inside(path) => {
                        group = view.home_of(path);
                        is_in_pod(path) || is_in_pod(shown)
                    }
                    Home::Elsewhere(path) => is_in_pod(path),
                    // It may be a pod's, and then it must not be blamed or ended as one of the host's.
                    Home::Unknown => true,
                }
            }
        };
        self.note_seen(Seen {
            id,
            is_passed_over,
            is_kernel_thread,
            pass: self.pass,
        });
        if is_passed_over {
            self.untrack(pid);
            return Ok(());
        }
        let claim = claim.filter(|claim| agents::is_true(*claim, &process, &mut self.buffer));
        if claim.is_some_and(Claim::is_kubelet) {
            self.pulse.meet(&process, view.now);
        }
        let unreclaimable = Bytes(alive.status(&mut self.buffer)?.unreclaimable());
        // One that is followed already leaves by the lower bound of `read_tracked`.
        let is_tracked = self.tracked.iter().any(|tracked| tracked.sample.id == id);
        if unreclaimable < self.bytes_min(view) && !is_tracked && !is_suspect {
            // One that is followed under this number has ended, and this is another.
            self.untrack(pid);
            return Ok(());
        }
        let protection = self.protection_of(&process, claim.is_some(), view);
        let sample = ProcessSample {
            id,
            group,
            unreclaimable,
            read_at: view.now,
            protection,
        };
        self.track(sample, comm, (&process, alive), view, is_suspect)
    }

    fn protection_of(&mut self, process: &Process, is_agent: bool, view: View<'_>) -> Option<Protection> {
        if view.essentials.holds_pid(process.pid()) {
            return Some(Protection::Essential);
        }
        if is_agent {
            return Some(Protection::NodeAgent);
        }
        // What cannot be read is treated as if it had asked to be spared.
        let adj = process
            .oom_score_adj(&mut self.buffer)
            .unwrap_or(OOM_SCORE_ADJ_SPARED);
        (adj <= OOM_SCORE_ADJ_SPARED).then_some(Protection::OomScoreAdj)
    }

    fn note_seen(&mut self, seen: Seen) {
        match self.seen.binary_search_by_key(&seen.id.pid, |seen| seen.id.pid) {
            Ok(place) => {
                if let Some(known) = self.seen.get_mut(place) {
                    *known = seen;
                }
            }
            Err(place) => self.seen.insert(place, seen),
        }
    }

    fn forget(&mut self, pid: u32) {
        self.untrack(pid);
        self.seen.retain(|seen| seen.id.pid != pid);
    }

    fn untrack(&mut self, pid: u32) {
        self.tracked.retain(|tracked| tracked.sample.id.pid != pid);
    }

    /// Follows a process, or brings what is known of it up to date. When there are too many, the smallest gives way.
    fn track(
        &mut self,
        sample: ProcessSample,
        comm: Comm,
        (process, alive): (&Process, &Process),
        view: View<'_>,
        is_suspect: bool,
    ) -> Result<(), KernelError> {
        if let Some(tracked) = self
            .tracked
            .iter_mut()
            .find(|tracked| tracked.sample.id == sample.id)
        {
            tracked.sample = sample;
            tracked.comm = comm;
            tracked.looked_at = view.now;
            if tracked.has_ended {
                tracked.status = alive.hold(ProcessFile::Status)?;
                tracked.has_ended = false;
            }
            return Ok(());
        }
        self.untrack(sample.id.pid);
        let large = self.tracked.iter().filter(|tracked| !tracked.is_suspect);
        if !is_suspect && large.count() >= self.bounds.count_max {
            let smallest = self
                .tracked
                .iter()
                .enumerate()
                .filter(|(_, tracked)| !tracked.is_suspect)
                .min_by_key(|(_, tracked)| (tracked.sample.unreclaimable, tracked.sample.id))
                .filter(|(_, tracked)| tracked.sample.unreclaimable < sample.unreclaimable)
                .map(|(place, _)| place);
            match smallest {
                Some(place) => drop(self.tracked.remove(place)),
                None => return Ok(()),
            }
        }
        let status = alive.hold(ProcessFile::Status)?;
        // The handle's process is alive still, so what was opened by its number is itself.
        if process.stat(&mut self.buffer)?.start_ticks != sample.id.start_ticks {
            return Ok(());
        }
        let place = self
            .tracked
            .partition_point(|tracked| tracked.sample.id < sample.id);
        self.tracked.insert(
            place,
            Tracked {
                sample,
                comm,
                status,
                looked_at: view.now,
                has_ended: false,
                is_suspect,
                base: sample.unreclaimable,
            },
        );
        Ok(())
    }
}
