//! What will be allocated, and when: arithmetic only, so that it can be told and tested before anything happens.

use std::time::Duration;

/// One mebibyte.
pub(crate) const MEBI: u64 = 1 << 20;

/// The least rate that can be meant: at a page a second a block takes four minutes.
const RATE_MIN: u64 = 4096;

/// Parts of a million.
const MILLION: u64 = 1_000_000;

/// The share of each block that is touched, in parts of a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fraction(u64);

impl Fraction {
    /// This share of `bytes`, rounded down.
    pub(crate) fn of(self, bytes: u64) -> u64 {
        let part = u128::from(bytes) * u128::from(self.0) / u128::from(MILLION);
        u64::try_from(part).unwrap_or(bytes)
    }

    /// The share as [`parse_fraction`] reads it back.
    pub(crate) fn text(self) -> String {
        format!("{}.{:06}", self.0 / MILLION, self.0 % MILLION)
    }
}

/// Reads a number from 0 to 1.
pub(crate) fn parse_fraction(text: &str) -> Result<Fraction, String> {
    let wrong = || format!("{text:?} is no fraction from 0 to 1, such as 0.5");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if text.is_empty() || text == "." || !digits(whole) || !digits(part) || part.len() > 6 || whole.len() > 1
    {
        return Err(wrong());
    }
    let millionths: u64 = format!("{whole}{part:0<6}").parse().map_err(|_| wrong())?;
    if millionths > MILLION {
        Err(wrong())
    } else {
        Ok(Fraction(millionths))
    }
}

/// The schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Bytes of a block, whole mebibytes.
    pub(crate) block: u64,
    /// Bytes in all; `None` goes on for ever.
    pub(crate) total: Option<u64>,
    /// What is touched of each block.
    pub(crate) touch: Fraction,
    /// Pause between two blocks.
    pub(crate) pause: Duration,
    /// Bytes a second, which takes the place of the pause.
    pub(crate) rate: Option<u64>,
}

impl Plan {
    /// The size of the block that follows when `allocated` bytes are; `None` when it is enough. The last block is smaller
    /// where the total is no multiple, so that never more is allocated than was asked for.
    pub(crate) fn next_block(&self, allocated: u64) -> Option<u64> {
        let left = self
            .total
            .map_or(u64::MAX, |total| total.saturating_sub(allocated));
        let size = self.block.min(left);
        (size > 0).then_some(size)
    }

    /// How many blocks that makes; `None` without an end.
    pub(crate) fn blocks(&self) -> Option<u64> {
        self.total.map(|total| total.div_ceil(self.block.max(1)))
    }

    /// When the block that makes it `allocated` bytes was due, since the start: with a rate. A block takes part of its time
    /// to be touched, and a mere pause would add to it.
    pub(crate) fn due(&self, allocated: u64) -> Option<Duration> {
        let rate = u128::from(self.rate.filter(|rate| *rate > 0)?);
        let micros = u128::from(allocated) * u128::from(MILLION) / rate;
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
    }

    /// How long it takes at the least; `None` without an end.
    pub(crate) fn duration(&self) -> Option<Duration> {
        let total = self.total?;
        let last = total.saturating_sub(total.saturating_sub(1) % self.block.max(1) + 1);
        let pauses = u32::try_from(self.blocks()?.saturating_sub(1)).unwrap_or(u32::MAX);
        Some(
            self.due(last)
                .unwrap_or_else(|| self.pause.saturating_mul(pauses)),
        )
    }
}

/// A bound at which a language runtime would give up: so much of what it sees, or an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cap {
    /// Percent of the visible memory.
    Percent(u64),
    /// Bytes.
    Bytes(u64),
}

impl Cap {
    /// The cap in bytes where `visible` bytes are seen.
    pub(crate) fn bytes(self, visible: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => {
                let part = u128::from(visible) * u128::from(percent) / 100;
                u64::try_from(part).unwrap_or(u64::MAX)
            }
        }
    }
}

/// Reads `75%` or `20Gi`. No block fits below a cap of less than a mebibyte: whoever asks for one has left out the unit.
pub(crate) fn parse_cap(text: &str) -> Result<Cap, String> {
    let Some(percent) = text.strip_suffix('%') else {
        let bytes = crate::commands::node::amount::parse_quantity(text)?;
        return if bytes < MEBI {
            Err(format!(
                "{text:?} is {}, and the smallest block is 1MiB; write 75% for a share of the visible memory, or an amount \
                 such as 75Mi",
                count(bytes)
            ))
        } else {
            Ok(Cap::Bytes(bytes))
        };
    };
    match percent.parse() {
        Ok(percent) if (1..=100).contains(&percent) => Ok(Cap::Percent(percent)),
        _ => Err(format!("{text:?} is no percentage from 1% to 100%")),
    }
}

fn count(bytes: u64) -> String {
    let plural = if bytes == 1 { "" } else { "s" };
    format!("{bytes} byte{plural}")
}

