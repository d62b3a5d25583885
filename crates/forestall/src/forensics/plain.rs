//! Colours taken out of a log: what `dmesg --color` and `journalctl` put around their lines for a terminal.
//!
//! It takes out nothing but colours, bold and the like, and the clearing of a line's rest. Whatever else begins with an escape stays in
//! the text, and is escaped where it is shown. So does a colour within a word: a process may put one into its name, which is another's without
//! it. grep paints within words, and clears the line's rest behind each colour.

/// No sequence of a colour is longer.
const SEQUENCE_BYTES_MAX: usize = 32;

/// Takes colours out of a log that comes block by block.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    out: Vec<u8>,
    /// A sequence whose end has not come yet.
    begun: Vec<u8>,
    /// Colours right behind a letter of a word, until it is clear what follows them.
    within: Vec<u8>,
    /// The last byte that stays.
    last: u8,
}

impl Plain {
    /// The block without colours. One that has no escape in it is handed back as it is.
    pub(crate) fn strip<'a>(&'a mut self, block: &'a [u8]) -> &'a [u8] {
        if self.begun.is_empty() && self.within.is_empty() && memchr::memchr(0x1b, block).is_none() {
            self.last = block.last().copied().unwrap_or(self.last);
            return block;
        }
        self.out.clear();
        let mut rest = block;
        while let Some((byte, behind)) = rest.split_first() {
            if self.begun.is_empty() {
                let end = memchr::memchr(0x1b, rest).unwrap_or(rest.len());
                let (text, escape) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                if let (Some(first), Some(last)) = (text.first(), text.last()) {
                    self.end_colours(*first);
                    self.last = *last;
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

    /// Colours go, but for those within a word that are not grep's.
    fn end_colours(&mut self, next: u8) {
        let is_within = is_of_word(self.last) && is_of_word(next);
        let is_greps = self.within.ends_with(b"m\x1b[K");
        if is_within && !is_greps {
            self.out.extend_from_slice(&self.within);
        }
        self.within.clear();
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
            self.begun.push(byte);
            let room = WITHIN_BYTES_MAX.saturating_sub(self.within.len());
            self.within.extend(self.begun.drain(..).take(room));
            return;
        }
        self.end_colours(self.begun.first().copied().unwrap_or(byte));
        self.last = byte;
        self.out.append(&mut self.begun);
        if byte == 0x1b {
            self.begun.push(byte);
        } else {
            self.out.push(byte);
        }
    }
}

/// No name is longer, and what is painted more than that is none.
const WITHIN_BYTES_MAX: usize = 64;

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' || byte >= 0x80
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
    fn a_name_with_a_colour_in_it_is_not_another_ones() {
        for (text, kept) in [
            (
                &b"process 7 (ja\x1b[0mva) t"[..],
                &b"process 7 (ja\x1b[0mva) t"[..],
            ),
            (b"(\x1b[1mjava\x1b[0m) t", b"(java) t"),
            (b"\x1b[1m7\x1b[0m", b"7"),
            // `grep --color=always illed`.
            (b"K\x1b[01;31m\x1b[Killed\x1b[m\x1b[K process", b"Killed process"),
        ] {
            assert_eq!(strip(&[text]), kept, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn where_a_block_ends_does_not_matter() {
        let text = b"\x1b[32m[ 1.5]\x1b[0m a\x1b[2Jb \x1b\x1b[1mc d\x1b[1me K\x1b[1m\x1b[Kf";
        let whole = strip(&[text]);
        for at in 0..text.len() {
            let (before, after) = text.split_at(at);
            assert_eq!(strip(&[before, after]), whole, "{at}");
        }
    }
}
