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
