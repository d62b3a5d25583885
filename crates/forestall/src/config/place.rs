//! Where in a file a value stands that was understood and makes no sense: the checks know fields and not lines.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

/// Values by their names, and where each stands.
type Places = BTreeMap<String, Spanned<IgnoredAny>>;

/// The fields that have fields of their own.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Sections {
    rungs: Places,
    timing: Places,
    recorder: Places,
    notify: Places,
    war_story_a: Places,
    gist: Places,
}

/// Line and column of the value that `wrong` begins with the name of (`recorder.keep: …`); `None` where the text does not hold
/// it: what is missing there is a default, or was given as a flag.
pub(super) fn find(text: &str, wrong: &str) -> Option<(u64, u64)> {
    let field = wrong.split([':', ' ']).next()?;
    let (places, name) = match field.split_once('.') {
        None => (serde_saphyr::from_str::<Places>(text).ok()?, field),
        Some((section, name)) => {
            let sections: Sections = serde_saphyr::from_str(text).ok()?;
            let places = match section {
                "rungs" => sections.rungs,
                "timing" => sections.timing,
                "recorder" => sections.recorder,
                "notify" => sections.notify,
                "warStoryA" => sections.war_story_a,
                "gist" => sections.gist,
                _ => return None,
            };
            (places, name)
        }
    };
    let at = places.get(name)?.referenced;
    Some((at.line(), at.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_in_either_style() {
        let text = "# here\nroot: \"\"\nrecorder: {enabled: true, keep: 5s}\ntiming:\n  interval: 1h\n";
        for (wrong, place) in [
            ("root: is empty", Some((2, 7))),
            ("recorder.keep: too short", Some((3, 33))),
            ("timing.interval (--interval): 1h is too long", Some((5, 13))),
            ("timing.tickNear: 2s is longer", None),
            ("gist.minAvailable: 0 bytes", None),
            ("nothing of the kind", None),
        ] {
            assert_eq!(find(text, wrong), place, "{wrong}");
        }
    }
}
