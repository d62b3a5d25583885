//! A place in a line, from which what is expected is taken piece by piece. Whatever does not fit leaves the cursor where it was.

use super::number::{signed, unsigned};

/// What is left of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Takes `text` if it stands here.
    pub(crate) fn take(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// Takes one byte if it is one of `bytes`.
    pub(crate) fn take_any(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        bytes.contains(first).then(|| {
            self.rest = rest;
            *first
        })
    }

    /// Passes over blanks.
    pub(crate) fn blanks(&mut self) {
        while self.take_any(b" \t").is_some() {}
    }

    /// Takes as long as `is_part`; nothing may be what it takes.
    pub(crate) fn take_while(&mut self, is_part: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !is_part(*byte));
        let (taken, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Takes up to the next blank.
    pub(crate) fn word(&mut self) -> &'a [u8] {
        self.take_while(|byte| byte != b' ' && byte != b'\t')
    }

    /// Takes digits.
    pub(crate) fn digits(&mut self) -> Option<u64> {
        let mut ahead = *self;
        let value = unsigned(ahead.take_while(|byte| byte.is_ascii_digit()))?;
        *self = ahead;
        Some(value)
    }

    /// Takes digits with or without a minus.
    pub(crate) fn signed_digits(&mut self) -> Option<i64> {
        let mut ahead = *self;
        let length = self.rest.len();
        ahead.take(b"-").unwrap_or_default();
        ahead.digits()?;
        let value = signed(self.rest.get(..length - ahead.rest.len())?)?;
        *self = ahead;
        Some(value)
    }

    /// Takes exactly `count` digits, for dates.
    pub(crate) fn fixed_digits(&mut self, count: usize) -> Option<u64> {
        let (digits, rest) = self.rest.split_at_checked(count)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let value = unsigned(digits)?;
        self.rest = rest;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_taken_and_what_does_not_stays() {
        let mut line = Cursor::new(b"pid 12, adj -998 x");
        assert_eq!(line.take(b"pix"), None);
        assert_eq!(line.take(b"pid"), Some(()));
        assert_eq!(line.digits(), None);
        line.blanks();
        assert_eq!(line.digits(), Some(12));
        assert_eq!(line.take_any(b";,"), Some(b','));
        assert_eq!(line.take(b" adj "), Some(()));
        assert_eq!(line.signed_digits(), Some(-998));
        assert_eq!(line.signed_digits(), None);
        line.blanks();
        assert_eq!(line.fixed_digits(2), None);
        assert_eq!((line.word(), line.rest()), (&b"x"[..], &b""[..]));
    }
}
