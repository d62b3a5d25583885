//! Where things lie: the fields of an event (`events/…/format`) and of a page of the ring buffer (`events/header_page`).
//!
//! Both files list fields as `field:TYPE NAME; offset:N; size:N; signed:N;`. It refuses to know any offset by itself.

use crate::parse::{lines, unsigned};

/// Where a field lies in a record, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// From the record's beginning.
    pub(super) offset: usize,
    /// Its length.
    pub(super) size: usize,
    /// It holds no text but says where the text lies in the record (`__data_loc`): length and offset, 16 bits each.
    pub(super) is_elsewhere: bool,
}

impl Field {
    /// Its bytes in `record`.
    pub(super) fn bytes(self, record: &[u8]) -> Option<&[u8]> {
        let bytes = record.get(self.offset..self.offset.checked_add(self.size)?)?;
        if !self.is_elsewhere {
            return Some(bytes);
        }
        let place = u32::from_ne_bytes(bytes.try_into().ok()?);
        let offset = usize::try_from(place & 0xffff).ok()?;
        let size = usize::try_from(place >> 16).ok()?;
        record.get(offset..offset.checked_add(size)?)
    }

    /// Its number, as wide as the field is, without a sign.
    pub(super) fn unsigned(self, record: &[u8]) -> Option<u64> {
        let bytes = record.get(self.offset..self.offset.checked_add(self.size)?)?;
        Some(match self.size {
            1 => u64::from(*bytes.first()?),
            2 => u64::from(u16::from_ne_bytes(bytes.try_into().ok()?)),
            4 => u64::from(u32::from_ne_bytes(bytes.try_into().ok()?)),
            8 => u64::from_ne_bytes(bytes.try_into().ok()?),
            _ => return None,
        })
    }

    /// Its number where it has a sign and at most 32 bits.
    pub(super) fn signed(self, record: &[u8]) -> Option<i32> {
        let number = self.unsigned(record)?;
        match self.size {
            2 => Some(i32::from(u16::try_from(number).ok()?.cast_signed())),
            4 => Some(u32::try_from(number).ok()?.cast_signed()),
            _ => None,
        }
    }
}

/// The fields of `content` that are called `name`, the first of them.
fn find_field(content: &[u8], name: &[u8]) -> Option<Field> {
    lines(content).find_map(|line| {
        let mut parts = line
            .trim_ascii()
            .split(|byte| *byte == b';')
            .map(<[u8]>::trim_ascii);
        let declared = parts.next()?.strip_prefix(b"field:")?;
        let called = declared.rsplit(|byte| *byte == b' ').next()?;
        let called = called.split(|byte| *byte == b'[').next()?;
        if called != name {
            return None;
        }
        let mut number = |key: &[u8]| usize::try_from(unsigned(parts.next()?.strip_prefix(key)?)?).ok();
        Some(Field {
            offset: number(b"offset:")?,
            size: number(b"size:")?,
            is_elsewhere: declared.trim_ascii_start().starts_with(b"__data_loc"),
        })
    })
}

/// A `format` file.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventFormat<'a> {
    content: &'a [u8],
}

impl<'a> EventFormat<'a> {
    /// Takes the file's content.
    pub(super) const fn of(content: &'a [u8]) -> Self {
        Self { content }
    }

    /// The number that stands in `common_type` of its records.
    pub(super) fn id(&self) -> Option<u16> {
        let id = lines(self.content).find_map(|line| line.strip_prefix(b"ID:"))?;
        u16::try_from(unsigned(id.trim_ascii())?).ok()
    }

    /// The field of this name.
    pub(super) fn field(&self, name: &[u8]) -> Option<Field> {
        find_field(self.content, name)
    }
}

/// How a page of the ring buffer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageFormat {
    pub(super) timestamp: Field,
    pub(super) commit: Field,
    pub(super) data: Field,
}

impl PageFormat {
    /// Pages, which other kernels call sub-buffers, are of the processor's size, or larger where somebody asked for it; never larger than this, bytes.
    const PAGE_BYTES_MAX: usize = 1 << 20;

    /// Reads `header_page`; `None` where it makes no sense.
    pub(super) fn parse(content: &[u8]) -> Option<Self> {
        let field = |name: &[u8]| find_field(content, name);
        let format = Self {
            timestamp: field(b"timestamp")?,
            commit: field(b"commit")?,
            data: field(b"data")?,
        };
        let known = format.timestamp.size == 8 && matches!(format.commit.size, 4 | 8);
        (known && format.page_bytes() <= Self::PAGE_BYTES_MAX).then_some(format)
    }

    /// The length of a page, bytes: so much is read at once.
    pub(super) const fn page_bytes(&self) -> usize {
        self.data.offset.saturating_add(self.data.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 6.18 has it on x86-64.
    const HEADER_PAGE: &[u8] = b"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
        \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
        \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
        \tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n";

    #[test]
    fn a_page_begins_as_the_kernel_says() {
        let format = PageFormat::parse(HEADER_PAGE).expect("a format");
        assert_eq!(format.page_bytes(), 4096);
        assert_eq!((format.timestamp.offset, format.commit.offset), (0, 8));
        assert_eq!(PageFormat::parse(b""), None);
        let huge = String::from_utf8_lossy(HEADER_PAGE).replace("size:4080", "size:99999999999999999999");
        assert_eq!(PageFormat::parse(huge.as_bytes()), None);
    }

    #[test]
    fn a_name_is_not_its_type_or_its_length() {
        let content = b"name: x\nID: 261\nformat:\n\tfield:char comm[16];\toffset:20;\tsize:16;\tsigned:0;\n\
            \tfield:__data_loc char[] name;\toffset:12;\tsize:4;\tsigned:0;\n\tfield:short adj;\toffset:4;\tsize:2;\tsigned:1;\n";
        let format = EventFormat::of(content);
        assert_eq!(format.id(), Some(261));
        let comm = format.field(b"comm").expect("a field");
        assert_eq!((comm.offset, comm.size, comm.is_elsewhere), (20, 16, false));
        assert!(format.field(b"name").expect("a field").is_elsewhere);
        assert_eq!(format.field(b"char"), None);
        assert_eq!(EventFormat::of(b"ID: 99999\n").id(), None);
        let adj = format.field(b"adj").expect("a field");
        assert_eq!(adj.signed(&[0, 0, 0, 0, 0x18, 0xfc]), Some(-1000));
        assert_eq!(adj.signed(&[0, 0, 0, 0, 0x18]), None, "a record that is cut off");
    }

    #[test]
    fn a_text_that_is_said_to_lie_outside_is_none() {
        let field = Field {
            offset: 0,
            size: 4,
            is_elsewhere: true,
        };
        let inside = [4_u8, 0, 2, 0, b'a', 0];
        assert_eq!(field.bytes(&inside), Some(&b"a\0"[..]));
        assert_eq!(field.bytes(&[4, 0, 3, 0, b'a', 0]), None);
        assert_eq!(field.bytes(&[0xff; 6]), None);
        assert_eq!(field.bytes(&[4, 0, 2]), None);
    }
}
