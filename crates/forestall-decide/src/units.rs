//! Quantities with their units in the type: bytes, rates, moments and spans. All integers, all saturating, because
//! a counter that goes backwards or a limit of nearly 2^64 must never panic or wrap.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    /// No bytes at all.
    pub const ZERO: Self = Self(0);

    /// `count` mebibytes.
    pub const fn mebi(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// This many parts of a thousand, rounded down; exact for every input.
    pub const fn permille(self, parts: u64) -> Self {
        Self(wide_ratio(self.0, parts, 1000))
    }

    /// How many parts of a thousand `self` is of `whole`; 0 when `whole` is nothing.
    pub const fn permille_of(self, whole: Self) -> u64 {
        wide_ratio(self.0, 1000, whole.0)
    }
}

/// `value * times / over` without overflow on the way, saturating; 0 when `over` is 0.
// `From` and `TryFrom` are not const yet; the comparison makes the cast lossless.
#[allow(clippy::cast_possible_truncation)]
pub(crate) const fn wide_ratio(value: u64, times: u64, over: u64) -> u64 {
    if over == 0 {
        return 0;
    }
    // Nearly every product fits into 64 bits, and a division of 128 takes many times as long.
    if let Some(product) = value.checked_mul(times) {
        return product / over;
    }
    let wide = (value as u128 * times as u128) / over as u128;
    if wide > u64::MAX as u128 {
        u64::MAX
    } else {
        wide as u64
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Bytes {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl core::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Bytes {
    /// Binary units with one decimal, as `free -h` has them: `12.5MiB`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        if self.0 < 1024 {
            return write!(out, "{}B", self.0);
        }
        let (mut unit, mut scale) = (0, 1024_u64);
        while unit + 1 < UNITS.len() && self.0 / scale >= 1024 {
            unit += 1;
            scale = scale.saturating_mul(1024);
        }
        let tenths = wide_ratio(self.0, 10, scale);
        write!(out, "{}.{}{}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// A rate of growth; never negative, because what shrinks has no runway to be measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BytesPerSecond(pub u64);

impl BytesPerSecond {
    /// How far this rate goes in `span`.
    pub const fn over(self, span: Span) -> Bytes {
        Bytes(wide_ratio(self.0, span.0, 1_000_000))
    }

    /// The rate of `grown` bytes in `span`; 0 for an empty span.
    pub const fn from(grown: Bytes, span: Span) -> Self {
        Self(wide_ratio(grown.0, 1_000_000, span.0))
    }
}

impl fmt::Display for BytesPerSecond {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/s", Bytes(self.0))
    }
}

/// A stretch of time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

impl Span {
    /// The longest span: "not in sight".
    pub const FOREVER: Self = Self(u64::MAX);

    /// `count` milliseconds.
    pub const fn millis(count: u64) -> Self {
        Self(count.saturating_mul(1000))
    }

    /// `count` seconds.
    pub const fn secs(count: u64) -> Self {
        Self(count.saturating_mul(1_000_000))
    }

    /// Whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1000
    }

    /// `self` taken `times`.
    pub const fn times(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }

    /// The time `distance` lasts at `rate`; `FOREVER` where nothing grows.
    pub const fn to_cover(distance: Bytes, rate: BytesPerSecond) -> Self {
        if rate.0 == 0 {
            return Self::FOREVER;
        }
        Self(wide_ratio(distance.0, 1_000_000, rate.0))
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            u64::MAX => write!(out, "-"),
            micros if micros < 10_000_000 => write!(out, "{}.{}s", micros / 1_000_000, micros / 100_000 % 10),
            micros if micros < 600_000_000 => write!(out, "{}s", micros / 1_000_000),
            micros if micros < 36_000_000_000 => write!(out, "{}m", micros / 60_000_000),
            micros => write!(out, "{}h", micros / 3_600_000_000),
        }
    }
}

/// A moment on the caller's monotonic clock, in microseconds since some fixed start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// The time since `earlier`; nothing when the clock went backwards.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// So much earlier; the clock's start at the most.
    pub(crate) const fn before(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Add<Span> for Moment {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// A memory limit as the kernel has it: `max` is a variant, never a number
/// (`Documentation/admin-guide/cgroup-v2.rst`, `memory.max`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// A number of bytes.
    Bytes(Bytes),
    /// `max`: none of its own.
    #[default]
    Max,
}

impl Limit {
    /// The bytes, or `None` for `max`.
    pub const fn bytes(self) -> Option<Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Max => None,
        }
    }
}
