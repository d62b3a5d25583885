//! Percentages of memory; kept as permille, which is what the engine reckons in.

/// Reads `85`, `85%` or `85.5`; answers permille. A tenth of a percent is the finest step.
pub(crate) fn parse_percent(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a percentage between 0 and 100, such as 85 or 82.5");
    let text = text.trim();
    let number = text.strip_suffix('%').unwrap_or(text);
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(tenths) || whole.len() > 3 || tenths.len() != 1 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let tenths: u64 = tenths.parse().map_err(|_| wrong())?;
    let permille = whole * 10 + tenths;
    if permille > 1000 {
        Err(wrong())
    } else {
        Ok(permille)
    }
}

/// The percentage as [`parse_percent`] reads it back.
pub(crate) fn write_percent(permille: u64) -> String {
    if permille.is_multiple_of(10) {
        (permille / 10).to_string()
    } else {
        format!("{}.{}", permille / 10, permille % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permille_comes_out() {
        for (text, permille) in [("85", 850), ("85%", 850), ("82.5", 825), ("0", 0), ("100", 1000)] {
            assert_eq!(parse_percent(text), Ok(permille));
        }
        for bad in [
            "",
            "%",
            "85%%",
            "-1",
            "100.1",
            "101",
            "1e2",
            "1e400",
            "NaN",
            "8.25",
            "85 per cent",
            ".5",
        ] {
            assert!(parse_percent(bad).is_err(), "{bad}");
        }
        assert_eq!(write_percent(825), "82.5");
        assert_eq!(write_percent(850), "85");
    }
}
