//! Memory limits: `memory.max` and its relatives on cgroup v2, `memory.limit_in_bytes` on v1.

use super::number::unsigned;

/// A limit of a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// So many bytes.
    Bytes(u64),
    /// None of its own.
    #[default]
    Max,
}

impl Limit {
    /// Cgroup v1 has no word for "no limit": it shows the largest number of whole pages below 2^63 bytes
    /// (`PAGE_COUNTER_MAX` in `include/linux/page_counter.h`), whose low digits depend on the page size. This is that number
    /// for pages of 1 MiB, larger than any there are; nothing below it is ever "no limit".
    const V1_UNLIMITED_MIN: u64 = (1 << 63) - (1 << 20);

    /// Reads a limit; `None` where `content` is neither `max` nor a number.
    pub fn parse(content: &[u8]) -> Option<Self> {
        match content.trim_ascii() {
            b"max" => Some(Self::Max),
            digits => unsigned(digits).map(Self::from_bytes),
        }
    }

    /// The limit that a plain number of bytes means, on either cgroup version.
    pub const fn from_bytes(bytes: u64) -> Self {
        if bytes >= Self::V1_UNLIMITED_MIN {
            Self::Max
        } else {
            Self::Bytes(bytes)
        }
    }

    /// The number of bytes; `None` for no limit.
    pub const fn bytes(self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Max => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_is_no_number() {
        assert_eq!(Limit::parse(b"max\n"), Some(Limit::Max));
        assert_eq!(Limit::parse(b"1073741824\n"), Some(Limit::Bytes(1 << 30)));
        assert_eq!(Limit::parse(b"0\n"), Some(Limit::Bytes(0)));
        assert_eq!(Limit::parse(b"maximum\n"), None);
        assert_eq!(Limit::parse(b""), None);
    }

    #[test]
    fn v1_shows_no_limit_as_the_largest_number_of_pages() {
        // (2^63 - 1) / PAGE_SIZE * PAGE_SIZE for pages of 4 KiB, 16 KiB and 64 KiB.
        assert_eq!(Limit::parse(b"9223372036854771712\n"), Some(Limit::Max));
        assert_eq!(Limit::parse(b"9223372036854759424\n"), Some(Limit::Max));
        assert_eq!(Limit::parse(b"9223372036854710272\n"), Some(Limit::Max));
        // Before 3.19 the counter was in bytes.
        assert_eq!(Limit::parse(b"9223372036854775807\n"), Some(Limit::Max));
        assert_eq!(Limit::parse(b"18446744073709551615\n"), Some(Limit::Max));
        assert_eq!(
            Limit::parse(b"4611686018427387904\n"),
            Some(Limit::Bytes(1 << 62))
        );
    }

    #[test]
    fn no_limit_is_above_every_limit() {
        assert!(Limit::Max > Limit::Bytes(u64::MAX));
    }
}
