//! Names from outside on their way to a terminal, and amounts as people read them.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path for a terminal: whatever could move its cursor, and what is no UTF-8, is escaped.
pub(crate) fn path(path: &Path) -> String {
    bytes(path.as_os_str().as_bytes())
}

/// Anything from outside, the same way.
pub(crate) fn bytes(text: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            // Format characters can reverse the direction of writing and so disguise a name.
            if letter.is_control()
                || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
            {
                shown.extend(letter.escape_unicode());
            } else {
                shown.push(letter);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// Binary units as `free -h` has them: `988Mi`, `3.0Gi`, and a decimal only below 10.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let mut unit = 0;
    let mut scale = 1_u128;
    let wide = u128::from(bytes);
    // 1000 and not 1024, so that no figure takes more than three digits.
    while wide / scale >= 1000 && unit + 1 < UNITS.len() {
        scale *= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("");
    let tenths = (wide * 10 + scale / 2) / scale;
    if unit == 0 {
        format!("{bytes}B")
    } else if tenths < 100 {
        format!("{}.{}{name}", tenths / 10, tenths % 10)
    } else {
        format!("{}{name}", (wide + scale / 2) / scale)
    }
}

/// Mebibytes with two decimals, rounded: `4565.73`.
pub(crate) fn mebi(bytes: u64) -> String {
    let hundredths = (u128::from(bytes) * 100 + (1 << 19)) >> 20;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// `part` of `whole` in percent with two decimals, rounded; empty when there is no whole.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let (part, whole) = (u128::from(part), u128::from(whole));
    match (part * 10_000 + whole / 2).checked_div(whole) {
        Some(hundredths) => format!("{}.{:02} %", hundredths / 100, hundredths % 100),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_hostile_name_reaches_no_terminal() {
        let hostile = Path::new(OsStr::from_bytes(b"/pod\x1b[2J\n\xff\xe2\x80\xaex"));
        assert_eq!(path(hostile), "/pod\\u{1b}[2J\\u{a}\\xff\\u{202e}x");
        assert_eq!(path(Path::new("/kubepods/pod_ä-1")), "/kubepods/pod_ä-1");
    }

    #[test]
    fn people_read_three_digits() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(999), "999B");
        assert_eq!(human(1000), "1.0Ki");
        assert_eq!(human(3000 << 20), "2.9Gi");
        assert_eq!(human(988 << 20), "988Mi");
        assert_eq!(human(24_684_084 << 10), "24Gi");
        assert_eq!(human(u64::MAX), "16384Pi");
    }

    #[test]
    fn mebibytes_and_percent_are_rounded() {
        assert_eq!(mebi(4_675_304 << 10), "4565.73");
        assert_eq!(mebi(5_573_943_296), "5315.73");
        assert_eq!(mebi(7_291_510_784), "6953.73");
        assert_eq!(percent(4_675_304, 7_120_616), "65.66 %");
        assert_eq!(percent(4_419_304, 7_120_616), "62.06 %");
        assert_eq!(percent(1, 0), "");
    }
}
