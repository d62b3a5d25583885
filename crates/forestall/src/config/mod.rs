//! Configuration: a YAML file as typed (`raw`), laid under the flags, then checked (`checked`).
//!
//! What it refuses: unknown fields, numbers without units, and to guess. An error says file, line and column where
//! there is one, what is wrong, and what to write. A file that cannot be read or understood is never half used.

pub(crate) mod checked;
pub(crate) mod choice;
pub(crate) mod listen;
pub(crate) mod percent;
pub(crate) mod quantity;
mod raw;
pub(crate) mod render;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode as FileMode, OFlags};

pub(crate) use self::checked::Settings;
pub(crate) use self::listen::Listen;
use self::raw::Raw;
use crate::agent::AgentArgs;

/// No configuration is nearly this large; what is, is some other file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A configuration that cannot be used; the message is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid(String);

impl Invalid {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// The settings that the flags and the file they name result in.
pub(crate) fn load(args: &AgentArgs) -> Result<Settings, Invalid> {
    let mut raw = match &args.config {
        Some(path) => read_file(path)?,
        None => Raw::default(),
    };
    raw.override_by(args);
    let mut settings = Settings::check(&raw).map_err(|wrong| match &args.config {
        Some(path) => Invalid(format!("{}: {wrong}", path.display())),
        None => wrong,
    })?;
    settings.record.clone_from(&args.record);
    checked::check_flags(args, settings.policy.preset)?;
    Ok(settings)
}

fn read_file(path: &Path) -> Result<Raw, Invalid> {
    let wrong = |why: &str| Invalid(format!("{}: {why}", path.display()));
    // Not blocking, so that a FIFO without a writer is refused instead of waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, FileMode::empty()).map_err(|errno| {
        wrong(&format!(
            "cannot open the configuration: {}",
            std::io::Error::from(errno)
        ))
    })?;
    let file = File::from(file);
    let about = file
        .metadata()
        .map_err(|error| wrong(&format!("cannot look at the configuration: {error}")))?;
    if about.is_dir() {
        return Err(wrong("is a directory; name the file in it"));
    }
    if !about.is_file() {
        return Err(wrong("is not a regular file; write the configuration to one"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(&format!("cannot read the configuration: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(
            "is larger than 1MiB, which no configuration is; name the right file",
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error
            .as_bytes()
            .get(..error.utf8_error().valid_up_to())
            .unwrap_or_default();
        let line = valid.split(|byte| *byte == b'\n').count();
        wrong(&format!("line {line} is not UTF-8; save the file as UTF-8"))
    })?;
    parse(&text).map_err(|Invalid(why)| Invalid(format!("{}:{why}", path.display())))
}

/// Parses a file's text; the error starts with `LINE:COLUMN: ` or a space.
fn parse(text: &str) -> Result<Raw, Invalid> {
    let says_something = |line: &str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && line != "---" && line != "..."
    };
    if !text.lines().any(says_something) {
        return Err(Invalid::new(" there is nothing in it; write {} for all defaults"));
    }
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let said = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
        let Some(at) = error.location() else {
            return Invalid(format!(" {said}"));
        };
        // The place stands in front, where editors and compilers' output have it; once is enough.
        let said = said.replace(&format!(" at line {}, column {}", at.line(), at.column()), "");
        Invalid(format!("{}:{}: {said}", at.line(), at.column()))
    })
}
