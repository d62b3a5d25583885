//! Quantities, percentages and minimum reclaims.

use forestall_decide::Bytes;
use forestall_decide::kubelet::{Quantity, QuantityErrorKind, parse_min_reclaim, parse_threshold};

use super::{field, number, same, unescape};

pub(super) fn check_quantity(fields: &[&str]) -> Result<(), String> {
    let text = unescape(field(fields, 0)?)?;
    let answer = field(fields, 1)?;
    let parsed = Quantity::parse(&text);
    if answer == "error" {
        let kind = parsed.map_err(|error| match error.kind {
            QuantityErrorKind::Empty | QuantityErrorKind::Format => "format",
            QuantityErrorKind::Numeric => "numeric",
            QuantityErrorKind::Suffix => "suffix",
        });
        return same("refused as", &kind.err(), &Some(field(fields, 2)?));
    }
    let quantity = parsed.map_err(|error| format!("refused here: {error}"))?;
    same("Value()", &quantity.value, &number(answer)?)?;
    same("in nanobytes", &quantity.exact.0, &number(field(fields, 2)?)?)
}

pub(super) fn check_share(fields: &[&str]) -> Result<(), String> {
    let text = unescape(field(fields, 0)?)?;
    let capacity = Bytes(number(field(fields, 1)?)?);
    let threshold = match parse_threshold(&text) {
        Err(_) => "error".to_owned(),
        Ok(None) => "off".to_owned(),
        Ok(Some(value)) => value.bytes(capacity).0.to_string(),
    };
    same("as a threshold", threshold.as_str(), field(fields, 2)?)?;
    let reclaim = parse_min_reclaim(&text).map_or_else(
        |_| "error".to_owned(),
        |value| value.bytes(capacity).0.to_string(),
    );
    same("as a minimum reclaim", reclaim.as_str(), field(fields, 3)?)
}
