//! An outcome as a record.

use forestall_decide::{ActionId, Bytes, Outcome, OutcomeKind, Rung, Span};

use crate::code::{Code, outcome_code, outcome_of};
use crate::record::{Writer, read_fields};

/// What a reader holds before it has read one.
pub(crate) const NONE: Outcome = Outcome {
    action: ActionId(0),
    rung: Rung::Reclaim,
    kind: OutcomeKind::Progress,
    freed: Bytes::ZERO,
    took: Span(0),
    rest: Span(0),
};

/// Appends an outcome.
pub(crate) fn write(outcome: &Outcome, writer: &mut Writer<'_>) {
    let Outcome {
        action,
        rung,
        kind,
        freed,
        took,
        rest,
    } = *outcome;
    let (code, errno) = outcome_code(kind);
    writer.number(1, action.0);
    writer.number(2, rung.code());
    writer.number(3, code);
    writer.number(4, freed.0);
    writer.number(5, took.0);
    writer.signed(6, i64::from(errno));
    writer.number(7, rest.0);
}

/// Reads one. All of its fields are needed but the rest, which is since 1.5: there is no outcome by default.
pub(crate) fn read(bytes: &[u8]) -> Option<Outcome> {
    let (mut action, mut rung, mut code) = (None, None, None);
    let (mut freed, mut took, mut errno, mut rest) = (None, None, 0, 0);
    read_fields(bytes, |tag, value| {
        match tag {
            1 => action = Some(value.number()?),
            2 => rung = Some(Rung::of(value.number()?)?),
            3 => code = Some(value.number()?),
            4 => freed = Some(value.number()?),
            5 => took = Some(value.number()?),
            6 => errno = i32::try_from(value.signed()?).ok()?,
            7 => rest = value.number()?,
            _ => {}
        }
        Some(())
    })?;
    Some(Outcome {
        action: ActionId(action?),
        rung: rung?,
        kind: outcome_of(code?, errno)?,
        freed: Bytes(freed?),
        took: Span(took?),
        rest: Span(rest),
    })
}
