//! Memory of every kind, allocated block by block and held. Each kind is charged, seen and reclaimed differently by the
//! kernel, which is what it is for.
//!
//! Nothing outlives the process: files are nameless as soon as they are open, and child processes end when their standard
//! input does.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;

use super::fill::{Content, Fill};
use super::plan::{Fraction, MEBI};

/// Bytes written at a time.
const CHUNK: usize = 256 << 10;

/// Stack of each thread of the kind `threads`.
const STACK: u64 = MEBI;

/// What of such a stack is left alone: the thread's own frames and data live there.
const STACK_MARGIN: u64 = 64 << 10;

/// Kinds of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Private memory, as a heap has it
    Anon,
    /// Page cache: a file in --dir, written, synced and read back twice
    File,
    /// Shared memory: a memfd written with write(2), which is in no process's RSS
    Shmem,
    /// Page tables: huge sparse mappings of which one byte a table is read
    PageTables,
    /// Stacks of threads, 1 MiB each
    Threads,
    /// Private memory in one child process a block
    Processes,
}

/// How blocks are made.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// What is touched of each.
    pub(crate) touch: Fraction,
    /// The content.
    pub(crate) fill: Fill,
    /// Its seed.
    pub(crate) seed: u64,
    /// Where files go.
    pub(crate) dir: PathBuf,
}

/// All that is held.
#[derive(Debug)]
pub(crate) struct Hoard {
    recipe: Recipe,
    content: Content,
    chunk: Vec<u8>,
    private: Vec<Vec<u8>>,
    files: Vec<File>,
    children: Vec<Child>,
    started: u64,
    page_size: u64,
}

impl Hoard {
    /// Holds nothing yet.
    pub(crate) fn new(recipe: Recipe) -> anyhow::Result<Self> {
        Ok(Self {
            content: Content::new(recipe.fill, recipe.seed),
            recipe,
            chunk: vec![0; CHUNK],
            private: Vec::new(),
            files: Vec::new(),
            children: Vec::new(),
            started: 0,
            page_size: page_size()?,
        })
    }

    /// The child processes.
    pub(crate) fn child_pids(&self) -> impl Iterator<Item = u32> {
        self.children.iter().map(Child::id)
    }

    /// Children that have ended since the last call, and how: the kernel kills them one by one, and a parent that does not
    /// look never notices.
    pub(crate) fn ended(&mut self) -> Vec<(u32, ExitStatus)> {
        let mut ended = Vec::new();
        self.children.retain_mut(|child| match child.try_wait() {
            Ok(Some(status)) => {
                ended.push((child.id(), status));
                false
            }
            Ok(None) | Err(_) => true,
        });
        ended
    }

    /// Adds `size` bytes of `kind` and answers how many of them were touched.
    pub(crate) fn add(&mut self, kind: Kind, size: u64) -> anyhow::Result<u64> {
        let touched = self.recipe.touch.of(size);
        match kind {
            Kind::Anon => self.add_private(size, touched).map(|()| touched),
            Kind::File => self.add_file(size, touched).map(|()| touched),
            Kind::Shmem => self.add_shmem(size, touched).map(|()| touched),
            Kind::PageTables => self.add_page_tables(size, touched),
            Kind::Threads => self.add_threads(size),
            Kind::Processes => self.add_process(size).map(|()| touched),
        }
    }

    /// Reserved memory is untouched: only what is written becomes pages.
    fn add_private(&mut self, size: u64, touched: u64) -> anyhow::Result<()> {
        let mut block: Vec<u8> = Vec::new();
        block
            .try_reserve_exact(usize::try_from(size)?)
            .context("no memory to be had; see ulimit -v and vm.overcommit_memory")?;
        // Without this the compiler may merge reserving and zeroing into one call that touches nothing.
        let mut block = black_box(block);
        let mut left = usize::try_from(touched)?;
        while left > 0 {
            let length = left.min(self.chunk.len());
            let chunk = self.chunk.get_mut(..length).unwrap_or_default();
            self.content.write(chunk);
            block.extend_from_slice(chunk);
            left -= length;
        }
        self.private.push(black_box(block));
        Ok(())
    }

    fn add_file(&mut self, size: u64, touched: u64) -> anyhow::Result<()> {
        let dir = self.recipe.dir.clone();
        let shown = crate::commands::free::shown::path(&dir);
        let advice = || format!("cannot fill a file in {shown}; make room there or choose another --dir");
        let mut file = nameless(&dir).with_context(advice)?;
        file.set_len(size).with_context(advice)?;
        self.write(&mut file, touched).with_context(advice)?;
        // What is not on the disk cannot be dropped, and this is to be cache. A second reading makes it active.
        file.sync_data().with_context(advice)?;
        for _ in 0..2 {
            file.seek(SeekFrom::Start(0)).with_context(advice)?;
            let mut left = touched;
            while left > 0 {
                let length = usize::try_from(left).unwrap_or(CHUNK).min(self.chunk.len());
                let chunk = self.chunk.get_mut(..length).unwrap_or_default();
                file.read_exact(chunk).with_context(advice)?;
                left -= length as u64;
            }
        }
        self.files.push(file);
        Ok(())
    }

    fn add_shmem(&mut self, size: u64, touched: u64) -> anyhow::Result<()> {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let mut file =
            File::from(rustix::fs::memfd_create("forestall-leak", flags).context("cannot make a memfd")?);
        file.set_len(size).context("cannot size a memfd")?;
        self.write(&mut file, touched)
            .context("cannot fill a memfd; no memory to be had")?;
        self.files.push(file);
        Ok(())
    }

