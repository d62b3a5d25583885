//! `/dev/kmsg`'s escapes: bytes below 32, from 127 on, and the backslash itself come as `\xNN` (`msg_add_ext_text` in
//! `kernel/printk/printk.c`).

/// Decodes `text` into `buffer` and returns what was decoded. What does not fit is cut; a buffer as long as the text holds it
/// always. A text without a backslash is returned as it is, and the buffer left alone: nearly every line.
///
/// A backslash that begins no escape stays: it is no kernel's, and nothing is guessed.
pub fn unescape_into<'a>(text: &'a [u8], buffer: &'a mut [u8]) -> &'a [u8] {
    if memchr::memchr(b'\\', text).is_none() {
        return text;
    }
    let mut rest = text;
    let mut length = 0;
    while let (Some((byte, after)), Some(slot)) = (rest.split_first(), buffer.get_mut(length)) {
        (*slot, rest) = escaped(rest).unwrap_or((*byte, after));
        length += 1;
    }
    buffer.get(..length).unwrap_or_default()
}

/// The byte that an escape at the beginning of `text` stands for, and what follows it.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'\\', b'x', high, low, rest @ ..] = text else {
        return None;
    };
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    let byte = nibble(*high)? << 4 | nibble(*low)?;
    Some((u8::try_from(byte).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &[u8]) -> Vec<u8> {
        let mut buffer = [0; 64];
        unescape_into(text, &mut buffer).to_vec()
    }

    #[test]
    fn escapes_become_bytes() {
        assert_eq!(decode(b"x\\x0ay\\x09\\xc3\\xa9 z"), "x\ny\té z".as_bytes());
        assert_eq!(decode(b"c\\x5c"), b"c\\");
        // The kernel prints lower case; a reader of its log need not.
        assert_eq!(decode(b"\\x7F\\x7f"), b"\x7f\x7f");
    }

    #[test]
    fn a_decoded_backslash_begins_no_further_escape() {
        assert_eq!(decode(b"\\x5cx41"), b"\\x41");
    }

    #[test]
    fn what_is_no_escape_stays() {
        for text in [&b"\\"[..], b"a\\", b"\\x", b"\\x4", b"\\xg1", b"\\n", b"\\\\x4z"] {
            assert_eq!(decode(text), text);
        }
    }

    #[test]
    fn a_small_buffer_cuts() {
        let mut buffer = [0; 3];
        assert_eq!(unescape_into(b"\\x41\\x42cdef", &mut buffer), b"ABc");
        assert_eq!(unescape_into(b"\\x41", &mut []), b"");
    }
}
