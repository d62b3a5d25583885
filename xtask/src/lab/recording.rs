//! Recordings of runs in which nobody saves anybody: an agent that only watches is there, and what it saw comes out of the
//! guest as a trace.
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use forestall_lab_init::plan::{self, Plan};
use forestall_lab_init::report::Report;

/// The plan's agent, if it has one, only watches and records.
pub(crate) fn watch_only(plan: &mut Plan) {
    if let Some(agent) = &mut plan.agent {
        agent.args = ["agent", "--mode", "shadow", "--record", plan::RECORDINGS]
            .map(str::to_owned)
            .to_vec();
        plan.recorded = true;
    }
}

/// Writes the recording that the reports carry to `folder`.
pub(crate) fn keep(reports: &[Report], folder: &Path, label: &str) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let path = folder.join(format!("{label}.ftr"));
    let bytes = read(reports)?;
    if bytes.is_empty() {
        bail!("{label} brought no recording: is its agent's log in --keep-logs?");
    }
    fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// The recording in a guest's reports; empty where there is none.
pub(crate) fn read(reports: &[Report]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for report in reports {
        if let Report::Recording { hex } = report {
            read_hex(hex, &mut bytes)
                .context("a piece of the recording holds something that is no hex digit")?;
        }
    }
    Ok(bytes)
}

fn read_hex(hex: &str, bytes: &mut Vec<u8>) -> Option<()> {
    for pair in hex.as_bytes().chunks(2) {
        let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        bytes.push(u8::from_str_radix(pair, 16).ok()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::scenario;
    use super::*;

    #[test]
    fn a_recording_is_its_pieces_in_order() {
        let piece = |hex: &str| Report::Recording { hex: hex.into() };
        assert_eq!(read(&[piece("0089"), piece("ff")]).unwrap(), [0, 0x89, 0xff]);
        assert!(read(&[piece("0g")]).is_err());
        assert!(read(&[piece("012")]).is_err());
        assert!(read(&[]).unwrap().is_empty());
    }

    #[test]
    fn who_only_watches_is_told_so() {
        let leak = scenario::named("leak-container").unwrap();
        let mut plan = leak.plan(1, &[], false);
        watch_only(&mut plan);
        assert!(plan.recorded);
        let words = plan.agent.unwrap().args;
        assert!(words.iter().any(|word| word == "shadow") && !words.iter().any(|word| word == "enforce"));
        let mut nobody = leak.plan(1, &[], false);
        nobody.agent = None;
        watch_only(&mut nobody);
        assert!(!nobody.recorded);
    }
}
