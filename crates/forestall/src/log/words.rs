//! The engine's values as the words that logs, metrics and the documentation share.

use forestall_decide::{Bytes, Confidence, Mode, OutcomeKind, Protection, RefusalReason, Span, WhyNot};

use crate::agent::shared::ActionOutcome;

pub(crate) const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Shadow => "shadow",
        Mode::Enforce => "enforce",
    }
}

pub(crate) const fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::None => "none",
        Confidence::Low => "low",
        Confidence::High => "high",
    }
}

pub(crate) const fn protection(protection: Protection) -> &'static str {
    match protection {
        Protection::Essential => "essential",
        Protection::NodeAgent => "node-agent",
        Protection::OomScoreAdj => "oom-score-adj",
        Protection::StaticPod => "static-pod",
        Protection::Pause => "pause",
        Protection::Delegated => "delegated",
        Protection::OptedOut => "opted-out",
        Protection::Shared => "shared",
    }
}

pub(crate) const fn reason(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::NoCulprit => "no-culprit",
        RefusalReason::Protected(_) => "protected",
        RefusalReason::NothingToKill => "nothing-to-kill",
        RefusalReason::Spared(_) => "spared",
        RefusalReason::Impossible => "impossible",
        RefusalReason::Waiting => "waiting",
        RefusalReason::OnItsWay => "on-its-way",
        RefusalReason::KernelKilled => "kernel-killed",
        RefusalReason::RungOff => "rung-off",
    }
}

/// Why somebody was passed over.
pub(crate) const fn why_not(why: WhyNot) -> &'static str {
    match why {
        WhyNot::Protected(why) => protection(why),
        WhyNot::Critical => "critical",
        WhyNot::OptedOut => "opted-out",
        WhyNot::DaemonSet => "daemon-set",
        WhyNot::NobodyBringsItBack => "nobody-brings-it-back",
        WhyNot::Terminating => "terminating",
        WhyNot::GraceTooLong => "grace-too-long",
        WhyNot::FreesTooLittle => "frees-too-little",
        WhyNot::ComesBack => "comes-back",
        WhyNot::WithinRequest => "within-request",
        WhyNot::OwnLimitFirst => "own-limit-first",
        WhyNot::OthersFirst => "others-first",
        WhyNot::Tried => "tried",
        WhyNot::LeftAlone => "left-alone",
        WhyNot::Blocked => "blocked",
        WhyNot::NoToken => "no-token",
        WhyNot::NowhereToGo => "nowhere-to-go",
        WhyNot::ApiAway => "api-away",
        WhyNot::NotAsked => "not-asked",
        WhyNot::AtItsMost => "at-its-most",
        WhyNot::NoRoom => "no-room",
        WhyNot::Unseen => "unseen",
    }
}

/// The reason as half a sentence. A rule that asks for no culprit (a preset, `victims: priority`) refuses for the same reasons
/// without one; what is only announced is never under way.
pub(crate) const fn reason_sentence(reason: RefusalReason, has_culprit: bool, mode: Mode) -> &'static str {
    match reason {
        RefusalReason::Waiting if !matches!(mode, Mode::Enforce) => {
            "an action that was announced is waited for, as if it were under way"
        }
        RefusalReason::NothingToKill if !has_culprit => {
            "no culprit is known, and no pod that might be chosen instead"
        }
        RefusalReason::Protected(_) if !has_culprit => {
            "no culprit is known, and who was chosen may not be touched"
        }
        RefusalReason::Spared(_) if !has_culprit => {
            "no culprit is known, and the pod that was chosen may not be touched"
        }
        RefusalReason::Impossible if !has_culprit => {
            "no culprit is known, and the figures of who was chosen cannot be true"
        }
        RefusalReason::NoCulprit => "nobody explains enough of the growth",
        RefusalReason::Protected(_) => "the culprit may not be touched",
        RefusalReason::NothingToKill => {
            "the culprit shows no process that a kill may end: its memory outlives them, they are out of sight from here, or it is no container"
        }
        RefusalReason::Spared(_) => "the culprit's pod may not be touched",
        RefusalReason::Impossible => "the culprit's figures cannot be true",
        RefusalReason::Waiting => "an action is under way or has just ended",
        RefusalReason::OnItsWay => "enough memory is on its way: pods are terminating",
        RefusalReason::KernelKilled => "the kernel has just killed; that memory is on its way",
        RefusalReason::RungOff => "the rung is switched off or its right is missing",
    }
}

pub(crate) const fn outcome(kind: OutcomeKind) -> &'static str {
    match ActionOutcome::of(kind) {
        Some(ended) => ended.label(),
        None => "progress",
    }
}

/// A size in MiB with exactly two decimals, rounded to the nearest.
pub(crate) fn mebibytes(size: Bytes) -> String {
    let hundredths = (u128::from(size.0) * 100 + (1 << 19)) >> 20;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// A share in percent with exactly two decimals, rounded to the nearest; of nothing it is 0.00.
pub(crate) fn percent(part: Bytes, whole: Bytes) -> String {
    if whole == Bytes::ZERO {
        return "0.00".to_owned();
    }
    let whole = u128::from(whole.0);
    let hundredths = (u128::from(part.0) * 10_000 + whole / 2) / whole;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Permille as percent with one decimal.
pub(crate) fn permille(permille: u64) -> String {
    format!("{}.{}%", permille / 10, permille % 10)
}

/// A runway's three bounds, or that it is not in sight.
pub(crate) fn runway(runway: forestall_decide::Runway) -> String {
    if runway.p10 == Span::FOREVER {
        return "-".to_owned();
    }
    format!("{}/{}/{}", runway.p10, runway.p50, runway.p90)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On cgroup v1 a list without those of other PID namespaces looks like that of an empty cgroup, and who lives right in a cgroup of
    /// a whole class of pods is not killed as one.
    #[test]
    fn a_culprit_in_which_nobody_can_be_killed_is_not_said_to_be_empty() {
        let sentence = reason_sentence(RefusalReason::NothingToKill, true, Mode::Enforce);
        assert!(
            sentence.contains("out of sight") && sentence.contains("no container"),
            "{sentence}"
        );
    }

    /// A rule that asks for no culprit has none to speak of.
    #[test]
    fn a_culprit_that_is_not_there_is_not_named() {
        let reasons = [
            RefusalReason::NothingToKill,
            RefusalReason::Protected(Protection::NodeAgent),
            RefusalReason::Spared(WhyNot::Critical),
            RefusalReason::Impossible,
        ];
        for reason in reasons {
            let said = |has_culprit| reason_sentence(reason, has_culprit, Mode::Enforce);
            assert!(said(true).starts_with("the culprit"));
            assert!(said(false).starts_with("no culprit is known"));
        }
    }

    /// /proc/meminfo of a public post, in kB: MemTotal 8124016, MemFree 346844, Cached 1690344.
    #[test]
    fn two_decimals_as_published() {
        let total = Bytes(8_124_016 << 10);
        let used = total - Bytes(346_844 << 10) - Bytes(1_690_344 << 10);
        assert_eq!(percent(used, total), "74.92");
        assert_eq!(percent(Bytes(1_690_344 << 10), total), "20.81");
        assert_eq!(percent(Bytes(1), Bytes::ZERO), "0.00");
        assert_eq!(mebibytes(Bytes(7_291_510_784)), "6953.73");
    }
}
