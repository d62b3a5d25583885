//! Who explains each wall's growth, and how far a nearer limit of his own lets him come.
//!
//! A container that leaks against its own limit is ended there by the kernel, and comes no nearer to a wall that lies behind it:
//! only what the others grow by reaches that. What it refuses to do: put a wall out of sight that is hardly further away than
//! that limit, or that others, too, come nearer to; or believe a limit of several (`kubepods`, a QoS level), whose victim may be
//! anybody.

use crate::culprit::find_culprit;
use crate::decision::{Culprit, Runway, Target, WallKind, WallReading};
use crate::forecast::FAR;
use crate::history::History;
use crate::input::Sample;
use crate::kill::kills_at;
use crate::kubelet::Growth;
use crate::tree::lineage;
use crate::units::{Bytes, BytesPerSecond, Span, wide_ratio};
use crate::wall::{Approach, noise};
use crate::window::{Track, WINDOWS};

/// Culprits are looked for when a wall is nearer than this, or than an eviction begins; until then nobody has done anything.
const CULPRIT_WITHIN: Span = Span::secs(120);
/// Culprits are looked for, too, when this little of a wall is left (permille).
const CULPRIT_BAND_PERMILLE: u64 = 60;
/// Others may have so much of a part in it (permille) for a culprit's limit to say when a wall is reached.
const OTHERS_PERMILLE_MAX: u64 = 200;
/// A wall is behind a limit if so much of it (permille) is left when that is reached.
const BEHIND_PERMILLE: u64 = 40;

/// The wall is so near that something may have to be done at any moment.
pub(crate) fn is_near(sample: &Sample, reading: &WallReading) -> bool {
    let limit = reading.limit.bytes();
    let band = limit.map_or(Bytes::ZERO, |limit| limit.permille(CULPRIT_BAND_PERMILLE));
    let plain = if reading.wall == WallKind::Kernel {
        sample.node.available
    } else {
        reading.distance
    };
    reading.runway.p10 <= CULPRIT_WITHIN || plain <= band
}

/// Names the culprit of every wall at which somebody may have to end. `evicts_within`: so long before it an eviction may begin.
pub(crate) fn name_culprits(
    sample: &Sample,
    history: &History,
    share: u64,
    evicts_within: Span,
    readings: &mut [WallReading],
) {
    let within = evicts_within.min(FAR);
    for reading in readings {
        if kills_at(reading.wall) && (reading.runway.p10 <= within || is_near(sample, reading)) {
            reading.culprit = find_culprit(sample, history, reading.scope, share, noise(&sample.node));
        }
    }
}

/// Stretches the runways of the walls whose culprit meets a limit of his own before.
pub(crate) fn stretch_runways(
    sample: &Sample,
    history: &History,
    readings: &mut [WallReading],
    approach: &mut Approach,
) {
    // The walls that several share stand before those of single pods.
    let shared = readings.partition_point(|reading| reading.wall < WallKind::Pod);
    for index in 0..shared {
        let Some(reading) = readings.get(index).copied() else {
            return;
        };
        // Of a wall that nobody ends at the culprit is the one of the wall around it.
        let culprits = readings.iter().take(shared);
        let mut culprits = culprits.filter(|other| other.scope.is_none() || other.scope == reading.scope);
        let culprit = reading
            .culprit
            .or_else(|| culprits.find_map(|other| other.culprit));
        let Some(stretch) = culprit.and_then(|culprit| behind(sample, history, readings, &reading, &culprit))
        else {
            continue;
        };
        if let Some(reading) = readings.get_mut(index) {
            stretch.apply(&mut reading.runway);
        }
        let seen = match reading.wall {
            WallKind::KubeletNode => &mut approach.node,
            WallKind::KubeletAllocatable => &mut approach.pods,
            _ => continue,
        };
        if let Some((_, growth)) = seen.as_mut().filter(|(at, _)| *at == reading.distance) {
            stretch.slow(growth);
        }
    }
}

