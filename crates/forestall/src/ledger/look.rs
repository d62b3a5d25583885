//! One look at this machine's own log: from its oldest record to the last one there is.

use std::path::Path;

use anyhow::Context;
use forestall_kernel::kmsg::Record;
use forestall_kernel::parse::Vmstat;

use super::book::Book;
use super::entry::{Entry, Tally};
use super::intake::Intake;
use super::pages::Pages;
use super::recent::Known;
use crate::forensics::source::open_kernel;
use crate::forensics::time::zero_of_log_clock;

const BOOT_ID: &str = "proc/sys/kernel/random/boot_id";
const VMSTAT: &str = "/proc/vmstat";

/// So many times the kernel may kill somebody while its log is being read before a look is taken as it is.
const LOOKS_MAX: usize = 3;

/// Which boot this is, of the machine whose `/proc` is below `root`.
pub(crate) fn boot_id(root: &Path) -> anyhow::Result<Box<[u8]>> {
    let path = root.join(BOOT_ID);
    let boot = std::fs::read(&path).with_context(|| path.display().to_string())?;
    Ok(boot.trim_ascii().into())
}

/// Takes what is new in this machine's log into a book.
pub(crate) fn take_in_now(book: &mut Book) -> anyhow::Result<Tally> {
    let boot = boot_id(Path::new("/"))?;
    let known = book.known_of(&boot);
    let (entries, tally) = look(&known)?;
    if !entries.is_empty() || tally != known.tally {
        book.append(&entries, tally.clone())?;
    }
    Ok(tally)
}

/// Adds what is new in this machine's log to what was read from a ledger, and writes nothing.
pub(crate) fn look_now(pages: &mut Pages) -> anyhow::Result<()> {
    let known = pages.known_of(&boot_id(Path::new("/"))?);
    let (entries, tally) = look(&known)?;
    pages.add(entries, tally);
    Ok(())
}

/// What is new since `known`.
fn look(known: &Known) -> anyhow::Result<(Vec<Entry>, Tally)> {
    let zero_micros = zero_of_log_clock();
    let look = |counted: Option<u64>| {
        let mut reader = open_kernel()?;
        hear_all(known.clone(), zero_micros, counted, |hear| {
            while let Some(record) = reader.next_record()? {
                hear(&record);
            }
            Ok(())
        })
    };
    let mut counted = count()?;
    let mut heard = look(counted)?;
    // The kernel counts before it tells, so that a count in between would be ahead of what could be heard.
    for _ in 1..LOOKS_MAX {
        let again = count()?;
        if again == counted {
            break;
        }
        counted = again;
        heard = look(counted)?;
    }
    Ok(heard)
}

fn count() -> anyhow::Result<Option<u64>> {
    let vmstat = std::fs::read(VMSTAT).context(VMSTAT)?;
    Ok(Vmstat::parse(&vmstat).oom_kills)
}

/// What is new. `read` is called once, with whatever hears the records, each as it comes and all from the oldest on.
pub(super) fn hear_all(
    known: Known,
    zero_micros: i64,
    counted: Option<u64>,
    read: impl FnOnce(&mut dyn FnMut(&Record<'_>)) -> anyhow::Result<()>,
) -> anyhow::Result<(Vec<Entry>, Tally)> {
    let mut intake = Intake::new(known, zero_micros);
    read(&mut |record| {
        intake.hear(record);
    })?;
    intake.finish();
    Ok(intake.take(counted))
}
