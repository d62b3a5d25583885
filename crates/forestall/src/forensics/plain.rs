//! Colours taken out of a log: what `dmesg --color` and `journalctl` put around their lines for a terminal.
//!
//! It takes out nothing but colours, bold and the like, and the clearing of a line's rest. Whatever else begins with an escape stays in
//! the text, and is escaped where it is shown.

/// No sequence of a colour is longer.
const SEQUENCE_BYTES_MAX: usize = 32;

/// Takes colours out of a log that comes block by block.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    out: Vec<u8>,
    /// A sequence whose end has not come yet.
    begun: Vec<u8>,
}

impl Plain {
    /// The block without colours. One that has no escape in it is handed back as it is.
    pub(crate) fn strip<'a>(&'a mut self, block: &'a [u8]) -> &'a [u8] {
        if self.begun.is_empty() && memchr::memchr(0x1b, block).is_none() {
            return block;
        }
        self.out.clear();
        let mut rest = block;
        while let Some((byte, behind)) = rest.split_first() {
            if self.begun.is_empty() {
                let end = memchr::memchr(0x1b, rest).unwrap_or(rest.len());
                let (text, escape) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                if !text.is_empty() {
                    self.out.extend_from_slice(text);
                    rest = escape;
                    continue;
                }
            }
            self.hear(*byte);
            rest = behind;
        }
        &self.out
    }

    /// What was begun and never ended.
    pub(crate) fn finish(&mut self) -> &[u8] {
        &self.begun
    }

    fn hear(&mut self, byte: u8) {
        let goes_on = match self.begun.len() {
            0 => byte == 0x1b,
            1 => byte == b'[',
            _ => byte.is_ascii_digit() || b";:".contains(&byte),
        };
        if goes_on && self.begun.len() < SEQUENCE_BYTES_MAX {
            self.begun.push(byte);
            return;
        }
        let is_colour = self.begun.len() >= 2 && matches!(byte, b'm' | b'K');
        if is_colour {
            self.begun.clear();
            return;
        }
        self.out.append(&mut self.begun);
        if byte == 0x1b {
            self.begun.push(byte);
        } else {
            self.out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(blocks: &[&[u8]]) -> Vec<u8> {
        let mut plain = Plain::default();
        let mut out = Vec::new();
        for block in blocks {
            out.extend_from_slice(plain.strip(block));
        }
        out.extend_from_slice(plain.finish());
        out
    }

    #[test]
    fn colours_go_and_nothing_else() {
        let dmesg = b"\x1b[32m[    1.5] \x1b[0m\x1b[33musb 1-1: \x1b[0m\x1b[1;31mnew\x1b[0m\x1b[K\n";
        assert_eq!(strip(&[dmesg]), b"[    1.5] usb 1-1: new\n");
        for kept in [
            &b"a\x1b[2Jb"[..],
            b"a\x1bb",
            b"\x1b\x1b[",
            b"x\x1b[1;2",
            b"\x1b]0;title\x07",
        ] {
            assert_eq!(strip(&[kept]), kept, "{}", kept.escape_ascii());
        }
        let endless = [&b"\x1b["[..], &[b'1'; 100], b"m"].concat();
        assert_eq!(strip(&[&endless]), endless);
    }

    #[test]
    fn where_a_block_ends_does_not_matter() {
        let text = b"\x1b[32m[ 1.5]\x1b[0m a\x1b[2Jb \x1b\x1b[1mc";
        let whole = strip(&[text]);
        for at in 0..text.len() {
            let (before, after) = text.split_at(at);
            assert_eq!(strip(&[before, after]), whole, "{at}");
        }
    }
}
