//! Text on its way into the page. Names come from outside: nothing of them may end an element, an attribute or a line.

use crate::log::escape;

/// Text for an element or an attribute: what cannot be seen is written out first, then what HTML reads is escaped.
pub(super) fn text(raw: &str) -> String {
    html(&escape::text(raw))
}

/// The same for a sentence whose names are written out already: to do that twice would double their backslashes.
pub(super) fn html(shown: &str) -> String {
    let mut out = String::with_capacity(shown.len());
    for letter in shown.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_element() {
        assert_eq!(
            text("</td><script>alert('\"&\")</script>"),
            "&lt;/td&gt;&lt;script&gt;alert(&#39;&quot;&amp;&quot;)&lt;/script&gt;"
        );
        assert_eq!(
            text("a\u{0}\u{1b}[2J\n\u{202e}b"),
            "a\\x00\\x1b[2J\\x0a\\u{202e}b"
        );
    }
}
