//! Workloads as small machines: each turn sets slopes and says when the next turn is.
//!
//! A turn is due when a phase ends, or when the kernel took a reader's cache. It refuses to look at anything but its own
//! memory: that a limit was reached is the kernel's business.

use forestall_decide::{Bytes, BytesPerSecond, Lru, Moment, Span};

use crate::memory::{Memory, Part};
use crate::random::Random;
use crate::spec::Load;

mod peak;

/// Memory is touched at this speed where nothing else is said: two gibibytes a second, about one core clearing pages.
const FILL: BytesPerSecond = BytesPerSecond(2 << 30);
/// A reader whose cache lacks less than this share of its file has read it all (permille).
const WHOLE_PERMILLE: u64 = 980;

/// What a turn results in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The next one is then; never, if `None`.
    Next(Option<Moment>),
    /// The process ends by itself.
    Exits,
}

/// A workload in progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    load: Load,
    base: Bytes,
    lru: Lru,
    phase: u8,
    /// When the present phase ends.
    until: Option<Moment>,
    since: Moment,
    /// Blocks or live heap so far.
    held: Bytes,
    /// Bytes read again after the kernel had taken them.
    pub(crate) refaulted: Bytes,
}

/// How long `bytes` take at `rate`, at least a microsecond so that every phase ends later than it began.
fn takes(bytes: Bytes, rate: BytesPerSecond) -> Span {
    Span(Span::to_cover(bytes, rate).0.max(1))
}

/// The slope of `bytes` within `span`.
fn slope(bytes: Bytes, span: Span) -> i64 {
    signed(BytesPerSecond::from(bytes, span))
}

fn signed(rate: BytesPerSecond) -> i64 {
    i64::try_from(rate.0).unwrap_or(i64::MAX)
}

impl Running {
    /// A workload before its first turn.
    pub(crate) fn new(load: Load, base: Bytes, lru: Lru) -> Self {
        Self {
            load,
            base,
            lru,
            phase: 0,
            until: None,
            since: Moment(0),
            held: Bytes::ZERO,
            refaulted: Bytes::ZERO,
        }
    }

    /// Since when it does what it does now.
    pub(crate) const fn since(&self) -> Moment {
        self.since
    }

    /// From the start again, as after a restart.
    pub(crate) fn again(&self) -> Self {
        Self {
            refaulted: self.refaulted,
            ..Self::new(self.load, self.base, self.lru)
        }
    }

    /// The first turn.
    pub(crate) fn start(&mut self, memory: &mut Memory, now: Moment) -> Turn {
        memory.set(Part::Anon, self.base);
        self.since = now;
        let turn = self.phase_of(memory, now);
        self.note(turn)
    }

    /// The turn that is due at `now`.
    pub(crate) fn turn(&mut self, memory: &mut Memory, now: Moment) -> Turn {
        self.phase = self.phase.saturating_add(1);
        let turn = self.phase_of(memory, now);
        self.note(turn)
    }

    /// The kernel took cache: a reader reads it again.
    pub(crate) fn lose_cache(&mut self, memory: &mut Memory, now: Moment) -> Turn {
        if let Load::Reader { file, rate } = self.load
            && self.phase > 0
        {
            let turn = self.refill(memory, now, file, rate);
            return self.note(turn);
        }
        Turn::Next(self.until)
    }

    /// The kernel ended one of several processes that held so much: it is filled anew. Says how much longer that takes where it is
    /// the present phase's part to do so.
    pub(crate) fn lose_process(&mut self, memory: &mut Memory, size: Bytes) -> Option<Span> {
        let anon = memory.take(Part::Anon, size);
        let kernel = memory.take(Part::Kernel, size - anon);
        match self.load {
            Load::Leak {
                part,
                rate,
                total: Some(_),
                delay,
            } => {
                let lost = if part == Part::Kernel { kernel } else { anon };
                let leaking = u8::from(delay > Span(0));
                if self.phase < leaking || rate.0 == 0 || lost == Bytes::ZERO || part == Part::Shmem {
                    return None;
                }
                self.phase = leaking;
                memory.set_slope(part, signed(rate));
                Some(takes(lost, rate))
            }
            Load::Steps { .. } | Load::Heap { .. } => {
                self.held = self.held - anon;
                None
            }
            _ => None,
        }
    }

    fn note(&mut self, turn: Turn) -> Turn {
        if let Turn::Next(until) = turn {
            self.until = until;
        }
        turn
    }

