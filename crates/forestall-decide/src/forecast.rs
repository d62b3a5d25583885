//! From the history of a counter and a distance to a runway with bounds, and how sure that is.

use crate::decision::{Confidence, Runway};
use crate::kubelet::Growth;
use crate::units::{Bytes, BytesPerSecond, Span};
use crate::window::{Track, WINDOWS, slope};

/// Beyond this a runway to a wall that many share is not worth exact slopes: an eviction with a grace period of five minutes, which
/// begins at twice what it takes, is the longest that is foreseen.
pub(crate) const FAR: Span = Span::secs(720);
/// Beyond this one to somebody's own limit is not: there are hundreds, and nothing that is done there takes nearly as long.
pub(crate) const NEAR: Span = Span::secs(300);
/// Growth that began no longer ago than this is seen by the last second alone. What began between two looks is as young as the
/// later one says.
const YOUNG: Span = Span::millis(2500);
/// Ten seconds confirm a speed of the last second that is no more than so many times their own: a leak that began three
/// seconds ago, and no jump beside a drift.
const AGREES_WITHIN: i64 = 8;

/// What the last second alone shows counts for the middle bound where it brings the wall within so much; how far it is beyond that, the ten seconds
/// say.
const SECOND_VOUCHES_FOR: Span = Span::secs(10);

/// The slow bound is the slope that one pair in ten falls short of: it takes ten pairs, and so many points have them.
const VOUCHING_MIN: usize = 5;

/// Growth towards a wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forecast {
    pub(crate) growth_slow: BytesPerSecond,
    pub(crate) growth: BytesPerSecond,
    pub(crate) growth_fast: BytesPerSecond,
    pub(crate) runway: Runway,
    pub(crate) confidence: Confidence,
}

impl Forecast {
    /// The growth alone.
    pub(crate) const fn as_growth(&self) -> Growth {
        Growth {
            slow: self.growth_slow,
            middle: self.growth,
            fast: self.growth_fast,
        }
    }
}

/// Forecasts when `distance` is used up. `noise` is what the counter may be off by (per-CPU batches).
///
/// The fast bound takes the speed of the very last look as it is: outliers of memory that cannot be freed are real.
/// The slow bound is the best that any window vouches for: of growth in steps the short windows see the standstill between two.
/// The middle is the faster of the two short windows' medians, so that a leak which has just begun is not diluted where it matters. Certain is
/// what the ten seconds show together with the last one or with the minute: a second and a minute without what lies
/// between are two events.
pub(crate) fn forecast(track: &Track, distance: Bytes, noise: Bytes) -> Forecast {
    forecast_within(FAR, track, distance, noise)
}

