//! What filled the memory that ran out: a cgroup's usage and stat lines, or the machine's `Mem-Info`.
//!
//! The stat dump has had three shapes: one line for each cgroup below the limit, each with its own part alone (up to 4.19); one record with
//! a newline behind each key (5.4 to 6.1), which the kernel cuts near 1 KiB; and one record for each key (from 6.8 on).

use super::kill::bytes_of;
use crate::parse::{Cursor, Limit, unsigned, words};

/// A text of this length may have been cut by the kernel (`LOG_LINE_MAX` is 1,024 less a prefix), so its last figure is not believed.
const CUT_BYTES_MIN: usize = 960;

/// One counter with a limit: `memory: usage 16384kB, limit 16384kB, failcnt 8`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// What is used, bytes.
    pub usage: u64,
    /// The limit.
    pub limit: Limit,
    /// How often the limit was met.
    pub failures: u64,
}

/// Memory by kind, bytes unless a name says otherwise. The kinds `anon`, `file`, `shmem` and `kernel` do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domain {
    /// `memory:`.
    pub memory: Option<Charge>,
    /// `swap:` (v2).
    pub swap: Option<Charge>,
    /// `memory+swap:` (v1).
    pub memory_and_swap: Option<Charge>,
    /// `kmem:` (v1).
    pub kernel_charge: Option<Charge>,
    /// Anonymous memory.
    pub anon: Option<u64>,
    /// Page cache of files, without shared memory where that is known.
    pub file: Option<u64>,
    /// Shared memory and tmpfs.
    pub shmem: Option<u64>,
    /// All of the kernel's own: `kernel` or `kmem:` of a cgroup. `None` where only parts of it are told.
    pub kernel: Option<u64>,
    /// Slab that can be taken back.
    pub slab_reclaimable: Option<u64>,
    /// Slab that cannot.
    pub slab_unreclaimable: Option<u64>,
    /// Both, where they are not told apart.
    pub slab: Option<u64>,
    /// Stacks of threads inside the kernel.
    pub kernel_stack: Option<u64>,
    /// Page tables.
    pub page_tables: Option<u64>,
    /// For each processor.
    pub percpu: Option<u64>,
    /// Buffers of sockets.
    pub sock: Option<u64>,
    /// `vmalloc`.
    pub vmalloc: Option<u64>,
    /// Compressed swap in memory.
    pub zswap: Option<u64>,
    /// Cache that has yet to be written.
    pub file_dirty: Option<u64>,
    /// Cache that is being written.
    pub file_writeback: Option<u64>,
    /// What cannot be reclaimed because it is locked, or lies in a ramfs.
    pub unevictable: Option<u64>,
    /// In swap, as v1's stat lines tell it.
    pub swapped: Option<u64>,
    /// The machine's lists and counters, which are in pages.
    pub machine: Option<MachinePages>,
    /// All swap of the machine.
    pub swap_total: Option<u64>,
    /// What of it is free.
    pub swap_free: Option<u64>,
    /// Size of a page, where the machine's free lists tell it.
    pub page_bytes: Option<u64>,
}

/// `Mem-Info`, pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachinePages {
    /// Anonymous and shared memory on the active and inactive list, and off them.
    pub anon_lists: u64,
    /// Cache of files on the active and inactive list, and off them.
    pub file_lists: u64,
    /// Locked.
    pub unevictable: u64,
    /// Slab that can be taken back.
    pub slab_reclaimable: u64,
    /// Slab that cannot.
    pub slab_unreclaimable: u64,
    /// Shared memory and tmpfs; part of the anonymous lists.
    pub shmem: u64,
    /// Page tables.
    pub page_tables: u64,
    /// Free.
    pub free: u64,
    /// All pages that the kernel has.
    pub present: u64,
    /// What of them it keeps for itself from the start.
    pub reserved: u64,
}

