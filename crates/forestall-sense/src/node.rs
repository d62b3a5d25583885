//! The machine's own figures: meminfo, vmstat and pressure at every sample, and at longer intervals what is costly to
//! read or hardly ever changes.

use std::path::Path;

use forestall_decide::{Bytes, Lru, Moment, NodeSample, Span, Stall};
use forestall_kernel::Error as KernelError;
use forestall_kernel::file::{Buffer, HeldFile};
use forestall_kernel::machine::{Machine, open_lru_gen};
use forestall_kernel::parse::{Meminfo, Pressure, Swaps, Vmstat, Zoneinfo, count_cpus, lru_gen_enabled};
use forestall_kernel::proc::{ProcRoot, Resource};

use crate::Error;
use crate::failures::Failures;
use crate::zswap::Zswap;

/// Watermarks change when an administrator changes them; zoneinfo has a paragraph for each zone and processor.
const ZONEINFO_EVERY: Span = Span::secs(60);
/// Swap areas come and go by hand.
const SWAPS_EVERY: Span = Span::secs(10);
/// So does the LRU.
const LRU_EVERY: Span = Span::secs(10);
/// Processors are plugged by hand, too.
const CPUS_EVERY: Span = Span::secs(60);

/// While every wall is far away, nobody's waiting decides anything; a trigger tells of it sooner.
const STALL_EVERY_AT_REST: Span = Span::secs(5);

/// More than any machine's zoneinfo: a larger one is left alone and its watermarks stay what they were.
const ZONEINFO_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads the machine.
#[derive(Debug)]
pub(crate) struct NodeReader {
    meminfo: HeldFile,
    vmstat: Option<HeldFile>,
    pressure: Option<HeldFile>,
    zoneinfo: Option<HeldFile>,
    swaps: Option<HeldFile>,
    lru_gen: Option<HeldFile>,
    zswap: Zswap,
    cpus_online: Option<HeldFile>,
    cpus: u32,
    page_bytes: u64,
    buffer: Buffer,
    zoneinfo_buffer: Buffer,
    zoneinfo_due: Moment,
    swaps_due: Moment,
    lru_due: Moment,
    cpus_due: Moment,
    stall_due: Moment,
    watermark_low: Bytes,
    failures: Failures,
}

impl NodeReader {
    /// Opens the machine's files. Only meminfo is indispensable.
    pub(crate) fn open(proc: &ProcRoot, sys_root: &Path) -> Result<Self, Error> {
        let meminfo = proc.meminfo()?;
        let machine = Machine::read(sys_root);
        let mut reader = Self {
            meminfo,
            vmstat: proc.vmstat().ok(),
            pressure: proc.pressure(Resource::Memory).ok(),
            zoneinfo: proc.zoneinfo().ok(),
            swaps: proc.swaps().ok(),
            lru_gen: open_lru_gen(sys_root).ok(),
            zswap: Zswap::open(sys_root),
            cpus_online: HeldFile::open(&sys_root.join("devices/system/cpu/online")).ok(),
            cpus: machine.cpus_online,
            page_bytes: machine.page_bytes,
            buffer: Buffer::with_capacity(16 * 1024),
            zoneinfo_buffer: Buffer::with_capacity(16 * 1024),
            zoneinfo_due: Moment(0),
            swaps_due: Moment(0),
            lru_due: Moment(0),
            cpus_due: Moment(0) + CPUS_EVERY,
            stall_due: Moment(0),
            watermark_low: Bytes::ZERO,
            failures: Failures::default(),
        };
        let content = reader.meminfo.read_into(&mut reader.buffer)?;
        if !Meminfo::parse(content).tells_what_is_left() {
            return Err(Error::Proc(no_figures(&reader.meminfo)));
        }
        // psi=0 leaves the file in place and refuses to read it.
        if let Some(pressure) = &reader.pressure
            && pressure.read_into(&mut reader.buffer).is_err()
        {
            reader.pressure = None;
        }
        Ok(reader)
    }

    /// PSI is there.
    pub(crate) const fn has_pressure(&self) -> bool {
        self.pressure.is_some()
    }

    /// Reads that failed although they had worked before.
    pub(crate) const fn failures(&self) -> u64 {
        self.failures.count()
    }

