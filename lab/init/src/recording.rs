//! The agent's recording on its way out of the guest: every segment, one behind the other, as a reader takes them.
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use forestall_lab_init::plan;
use forestall_lab_init::report::Report;

use crate::reporter::Reporter;

/// How much of it one report holds: a line that a reader of lines can still take at once.
const PIECE_BYTES: usize = 2048;

/// Sends what the agent has recorded. It has ended, so nothing comes after.
pub(crate) fn send(reporter: &Reporter) -> Result<()> {
    for piece in read(Path::new(plan::RECORDINGS))?.chunks(PIECE_BYTES) {
        reporter.send(&Report::Recording { hex: hex_of(piece) });
    }
    Ok(())
}

/// The segments' names have their numbers in as many digits each, so their order is that of the names.
fn read(folder: &Path) -> Result<Vec<u8>> {
    let entries = fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "ftr"));
    paths.sort();
    let mut bytes = Vec::new();
    for path in paths {
        bytes.extend(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
    }
    Ok(bytes)
}

fn hex_of(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_pairs_of_digits() {
        assert_eq!(hex_of(&[0, 0x89, 0xff]), "0089ff");
    }
}