impl Domain {
    /// Takes in a usage line; says whether it was one.
    pub(crate) fn hear_usage(&mut self, text: &[u8]) -> bool {
        let Some((which, charge)) = usage(text) else {
            return false;
        };
        match which {
            b"memory" => self.memory = Some(charge),
            b"swap" => self.swap = Some(charge),
            b"memory+swap" => self.memory_and_swap = Some(charge),
            _ => {
                self.kernel_charge = Some(charge);
                self.kernel = Some(charge.usage);
            }
        }
        true
    }

    /// Takes in the stat line of one cgroup, as it was until 4.19: ` cache:0KB rss:16KB …`. They add up.
    pub(crate) fn hear_legacy_stats(&mut self, text: &[u8]) {
        let (mut cache, mut shmem) = (None, None);
        for word in words(text) {
            let mut word = Cursor::new(word);
            let key = word.take_while(|byte| byte != b':');
            let Some(bytes) = word
                .take(b":")
                .and_then(|()| word.digits())
                .filter(|_| word.rest() == b"KB")
            else {
                continue;
            };
            let bytes = bytes_of(bytes);
            match key {
                b"cache" => cache = bytes,
                b"shmem" => shmem = bytes,
                b"rss" => add(&mut self.anon, bytes),
                b"dirty" => add(&mut self.file_dirty, bytes),
                b"writeback" => add(&mut self.file_writeback, bytes),
                b"swap" => add(&mut self.swapped, bytes),
                b"unevictable" => add(&mut self.unevictable, bytes),
                _ => {}
            }
        }
        add(&mut self.shmem, shmem);
        add(
            &mut self.file,
            cache.map(|cache| cache.saturating_sub(shmem.unwrap_or(0))),
        );
    }

    /// Takes in lines `key value` of a stat dump; says whether it was any.
    pub(crate) fn hear_stats(&mut self, text: &[u8]) -> bool {
        let is_cut = text.len() >= CUT_BYTES_MIN;
        let mut lines = text.split(|byte| *byte == b'\n').peekable();
        let mut any = false;
        while let Some(line) = lines.next() {
            let mut words = words(line);
            let (Some(key), Some(value), None) =
                (words.next(), words.next().and_then(unsigned), words.next())
            else {
                continue;
            };
            any = true;
            if !is_cut || lines.peek().is_some() {
                self.put_stat(key, value);
            }
        }
        any
    }

    fn put_stat(&mut self, key: &[u8], value: u64) {
        let slot = match key {
            b"anon" => &mut self.anon,
            b"file" => &mut self.file,
            b"kernel" => &mut self.kernel,
            b"kernel_stack" => &mut self.kernel_stack,
            b"pagetables" => &mut self.page_tables,
            b"percpu" => &mut self.percpu,
            b"sock" => &mut self.sock,
            b"vmalloc" => &mut self.vmalloc,
            b"zswap" => &mut self.zswap,
            b"file_dirty" => &mut self.file_dirty,
            b"file_writeback" => &mut self.file_writeback,
            b"unevictable" => &mut self.unevictable,
            b"slab_reclaimable" => &mut self.slab_reclaimable,
            b"slab_unreclaimable" => &mut self.slab_unreclaimable,
            b"slab" => &mut self.slab,
            b"shmem" => {
                // `file` has shared memory in it, and always comes before.
                self.file = self.file.map(|file| file.saturating_sub(value));
                &mut self.shmem
            }
            _ => return,
        };
        *slot = Some(value);
    }

