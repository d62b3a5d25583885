//! What holds of any text as a configuration: it is taken or refused, and never a panic. A refusal says where in the file, unless what
//! is wrong is not in it; what was taken is shown as a file that means the same. The fuzzer asks the same.

use std::path::Path;

use crate::config::{load_once, render::render};

/// Judges `content`, which `keep` makes a file of for as long as it is read.
pub(crate) fn judge(content: &[u8], keep: impl Fn(&[u8], &mut dyn FnMut(&Path))) {
    let mut taken = None;
    keep(content, &mut |path| match load_once(path) {
        Ok(settings) => taken = Some(settings),
        Err(error) => {
            let said = error.to_string();
            let file = format!("{}:", path.display());
            let said = said
                .strip_prefix(&file)
                .unwrap_or_else(|| panic!("names no file: {said}"));
            // What is no text has lines, and no columns.
            let is_text = std::str::from_utf8(content).is_ok();
            assert!(
                has_place(said) || !is_text || !is_written(said, content),
                "no place:{said}"
            );
        }
    });
    let Some(settings) = taken else { return };
    let shown = render(&settings, false);
    keep(shown.as_bytes(), &mut |path| match load_once(path) {
        Ok(again) => assert!(again == settings, "it is shown as another one: {shown}"),
        Err(error) => panic!("it is shown as none: {error}: {shown}"),
    });
}

/// A message that begins with a line and a column.
fn has_place(said: &str) -> bool {
    let mut parts = said.split(':');
    let mut is_number = || {
        let part = parts.next().and_then(|part| part.parse::<u32>().ok());
        part.is_some_and(|number| number > 0)
    };
    is_number() && is_number()
}

/// The field that a message begins with (`recorder.keep: too short`) stands in the file: else it is a default that does not go with
/// what is there.
fn is_written(said: &str, content: &[u8]) -> bool {
    let said = said.trim_start();
    let (field, rest) = said.split_at(said.find([':', ' ']).unwrap_or(said.len()));
    let is_field = rest.starts_with(':') || rest.starts_with(" (--");
    let name = field.rsplit('.').next().unwrap_or_default();
    is_field && !name.is_empty() && String::from_utf8_lossy(content).contains(name)
}
