//! Searching for words in text, in the program once: memchr's search is written out wherever it is called, a kilobyte each time.

/// Where `word` first stands in `text`.
#[inline(never)]
pub fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, word)
}

/// Where it stands last.
#[inline(never)]
pub(crate) fn rfind(text: &[u8], word: &[u8]) -> Option<usize> {
    memchr::memmem::rfind(text, word)
}

/// Everywhere it stands, one not within the other.
pub(crate) fn find_all<'a>(text: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + find(text.get(from..)?, word)?;
        from = at + word.len().max(1);
        Some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_found_and_none_within_another() {
        assert_eq!(find_all(b"abababa", b"aba").collect::<Vec<_>>(), [0, 4]);
        assert_eq!(find_all(b"ab", b"").collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(find_all(b"ab", b"c").next(), None);
        assert_eq!((find(b"abab", b"ab"), rfind(b"abab", b"ab")), (Some(0), Some(2)));
    }
}
