//! Reading the guest's own kernel: /proc and cgroup files as numbers.
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since boot.
pub(crate) fn now_millis() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let since_boot = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0));
    u64::try_from(since_boot.as_millis()).unwrap_or(u64::MAX)
}

/// `MemTotal`, bytes.
pub(crate) fn memory_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    field(&text, "MemTotal:")
        .map(|kib| kib * 1024)
        .context("/proc/meminfo has no MemTotal")
}

/// `MemAvailable`, bytes; 0 where it cannot be read.
pub(crate) fn available_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    field(&text, "MemAvailable:").unwrap_or(0) * 1024
}

/// How many processes the kernel's OOM killers have killed since boot (`oom_kill` in /proc/vmstat).
pub(crate) fn oom_kills() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    field(&text, "oom_kill").unwrap_or(0)
}

/// The machine's `some total` of memory pressure, microseconds; 0 without PSI.
pub(crate) fn stall_micros() -> u64 {
    let text = std::fs::read_to_string("/proc/pressure/memory").unwrap_or_default();
    text.lines()
        .find(|line| line.starts_with("some"))
        .and_then(|line| line.split("total=").nth(1))
        .and_then(|total| total.trim().parse().ok())
        .unwrap_or(0)
}

/// The number after `key` at the start of a line of `text`.
pub(crate) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| {
            line.strip_prefix(key)
                .filter(|rest| rest.starts_with([' ', '\t']))
        })
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
}

/// A file that holds one number; `None` where it is absent, or `max`.
pub(crate) fn number_in(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom_kill_x 7\noom_kill 3\nMemTotal:         16 kB\n";
        assert_eq!(field(text, "oom_kill"), Some(3));
        assert_eq!(field(text, "MemTotal:"), Some(16));
        assert_eq!(field(text, "oom"), None);
    }
}
