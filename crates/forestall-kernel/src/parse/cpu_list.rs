//! Lists of processors such as `/sys/devices/system/cpu/online` shows: `0-3,8,10-11`.

use super::keyed::split_at_byte;
use super::number::unsigned_32;

/// How many processors the list names; `None` where any part of it makes no sense, or where it names none.
pub fn count_cpus(content: &[u8]) -> Option<u32> {
    let list = content.trim_ascii();
    let count = list.split(|byte| *byte == b',').try_fold(0_u32, |count, part| {
        let (first, last) = split_at_byte(part, |byte| byte == b'-');
        let first = unsigned_32(first)?;
        let last = if last.is_empty() {
            first
        } else {
            unsigned_32(last)?
        };
        let more = last.checked_sub(first)?;
        Some(count.saturating_add(more).saturating_add(1))
    })?;
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_single_ones_are_counted() {
        assert_eq!(count_cpus(b"0\n"), Some(1));
        assert_eq!(count_cpus(b"0-1\n"), Some(2));
        // 0 1 2 3, 8, 10 11.
        assert_eq!(count_cpus(b"0-3,8,10-11\n"), Some(7));
        for text in [&b"\n"[..], b"", b"3-1", b"0,,1", b"all"] {
            assert_eq!(count_cpus(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_absurd_range_saturates() {
        assert_eq!(count_cpus(b"0-4294967295,0-4294967295"), Some(u32::MAX));
    }
}