    fn phase_of(&mut self, memory: &mut Memory, now: Moment) -> Turn {
        match self.load {
            Load::Steady | Load::Follow { .. } => Turn::Next(None),
            Load::Leak {
                part,
                rate,
                total,
                delay,
            } => self.leak(memory, now, part, rate, total, delay),
            Load::Steps {
                block,
                interval,
                total,
                aborts,
            } => self.step(memory, now, block, interval, total, aborts),
            Load::Burst {
                size,
                rise,
                hold,
                every,
            } => self.burst(memory, now, size, [rise, hold, every]),
            Load::Periodic { size, period } => self.swing(memory, now, size, period),
            Load::Heap {
                step,
                interval,
                freed_permille,
                plateau,
            } => self.collect(memory, now, step, interval, freed_permille, plateau),
            Load::Reader { file, rate } => self.read(memory, now, file, rate),
        }
    }

    fn leak(
        &mut self,
        memory: &mut Memory,
        now: Moment,
        part: Part,
        rate: BytesPerSecond,
        total: Option<Bytes>,
        delay: Span,
    ) -> Turn {
        let phase = if delay == Span(0) {
            self.phase + 1
        } else {
            self.phase
        };
        match phase {
            0 => Turn::Next(Some(now + delay)),
            1 => {
                self.since = now;
                self.held = memory.bytes(part, now);
                memory.set_slope(part, signed(rate));
                Turn::Next(total.filter(|_| rate.0 > 0).map(|total| now + takes(total, rate)))
            }
            _ => {
                memory.set(part, self.held + total.unwrap_or_default());
                memory.set_slope(part, 0);
                Turn::Next(None)
            }
        }
    }

    fn step(
        &mut self,
        memory: &mut Memory,
        now: Moment,
        block: Bytes,
        interval: Span,
        total: Option<Bytes>,
        aborts: bool,
    ) -> Turn {
        if self.phase.is_multiple_of(2) {
            self.phase = 0;
            if total.is_some_and(|total| self.held >= total) {
                return if aborts { Turn::Exits } else { Turn::Next(None) };
            }
            self.since = now;
            self.held += block;
            memory.set_slope(Part::Anon, signed(FILL));
            return Turn::Next(Some(now + takes(block, FILL)));
        }
        memory.set_slope(Part::Anon, 0);
        memory.set(Part::Anon, self.base + self.held);
        let next = (self.since + interval).max(now + Span(1));
        Turn::Next(Some(next))
    }

    fn burst(
        &mut self,
        memory: &mut Memory,
        now: Moment,
        size: Bytes,
        [rise, hold, every]: [Span; 3],
    ) -> Turn {
        self.phase %= 3;
        match self.phase {
            0 => {
                self.since = now;
                memory.set_slope(Part::Anon, slope(size, rise));
                Turn::Next(Some(now + Span(rise.0.max(1))))
            }
            1 => {
                memory.set_slope(Part::Anon, 0);
                memory.set(Part::Anon, self.base + size);
                Turn::Next(Some(now + Span(hold.0.max(1))))
            }
            _ => {
                memory.set(Part::Anon, self.base);
                Turn::Next(Some((self.since + every).max(now + Span(1))))
            }
        }
    }

    fn swing(&mut self, memory: &mut Memory, now: Moment, size: Bytes, period: Span) -> Turn {
        let half = Span((period.0 / 2).max(1));
        self.phase %= 2;
        let (from, way) = if self.phase == 0 {
            self.since = now;
            (self.base, slope(size, half))
        } else {
            (self.base + size, -slope(size, half))
        };
        memory.set(Part::Anon, from);
        memory.set_slope(Part::Anon, way);
        Turn::Next(Some(now + half))
    }

    fn collect(
        &mut self,
        memory: &mut Memory,
        now: Moment,
        step: Bytes,
        interval: Span,
        freed_permille: u64,
        plateau: Bytes,
    ) -> Turn {
        if self.phase > 0 {
            self.phase = 1;
            let kept = step - step.permille(freed_permille);
            self.held = (self.held + kept).min(plateau - step);
            // What falls begins to grow anew.
            if self.base + self.held < memory.bytes(Part::Anon, now) {
                self.since = now;
            }
        }
        memory.set(Part::Anon, self.base + self.held);
        memory.set_slope(Part::Anon, slope(step.min(plateau), interval));
        Turn::Next(Some(now + Span(interval.0.max(1))))
    }