/// The same; what lies further away than `horizon` has a runway and no more.
pub(crate) fn forecast_within(horizon: Span, track: &Track, distance: Bytes, noise: Bytes) -> Forecast {
    let rough = track.speed_rough();
    if Span::to_cover(distance, rough) > horizon {
        let runway = Span::to_cover(distance, rough);
        return Forecast {
            growth_slow: BytesPerSecond(0),
            growth: rough,
            growth_fast: rough,
            runway: Runway {
                p10: runway,
                p50: runway,
                p90: Span::FOREVER,
            },
            confidence: Confidence::None,
        };
    }
    let (mut middle, mut rises) = ([0_i64; WINDOWS.len()], [0_i64; WINDOWS.len()]);
    let (mut fast, mut slow) = (0_i64, 0_i64);
    for (window, width) in WINDOWS.iter().enumerate() {
        let Some(slopes) = track.slopes(window) else {
            continue;
        };
        let (rise, over) = track.rise(*width);
        rises[window] = rise;
        // A fall is real as well: a heap that is collected every few seconds does not go the way of its teeth.
        middle[window] = slopes.middle.min(slope(rise, over));
        if window < 2 {
            fast = fast.max(slopes.fast);
        }
        if slopes.points >= VOUCHING_MIN {
            slow = slow.max(slopes.slow);
        }
    }
    let error = i64::try_from(noise.0).unwrap_or(i64::MAX);
    // A window has its own say where it shows more than what is new in it: else one jump would speak in all of them.
    let shows =
        |window: usize, new: i64| middle[window] > 0 && rises[window].saturating_sub(new.max(0)) > error;
    let young = track.rise_of_late(YOUNG);
    let (second, ten, minute) = (shows(0, 0), shows(1, young), shows(2, rises[1]));
    // Slowing: the last second runs at less than half of the pace of the last ten.
    let slowing = middle[0] < middle[1] / 2;
    let confidence = if ten && (second || minute) && !slowing {
        Confidence::High
    } else if second || ten || minute {
        Confidence::Low
    } else {
        Confidence::None
    };
    let rate = |slope: i64| BytesPerSecond(u64::try_from(slope).unwrap_or(0));
    // Two that agree that there is growth, one of them by a hair, do not agree on a speed.
    let credible = match confidence {
        Confidence::High => middle[0].min(middle[1].saturating_mul(AGREES_WITHIN)),
        Confidence::None | Confidence::Low => middle[0],
    };
    // And a second says nothing of the next half minute: pages that a processor takes for itself at once look like a leak.
    let of_a_second = Span::to_cover(distance, rate(credible)) <= SECOND_VOUCHES_FOR;
    let growth = if of_a_second {
        rate(credible.max(middle[1]))
    } else {
        rate(middle[1])
    };
    let growth_fast = rate(fast)
        .max(rate(middle[0]))
        .max(growth)
        .max(track.speed_now(noise));
    let growth_slow = rate(slow).min(growth);
    Forecast {
        growth_slow,
        growth,
        growth_fast,
        runway: Runway {
            p10: Span::to_cover(distance, growth_fast),
            p50: Span::to_cover(distance, growth),
            p90: Span::to_cover(distance, growth_slow),
        },
        confidence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Moment;

    fn fed(values: impl IntoIterator<Item = (u64, u64)>) -> Track {
        let mut track = Track::default();
        for (millis, mebi) in values {
            track.push(Moment(millis * 1000), Bytes::mebi(mebi));
        }
        track
    }

    #[test]
    fn a_steady_leak_is_certain_and_its_runway_is_distance_over_rate() {
        // 10 MiB/s for 20 s, 100 MiB left: 10 s.
        let track = fed((1..200).map(|tick| (tick * 100, 100 + tick)));
        let seen = forecast(&track, Bytes::mebi(100), Bytes::mebi(1));
        assert_eq!(seen.confidence, Confidence::High);
        assert!(
            (9_900..=10_100).contains(&seen.runway.p50.as_millis()),
            "{:?}",
            seen.runway
        );
        assert!(seen.runway.p10 <= seen.runway.p50 && seen.runway.p50 <= seen.runway.p90);
    }

    #[test]
    fn a_heap_that_has_reached_its_plateau_is_no_growth() {
        let track = fed((1..100)
            .map(|tick| (tick * 100, 100 + tick))
            .chain((100..130).map(|tick| (tick * 100, 199))));
        let seen = forecast(&track, Bytes::mebi(30), Bytes::mebi(1));
        assert!(seen.confidence < Confidence::High, "{seen:?}");
    }

    #[test]
    fn one_jump_shortens_the_fast_bound_only() {
        let track = fed((1..100).map(|tick| (tick * 100, 100)).chain([(10_000, 160)]));
        let seen = forecast(&track, Bytes::mebi(60), Bytes::mebi(1));
        assert!(seen.runway.p10 <= Span::millis(101), "{seen:?}");
        assert_eq!(seen.runway.p50, Span::FOREVER);
    }

    #[test]
    fn a_jump_beside_a_drift_is_no_growth_that_two_windows_agree_on() {
        // 1 MiB in five seconds, and 30 MiB in the last half second.
        let drift = |tick: u64| 1000 + tick / 50;
        let track = fed((1..600)
            .map(|tick| (tick * 100, drift(tick)))
            .chain((1..6).map(|tick| (60_000 + tick * 100, drift(600) + tick * 6))));
        let seen = forecast(&track, Bytes::mebi(60), Bytes::mebi(1));
        assert!(seen.runway.p10 < Span::secs(2), "{seen:?}");
        assert!(
            seen.confidence < Confidence::High || seen.runway.p50 > Span::secs(30),
            "{seen:?}"
        );
    }

    #[test]
    fn a_jump_beside_a_leak_brings_nothing_nearer_that_is_half_a_minute_away() {
        // Seen on a node of 1,222 MiB: a leak of 5 MiB/s, and 11 MiB at once that a processor took from the free pages for its own lists.
        let leak = |tick: u64| 700 - tick * 2;
        let track = {
            let mut track = Track::default();
            for tick in 0..76 {
                track.push(Moment(tick * 426_000), Bytes::mebi(700 - leak(tick)));
            }
            track.push(Moment(76 * 426_000), Bytes::mebi(700 - leak(76) + 11));
            track
        };
        let seen = forecast(&track, Bytes::mebi(545), Bytes::mebi(2));
        // 545 MiB at 4.7 MiB/s are 116 s.
        assert!(seen.runway.p50 > Span::secs(80), "{seen:?}");
        assert!(seen.runway.p10 < Span::secs(30), "{seen:?}");
        // Near the wall it counts.
        let near = forecast(&track, Bytes::mebi(100), Bytes::mebi(2));
        assert!(near.runway.p50 < Span::secs(10), "{near:?}");
    }

    #[test]
    fn growth_of_half_a_minute_ago_does_not_confirm_that_of_the_last_second() {
        // 10 MiB/s for 30 s, nothing for 20 s, and 10 MiB/s again for 0.8.
        let track = fed((1..300)
            .map(|tick| (tick * 100, 100 + tick))
            .chain((300..500).map(|tick| (tick * 100, 400)))
            .chain((1..9).map(|tick| (50_000 + tick * 100, 400 + tick))));
        let seen = forecast(&track, Bytes::mebi(20), Bytes::mebi(1));
        assert_eq!(seen.confidence, Confidence::Low, "{seen:?}");
    }

    #[test]
    fn a_leak_that_began_four_seconds_ago_is_certain_and_as_fast_as_it_is() {
        let track = fed((1..600)
            .map(|tick| (tick * 100, 100))
            .chain((1..41).map(|tick| (60_000 + tick * 100, 100 + tick * 4))));
        let seen = forecast(&track, Bytes::mebi(160), Bytes::mebi(1));
        assert_eq!(seen.confidence, Confidence::High);
        assert_eq!(seen.runway.p50.as_millis(), 4000);
    }

    #[test]
    fn what_began_between_two_looks_is_no_older_than_the_later_one_says() {
        // Looks 577 ms apart, then ten a second: it begins right after the last of the former and takes 10 MiB by the first of the
        // latter, which is less than two seconds old at the end.
        let calm = (0..=41).map(|look| (look * 577, 100));
        let near = (0..=19).map(|look| (42 * 577 + look * 100, 110 + look * 10));
        let seen = forecast(&fed(calm.chain(near)), Bytes::mebi(100), Bytes::mebi(1));
        assert_eq!(seen.confidence, Confidence::Low, "{seen:?}");
    }

    #[test]
    fn a_heap_that_has_just_been_collected_is_as_far_from_the_wall_as_it_looks() {
        // Teeth of 120 MiB in 3 s, of which 10 stay each time; the last one has just been collected.
        let tooth = |tick: u64| tick / 30 * 10 + tick % 30 * 4;
        let track = fed((0..=600).map(|tick| (1000 + tick * 100, 100 + tooth(tick))));
        let seen = forecast(&track, Bytes::mebi(200), Bytes::mebi(1));
        // 10 MiB in 3 s.
        assert!(seen.runway.p50 >= Span::secs(40), "{seen:?}");
        assert!(seen.confidence < Confidence::High, "{seen:?}");
    }

    #[test]
    fn noise_below_the_counters_own_error_is_no_growth() {
        let track = fed((1..100).map(|tick| (tick * 100, 100 + tick / 99)));
        assert_eq!(
            forecast(&track, Bytes::mebi(2), Bytes::mebi(2)).confidence,
            Confidence::None
        );
    }
}
