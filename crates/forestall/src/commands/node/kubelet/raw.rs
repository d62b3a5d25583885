//! A kubelet's settings as text, however they were written down, and what they mean once read.

use forestall_decide::Span;
use forestall_decide::kubelet::{Nanobytes, Quantity, SwapBehavior};

use super::super::amount::{Threshold, read_min_reclaim};
use super::super::setting::{Settings, Told, parse_duration};

/// Texts and where each stood; a threshold of `None` is one that was switched off.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Raw {
    /// The amount of memory in `kubeReserved`.
    pub(crate) kube_reserved: Option<Told<String>>,
    /// The amount of memory in `systemReserved`.
    pub(crate) system_reserved: Option<Told<String>>,
    /// The hard threshold on `memory.available`.
    pub(crate) eviction_hard: Option<Told<Option<String>>>,
    /// The soft one.
    pub(crate) eviction_soft: Option<Told<Option<String>>>,
    /// How long the soft one must be met.
    pub(crate) soft_grace: Option<Told<String>>,
    /// How much more than the threshold must be available for it to be over.
    pub(crate) min_reclaim: Option<Told<String>>,
    /// What is enforced: `pods`, `kube-reserved`, `system-reserved`, `none`.
    pub(crate) enforced: Option<Told<Vec<String>>>,
    /// How long the pressure outlasts its cause.
    pub(crate) pressure_transition: Option<Told<String>>,
    /// Whole seconds.
    pub(crate) pod_grace_max: Option<Told<String>>,
    /// Whether containers are not killed as a whole.
    pub(crate) single_process_oom_kill: Option<Told<String>>,
    /// Whether pods may swap.
    pub(crate) swap: Option<Told<String>>,
}

impl Raw {
    /// Reads the texts, and says of each that is not understood which setting it is, where it stands and what is wrong: nothing
    /// is said of that setting then.
    pub(crate) fn read(self) -> (Settings, Vec<String>) {
        let mut wrong = Vec::new();
        let seconds = |text: &str| {
            text.parse()
                .map(Span::secs)
                .map_err(|_| format!("{text:?} is no number of seconds"))
        };
        let threshold = |text: &Option<String>| match text {
            Some(text) => Threshold::read(text),
            None => Ok(Threshold::off()),
        };
        let min_reclaim = |text: &String| read_min_reclaim(text);
        let settings = Settings {
            kube_reserved: read(&mut wrong, "kube-reserved", self.kube_reserved, |text| {
                reservation(text)
            }),
            system_reserved: read(&mut wrong, "system-reserved", self.system_reserved, |text| {
                reservation(text)
            }),
            eviction_hard: read(&mut wrong, "eviction-hard", self.eviction_hard, threshold),
            eviction_soft: read(&mut wrong, "eviction-soft", self.eviction_soft, threshold),
            soft_grace: read(
                &mut wrong,
                "eviction-soft-grace-period",
                self.soft_grace,
                |text| parse_duration(text),
            ),
            min_reclaim: read(
                &mut wrong,
                "eviction-minimum-reclaim",
                self.min_reclaim,
                min_reclaim,
            ),
            enforces_pods: self.enforced.map(|told| Told {
                value: told.value.iter().any(|name| name == "pods"),
                source: told.source,
            }),
            pressure_transition: read(
                &mut wrong,
                "eviction-pressure-transition-period",
                self.pressure_transition,
                |text| parse_duration(text),
            ),
            pod_grace_max: read(
                &mut wrong,
                "eviction-max-pod-grace-period",
                self.pod_grace_max,
                |text| seconds(text),
            ),
            single_process_oom_kill: read(
                &mut wrong,
                "singleProcessOOMKill",
                self.single_process_oom_kill,
                |text| {
                    text.parse()
                        .map_err(|_| format!("{text:?} is neither true nor false"))
                },
            ),
            swap: read(&mut wrong, "memorySwap.swapBehavior", self.swap, |text| {
                swap(text)
            }),
        };
        (settings, wrong)
    }
}

/// The bytes of a reservation; the kubelet takes no negative one.
fn reservation(text: &str) -> Result<u64, String> {
    let quantity = Quantity::parse(text).map_err(|error| error.to_string())?;
    if quantity.exact < Nanobytes(0) {
        return Err(format!("{text:?} is negative"));
    }
    Ok(quantity.exact.round_up().0)
}

/// What pods may do with swap; the empty word is the default (k/k `pkg/kubelet/types/constants.go`).
fn swap(text: &str) -> Result<SwapBehavior, String> {
    match text {
        "" | "NoSwap" => Ok(SwapBehavior::NoSwap),
        "LimitedSwap" => Ok(SwapBehavior::LimitedSwap),
        other => Err(format!("{other:?} is neither NoSwap nor LimitedSwap")),
    }
}

fn read<T, U>(
    wrong: &mut Vec<String>,
    name: &str,
    told: Option<Told<T>>,
    parse: impl Fn(&T) -> Result<U, String>,
) -> Option<Told<U>> {
    let told = told?;
    let value = parse(&told.value).map_err(|why| wrong.push(format!("{name} in {}: {why}", told.source)));
    Some(Told {
        value: value.ok()?,
        source: told.source,
    })
}