    fn write(&mut self, file: &mut File, bytes: u64) -> std::io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(CHUNK).min(self.chunk.len());
            let chunk = self.chunk.get_mut(..length).unwrap_or_default();
            self.content.write(chunk);
            file.write_all(chunk)?;
            left -= length as u64;
        }
        Ok(())
    }

    /// A table of the lowest level is a page of 8-byte entries. Reading one byte of what it maps brings in the table and
    /// the shared page of zeros, and nothing else.
    fn add_page_tables(&mut self, size: u64, touched: u64) -> anyhow::Result<u64> {
        let span = self.page_size.saturating_mul(self.page_size / 8);
        // In pieces, because the kernel refuses single mappings that are larger than the machine (overcommit heuristic).
        let piece = (1 << 30) / span.max(1);
        let mut tables = size / self.page_size;
        let mut touch = touched / self.page_size;
        while tables > 0 {
            let count = tables.min(piece.max(1));
            let block = zeroed(usize::try_from(count.saturating_mul(span))?)?;
            for table in block.chunks(usize::try_from(span)?).take(usize::try_from(touch)?) {
                // The copy is the reading; a mere reference would touch nothing.
                black_box(table.first().copied());
            }
            self.private.push(black_box(block));
            tables -= count;
            touch = touch.saturating_sub(count);
        }
        Ok(touched / self.page_size * self.page_size)
    }

    fn add_threads(&mut self, size: u64) -> anyhow::Result<u64> {
        let touched = self.recipe.touch.of(STACK - STACK_MARGIN);
        let target = usize::try_from(touched)?;
        let (done, wait) = mpsc::channel();
        let count = size / STACK;
        for _ in 0..count {
            let done = done.clone();
            let body = move || {
                let start = 0_u8;
                if target > 0 {
                    touch_stack(std::ptr::from_ref(&start).addr(), target);
                }
                // Nobody may be waiting any more; the stack is what matters.
                let _ = done.send(());
                loop {
                    thread::park();
                }
            };
            thread::Builder::new()
                .stack_size(usize::try_from(STACK)?)
                .spawn(body)
                .context("cannot start another thread; see ulimit -u and the cgroup's pids.max")?;
        }
        for _ in 0..count {
            wait.recv().context("a thread ended early")?;
        }
        Ok(touched.saturating_mul(count))
    }

    fn add_process(&mut self, size: u64) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("cannot find the own program")?;
        let mebi = (size / MEBI).to_string();
        self.started += 1;
        let seed = self.recipe.seed.wrapping_add(self.started).to_string();
        let mut child = Command::new(program)
            .args([
                "leak",
                "--child",
                "-e",
                "0",
                "-m",
                &mebi,
                "-x",
                &mebi,
                "-f",
                &self.recipe.touch.text(),
            ])
            .args(["--fill", self.recipe.fill.name(), "--seed", &seed])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start another process; see ulimit -u and the cgroup's pids.max")?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| anyhow!("a child has no standard output"))?;
        let mut ready = String::new();
        BufReader::new(stdout)
            .read_line(&mut ready)
            .context("cannot read from a child")?;
        if ready.trim() != super::READY {
            let status = child.wait().context("cannot wait for a child")?;
            bail!(
                "child process {} ended before it had touched its memory: {status}",
                child.id()
            );
        }
        self.children.push(child);
        Ok(())
    }
}

/// Uses up stack from `start` on, by recursion, until `bytes` are touched.
#[inline(never)]
fn touch_stack(start: usize, bytes: usize) {
    let mut frame = [1_u8; 4096];
    black_box(&mut frame);
    if start.abs_diff(std::ptr::from_ref(&frame).addr()) < bytes {
        touch_stack(start, bytes);
    }
    // Used after the call, so that the call cannot become a jump that reuses the frame.
    black_box(&frame);
}

/// A file that no name leads to any more: however this process ends, its space is given back.
fn nameless(dir: &Path) -> std::io::Result<File> {
    let path = dir.join(format!(".forestall-leak-{}", std::process::id()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Zeros that are mapped and not touched. Asking first turns a refusal into an error; `vec!` would abort.
fn zeroed(length: usize) -> anyhow::Result<Vec<u8>> {
    let mut probe: Vec<u8> = Vec::new();
    probe
        .try_reserve_exact(length)
        .context("no address space to be had; see ulimit -v and vm.overcommit_memory")?;
    drop(black_box(probe));
    Ok(vec![0; length])
}

/// The machine's page size, from what the kernel told this process at its start (`AT_PAGESZ` in getauxval(3)).
fn page_size() -> anyhow::Result<u64> {
    const AT_PAGESZ: usize = 6;
    const WORD: usize = size_of::<usize>();
    let content = std::fs::read("/proc/self/auxv").context("cannot read /proc/self/auxv")?;
    let word = |bytes: &[u8]| Some(usize::from_ne_bytes(bytes.try_into().ok()?));
    let entry = content.chunks_exact(2 * WORD).find_map(|entry| {
        let (key, value) = entry.split_at(WORD);
        if word(key)? == AT_PAGESZ {
            word(value)
        } else {
            None
        }
    });
    match entry {
        Some(size) if size.is_power_of_two() && size >= 64 => Ok(size as u64),
        _ => bail!("/proc/self/auxv tells no page size"),
    }
}
