//! How fast memory can be filled on this machine at the most. The guard must look often enough for a leak that begins at
//! any moment and runs at this speed, so it is measured once, at start, instead of assumed.

use forestall_decide::{Bytes, BytesPerSecond};

use super::clock::now;

/// Touched at once: small beside the agent's own limit of 64 MiB, large beside a huge page.
const PROBE: usize = 4 << 20;
/// The fastest of so many tries: a disturbed try only looks slower.
const TRIES: usize = 4;
/// So many processors at the most can fill side by side before the memory bus or the zone lock is the limit.
const SIDE_BY_SIDE_MAX: u32 = 8;

/// Measures by touching a little fresh memory. Never less than 64 MiB/s: below that the measurement was disturbed.
pub(crate) fn measure_fill_rate(cpus: u32) -> BytesPerSecond {
    // None is freed before the last is filled: an allocator would hand out the same memory again, which is there already.
    let tries: [(BytesPerSecond, Vec<u8>); TRIES] = core::array::from_fn(|_| fill_once());
    let fastest = tries.iter().map(|(speed, _)| *speed).max().unwrap_or_default();
    let fastest = fastest.max(BytesPerSecond(64 << 20));
    BytesPerSecond(
        fastest
            .0
            .saturating_mul(u64::from(cpus.clamp(1, SIDE_BY_SIDE_MAX))),
    )
}

fn fill_once() -> (BytesPerSecond, Vec<u8>) {
    let start = now();
    // Fresh memory comes from the kernel as zero pages that are mapped when first written.
    let mut probe: Vec<u8> = Vec::with_capacity(PROBE);
    probe.resize(PROBE, 1);
    std::hint::black_box(&probe);
    let took = now().since(start);
    (BytesPerSecond::from(Bytes(PROBE as u64), took), probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_processors_fill_faster_up_to_a_bound() {
        // A try on this machine takes well under 62 ms (64 MiB/s), so the floor does not hide the factor.
        let one = measure_fill_rate(1);
        assert!(one >= BytesPerSecond(64 << 20));
        assert!(measure_fill_rate(1000).0 <= u64::MAX / 2);
    }

    #[test]
    fn every_try_fills_memory_of_its_own() {
        let tries: [(BytesPerSecond, Vec<u8>); TRIES] = core::array::from_fn(|_| fill_once());
        let mut places: Vec<*const u8> = tries.iter().map(|(_, probe)| probe.as_ptr()).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), TRIES);
    }
}
