//! What a process of the lab does with memory, in the simulator's words: each kind of work as one of its loads, no faster than the
//! machine can go.
//!
//! It refuses what the simulator has no load for.
use forestall_decide::{Bytes, BytesPerSecond, Span};
use forestall_lab_init::plan::{Role, Share, Work};
use forestall_sim::{Load, Part};

use super::parameters::Parameters;
use super::world::Inexpressible;

/// Shares and rates of a guest in bytes.
pub(super) struct Scale<'a> {
    pub(super) memory: u64,
    pub(super) parameters: &'a Parameters,
    pub(super) lead: Span,
}

/// What a process does from its start on, in the simulator's words.
#[derive(Clone, Copy)]
pub(super) struct Doing {
    pub(super) base: Bytes,
    pub(super) load: Load,
    /// Before this it holds nothing.
    pub(super) start: Span,
    pub(super) volume: bool,
    pub(super) largest_process: Option<Bytes>,
}

impl Scale<'_> {
    pub(super) fn bytes(&self, share: Share) -> Bytes {
        Bytes(share.bytes_of(self.memory))
    }

    /// The slower of what is planned and what the machine can do; 0 is planned as fast as it can.
    fn rate(&self, share: Share, at_most: BytesPerSecond) -> BytesPerSecond {
        match self.bytes(share).0 {
            0 => at_most,
            planned => BytesPerSecond(planned).min(at_most),
        }
    }

    pub(super) fn doing(&self, work: &Work, role: Role) -> Result<Doing, Inexpressible> {
        let speeds = self.parameters;
        let begins = speeds.start();
        let steady = |base| Doing {
            base,
            load: Load::Steady,
            start: Span(0),
            volume: false,
            largest_process: None,
        };
        let leak = |part, rate, total: Option<Bytes>, delay| Doing {
            load: Load::Leak {
                part,
                rate,
                total,
                delay,
            },
            ..steady(Bytes::ZERO)
        };
        Ok(match work {
            Work::Pause => steady(Bytes::ZERO),
            Work::Hold { hold } => steady(self.bytes(*hold)),
            Work::Grow { rate, total, start } => {
                let (start, rate) = (self.bytes(*start), self.rate(*rate, speeds.fill()));
                let total = total.map(|total| self.bytes(total) - start);
                if role == Role::Innocent {
                    // It began with the calm and has come so far.
                    let grown = rate.over(self.lead).min(total.unwrap_or(Bytes(u64::MAX)));
                    let rest = total.map(|total| total - grown);
                    return Ok(Doing {
                        base: start + grown,
                        ..leak(Part::Anon, rate, rest, Span(0))
                    });
                }
                let filled = Span::to_cover(start, speeds.fill());
                Doing {
                    base: start,
                    ..leak(Part::Anon, rate, total, begins + filled)
                }
            }
            Work::Shmem { rate, total, .. } => Doing {
                volume: true,
                ..leak(
                    Part::Shmem,
                    self.rate(*rate, speeds.write()),
                    total.map(|total| self.bytes(total)),
                    begins,
                )
            },
            Work::Forks {
                each,
                per_second,
                at_most,
            } => {
                let one = self.bytes(*each) + speeds.process();
                let every = Span(1_000_000 / u64::from((*per_second).max(1))) + speeds.spawn();
                let all = Bytes(one.0.saturating_mul(u64::from(*at_most)));
                Doing {
                    largest_process: Some(one),
                    ..leak(Part::Anon, BytesPerSecond::from(one, every), Some(all), begins)
                }
            }
            Work::PageTables { rate } => leak(Part::Kernel, self.rate(*rate, speeds.tables()), None, begins),
            Work::Pipes { rate } | Work::Sockets { rate } => Doing {
                largest_process: Some(speeds.process()),
                ..leak(Part::Kernel, self.rate(*rate, speeds.pipes()), None, begins)
            },
            Work::Reread { size, rate } | Work::Mapped { size, rate } | Work::Stream { size, rate } => {
                let file = self.bytes(*size);
                Doing {
                    load: Load::Reader {
                        file,
                        rate: self.rate(*rate, speeds.read()),
                    },
                    start: begins + Span::to_cover(file, speeds.lay_out),
                    ..steady(Bytes::ZERO)
                }
            }
            Work::Steps { step, every_millis } => {
                let (block, rest) = (self.bytes(*step), Span::millis(*every_millis));
                Doing {
                    load: Load::Steps {
                        block,
                        interval: rest + Span::to_cover(block, speeds.fill()),
                        total: None,
                        aborts: false,
                    },
                    start: begins + rest,
                    ..steady(Bytes::ZERO)
                }
            }
            Work::Batch {
                size,
                rate,
                rest_millis,
            } => self.batch(
                self.bytes(*size),
                self.rate(*rate, speeds.fill()),
                Span::millis(*rest_millis),
            ),
            // Its file is shared memory, which nobody here counts differently from a job's own.
            Work::Scratch { size, rate } => {
                self.batch(self.bytes(*size), self.rate(*rate, speeds.write()), Span(1))
            }
            // What is written fills the cache as what is read does; that it has to reach the disk first costs no memory.
            Work::Write { size, rate } => Doing {
                load: Load::Reader {
                    file: self.bytes(*size),
                    rate: self.rate(*rate, speeds.read()),
                },
                start: begins,
                ..steady(Bytes::ZERO)
            },
            Work::Supervised { work } => return self.doing(work, role),
            Work::Names { .. } => return Err(Inexpressible("slab that the kernel takes back")),
            Work::Locked { .. } => return Err(Inexpressible("locked memory beside swap")),
            Work::Crew { .. } => return Err(Inexpressible("a crew within a crew")),
        })
    }

    fn batch(&self, size: Bytes, rate: BytesPerSecond, rest: Span) -> Doing {
        let rise = Span::to_cover(size, rate);
        Doing {
            base: Bytes::ZERO,
            load: Load::Burst {
                size,
                rise,
                hold: rest,
                every: rise + rest + rest,
            },
            start: self.parameters.start(),
            volume: false,
            largest_process: None,
        }
    }
}
