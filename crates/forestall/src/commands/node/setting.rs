//! What a kubelet is told about memory, each figure with the place that said so. Sources are laid over one another: the
//! first that speaks wins, figure by figure. It knows no defaults; those are the model's (`forestall_decide::kubelet`).

use forestall_decide::Span;
use forestall_decide::kubelet::SwapBehavior;

use super::amount::Threshold;

/// A figure and who said so, in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told<T> {
    /// The figure.
    pub(crate) value: T,
    /// Where it was said.
    pub(crate) source: String,
}

impl<T> Told<T> {
    /// `value`, as `source` has it.
    pub(crate) fn by(source: &str, value: T) -> Self {
        Self {
            value,
            source: source.to_owned(),
        }
    }
}

/// The settings that divide memory; `None` where nothing was said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    /// `kubeReserved.memory`, bytes.
    pub(crate) kube_reserved: Option<Told<u64>>,
    /// `systemReserved.memory`, bytes.
    pub(crate) system_reserved: Option<Told<u64>>,
    /// `evictionHard."memory.available"`.
    pub(crate) eviction_hard: Option<Told<Threshold>>,
    /// `evictionSoft."memory.available"`.
    pub(crate) eviction_soft: Option<Told<Threshold>>,
    /// `evictionSoftGracePeriod."memory.available"`.
    pub(crate) soft_grace: Option<Told<Span>>,
    /// `evictionMinimumReclaim."memory.available"`.
    pub(crate) min_reclaim: Option<Told<String>>,
    /// Whether `enforceNodeAllocatable` names `pods`.
    pub(crate) enforces_pods: Option<Told<bool>>,
    /// `evictionPressureTransitionPeriod`.
    pub(crate) pressure_transition: Option<Told<Span>>,
    /// `evictionMaxPodGracePeriod`.
    pub(crate) pod_grace_max: Option<Told<Span>>,
    /// `singleProcessOOMKill`.
    pub(crate) single_process_oom_kill: Option<Told<bool>>,
    /// `memorySwap.swapBehavior`.
    pub(crate) swap: Option<Told<SwapBehavior>>,
}

impl Settings {
    /// Fills what is not said here from `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            kube_reserved: self.kube_reserved.or(other.kube_reserved),
            system_reserved: self.system_reserved.or(other.system_reserved),
            eviction_hard: self.eviction_hard.or(other.eviction_hard),
            eviction_soft: self.eviction_soft.or(other.eviction_soft),
            soft_grace: self.soft_grace.or(other.soft_grace),
            min_reclaim: self.min_reclaim.or(other.min_reclaim),
            enforces_pods: self.enforces_pods.or(other.enforces_pods),
            pressure_transition: self.pressure_transition.or(other.pressure_transition),
            pod_grace_max: self.pod_grace_max.or(other.pod_grace_max),
            single_process_oom_kill: self.single_process_oom_kill.or(other.single_process_oom_kill),
            swap: self.swap.or(other.swap),
        }
    }

    /// The settings of which nothing is said, by the names people know them by.
    pub(crate) fn unsaid(&self) -> Vec<&'static str> {
        let said = [
            ("kube-reserved", self.kube_reserved.is_some()),
            ("system-reserved", self.system_reserved.is_some()),
            ("eviction-hard", self.eviction_hard.is_some()),
            ("eviction-soft", self.eviction_soft.is_some()),
            ("eviction-minimum-reclaim", self.min_reclaim.is_some()),
            ("enforce-node-allocatable", self.enforces_pods.is_some()),
            (
                "eviction-pressure-transition-period",
                self.pressure_transition.is_some(),
            ),
            ("eviction-max-pod-grace-period", self.pod_grace_max.is_some()),
            ("singleProcessOOMKill", self.single_process_oom_kill.is_some()),
            ("memorySwap.swapBehavior", self.swap.is_some()),
        ];
        let unsaid = said.into_iter().filter(|(_, is_said)| !is_said);
        unsaid.map(|(name, _)| name).collect()
    }

    /// Whether anything is said.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A duration as Go writes it (`time.ParseDuration`): `1m30s`, `5m0s`, `90s`, `1.5h`; cut to whole microseconds.
pub(crate) fn parse_duration(text: &str) -> Result<Span, String> {
    let wrong = || format!("{text:?} is no duration; write one such as 90s or 1m30s");
    if text == "0" {
        return Ok(Span(0));
    }
    let mut rest = text;
    let mut micros = 0_u128;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(end);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let nanos: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(wrong()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        // Twelve digits of hours are more than a 64-bit number of microseconds holds.
        if whole.len() + fraction.len() == 0
            || whole.len() > 12
            || fraction.len() > 12
            || fraction.contains('.')
        {
            return Err(wrong());
        }
        let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| wrong())?;
        let places = u32::try_from(fraction.len()).unwrap_or(0);
        micros += digits * nanos / 10_u128.pow(places) / 1000;
        rest = tail;
    }
    if text.is_empty() {
        return Err(wrong());
    }
    u64::try_from(micros).map(Span).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(parse_duration("1m30s"), Ok(Span::secs(90)));
        assert_eq!(parse_duration("5m0s"), Ok(Span::secs(300)));
        assert_eq!(parse_duration("1.5h"), Ok(Span::secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Span::millis(250)));
        assert_eq!(parse_duration("0"), Ok(Span(0)));
        assert_eq!(parse_duration("0s"), Ok(Span(0)));
        for bad in [
            "",
            "90",
            "s",
            "1d",
            "-5s",
            "1m30",
            "1..5s",
            "1.2.3s",
            "9999999999999s",
            "٣s",
            "999999999999h",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_that_speaks_wins_figure_by_figure() {
        let over = Settings {
            kube_reserved: Some(Told::by("--kube-reserved", 1)),
            ..Settings::default()
        };
        let under = Settings {
            kube_reserved: Some(Told::by("a file", 2)),
            system_reserved: Some(Told::by("a file", 3)),
            ..Settings::default()
        };
        let both = over.or(under);
        assert_eq!(both.kube_reserved, Some(Told::by("--kube-reserved", 1)));
        assert_eq!(both.system_reserved, Some(Told::by("a file", 3)));
        assert!(!both.is_empty() && Settings::default().is_empty());
    }
}