    /// Takes in a line of `Mem-Info` and what follows it; says whether it meant something.
    pub(crate) fn hear_machine(&mut self, text: &[u8]) -> bool {
        let mut line = Cursor::new(text);
        if line.take(b"Node ").is_some() {
            return self.hear_free_list(text);
        }
        if line.take(b"Free swap").is_some() {
            self.swap_free = after_equals(line);
            return true;
        }
        if line.take(b"Total swap").is_some() {
            self.swap_total = after_equals(line);
            return true;
        }
        if let Some(count) = line.digits() {
            match line.rest() {
                b" pages RAM" => self.machine.get_or_insert_default().present = count,
                b" pages reserved" => self.machine.get_or_insert_default().reserved = count,
                _ => return false,
            }
            return true;
        }
        let mut any = false;
        for word in words(text) {
            let mut word = Cursor::new(word);
            let key = word.take_while(|byte| byte != b':');
            let Some(value) = word
                .take(b":")
                .and_then(|()| word.digits())
                .filter(|_| word.rest().is_empty())
            else {
                break;
            };
            let mut pages = self.machine.unwrap_or_default();
            let slot = match key {
                b"active_anon" | b"inactive_anon" | b"isolated_anon" => &mut pages.anon_lists,
                b"active_file" | b"inactive_file" | b"isolated_file" => &mut pages.file_lists,
                b"unevictable" => &mut pages.unevictable,
                b"slab_reclaimable" => &mut pages.slab_reclaimable,
                b"slab_unreclaimable" => &mut pages.slab_unreclaimable,
                b"shmem" => &mut pages.shmem,
                b"pagetables" => &mut pages.page_tables,
                b"free" => &mut pages.free,
                _ => continue,
            };
            *slot = slot.saturating_add(value);
            self.machine = Some(pages);
            any = true;
        }
        any
    }

    /// `Node 0 DMA32: 2*4kB (UM) …`: the smallest block is a page.
    fn hear_free_list(&mut self, text: &[u8]) -> bool {
        let Some(blocks) = super::verdict::cut(text, b": ").1 else {
            return false;
        };
        let mut block = Cursor::new(blocks);
        let size = block
            .digits()
            .and_then(|_| block.take(b"*"))
            .and_then(|()| super::kill::kilobytes(block));
        if size.is_some() {
            self.page_bytes = size;
        }
        size.is_some()
    }

    /// Fills the kinds from the machine's pages, once their size is known; a report whose lines tell it has it done.
    pub fn settle_machine(&mut self, page_bytes: u64) {
        let Some(pages) = self.machine else { return };
        let bytes = |count: u64| Some(count.saturating_mul(page_bytes));
        self.anon = self
            .anon
            .or_else(|| bytes(pages.anon_lists.saturating_sub(pages.shmem)));
        self.file = self.file.or_else(|| bytes(pages.file_lists));
        self.shmem = self.shmem.or_else(|| bytes(pages.shmem));
        self.unevictable = self.unevictable.or_else(|| bytes(pages.unevictable));
        self.slab_reclaimable = self.slab_reclaimable.or_else(|| bytes(pages.slab_reclaimable));
        self.slab_unreclaimable = self
            .slab_unreclaimable
            .or_else(|| bytes(pages.slab_unreclaimable));
        self.page_tables = self.page_tables.or_else(|| bytes(pages.page_tables));
    }
}

/// `memory: usage 16384kB, limit 16384kB, failcnt 8`.
pub(crate) fn usage(text: &[u8]) -> Option<(&[u8], Charge)> {
    let mut line = Cursor::new(text);
    let which = [&b"memory+swap"[..], b"memory", b"swap", b"kmem"]
        .into_iter()
        .find(|which| line.take(which).is_some())?;
    line.take(b": usage ")?;
    let usage = line.digits()?;
    line.take(b"kB, limit ")?;
    let limit = line.digits()?;
    line.take(b"kB, failcnt ")?;
    let failures = line.digits()?;
    let charge = Charge {
        usage: bytes_of(usage)?,
        limit: Limit::from_bytes(limit.saturating_mul(1024)),
        failures,
    };
    Some((which, charge))
}

/// `  = 123kB` in bytes.
fn after_equals(mut line: Cursor<'_>) -> Option<u64> {
    line.blanks();
    line.take(b"=")?;
    line.blanks();
    super::kill::kilobytes(line)
}

fn add(sum: &mut Option<u64>, bytes: Option<u64>) {
    if let Some(bytes) = bytes {
        *sum = Some(sum.unwrap_or(0).saturating_add(bytes));
    }
}

#[cfg(test)]
mod tests;
