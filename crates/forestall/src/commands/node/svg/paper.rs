//! What a drawing is made of: rectangles, lines and text in a column that grows downwards. All colours are classes of one
//! style sheet, which follows the reader's choice of light or dark; nothing is fetched and nothing runs.

use std::fmt::Write as _;

/// Width of the drawing.
pub(super) const WIDTH: u64 = 960;
/// Left and right of it.
pub(super) const MARGIN: u64 = 24;

/// Pastel behind dark ink in light, deep behind light ink in dark, so that text may stand on every one of them. No two
/// regions differ by colour alone: cache is dotted, blind bytes and what is past a threshold are hatched.
const STYLE: &str = "\
:root{--page:#fff;--ink:#1b1f24;--faint:#57606a;--line:#afb8c1;--used:#7cc58f;--cache:#9ecbff;--free:#eef1f4;\
--evicting:#f2c14e;--reserved:#c9b6f0;--blind:#f59a93}\
@media(prefers-color-scheme:dark){:root{--page:#0d1117;--ink:#e6edf3;--faint:#9198a1;--line:#57606a;--used:#1f6b35;\
--cache:#1d4f91;--free:#21262d;--evicting:#7a5500;--reserved:#4b3a80;--blind:#8f2a25}}\
text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:var(--ink);font-variant-numeric:tabular-nums}\
.page{fill:var(--page)}.used{fill:var(--used)}.cache{fill:var(--cache)}.free{fill:var(--free)}.evicting{fill:var(--evicting)}\
.reserved{fill:var(--reserved)}.blind{fill:var(--blind)}.frame{fill:none;stroke:var(--line)}\
.mark{stroke:var(--ink);stroke-dasharray:3 3}.tick{stroke:var(--line)}.dots{fill:url(#dots)}.hatch{fill:url(#hatch)}\
.pattern{stroke:var(--page);stroke-width:1.5;fill:none}.dot{fill:var(--page)}\
.big{font-size:20px;font-weight:600}.bold{font-weight:600}.faint{fill:var(--faint);font-size:12px}\
.middle{text-anchor:middle}.end{text-anchor:end}";

const PATTERNS: &str = "\
<pattern id=\"dots\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><circle class=\"dot\" cx=\"3\" cy=\"3\" r=\"1\"/></pattern>\
<pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><path class=\"pattern\" d=\"M-1 1l2-2M0 6l6-6M5 7l2-2\"/></pattern>";

/// A drawing in the making.
#[derive(Debug, Default)]
pub(super) struct Paper {
    body: String,
    /// Where the next thing goes.
    pub(super) y: u64,
}

impl Paper {
    /// Text at `x`, its base line `down` below the cursor; `classes` are those of the style sheet.
    pub(super) fn text(&mut self, x: u64, down: u64, classes: &str, text: &str) {
        let y = self.y + down;
        let _ = writeln!(
            self.body,
            "<text x=\"{x}\" y=\"{y}\" class=\"{classes}\">{}</text>",
            escape(text)
        );
    }

    /// Text as wide as the page, over as many lines as it takes.
    pub(super) fn paragraph(&mut self, classes: &str, text: &str) {
        for line in wrap(text, 122) {
            self.y += 17;
            self.text(MARGIN, 0, classes, &line);
        }
    }

    /// A rectangle from `left` to `right`, below the cursor. Nothing is drawn where it would have no width.
    pub(super) fn region(&mut self, left: u64, right: u64, height: u64, class: &str) {
        let Some(width) = right.checked_sub(left).filter(|width| *width > 0) else {
            return;
        };
        let y = self.y;
        let place = format!("x=\"{left}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"");
        let _ = writeln!(self.body, "<rect {place} class=\"{class}\"/>");
        let over = match class {
            "cache" => "dots",
            "blind" | "evicting" => "hatch",
            _ => return,
        };
        let _ = writeln!(self.body, "<rect {place} class=\"{over}\"/>");
    }

    /// A line straight down at `x`, between two heights of the page.
    pub(super) fn upright(&mut self, x: u64, from: u64, to: u64, class: &str) {
        let _ = writeln!(self.body, "<path d=\"M{x}.5 {from}V{to}\" class=\"{class}\"/>");
    }

    /// The finished drawing.
    pub(super) fn finish(self, title: &str, description: &str) -> String {
        let height = self.y + MARGIN;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             role=\"img\" aria-labelledby=\"title description\">\n\
             <title id=\"title\">{}</title>\n<desc id=\"description\">{}</desc>\n\
             <style>{STYLE}</style>\n<defs>{PATTERNS}</defs>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" class=\"page\"/>\n{}</svg>\n",
            escape(title),
            escape(description),
            self.body
        )
    }
}

/// Text for XML. What XML 1.0 cannot hold at all is replaced.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            letter if letter.is_control() => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}

/// Lines of at most so many letters; only a word that is longer stands alone and is cut.
pub(super) fn wrap(text: &str, letters_max: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if word.len() > letters_max {
            word.truncate(letters_max.saturating_sub(1));
            word.push('…');
        }
        let Some(line) = lines.last_mut() else { break };
        let length = line.chars().count();
        if length > 0 && length + 1 + word.len() > letters_max {
            lines.push(word.into_iter().collect());
        } else {
            if length > 0 {
                line.push(' ');
            }
            line.extend(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_element() {
        assert_eq!(
            escape("</text><script>&\"'"),
            "&lt;/text&gt;&lt;script&gt;&amp;&quot;&#39;"
        );
        assert_eq!(
            escape("a\u{0}\u{1b}[2J\u{ffff}ä"),
            "a\u{fffd}\u{fffd}[2J\u{fffd}ä"
        );
    }

    #[test]
    fn long_text_takes_more_lines() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("overlong x", 5), ["over…", "x"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn what_has_no_width_is_not_drawn() {
        let mut paper = Paper::default();
        paper.region(5, 5, 10, "used");
        paper.region(6, 5, 10, "used");
        assert_eq!(paper.body, "");
    }
}
