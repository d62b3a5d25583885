//! YAML or JSON as a value that may be anything, and the line on which a key of it stands.
//!
//! It refuses what is larger or deeper than any configuration of a kubelet, so that nobody's file can exhaust the agent, and to
//! guess a line: of a key that stands there twice, or of a text with aliases, none is told.

use serde_json::Value;

/// The deepest configuration has five levels, and `configz` wraps it in one more.
const DEPTH_MAX: usize = 16;
/// One that names every field there is has some hundred.
const NODES_MAX: usize = 8192;

/// Reads a text.
pub(super) fn parse(text: &str) -> Result<Value, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
        },
    };
    serde_saphyr::from_str_with_options(text, options)
}

/// The line of what stands at a JSON pointer (RFC 6901, of keys that need no escape) from the top of a text, or below its
/// `kubeletconfig`.
pub(super) fn line(text: &str, pointer: &str) -> Option<usize> {
    if text.contains('*') {
        return None;
    }
    let mut keys = pointer.split('/').skip(1);
    let (mut at, rest) = find(text, keys.next()?)?;
    if find(rest, pointer.split('/').nth(1)?).is_some() {
        return None;
    }
    let mut rest = rest;
    for key in keys {
        let (within, behind) = find(rest, key)?;
        at = text.len() - rest.len() + within;
        rest = behind;
    }
    let before = text.get(..at)?;
    Some(1 + before.matches('\n').count())
}

/// Where `key` stands first as a key, and the text behind it.
fn find<'a>(text: &'a str, key: &str) -> Option<(usize, &'a str)> {
    text.match_indices(key).find_map(|(at, _)| {
        let before = text.get(..at)?;
        let behind = text.get(at + key.len()..)?;
        let is_quoted = before.ends_with(['"', '\'']);
        let before = before.strip_suffix(['"', '\'']).unwrap_or(before);
        let after = if is_quoted {
            behind.strip_prefix(['"', '\''])?
        } else {
            behind
        };
        let begins =
            before.is_empty() || before.ends_with(|c: char| c.is_whitespace() || c == '{' || c == ',');
        let line = before.rsplit('\n').next().unwrap_or_default();
        let is_key = begins && after.trim_start_matches(' ').starts_with(':') && !line.contains('#');
        is_key.then_some((at, behind))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_line_in_yaml_and_in_json() {
        let yaml = "# kubeReserved: none\nkubeReserved:\n  cpu: 1\n  memory: 1Gi\nevictionHard: {memory.available: 5%}\n";
        let json = "{\"kubeletconfig\":{\n\"kubeReserved\":\n{\"cpu\":1,\n\"memory\":\"1Gi\"},\n\"evictionHard\" : {\"memory.available\":\"5%\"}}}";
        for text in [yaml, json] {
            for (pointer, expected) in [
                ("/kubeReserved", 2),
                ("/kubeReserved/memory", 4),
                ("/evictionHard/memory.available", 5),
            ] {
                assert_eq!(line(text, pointer), Some(expected), "{pointer} in {text}");
            }
            assert_eq!(line(text, "/evictionSoft"), None);
        }
    }

    #[test]
    fn a_line_is_told_only_where_it_is_certain() {
        assert_eq!(
            line("a: {kubeReserved: 1}\nkubeReserved: {}\n", "/kubeReserved"),
            None
        );
        assert_eq!(
            line("r: &r {memory: 1}\nkubeReserved: *r\n", "/kubeReserved/memory"),
            None
        );
        assert_eq!(
            line(
                "mykubeReserved: 1\nkubeReserveds: 1\n'kubeReserved': 1\n",
                "/kubeReserved"
            ),
            Some(3)
        );
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused() {
        let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
        assert!(parse(&deep).is_err());
        let long = format!("a: [{}]", "1,".repeat(NODES_MAX));
        assert!(parse(&long).is_err());
    }
}
