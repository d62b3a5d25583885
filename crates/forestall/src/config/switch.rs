//! Switches in quotes. A text is no boolean, whatever it says: a template that quotes what it fills in would otherwise decide
//! whether `"no"` is on. The parser reads `"true"` as a boolean, so that the text is looked through once it is known to be sound.
//! No setting is meant to be the text `true` or `false`.

/// Line and column of the first `"true"` or `"false"`.
pub(super) fn find_quoted(text: &str) -> Option<(usize, usize)> {
    let mut lines = text.lines().enumerate();
    lines.find_map(|(number, line)| Some((number + 1, find_in(line)? + 1)))
}

fn find_in(line: &str) -> Option<usize> {
    let mut letters = line.chars().enumerate();
    let mut before = ' ';
    while let Some((at, letter)) = letters.next() {
        let begins = before.is_whitespace() || matches!(before, '[' | '{' | ',' | ':');
        match letter {
            '#' if before.is_whitespace() => return None,
            '"' | '\'' if begins => {
                let quoted: String = letters
                    .by_ref()
                    .map(|(_, next)| next)
                    .take_while(|next| *next != letter)
                    .collect();
                let word = quoted.trim();
                if word.eq_ignore_ascii_case("true") || word.eq_ignore_ascii_case("false") {
                    return Some(at);
                }
            }
            _ => {}
        }
        before = letter;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_boolean_is_found_and_a_text_that_holds_one_is_none() {
        assert_eq!(find_quoted("mode: shadow\nbeside: \"true\"\n"), Some((2, 9)));
        assert_eq!(find_quoted("rungs: {kill: 'False'}"), Some((1, 15)));
        assert_eq!(find_quoted("beside: &a \"true\""), Some((1, 12)));
        for sound in [
            "beside: true # not \"true\"",
            "root: \"/a 'true' b\"",
            "root: \"/true\"",
            "# 'false'",
        ] {
            assert_eq!(find_quoted(sound), None, "{sound}");
        }
    }
}
