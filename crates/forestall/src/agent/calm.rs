//! How closely the guard has to look, judged by what the engine has just said and by the sample it was told.
//!
//! It refuses to say when to look: the engine does, and glances go by the machine's own wall alone.

use forestall_decide::{Bytes, Decision, GroupKind, Policy, Sample, Span, Target, WallKind, next_glance};

/// A wall nearer than this is worth reading the host's processes for.
const NEAR: Span = Span::secs(60);

/// A wall is far where half of what it leaves is free and the fastest growth takes at least this long to reach it.
const FAR: Span = Span::secs(120);

/// Every wall is far away, so that nobody has to be blamed for anything soon.
pub(super) fn is_far_from_walls(decision: &Decision<'_>) -> bool {
    !decision.readings.is_empty()
        && decision.actions.is_empty()
        && decision.readings.iter().all(|reading| {
            let is_half_free = reading
                .limit
                .bytes()
                .is_none_or(|limit| reading.distance >= limit.permille(500));
            is_half_free && !reading.alarmed && reading.runway.p10 >= FAR
        })
}

/// A limit of one of the host's own cgroups may be reached while the machine as a whole has lost nothing worth a look.
pub(super) fn has_limits_outside_kubepods(sample: &Sample) -> bool {
    let mut own = sample.groups.iter().filter(|group| group.kind == GroupKind::Host);
    own.any(|group| group.limit.bytes().is_some_and(|limit| limit < sample.node.total))
}

/// What is left of the machine's own wall, where the engine asks for no earlier look than that demands: glances will do until
/// something changes.
pub(super) fn calm_distance(decision: &Decision<'_>, policy: &Policy) -> Option<Bytes> {
    let own = decision
        .readings
        .iter()
        .find(|reading| reading.wall == WallKind::Kernel)?;
    (decision.wake_in >= next_glance(own.distance, policy)).then_some(own.distance)
}

/// The machine's own wall is near and its growth is not explained by a pod: then every process outside `kubepods` is read at
/// every look, which takes too long to be done when a pod is the culprit.
pub(super) fn suspects_host(decision: &Decision<'_>) -> bool {
    let near = decision
        .readings
        .iter()
        .filter(|reading| reading.wall == WallKind::Kernel && reading.runway.p10 <= NEAR);
    let mut suspected = near.filter_map(|reading| reading.culprit);
    suspected.any(|culprit| !matches!(culprit.target, Target::Group(_)))
}

#[cfg(test)]
mod tests {
    use forestall_decide::{BytesPerSecond, GroupSample, Limit, WallReading};

    use super::super::guard::tests::own_wall;
    use super::*;

    #[test]
    fn a_limit_outside_kubepods_keeps_the_guard_from_resting() {
        let with = |kind, limit| {
            let mut sample = Sample::default();
            sample.node.total = Bytes::mebi(8_192);
            sample.groups.push(GroupSample {
                kind,
                limit,
                ..GroupSample::default()
            });
            has_limits_outside_kubepods(&sample)
        };
        assert!(with(GroupKind::Host, Limit::Bytes(Bytes::mebi(128))));
        // More than there is limits nothing, and the pods' limits are looked at every second anyway.
        assert!(!with(GroupKind::Host, Limit::Bytes(Bytes::mebi(8_192))));
        assert!(!with(GroupKind::Host, Limit::Max));
        assert!(!with(GroupKind::Kubepods, Limit::Bytes(Bytes::mebi(128))));
    }

    #[test]
    fn glances_do_only_where_the_engine_asks_for_no_earlier_look() {
        let own = own_wall();
        let policy = Policy {
            fill_rate: BytesPerSecond(1 << 30),
            tick_idle: Span::secs(10),
            ..Policy::default()
        };
        let calm = |readings: &[WallReading], wake_in| {
            let decision = Decision {
                readings,
                alarms: &[],
                endings: &[],
                actions: &[],
                refusals: &[],
                passed_over: &[],
                ignored: &[],
                kubelet: None,
                wake_in,
            };
            calm_distance(&decision, &policy)
        };
        // 4 GiB at 1 GiB/s: a second.
        assert_eq!(calm(&[own], Span::secs(1)), Some(Bytes::mebi(4_096)));
        assert_eq!(calm(&[own], Span::millis(999)), None);
        assert_eq!(calm(&[], Span::secs(1)), None);
    }
}
