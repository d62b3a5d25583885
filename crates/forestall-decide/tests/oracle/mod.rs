//! Reads the oracle's lines and says where this crate answers otherwise. The lines are Kubernetes' own answers
//! (`oracle/` at the root of the clone says how each is written); nothing here knows a rule of the kubelet.

mod looks;
mod pods;
mod texts;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text to quantity.
    Quantity,
    /// Text to a threshold and a minimum reclaim.
    Share,
    /// Pods to their order.
    Rank,
    /// A configuration and looks to pressure, victims and admissions.
    Loop,
}

/// Compares one line; the error says what differs, or what in the line cannot be read.
pub(crate) fn check(kind: Kind, line: &str) -> Result<(), String> {
    let fields: Vec<&str> = line.split('\t').collect();
    match kind {
        Kind::Quantity => texts::check_quantity(&fields),
        Kind::Share => texts::check_share(&fields),
        Kind::Rank => pods::check_rank(&fields),
        Kind::Loop => looks::check_loop(&fields),
    }
}

/// The field at `index`.
fn field<'a>(fields: &[&'a str], index: usize) -> Result<&'a str, String> {
    fields
        .get(index)
        .copied()
        .ok_or_else(|| format!("the line has no field {index}"))
}

/// A number of any kind.
fn number<T: core::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no number here"))
}

/// The text behind the oracle's escapes.
fn unescape(field: &str) -> Result<String, String> {
    if field == "\\e" {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    let mut parts = field.split("\\x");
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        let (code, rest) = part
            .split_at_checked(2)
            .ok_or_else(|| format!("\"{field}\" ends within an escape"))?;
        bytes.push(u8::from_str_radix(code, 16).map_err(|_| format!("\"{field}\" has a broken escape"))?);
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).map_err(|_| format!("\"{field}\" is no text"))
}

/// `Err` with both answers where they differ.
fn same<T: PartialEq + core::fmt::Debug + ?Sized>(what: &str, ours: &T, theirs: &T) -> Result<(), String> {
    if ours == theirs {
        return Ok(());
    }
    Err(format!("{what}: {ours:?} here, {theirs:?} there"))
}
