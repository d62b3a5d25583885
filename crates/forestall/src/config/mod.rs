//! Configuration: a YAML file as typed (`raw`), laid under the flags, then checked (`checked`).
//!
//! What it refuses: unknown fields, numbers without units, and to guess. An error says file, line and column where
//! there is one, what is wrong, and what to write. A file that cannot be read or understood is never half used.

pub(crate) mod budget;
pub(crate) mod checked;
pub(crate) mod choice;
pub(crate) mod kubelet;
pub(crate) mod listen;
pub(crate) mod notify;
pub(crate) mod percent;
mod place;
mod preference;
pub(crate) mod quantity;
mod raw;
pub(crate) mod record;
pub(crate) mod render;
mod switch;
pub(crate) mod taint;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

pub(crate) use self::checked::Settings;
pub(crate) use self::kubelet::KubeletFile;
pub(crate) use self::listen::Listen;
use self::raw::Raw;
pub(crate) use self::record::Record;
use crate::agent::AgentArgs;
use crate::input::{self, Wanted};

/// A configuration as a file.
const CONFIGURATION: Wanted = Wanted {
    what: "configuration",
    bytes_max: 1 << 20,
    mark: b"",
    may_flow: false,
};

/// A configuration that cannot be used; the message is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    message: String,
    /// The system did not let it be read, so that nothing is known of what it says.
    unread: bool,
}

impl Invalid {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            unread: false,
        }
    }

    /// There is something wrong with what was written, and not with the file that it should stand in.
    pub(crate) const fn is_usage(&self) -> bool {
        !self.unread
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Invalid {}

/// The settings that the flags and the file they name result in. The agent reads that file again when it is told to, so that
/// it must be there then.
pub(crate) fn load(args: &AgentArgs) -> Result<Settings, Invalid> {
    load_with_text(args).map(|(settings, _)| settings)
}

/// The same with the file's text, to be kept; it is empty where no file is named.
pub(crate) fn load_with_text(args: &AgentArgs) -> Result<(Settings, String), Invalid> {
    let typed = match &args.config {
        Some(path) => read_file(path, &CONFIGURATION)?,
        None => Typed::default(),
    };
    Ok((check(&typed, args)?, typed.text))
}

/// The settings of a text that stood in the file once, and the flags of today.
pub(crate) fn load_kept(text: &str, args: &AgentArgs) -> Result<Settings, Invalid> {
    let typed = Typed {
        text: text.to_owned(),
        raw: parse(text)?,
    };
    check(&typed, args)
}

/// The settings of a file that is looked at once, which may therefore come through a pipe.
pub(crate) fn load_once(path: &Path) -> Result<Settings, Invalid> {
    let wanted = Wanted {
        may_flow: true,
        ..CONFIGURATION
    };
    check(
        &read_file(path, &wanted)?,
        &AgentArgs {
            config: Some(path.to_owned()),
            ..AgentArgs::default()
        },
    )
}

/// Lays the flags over what was typed and checks the whole. What is wrong with the file alone is told with its place.
fn check(typed: &Typed, args: &AgentArgs) -> Result<Settings, Invalid> {
    let mut raw = typed.raw.clone();
    raw.override_by(args);
    let mut settings = Settings::check(&raw).map_err(|wrong| {
        let Some(path) = &args.config else { return wrong };
        let is_the_files = Settings::check(&typed.raw).as_ref() == Err(&wrong);
        let place = is_the_files
            .then(|| place::find(&typed.text, &wrong.message))
            .flatten();
        match place {
            Some((line, column)) => Invalid::new(format!("{}:{line}:{column}: {wrong}", path.display())),
            None => Invalid::new(format!("{}: {wrong}", path.display())),
        }
    })?;
    if let Some(Record::Into(directory)) = &args.record {
        settings.record = Some(directory.clone());
    }
    checked::check_flags(args, settings.policy.preset)?;
    Ok(settings)
}

/// A file and its text, which tells where each value stands.
#[derive(Default)]
struct Typed {
    text: String,
    raw: Raw,
}

fn read_file(path: &Path, wanted: &Wanted) -> Result<Typed, Invalid> {
    let text = input::read_text(path, wanted).map_err(|error| Invalid {
        message: error.to_string(),
        unread: !error.is_about_content(),
    })?;
    let raw = parse(&text).map_err(|wrong| Invalid::new(format!("{}:{wrong}", path.display())))?;
    Ok(Typed { text, raw })
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
    serde_saphyr::from_str_with_options(text, options).map_err(|error| Invalid::new(say_where(&error)))
}

/// What is wrong with a YAML text, on one line; it starts with `LINE:COLUMN: ` or a space, to stand behind the file's name.
pub(crate) fn say_where(error: &serde_saphyr::Error) -> String {
    let said = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let Some(at) = error.location() else {
        return format!(" {said}");
    };
    // The place stands in front, where editors and compilers' output have it; once is enough.
    let said = said.replace(&format!(" at line {}, column {}", at.line(), at.column()), "");
    format!("{}:{}: {said}", at.line(), at.column())
}
