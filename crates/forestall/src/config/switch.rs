//! What is on or off. A text in quotes is no boolean, whatever it says: a template that quotes what it fills in would otherwise
//! decide whether `"no"` is on.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A switch as typed. One that is no boolean is read, too, because the parser knows no place for an error of a type of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch {
    on: Option<bool>,
    line: u64,
    column: u64,
}

impl Switch {
    /// As a flag has it.
    pub(super) const ON: Self = Self {
        on: Some(true),
        line: 0,
        column: 0,
    };

    /// Whether it is on.
    pub(super) fn is_on(self) -> bool {
        self.on == Some(true)
    }

    /// What is wrong with it; starts with `LINE:COLUMN: `.
    pub(super) fn wrong(self) -> Option<String> {
        let Self { on, line, column } = self;
        on.is_none()
            .then(|| format!("{line}:{column}: this is no boolean; write true or false, without quotes"))
    }
}

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let read = Spanned::<Word>::deserialize(from)?;
        Ok(Self {
            on: read.value.0,
            line: read.referenced.line(),
            column: read.referenced.column(),
        })
    }
}

/// Anything; the boolean, if it is one.
struct Word(Option<bool>);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Anything).map(Self)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Option<bool>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a boolean, true or false")
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<Self::Value, E> {
        Ok(Some(on))
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
