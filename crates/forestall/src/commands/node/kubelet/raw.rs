//! A kubelet's settings as text, however they were written down, and what they mean once read.

use forestall_decide::Span;
use forestall_decide::kubelet::{Nanobytes, Quantity};

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
}

impl Raw {
    /// Reads the texts; the error names the setting and where it stands.
    pub(crate) fn read(self) -> Result<Settings, String> {
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
        Ok(Settings {
            kube_reserved: read("kube-reserved", self.kube_reserved, |text| reservation(text))?,
            system_reserved: read("system-reserved", self.system_reserved, |text| reservation(text))?,
            eviction_hard: read("eviction-hard", self.eviction_hard, threshold)?,
            eviction_soft: read("eviction-soft", self.eviction_soft, threshold)?,
            soft_grace: read("eviction-soft-grace-period", self.soft_grace, |text| {
                parse_duration(text)
            })?,
            min_reclaim: read("eviction-minimum-reclaim", self.min_reclaim, min_reclaim)?,
            enforces_pods: self.enforced.map(|told| Told {
                value: told.value.iter().any(|name| name == "pods"),
                source: told.source,
            }),
            pressure_transition: read(
                "eviction-pressure-transition-period",
                self.pressure_transition,
                |text| parse_duration(text),
            )?,
            pod_grace_max: read("eviction-max-pod-grace-period", self.pod_grace_max, |text| {
                seconds(text)
            })?,
        })
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

fn read<T, U>(
    name: &str,
    told: Option<Told<T>>,
    parse: impl Fn(&T) -> Result<U, String>,
) -> Result<Option<Told<U>>, String> {
    told.map(|told| match parse(&told.value) {
        Ok(value) => Ok(Told {
            value,
            source: told.source,
        }),
        Err(why) => Err(format!("{name} in {}: {why}", told.source)),
    })
    .transpose()
}
