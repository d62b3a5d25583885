//! A switch of the configuration. A text is no boolean, whatever it says: a template that quotes what it fills in would otherwise
//! decide whether `"no"` is on.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// On or off, written without quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch(pub(super) bool);

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Switch;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("true or false, without quotes")
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Self::Value, E> {
                Ok(Switch(on))
            }
            fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
                Err(E::custom(WRONG))
            }
            // Whatever is handed back from here is told with the place of the value.
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
                Err(E::custom(WRONG))
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
                Err(E::custom(WRONG))
            }
        }
        from.deserialize_any(Word)
    }
}

const WRONG: &str = "this is no boolean; write true or false, without quotes";

/// Whether it is on.
pub(super) fn is_on(switch: Switch) -> bool {
    switch.0
}

#[cfg(test)]
mod tests {
    use super::super::{Invalid, render};
    use crate::config::tests::check;

    #[test]
    fn no_switch_is_a_text_in_quotes() {
        let switches = [
            "beside: ",
            "forceEmpty: ",
            "recorder: {enabled: ",
            "ledger: {enabled: ",
            "ledger: {tracing: ",
            "rungs: {reclaim: ",
            "rungs: {brake: ",
            "rungs: {warn: ",
            "rungs: {grow: ",
            "rungs: {evict: ",
            "rungs: {kill: ",
            "rungs: {sysrq: ",
            "budget: {room: ",
        ];
        for switch in switches {
            let end = if switch.contains('{') { "}" } else { "" };
            let Invalid { message: error, .. } =
                check(&format!("{switch}\"true\"{end}\n")).expect_err(switch);
            let place = format!("1:{}: this is no boolean", switch.len() + 1);
            assert!(error.starts_with(&place), "{switch}: {error}");
            assert!(check(&format!("{switch}true{end}\n")).is_ok(), "{switch}");
        }
        // Each is in the example once, so that none is forgotten here.
        let example = render::example();
        let printed = example
            .lines()
            .filter(|line| line.ends_with(": true") || line.ends_with(": false"));
        assert_eq!(printed.count(), switches.len());
    }
}
