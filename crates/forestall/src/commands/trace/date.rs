//! Dates of a trace: RFC 3339 in UTC.

use std::time::{Duration, UNIX_EPOCH};

use crate::log::time::rfc3339;

/// A date for people and programs, from microseconds since 1970.
pub(crate) fn write_date(unix_micros: u64) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_micros(unix_micros))
}