    /// Phases of a reader: 0 reads what it has not read, 1 reads it again, 2 has it all in memory.
    fn read(&mut self, memory: &mut Memory, now: Moment, file: Bytes, rate: BytesPerSecond) -> Turn {
        let cached = memory.sum(&Part::CACHE, now);
        if self.phase == 1 && cached < file.permille(WHOLE_PERMILLE) {
            // It was taken behind its back while it read: a file that does not fit is never read from memory.
            self.phase = 0;
        }
        memory.set_slope(Part::Active, 0);
        memory.set_slope(Part::Inactive, 0);
        match self.phase {
            0 => {
                memory.set_slope(Part::Inactive, signed(rate));
                Turn::Next(Some(now + takes(file, rate)))
            }
            1 => self.read_again(memory, now, rate),
            _ => {
                self.phase = 2;
                let rest = memory.bytes(Part::Inactive, now);
                if self.lru == Lru::Classic {
                    memory.shift(Part::Inactive, Part::Active, rest);
                }
                Turn::Next(None)
            }
        }
    }

    /// The second reading makes pages active on the classic LRU; the multi-gen LRU leaves them where they are.
    fn read_again(&mut self, memory: &mut Memory, now: Moment, rate: BytesPerSecond) -> Turn {
        let inactive = memory.bytes(Part::Inactive, now);
        self.phase = 1;
        if self.lru == Lru::MultiGen || inactive == Bytes::ZERO {
            self.phase = 2;
            return Turn::Next(None);
        }
        memory.set_slope(Part::Inactive, -signed(rate));
        memory.set_slope(Part::Active, signed(rate));
        Turn::Next(Some(now + takes(inactive, rate)))
    }

    /// What was taken is read again: a refault, which makes it active at once on the classic LRU (mm/workingset.c).
    fn refill(&mut self, memory: &mut Memory, now: Moment, file: Bytes, rate: BytesPerSecond) -> Turn {
        let missing = file - memory.sum(&Part::CACHE, now);
        memory.set_slope(Part::Active, 0);
        memory.set_slope(Part::Inactive, 0);
        if missing == Bytes::ZERO {
            return self.read_again(memory, now, rate);
        }
        self.refaulted += missing;
        let part = match self.lru {
            Lru::Classic => Part::Active,
            Lru::MultiGen => Part::Inactive,
        };
        memory.set_slope(part, signed(rate));
        // Phase 0 turns into 1, which looks whether all of it is there now.
        self.phase = 0;
        let turn = Turn::Next(Some(now + takes(missing, rate)));
        self.since = now;
        turn
    }
}

impl Load {
    /// Of random size: each figure give or take `permille`.
    pub(crate) fn jittered(self, random: &mut Random, permille: u64) -> Self {
        if permille == 0 {
            return self;
        }
        let mut bytes = |value: Bytes| Bytes(random.around(value.0, permille));
        match self {
            Self::Steady | Self::Follow { .. } => self,
            Self::Leak {
                part,
                rate,
                total,
                delay,
            } => Self::Leak {
                part,
                rate: BytesPerSecond(bytes(Bytes(rate.0)).0),
                total: total.map(&mut bytes),
                delay: Span(bytes(Bytes(delay.0)).0),
            },
            Self::Steps {
                block,
                interval,
                total,
                aborts,
            } => Self::Steps {
                block,
                interval: Span(bytes(Bytes(interval.0)).0),
                total: total.map(&mut bytes),
                aborts,
            },
            Self::Burst {
                size,
                rise,
                hold,
                every,
            } => Self::Burst {
                size: bytes(size),
                rise,
                hold,
                every: Span(bytes(Bytes(every.0)).0),
            },
            Self::Periodic { size, period } => Self::Periodic {
                size: bytes(size),
                period: Span(bytes(Bytes(period.0)).0),
            },
            Self::Heap {
                step,
                interval,
                freed_permille,
                plateau,
            } => Self::Heap {
                step: bytes(step),
                interval: Span(bytes(Bytes(interval.0)).0),
                freed_permille,
                plateau: bytes(plateau),
            },
            Self::Reader { file, rate } => Self::Reader {
                file: bytes(file),
                rate: BytesPerSecond(bytes(Bytes(rate.0)).0),
            },
        }
    }
}

#[cfg(test)]
mod tests;
