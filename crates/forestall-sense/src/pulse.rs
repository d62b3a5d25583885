//! The kubelet's pulse: whether its process is there, and when it last used processor time for its own code.
//!
//! That is a sign of life that needs no API server and nobody's log. Time in the kernel does not count: whoever waits for
//! memory to be reclaimed spends that without getting anywhere. In one binary with others (k3s) it is theirs as well. It
//! refuses to say what silence means.

use forestall_decide::{Moment, Span};
use forestall_kernel::file::{Buffer, HeldFile};
use forestall_kernel::parse::ProcStat;
use forestall_kernel::process::{Process, ProcessFile};

use crate::node::is_due;

/// Silence is judged by half minutes. The kernel adds up all threads for each answer, so it is not asked at every sample.
const FELT_EVERY: Span = Span::secs(5);

/// Feels the pulse of one kubelet, the first that was met, for as long as it lives.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    met_last_pass: bool,
    met_this_pass: bool,
    felt: Option<Felt>,
    /// When it last showed life; 0 before a kubelet was met.
    heard_at: Moment,
    due: Moment,
}

#[derive(Debug)]
struct Felt {
    stat: HeldFile,
    user_ticks: u64,
}

impl Pulse {
    /// A kubelet was met in the present pass over all processes or in the one before.
    pub(crate) const fn has_kubelet(&self) -> bool {
        self.met_last_pass || self.met_this_pass
    }

    /// Another pass over all processes begins.
    pub(crate) const fn begin_pass(&mut self) {
        self.met_last_pass = self.met_this_pass;
        self.met_this_pass = false;
    }

    /// A kubelet was met. One that is new shows life by that. Allocates only for such a one.
    pub(crate) fn meet(&mut self, process: &Process, now: Moment) {
        self.met_this_pass = true;
        if self.felt.is_none()
            && let Ok(stat) = process.hold(ProcessFile::Stat)
        {
            self.felt = Some(Felt { stat, user_ticks: 0 });
            self.heard_at = now;
            self.due = now;
        }
    }

    /// When it last showed life, as far as can be told now.
    pub(crate) fn feel(&mut self, buffer: &mut Buffer, now: Moment) -> Moment {
        if is_due(&mut self.due, now, FELT_EVERY)
            && let Some(felt) = &mut self.felt
        {
            match felt.stat.read_into(buffer).ok().and_then(ProcStat::parse) {
                Some(stat) if stat.user_ticks != felt.user_ticks => {
                    felt.user_ticks = stat.user_ticks;
                    self.heard_at = now;
                }
                Some(_) => {}
                // It has ended; the next one that is met takes its place.
                None => self.felt = None,
            }
        }
        self.heard_at
    }
}
