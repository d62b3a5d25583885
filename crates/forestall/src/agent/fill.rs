//! How fast memory can be filled on this machine at the most. The guard must look often enough for a leak that begins at
//! any moment and runs at this speed, so it is measured once, at start, instead of assumed.

use std::mem::MaybeUninit;

use forestall_decide::{Bytes, BytesPerSecond};

use super::clock::now;

/// Touched by one try, and given back before the next: a huge page (2 MiB where pages have 4 KiB), which is what is filled
/// fastest, and no more, because the agent must be able to start under a small limit of its own.
const PROBE: usize = 2 << 20;
/// The fastest of so many tries: a disturbed try only looks slower.
const TRIES: usize = 4;
/// So many processors at the most can fill side by side before the memory bus or the zone lock is the limit.
const SIDE_BY_SIDE_MAX: u32 = 8;

/// Measures by touching a little fresh memory. Never less than 64 MiB/s: below that the measurement was disturbed.
pub(crate) fn measure_fill_rate(cpus: u32) -> BytesPerSecond {
    let tries: [BytesPerSecond; TRIES] = core::array::from_fn(fill_once);
    let fastest = tries.into_iter().max().unwrap_or_default();
    let fastest = fastest.max(BytesPerSecond(64 << 20));
    BytesPerSecond(
        fastest
            .0
            .saturating_mul(u64::from(cpus.clamp(1, SIDE_BY_SIDE_MAX))),
    )
}

fn fill_once(nth: usize) -> BytesPerSecond {
    // Memory is fresh where the allocator has to ask the kernel for it. musl does so for each that is large; glibc, too, as long
    // as it is larger than any that was given back before. What is not touched is not there.
    let mut probe: Vec<u8> = Vec::with_capacity((2 + nth) * PROBE);
    let room = probe.spare_capacity_mut();
    // A huge page takes the place of small ones only where it lies on a multiple of its size.
    let ahead = room.as_ptr().align_offset(PROBE);
    let ahead = ahead.min(PROBE);
    let start = now();
    // Fresh memory comes from the kernel as zero pages that are mapped when first written.
    room[ahead..ahead + PROBE].fill(MaybeUninit::new(1));
    std::hint::black_box(&probe);
    let took = now().since(start);
    BytesPerSecond::from(Bytes(PROBE as u64), took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_processors_fill_faster_up_to_a_bound() {
        // A try on this machine takes well under 31 ms (64 MiB/s), so the floor does not hide the factor.
        let one = measure_fill_rate(1);
        assert!(one >= BytesPerSecond(64 << 20));
        assert!(measure_fill_rate(1000).0 <= u64::MAX / 2);
    }

    /// Pages that were mapped for this thread when it touched them (field 10, proc_pid_stat(5)).
    fn pages_mapped() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("/proc");
        let (_, behind_name) = stat.rsplit_once(')').expect("a name");
        let field = behind_name.split_whitespace().nth(7).expect("ten fields");
        field.parse().expect("a number")
    }

    #[test]
    fn every_try_fills_fresh_memory() {
        // Whatever reading the counter itself maps is there after the first time.
        pages_mapped();
        for nth in 0..TRIES {
            let before = pages_mapped();
            fill_once(nth);
            let mapped = pages_mapped() - before;
            assert!(mapped > 0, "try {nth}");
        }
    }
}
