//! Whole numbers in as few bytes as they need.
//!
//! Numbers are little-endian groups of seven bits (LEB128). A difference is a zigzag number with one more bit in front:
//! memory moves in pages of 4 KiB, and a difference that is whole pages is counted in them.

/// The unit in which differences of memory are counted where they are whole multiples of it.
const PAGE: i64 = 4096;

/// Appends a number.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low(value) | 0x80);
        value >>= 7;
    }
    out.push(low(value));
}

/// Appends the difference from `before` to `after`; it wraps, so that every pair has one.
pub(crate) fn put_difference(out: &mut Vec<u8>, before: u64, after: u64) {
    let difference = after.wrapping_sub(before).cast_signed();
    let (value, flag) = if difference % PAGE == 0 {
        (zigzag(difference / PAGE), 0)
    } else {
        (zigzag(difference), 1)
    };
    // The flag and six bits; then groups of seven, as any number.
    let rest = value >> 6;
    let more = if rest == 0 { 0 } else { 0x80 };
    out.push(more | (low(value) & 0x3f) << 1 | flag);
    if rest != 0 {
        put(out, rest);
    }
}

/// Appends a signed number.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, zigzag(value));
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

// Seven bits are all that is kept.
#[allow(clippy::cast_possible_truncation)]
const fn low(value: u64) -> u8 {
    (value & 0x7f) as u8
}

/// Reads what the functions above append. `None` at the end of the bytes, or where a number is longer than any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What is left.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << shift;
            if shifted >> shift != bits {
                return None;
            }
            value |= shifted;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A number that counts something in memory.
    pub(crate) fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        self.number().map(unzigzag)
    }

    /// What `before` has become.
    pub(crate) fn difference(&mut self, before: u64) -> Option<u64> {
        let first = self.byte()?;
        let mut value = u64::from(first >> 1 & 0x3f);
        if first >= 0x80 {
            let rest = self.number()?;
            if rest >> 58 != 0 {
                return None;
            }
            value |= rest << 6;
        }
        let difference = if first & 1 == 0 {
            unzigzag(value).checked_mul(PAGE)?
        } else {
            unzigzag(value)
        };
        Some(before.wrapping_add(difference.cast_unsigned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_changes_take_one_byte() {
        for (before, after, bytes) in [
            (0, 0, &[0_u8][..]),
            // One page up: zigzag 2, whole pages.
            (4096, 8192, &[2 << 1]),
            // One page down: zigzag 1.
            (8192, 4096, &[1 << 1]),
            // 31 pages are zigzag 62, the last that fits six bits.
            (0, 31 * 4096, &[62 << 1]),
            (0, 32 * 4096, &[0x80, 1]),
            // Five bytes: zigzag 10, no whole pages.
            (10, 15, &[10 << 1 | 1]),
        ] {
            let mut out = Vec::new();
            put_difference(&mut out, before, after);
            assert_eq!(out, bytes, "{before} to {after}");
        }
    }

    #[test]
    fn a_number_longer_than_any_is_refused() {
        assert_eq!(Cursor::new(&[0xff; 10]).number(), None);
        assert_eq!(Cursor::new(&[0x80, 0x80]).number(), None);
        let mut most = Vec::new();
        put(&mut most, u64::MAX);
        assert_eq!((most.len(), Cursor::new(&most).number()), (10, Some(u64::MAX)));
        // The tenth byte has room for one bit only.
        most[9] = 2;
        assert_eq!(Cursor::new(&most).number(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(before in any::<u64>(), after in any::<u64>(), pages in any::<u32>(), signed in any::<i64>()) {
            let near = before.wrapping_add(u64::from(pages) * 4096);
            let mut out = Vec::new();
            put_difference(&mut out, before, after);
            put_difference(&mut out, before, near);
            put(&mut out, after);
            put_signed(&mut out, signed);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.difference(before), Some(after));
            prop_assert_eq!(cursor.difference(before), Some(near));
            prop_assert_eq!(cursor.number(), Some(after));
            prop_assert_eq!(cursor.signed(), Some(signed));
            prop_assert!(cursor.is_empty());
        }
    }
}
