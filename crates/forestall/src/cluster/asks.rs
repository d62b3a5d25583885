//! What a pod's annotations ask of this agent: `forestall.io/evict`, `forestall.io/before-oom` and `forestall.io/grow`.
//!
//! They are written by whoever may write pods, and a mistake in one must neither cost the pod its life nor its vote: what cannot be understood
//! is told and asks for nothing, but for a veto with a mistake behind it, which stays a veto.

use std::time::Duration;

use forestall_decide::kubelet::Quantity;
use forestall_decide::{Asks, Bytes, Span};

use super::slim::Texts;

const EVICT: &str = "forestall.io/evict";
const BEFORE_OOM: &str = "forestall.io/before-oom";
const GROW: &str = "forestall.io/grow";

/// How much sooner than others a pod goes that says so of itself: as much as an operator's preference of that weight.
const FIRST: i32 = 100;

/// The longest that a pod may ask to be waited for.
const WAIT_MAX: Duration = Duration::from_mins(2);

/// Reads the annotations. What is wrong with them goes to `wrong`, a sentence each that names the annotation and quotes nothing raw.
pub(super) fn read(annotations: &Texts, wrong: &mut Vec<String>) -> Asks {
    let mut asks = Asks::default();
    for word in words(annotations, EVICT) {
        match word {
            "never" => asks.opted_out = true,
            "first" => asks.preference = FIRST,
            "final" => asks.final_eviction = true,
            other => wrong.push(unknown(EVICT, other, "never, first or final")),
        }
    }
    for word in words(annotations, BEFORE_OOM) {
        match word.split_once('=') {
            Some(("wait", time)) => match wait(time) {
                Some(span) => asks.warning = Some(span),
                None => wrong.push(unknown(
                    BEFORE_OOM,
                    word,
                    "wait= a time of at most 2m, such as 5s",
                )),
            },
            // What is sent, and where, is read by whoever sends it.
            Some(("signal" | "http", _)) => {}
            _ => wrong.push(unknown(
                BEFORE_OOM,
                word,
                "signal=SIGUSR1 or http=:PORT/PATH, and wait=5s",
            )),
        }
    }
    for word in words(annotations, GROW) {
        let size = word
            .strip_prefix("max=")
            .and_then(|size| Quantity::parse(size).ok())
            .map(|size| size.exact.round_down())
            .filter(|size| *size > Bytes(0));
        match size {
            Some(size) => asks.growth = Some(size),
            None => wrong.push(unknown(GROW, word, "max= a size, such as max=2Gi")),
        }
    }
    asks
}

fn words<'a>(annotations: &'a Texts, name: &str) -> impl Iterator<Item = &'a str> {
    let value = annotations.get(name).map_or("", String::as_str);
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn unknown(name: &str, word: &str, known: &str) -> String {
    let shown: String = word.chars().take(40).collect();
    format!(
        "annotation {name}: {} is not understood and asks for nothing; write {known}",
        crate::log::escape::bytes(shown.as_bytes())
    )
}

/// `5s`, `500ms` or `1m`.
fn wait(text: &str) -> Option<Span> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "m" => number.checked_mul(60_000)?,
        _ => return None,
    };
    (millis > 0 && u128::from(millis) <= WAIT_MAX.as_millis()).then(|| Span::millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> (Asks, Vec<String>) {
        let annotations = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut wrong = Vec::new();
        let asks = read(&annotations, &mut wrong);
        (asks, wrong)
    }

    #[test]
    fn a_pod_says_what_may_be_done_to_it() {
        let (asks, wrong) = asked(&[
            (EVICT, "first, final"),
            (BEFORE_OOM, "signal=SIGUSR1,wait=5s"),
            (GROW, "max=2Gi"),
            ("other.io/evict", "never"),
        ]);
        let expected = Asks {
            opted_out: false,
            final_eviction: true,
            warning: Some(Span::secs(5)),
            growth: Some(Bytes(2 << 30)),
            preference: FIRST,
        };
        assert_eq!((asks, wrong), (expected, vec![]));
    }

    #[test]
    fn garbage_asks_for_nothing_and_is_told_without_its_control_characters() {
        let (asks, wrong) = asked(&[
            (EVICT, "\u{1b}[31mmaybe"),
            (BEFORE_OOM, "wait=3h,wait=0s,wait=99999999999999999999s,run=rm"),
            (GROW, "max=-1,max=lots,2Gi"),
        ]);
        assert_eq!(asks, Asks::default());
        assert_eq!(wrong.len(), 8, "{wrong:?}");
        assert!(wrong.iter().all(|what| !what.contains('\u{1b}')), "{wrong:?}");
    }

    #[test]
    fn a_veto_holds_whatever_stands_beside_it() {
        let (asks, wrong) = asked(&[(EVICT, "sometimes,never")]);
        assert!(asks.opted_out && wrong.len() == 1);
    }
}