/// Reads `10MiB/s`.
pub(crate) fn parse_rate(text: &str) -> Result<u64, String> {
    let amount = text.strip_suffix("/s").unwrap_or(text);
    match crate::commands::node::amount::parse_quantity(amount) {
        Ok(0) => Err(format!("{text:?} would never allocate anything; -e sets a pause")),
        Ok(rate) if rate < RATE_MIN => Err(format!(
            "{text:?} is {} a second; write a rate such as 10MiB/s",
            count(rate)
        )),
        Ok(rate) => Ok(rate),
        Err(_) => Err(format!("{text:?} is no rate; write one such as 10MiB/s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(block: u64, total: Option<u64>) -> Plan {
        Plan {
            block: block * MEBI,
            total: total.map(|total| total * MEBI),
            touch: parse_fraction("1").expect("all"),
            pause: Duration::from_millis(200),
            rate: None,
        }
    }

    fn sizes(plan: &Plan) -> Vec<u64> {
        let mut sizes = Vec::new();
        let mut allocated = 0;
        while let Some(size) = plan.next_block(allocated) {
            allocated += size;
            sizes.push(size / MEBI);
        }
        sizes
    }

    #[test]
    fn never_more_is_allocated_than_asked_for() {
        assert_eq!(sizes(&plan(100, Some(2000))), [100; 20]);
        assert_eq!(sizes(&plan(100, Some(250))), [100, 100, 50]);
        assert_eq!(sizes(&plan(100, Some(30))), [30]);
        assert_eq!(plan(100, Some(250)).blocks(), Some(3));
        assert_eq!(plan(100, None).next_block(u64::MAX - 1), Some(100 * MEBI));
        assert_eq!(plan(100, None).blocks(), None);
    }

    #[test]
    fn pauses_lie_between_blocks() {
        // 46 blocks of 100 MiB to 4600, 200 ms apart: 45 pauses.
        assert_eq!(plan(100, Some(4600)).duration(), Some(Duration::from_secs(9)));
        assert_eq!(plan(100, Some(100)).duration(), Some(Duration::ZERO));
        assert_eq!(plan(100, None).duration(), None);
    }

    #[test]
    fn a_rate_is_kept_over_all() {
        let plan = Plan {
            rate: Some(10 * MEBI),
            ..plan(5, Some(50))
        };
        assert_eq!(plan.due(25 * MEBI), Some(Duration::from_millis(2500)));
        // The last block starts when the 45 MiB before it are due.
        assert_eq!(plan.duration(), Some(Duration::from_millis(4500)));
    }

    #[test]
    fn a_fraction_is_from_0_to_1() {
        assert_eq!(
            parse_fraction("0.25").map(|share| share.of(100 * MEBI)),
            Ok(25 * MEBI)
        );
        assert_eq!(
            parse_fraction("1.0").map(|share| share.of(u64::MAX)),
            Ok(u64::MAX)
        );
        assert_eq!(parse_fraction("0").map(|share| share.of(100)), Ok(0));
        assert_eq!(
            parse_fraction(".5").map(Fraction::text),
            Ok("0.500000".to_owned())
        );
        for bad in [
            "",
            ".",
            "1.1",
            "2",
            "-0.5",
            "50%",
            "0.1234567",
            "1e-1",
            "NaN",
            "٠",
        ] {
            assert!(parse_fraction(bad).expect_err(bad).contains("0.5"), "{bad}");
        }
    }

    #[test]
    fn a_cap_is_a_share_of_what_is_seen_or_an_amount() {
        // A limit of 3000 MiB: a runtime that takes 75 % sees 2250.
        assert_eq!(
            parse_cap("75%").map(|cap| cap.bytes(3000 * MEBI)),
            Ok(2250 * MEBI)
        );
        assert_eq!(parse_cap("20Gi").map(|cap| cap.bytes(1)), Ok(20 << 30));
        for bad in ["0%", "101%", "%", "x", "-1%"] {
            assert!(parse_cap(bad).is_err(), "{bad}");
        }
    }

    /// In Kubernetes' quantities a bare number is bytes, and `m` a thousandth.
    #[test]
    fn a_unit_that_was_left_out_is_asked_for() {
        for (bad, taken) in [
            ("75", "75 bytes"),
            ("1300", "1300 bytes"),
            ("75m", "1 byte,"),
            ("0", "0 bytes"),
        ] {
            let error = parse_cap(bad).expect_err(bad);
            assert!(
                error.contains(taken) && error.contains("75%") && error.contains("75Mi"),
                "{error}"
            );
        }
        assert_eq!(parse_cap("1Mi"), Ok(Cap::Bytes(MEBI)));
        assert_eq!(parse_cap("1048576"), Ok(Cap::Bytes(MEBI)));
        for (bad, taken) in [("10", "10 bytes a second"), ("10m/s", "1 byte a second")] {
            let error = parse_rate(bad).expect_err(bad);
            assert!(error.contains(taken) && error.contains("10MiB/s"), "{error}");
        }
        assert_eq!(parse_rate("4Ki/s"), Ok(4096));
    }

    #[test]
    fn a_rate_is_an_amount_a_second() {
        assert_eq!(parse_rate("10MiB/s"), Ok(10 * MEBI));
        assert_eq!(parse_rate("1Gi"), Ok(1 << 30));
        assert!(parse_rate("0").is_err());
        assert!(parse_rate("fast").is_err());
    }
}
