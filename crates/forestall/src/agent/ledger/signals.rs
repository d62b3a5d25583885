//! Who sent SIGKILL to whom, noted beside the kills: whatever fails here costs no kill.

use std::io;
use std::path::Path;

use forestall_decide::{Moment, Span};

use crate::agent::clock::now;
use crate::forensics::time::zero_of_log_clock;
use crate::ledger::{Signal, Signals};

/// After an error nothing is tried for so long.
const REST: Span = Span::secs(30);

/// The file, once there is something to write.
#[derive(Debug, Default)]
pub(super) struct SignalFile {
    open: Option<Signals>,
    not_before: Moment,
}

impl SignalFile {
    /// Notes these. What cannot be written is dropped, and so is what comes within a while after.
    pub(super) fn keep(&mut self, directory: &Path, boot: &[u8], mut signals: Vec<Signal>) -> io::Result<()> {
        if signals.is_empty() || now() < self.not_before {
            return Ok(());
        }
        let zero_micros = zero_of_log_clock();
        for signal in &mut signals {
            (signal.boot, signal.zero_micros) = (boot.into(), zero_micros);
        }
        // A part that was written is cut off when it is opened again.
        let open = match self.open.take() {
            Some(open) => Ok(open),
            None => Signals::open(directory),
        };
        let kept = open.and_then(|mut open| open.append(&signals).map(|()| open));
        if kept.is_err() {
            self.not_before = Moment(now().0.saturating_add(REST.0));
        }
        self.open = Some(kept?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::ledger::read_signals;

    #[test]
    fn signals_that_cannot_be_kept_are_dropped_and_later_ones_are_not() {
        let folder = TempDir::new().expect("a directory");
        let of = |pid| {
            vec![Signal {
                pid,
                ..Signal::default()
            }]
        };
        let blocked = folder.path().join("signals.ledger");
        std::fs::create_dir(&blocked).expect("a directory in its place");
        let mut file = SignalFile::default();
        assert!(file.keep(folder.path(), b"boot", Vec::new()).is_ok());
        assert!(file.keep(folder.path(), b"boot", of(1)).is_err());
        std::fs::remove_dir(&blocked).expect("it is empty");
        assert!(file.keep(folder.path(), b"boot", of(2)).is_ok(), "it rests");
        file.not_before = Moment(0);
        file.keep(folder.path(), b"boot", of(3)).expect("room");
        file.keep(folder.path(), b"boot", of(4)).expect("room");
        let mut pids = Vec::new();
        read_signals(folder.path(), |signal| pids.push(signal.pid)).expect("read");
        assert_eq!(pids, [3, 4]);
    }
}