/// How many times as long it takes without the culprit, permille; `None`: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch(Option<u64>);

impl Stretch {
    /// The fast bound stays: who explains the last ten seconds may have stopped, and another have begun.
    fn apply(self, runway: &mut Runway) {
        for bound in [&mut runway.p50, &mut runway.p90] {
            let longer = self.0.map(|times| Span(wide_ratio(bound.0, times, 1000)));
            *bound = longer.unwrap_or(Span::FOREVER);
        }
    }

    fn slow(self, growth: &mut Growth) {
        for rate in [&mut growth.slow, &mut growth.middle] {
            let slower = self
                .0
                .map(|times| BytesPerSecond(wide_ratio(rate.0, 1000, times)));
            *rate = slower.unwrap_or(BytesPerSecond(0));
        }
    }
}

/// What the nearest limit of the culprit's own leaves of a wall behind it; `None` where the wall is not behind one, or others
/// have more than a small part in what it lost.
fn behind(
    sample: &Sample,
    history: &History,
    readings: &[WallReading],
    wall: &WallReading,
    culprit: &Culprit,
) -> Option<Stretch> {
    let Target::Group(id) = culprit.target else {
        return None;
    };
    let place = history.roster.place(id)?;
    let own = readings.iter().filter(|reading| reading.wall >= WallKind::Pod);
    let own = own.filter(|reading| lineage(sample, place).any(|group| Some(group.id) == reading.scope));
    let nearest = own.map(|reading| reading.distance).min()?;
    let left = wall.distance - nearest;
    if left <= wall.limit.bytes()?.permille(BEHIND_PERMILLE) {
        return None;
    }
    let others = others_permille(sample, history, wall, place, culprit.window)?;
    if others > OTHERS_PERMILLE_MAX {
        return None;
    }
    let times = wide_ratio(left.permille_of(wall.distance), 1000, others);
    Some(Stretch((others > 0).then_some(times.max(1000))))
}

/// The share that others than the group at `place` have in what the wall lost, as its own keeper counts it: the most that the last
/// second, ten, and the culprit's own window show. Who is named for what another one left behind has not grown.
fn others_permille(
    sample: &Sample,
    history: &History,
    wall: &WallReading,
    place: usize,
    window: Span,
) -> Option<u64> {
    let scope = history.scope(wall.scope)?;
    let track = match wall.wall {
        WallKind::KubeletNode | WallKind::KubeletAllocatable => scope.working_set()?,
        _ => scope.held(),
    };
    let grown = history.at(place)?.held();
    let rise = |track: &Track, window| Bytes(u64::try_from(track.rise(window).0).unwrap_or(0));
    let noise = noise(&sample.node);
    let windows = [WINDOWS[0], WINDOWS[1], window];
    let shares = windows.iter().filter_map(|window| {
        let (lost, own) = (rise(track, *window), rise(grown, *window));
        (lost > noise).then(|| (lost - own).permille_of(lost))
    });
    shares.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_take_what_is_left_behind_the_limit() {
        // 600 of 1000 MiB are left when the culprit, who is nine tenths of 10 MiB/s, is stopped: at 1 MiB/s that takes 600 s.
        let times = wide_ratio(Bytes::mebi(600).permille_of(Bytes::mebi(1000)), 1000, 100);
        let stretch = Stretch(Some(times));
        let bound = Span::secs(100);
        let mut runway = Runway {
            p10: bound,
            p50: bound,
            p90: Span::FOREVER,
        };
        stretch.apply(&mut runway);
        assert_eq!((runway.p10, runway.p50), (bound, Span::secs(600)));
        let rate = BytesPerSecond(6 << 20);
        let mut growth = Growth {
            slow: rate,
            middle: rate,
            fast: rate,
        };
        stretch.slow(&mut growth);
        assert_eq!((growth.fast, growth.middle), (rate, BytesPerSecond(1 << 20)));
        Stretch(None).apply(&mut runway);
        assert_eq!((runway.p10, runway.p50), (bound, Span::FOREVER));
    }
}
