//! The proof below a list: what the kernel counted against what it told, boot by boot.

use serde_json::{Map, Value};

use crate::commands::foretold::object;
use crate::ledger::Tally;
use crate::log::escape;

/// What the kernel counted against what it told, in one boot.
pub(super) fn sentence(tally: &Tally) -> String {
    let boot = escape::bytes(tally.boot.get(..8).unwrap_or(&tally.boot));
    let told = tally.told();
    let lost = match tally.lost {
        0 => String::new(),
        lost => format!("; {lost} records were overwritten before anybody read them"),
    };
    let doubles = match tally.doubles() {
        0 => String::new(),
        doubles => {
            format!("; at least {doubles} were told of twice, and may hide as many that nothing told of")
        }
    };
    let missed: Vec<String> = tally
        .missed
        .each()
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    let missed = if missed.is_empty() {
        String::new()
    } else {
        format!("; of what tracing told {}", missed.join(", "))
    };
    let lost = format!("{lost}{doubles}{missed}");
    match (tally.counted, tally.unattributed()) {
        (Some(counted), Some(unattributed)) => {
            format!(
                "boot {boot}: the kernel counted {counted} kills and told of {told}; {unattributed} unattributed{}{lost}",
                levels(tally)
            )
        }
        _ => format!("boot {boot}: the kernel told of {told} kills, and does not count them{lost}"),
    }
}

/// At whose limits those were whom nothing has told of, by the cgroups' counters.
fn levels(tally: &Tally) -> String {
    let counts = tally
        .untold
        .iter()
        .map(|(level, kills)| format!("{kills} {}", level.label()));
    let counts: Vec<String> = counts.collect();
    if counts.is_empty() || tally.unattributed() == Some(0) {
        return String::new();
    }
    format!(" (the cgroups' counters, by level: {})", counts.join(", "))
}

/// The same for programs.
pub(super) fn value(tally: &Tally) -> Value {
    let fields = object([
        ("boot_id", escape::bytes(&tally.boot).into()),
        ("counted_kills", tally.counted.into()),
        ("kill_lines", tally.kill_lines.into()),
        ("traced_kills", tally.traced.into()),
        ("unattributed_kills", tally.unattributed().into()),
        (
            "counted_and_untold_by_level",
            tally
                .untold
                .iter()
                .map(|(level, kills)| (level.label().to_owned(), Value::from(kills)))
                .collect::<Map<String, Value>>()
                .into(),
        ),
        ("lost_records", tally.lost.into()),
        ("double_kills", tally.doubles().into()),
        (
            "missed_records",
            tally
                .missed
                .each()
                .into_iter()
                .map(|(what, count)| (what.to_owned(), Value::from(count)))
                .collect::<Map<String, Value>>()
                .into(),
        ),
    ]);
    fields.into()
}