    /// The last of them, once.
    pub(crate) const fn take_failure(&mut self) -> Option<KernelError> {
        self.failures.take_last()
    }

    /// The kernel counts OOM kills in vmstat.
    pub(crate) fn counts_oom_kills(&mut self) -> bool {
        let Some(vmstat) = &self.vmstat else { return false };
        vmstat
            .read_into(&mut self.buffer)
            .is_ok_and(|content| Vmstat::parse(content).oom_kills.is_some())
    }

    /// Brings memory and pressure up to date, and at longer intervals what hardly ever changes. A file that cannot be read
    /// leaves its figures as they were and is counted. Where all `may_rest`, pressure too is read at longer intervals.
    pub(crate) fn read_memory(&mut self, node: &mut NodeSample, now: Moment, may_rest: bool) {
        self.read_rarely(node, now);
        self.glance(node, now, may_rest);
    }

    /// As `read_memory`, without what hardly ever changes.
    pub(crate) fn glance(&mut self, node: &mut NodeSample, now: Moment, may_rest: bool) {
        match self.meminfo.read_into(&mut self.buffer).map(Meminfo::parse) {
            Ok(meminfo) if meminfo.tells_what_is_left() => {
                note_meminfo(node, &meminfo, self.watermark_low);
                node.zswap_room = self.zswap.room(&meminfo);
            }
            Ok(_) => self.failures.note(no_figures(&self.meminfo)),
            Err(error) => self.failures.note(error),
        }
        let due = is_due(&mut self.stall_due, now, STALL_EVERY_AT_REST);
        if let Some(file) = &self.pressure
            && (due || !may_rest)
        {
            match file.read_into(&mut self.buffer).map(Pressure::parse) {
                Ok(pressure) => node.stall = stall_of(&pressure),
                Err(error) => self.failures.note(error),
            }
        }
    }

    /// Brings the kernel's counters up to date: `vmstat`, which costs three times what meminfo costs.
    pub(crate) fn read_counters(&mut self, node: &mut NodeSample) {
        let Some(file) = &self.vmstat else { return };
        match file.read_into(&mut self.buffer).map(Vmstat::parse) {
            Ok(vmstat) => {
                node.oom_kills = vmstat.oom_kills.unwrap_or(0);
                node.refault_file_pages = vmstat.refault_file_pages;
            }
            Err(error) => self.failures.note(error),
        }
    }

    fn read_rarely(&mut self, node: &mut NodeSample, now: Moment) {
        if is_due(&mut self.zoneinfo_due, now, ZONEINFO_EVERY) {
            self.read_zoneinfo(node);
        }
        if is_due(&mut self.swaps_due, now, SWAPS_EVERY)
            && let Some(file) = &self.swaps
            && let Ok(content) = file.read_into(&mut self.buffer)
        {
            node.swap_is_zram = Swaps::parse(content).zram_total > 0;
        }
        if is_due(&mut self.lru_due, now, LRU_EVERY)
            && let Some(file) = &self.lru_gen
            && let Ok(content) = file.read_into(&mut self.buffer)
        {
            node.lru = if lru_gen_enabled(content) == Some(true) {
                Lru::MultiGen
            } else {
                Lru::Classic
            };
        }
        self.zswap.read(&mut self.buffer, now);
        if is_due(&mut self.cpus_due, now, CPUS_EVERY)
            && let Some(file) = &self.cpus_online
            && let Ok(content) = file.read_into(&mut self.buffer)
            && let Some(cpus) = count_cpus(content)
        {
            self.cpus = cpus.max(1);
        }
        node.cpus = self.cpus;
    }

    fn read_zoneinfo(&mut self, node: &mut NodeSample) {
        let Some(file) = &self.zoneinfo else { return };
        loop {
            match file.read_into(&mut self.zoneinfo_buffer) {
                Ok(content) => {
                    let zones = Zoneinfo::parse(content, self.page_bytes);
                    node.watermark_min = Bytes(zones.watermark_min);
                    node.watermark_high = Bytes(zones.watermark_high);
                    self.watermark_low = Bytes(zones.watermark_low);
                    return;
                }
                Err(KernelError::Truncated { capacity, .. }) if capacity < ZONEINFO_BYTES_MAX => {
                    self.zoneinfo_buffer.enlarge(capacity * 2);
                }
                Err(error) => {
                    self.failures.note(error);
                    return;
                }
            }
        }
    }
}

