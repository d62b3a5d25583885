//! What does not change while the machine runs, and the one switch that may: which page replacement the kernel uses.

use std::path::Path;

use crate::Error;
use crate::file::{Buffer, HeldFile};
use crate::parse::{self, unsigned};

/// Constants of this machine and kernel. None of them is ever assumed: pages are 4, 16 or 64 KiB on arm64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Size of a page, bytes.
    pub page_bytes: u64,
    /// Clock ticks in a second, the unit of [`ProcStat::start_ticks`](parse::ProcStat::start_ticks).
    pub ticks_per_second: u64,
    /// Processors online when this was read; at least 1.
    pub cpus_online: u32,
    /// The kernel's version.
    pub kernel: KernelVersion,
    /// The kernel's own name for its version (`uname -r`), to be shown and never to be compared. Its build chose it: escape
    /// it.
    pub release: Box<[u8]>,
}

impl Machine {
    /// Reads them; `sys` is where sysfs is mounted. A list of processors that cannot be read counts as the processors this
    /// process may run on.
    pub fn read(sys: &Path) -> Self {
        let release: Box<[u8]> = rustix::system::uname().release().to_bytes().into();
        Self {
            page_bytes: u64::try_from(rustix::param::page_size()).unwrap_or(u64::MAX),
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            cpus_online: read_cpus_online(sys).unwrap_or_else(count_usable_cpus).max(1),
            kernel: KernelVersion::parse(&release),
            release,
        }
    }
}

fn read_cpus_online(sys: &Path) -> Option<u32> {
    let mut buffer = Buffer::with_capacity(4096);
    let file = HeldFile::open(&sys.join("devices/system/cpu/online")).ok()?;
    parse::count_cpus(file.read_into(&mut buffer).ok()?)
}

fn count_usable_cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

/// `/sys/kernel/mm/lru_gen/enabled` for [`lru_gen_enabled`](parse::lru_gen_enabled). Held, because an administrator may switch
/// it at any time; [`Error::Gone`] means that the kernel has only the classic lists (before 6.1, or compiled out).
pub fn open_lru_gen(sys: &Path) -> Result<HeldFile, Error> {
    HeldFile::open(&sys.join("kernel/mm/lru_gen/enabled"))
}

/// The first two numbers of a kernel's version: new interfaces come with these.
///
/// Distributions backport, so a version only explains what is missing; whether something is there is found by trying.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// The 6 of 6.12.
    pub major: u32,
    /// The 12 of 6.12.
    pub minor: u32,
}

impl KernelVersion {
    /// Reads it from `uname -r`, such as `6.1.0-28-cloud-amd64` or `6.12-rc3`; 0.0 where that makes no sense.
    pub fn parse(release: &[u8]) -> Self {
        let mut numbers = release
            .split(|byte| !byte.is_ascii_digit())
            .map(|digits| unsigned(digits).map_or(0, |value| u32::try_from(value).unwrap_or(u32::MAX)));
        let major = numbers.next().unwrap_or(0);
        let minor = numbers.next().unwrap_or(0);
        Self { major, minor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let version = |release: &str| KernelVersion::parse(release.as_bytes());
        assert_eq!(
            version("6.1.0-28-cloud-amd64"),
            KernelVersion { major: 6, minor: 1 }
        );
        assert_eq!(version("6.12-rc3"), KernelVersion { major: 6, minor: 12 });
        assert!(version("5.10.0-33-amd64") < version("5.19.17"));
        assert!(version("6.9.1") < version("6.12.57+deb13-cloud-amd64"));
        assert_eq!(version("unknown"), KernelVersion::default());
    }

    #[test]
    fn processors_are_counted_below_the_given_sysfs() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir_all(dir.path().join("devices/system/cpu")).expect("made");
        std::fs::write(dir.path().join("devices/system/cpu/online"), "0-2,5\n").expect("written");
        let machine = Machine::read(dir.path());
        assert_eq!(machine.cpus_online, 4);
        assert!(machine.page_bytes.is_power_of_two() && machine.page_bytes >= 4096);
        assert!(machine.ticks_per_second > 0);
    }

    #[test]
    fn without_sysfs_there_is_a_processor_and_no_multi_gen_lru() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert!(Machine::read(dir.path()).cpus_online >= 1);
        assert!(open_lru_gen(dir.path()).expect_err("not there").is_gone());
    }
}
