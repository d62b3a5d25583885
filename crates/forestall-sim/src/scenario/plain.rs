//! Switches and numbers of a scenario file, as they stand: a text in quotes is neither, whatever it says. A template that quotes
//! what it fills in would otherwise decide whether `"no"` is on.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, Unexpected, Visitor};

/// A value that is written without quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain<T>(pub(super) T);

/// The value itself.
pub(super) fn inner<T>(plain: Plain<T>) -> T {
    plain.0
}

/// Read from a YAML boolean or whole number.
pub(super) trait FromPlain: Sized {
    /// What is expected, for the message about anything else in its place.
    const EXPECTED: &'static str;
    /// `None` where a switch is none.
    fn from_switch(_on: bool) -> Option<Self> {
        None
    }
    /// `None` where a number is none, or is out of bounds.
    fn from_number(_number: i128) -> Option<Self> {
        None
    }
}

impl FromPlain for bool {
    const EXPECTED: &'static str = "a boolean: true or false, without quotes";
    fn from_switch(on: bool) -> Option<Self> {
        Some(on)
    }
}

impl FromPlain for u32 {
    const EXPECTED: &'static str = "a whole number from 0 to 4294967295, without quotes";
    fn from_number(number: i128) -> Option<Self> {
        number.try_into().ok()
    }
}

impl FromPlain for u64 {
    const EXPECTED: &'static str = "a whole number from 0 to 18446744073709551615, without quotes";
    fn from_number(number: i128) -> Option<Self> {
        number.try_into().ok()
    }
}

impl FromPlain for i32 {
    const EXPECTED: &'static str = "a whole number from -2147483648 to 2147483647, without quotes";
    fn from_number(number: i128) -> Option<Self> {
        number.try_into().ok()
    }
}

impl<'de, T: FromPlain> Deserialize<'de> for Plain<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Value<T>(PhantomData<T>);
        impl<T: FromPlain> Visitor<'_> for Value<T> {
            type Value = Plain<T>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(T::EXPECTED)
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Self::Value, E> {
                let wrong = || E::invalid_type(Unexpected::Bool(on), &self);
                T::from_switch(on).map(Plain).ok_or_else(wrong)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                let wrong = || E::invalid_value(Unexpected::Unsigned(number), &self);
                T::from_number(number.into()).map(Plain).ok_or_else(wrong)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                let wrong = || E::invalid_value(Unexpected::Signed(number), &self);
                T::from_number(number.into()).map(Plain).ok_or_else(wrong)
            }
        }
        from.deserialize_any(Value(PhantomData))
    }
}