fn no_figures(meminfo: &HeldFile) -> KernelError {
    KernelError::Malformed {
        path: meminfo.shared_path().clone(),
        what: "no MemTotal, or nothing that tells what is left of it",
    }
}

/// Whether something is due, and when it will be next.
pub(crate) fn is_due(due: &mut Moment, now: Moment, every: Span) -> bool {
    let is_due = now >= *due;
    if is_due {
        *due = now + every;
    }
    is_due
}

/// The totals of both lines; `None` where PSI shows neither.
pub(crate) fn stall_of(pressure: &Pressure) -> Option<Stall> {
    let some = pressure.some?;
    Some(Stall {
        some_micros: some.total_micros,
        full_micros: pressure.full.map_or(0, |full| full.total_micros),
    })
}

fn note_meminfo(node: &mut NodeSample, meminfo: &Meminfo, watermark_low: Bytes) {
    node.total = Bytes(meminfo.total);
    node.free = Bytes(meminfo.free);
    node.cached = Bytes(meminfo.cached);
    node.buffers = Bytes(meminfo.buffers);
    node.anon = Bytes(meminfo.anon);
    node.shmem = Bytes(meminfo.shmem);
    node.active_file = Bytes(meminfo.active_file);
    node.inactive_file = Bytes(meminfo.inactive_file);
    node.dirty = Bytes(meminfo.dirty);
    node.writeback = Bytes(meminfo.writeback);
    node.unevictable = Bytes(meminfo.unevictable);
    node.slab_reclaimable = Bytes(meminfo.slab_reclaimable);
    node.slab_unreclaimable = Bytes(meminfo.slab_unreclaimable);
    node.kernel_stack = Bytes(meminfo.kernel_stack);
    node.page_tables = Bytes(meminfo.page_tables);
    node.percpu = Bytes(meminfo.percpu);
    node.hugetlb = Bytes(meminfo.hugetlb);
    node.swap_total = Bytes(meminfo.swap_total);
    node.swap_free = Bytes(meminfo.swap_free);
    node.available = match meminfo.available {
        Some(available) => Bytes(available),
        None => estimate_available(node, watermark_low),
    };
}

/// What `MemAvailable` would say (`si_mem_available` in `mm/show_mem.c`): free memory above what the kernel keeps for
/// itself (about the high watermarks), and of page cache and reclaimable slab all but a half, or the low watermarks if
/// these are smaller.
fn estimate_available(node: &NodeSample, watermark_low: Bytes) -> Bytes {
    let mostly = |part: Bytes| part - Bytes(part.0 / 2).min(watermark_low);
    let free = node.free - node.watermark_high;
    free + mostly(node.active_file + node.inactive_file) + mostly(node.slab_reclaimable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_mem_available_the_kernels_formula_is_used() {
        let mut node = NodeSample {
            watermark_high: Bytes(300),
            ..NodeSample::default()
        };
        let meminfo = Meminfo {
            total: 10_000,
            free: 1_000,
            active_file: 500,
            inactive_file: 300,
            slab_reclaimable: 100,
            ..Meminfo::default()
        };
        note_meminfo(&mut node, &meminfo, Bytes(200));
        // 1000 − 300, and 800 − min(400, 200), and 100 − min(50, 200).
        assert_eq!(node.available, Bytes(700 + 600 + 50));
        note_meminfo(
            &mut node,
            &Meminfo {
                available: Some(42),
                ..meminfo
            },
            Bytes(200),
        );
        assert_eq!(node.available, Bytes(42));
    }

    #[test]
    fn what_is_due_is_due_once() {
        let mut due = Moment(10);
        assert!(!is_due(&mut due, Moment(9), Span(5)));
        assert!(is_due(&mut due, Moment(12), Span(5)));
        assert!(!is_due(&mut due, Moment(16), Span(5)));
        assert!(is_due(&mut due, Moment(17), Span(5)));
    }
}
