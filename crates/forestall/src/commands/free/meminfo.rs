//! `/proc/meminfo` as far as it can be true: a copy may be cut off, and what stands for a kernel may say anything.
//!
//! Without a total and what is free of it there is nothing to show. Any other figure that is missing or impossible is left
//! out, and said to be.

use std::path::Path;

use anyhow::{Context, bail};
use forestall_kernel::parse::{Meminfo, entries};

use super::shown::{self, human};
use crate::input;

/// Where it is, below a root.
const FILE: &str = "proc/meminfo";

/// Lines that every kernel writes, and whatever takes its place in a container.
const ALWAYS: [&str; 4] = ["Buffers", "Cached", "AnonPages", "Inactive(file)"];

/// The machine's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Believed {
    /// The figures; 0, or `None`, for those that are not believed.
    pub(crate) meminfo: Meminfo,
    /// What was not believed, each with its place.
    pub(crate) doubts: Vec<String>,
}

/// Reads it below `root`.
pub(crate) fn read_meminfo(root: &Path) -> anyhow::Result<Believed> {
    let path = root.join(FILE);
    let content = input::read_system(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let path = path.display();
    let (whole, cut) = input::cut_line(&content);
    let ending = if cut.is_empty() {
        ""
    } else {
        ", and it ends in the middle of a line"
    };
    let meminfo = Meminfo::parse(whole);
    if meminfo.total == 0 || !has_unit(whole, b"MemTotal") {
        bail!("{path} has no MemTotal that can be read{ending}; is a proc file system mounted there?");
    }
    // Where the kernel's kB come to more than 64 bits of bytes hold, what was read stops there.
    if meminfo.total == u64::MAX {
        bail!("MemTotal in {path} is 16 EiB or more, which no machine has; is the file damaged?");
    }
    if !has_unit(whole, b"MemFree") {
        bail!("{path} has no MemFree that can be read{ending}; is the file damaged?");
    }
    if meminfo.free > meminfo.total {
        bail!(
            "{path} says that {} of {} are free, which cannot be; is the file damaged?",
            human(meminfo.free),
            human(meminfo.total)
        );
    }
    let mut believed = Believed {
        meminfo,
        doubts: Vec::new(),
    };
    if !cut.is_empty() {
        let line = shown::bytes(cut);
        believed.doubts.push(format!(
            "{path} ends in the middle of the line {line:?}: what follows is missing"
        ));
    }
    believed.check(whole, &path.to_string());
    Ok(believed)
}

/// Whether there is such a line and its figure has the kernel's unit.
fn has_unit(content: &[u8], key: &[u8]) -> bool {
    entries(content)
        .find(|entry| entry.key == key)
        .is_some_and(|entry| entry.bytes().is_some() && entry.value.trim_ascii_end().ends_with(b" kB"))
}

impl Believed {
    fn check(&mut self, content: &[u8], path: &str) {
        for name in ALWAYS {
            if !has_unit(content, name.as_bytes()) {
                self.doubts.push(format!(
                    "{path} has no {name} that can be read: it is counted as 0"
                ));
            }
        }
        let read = &mut self.meminfo;
        let total = read.total;
        if let Some(available) = read.available.filter(|available| *available > total) {
            read.available = None;
            self.doubts.push(format!(
                "MemAvailable in {path} is {}, more than MemTotal of {}: it is not believed",
                human(available),
                human(total)
            ));
        }
        let parts = [
            ("Buffers", &mut read.buffers),
            ("Cached", &mut read.cached),
            ("SwapCached", &mut read.swap_cached),
            ("Active(file)", &mut read.active_file),
            ("Inactive(file)", &mut read.inactive_file),
            ("AnonPages", &mut read.anon),
            ("Shmem", &mut read.shmem),
            ("KReclaimable", &mut read.kernel_reclaimable),
            ("SReclaimable", &mut read.slab_reclaimable),
            ("SUnreclaim", &mut read.slab_unreclaimable),
            ("KernelStack", &mut read.kernel_stack),
            ("PageTables", &mut read.page_tables),
            ("SecPageTables", &mut read.secondary_page_tables),
            ("Percpu", &mut read.percpu),
            ("Hugetlb", &mut read.hugetlb),
        ];
        for (name, bytes) in parts {
            if *bytes > total {
                self.doubts.push(format!(
                    "{name} in {path} is {}, more than MemTotal of {}: it is not believed and counted as 0",
                    human(*bytes),
                    human(total)
                ));
                *bytes = 0;
            }
        }
        // No machine addresses 2^63 bytes of swap.
        if read.swap_free > read.swap_total || read.swap_total > u64::MAX >> 1 {
            self.doubts.push(format!(
                "{path} says that {} of {} of swap are free, which cannot be: it is counted as none",
                human(read.swap_free),
                human(read.swap_total)
            ));
            (read.swap_total, read.swap_free) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Believed> {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("proc")).expect("made");
        std::fs::write(root.path().join(FILE), text).expect("written");
        read_meminfo(root.path())
    }

    const REST: &str = "Buffers: 1 kB\nCached: 2 kB\nAnonPages: 3 kB\nInactive(file): 1 kB\n";

    #[test]
    fn a_file_without_a_total_or_what_is_free_of_it_is_refused() {
        for text in [
            "",
            "MemTotal: 8124",
            // Cut off before its unit, or within the figure.
            "MemTotal: 8124\nMemFree: 1 kB\n",
            "MemTotal: 81 kB\nMemFree: 346844 kB\n",
            "MemTotal: 8124016 kB\nMemFr",
            "MemTotal: 8124016 kB\nMemFree: many kB\n",
            "MemTotal: eight kB\nMemFree: 1 kB\n",
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains("proc/meminfo"), "{error}");
        }
        let cut = read("MemTotal: 8124").expect_err("cut off").to_string();
        assert!(cut.contains("ends in the middle of a line"), "{cut}");
    }

    #[test]
    fn a_whole_file_leaves_no_doubt() {
        let text = format!("MemTotal: 1000 kB\nMemFree: 400 kB\nMemAvailable: 1000 kB\n{REST}");
        let believed = read(&text).expect("a machine");
        assert_eq!(believed.doubts, Vec::<String>::new());
        assert_eq!(believed.meminfo.available, Some(1000 << 10));
    }

    #[test]
    fn what_cannot_be_is_left_out_and_told() {
        let text = format!(
            "MemTotal: 1000 kB\nMemFree: 400 kB\nMemAvailable: 1001 kB\nShmem: 18446744073709551615 kB\nSwapTotal: 1 kB\n\
             SwapFree: 2 kB\n{REST}Percpu: 1"
        );
        let believed = read(&text).expect("a machine");
        let read = believed.meminfo;
        assert_eq!((read.available, read.shmem, read.swap_free), (None, 0, 0));
        for what in [
            "MemAvailable in",
            "Shmem in",
            "of swap",
            "middle of the line \"Percpu: 1\"",
        ] {
            assert!(
                believed.doubts.iter().any(|doubt| doubt.contains(what)),
                "{what}: {:?}",
                believed.doubts
            );
        }
        assert_eq!(believed.doubts.len(), 4);
    }

    #[test]
    fn a_file_that_ends_too_early_is_told() {
        let doubts = read("MemTotal: 1000 kB\nMemFree: 400 kB\n")
            .expect("a machine")
            .doubts;
        assert_eq!(doubts.len(), ALWAYS.len(), "{doubts:?}");
    }
}
