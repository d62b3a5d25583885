//! The answer, brought together from what was given, what the kubelet is told and what the machine shows. The first of
//! these that speaks wins, figure by figure, and each figure keeps the name of its source.

use std::path::Path;

use forestall_decide::kubelet::{KubeletConfig, Signal, Threshold};
use forestall_decide::{Bytes, Limit, Span};

use super::amount;
use super::division::Division;
use super::given::Given;
use super::kubelet::Found;
use super::machine::Machine;
use super::provider;
use super::report::{Origins, Report, ThresholdLine};
use super::setting::{Settings, Told};
use super::top::Top;
use super::wall::{Usage, next_wall, walls};

/// The source of a figure that nobody said.
const DEFAULT: &str = "the kubelet's default";

/// Largest page of a kernel that Kubernetes runs on: limits are kept in whole pages.
const PAGE_BYTES_MAX: u64 = 64 << 10;

/// Everything known about a node.
#[derive(Debug)]
struct Survey {
    config: KubeletConfig,
    origins: Origins,
    notes: Vec<String>,
    sources: Vec<String>,
}

/// Reads or reckons.
pub(crate) fn survey(given: Given, root: &Path, kubelet_config: Option<&Path>) -> anyhow::Result<Report> {
    let machine = match given.capacity {
        Some(_) => None,
        None => Some(Machine::read(root)?),
    };
    let found = if (machine.is_some() && given.provider.is_none()) || kubelet_config.is_some() {
        Found::read(root, kubelet_config)?
    } else {
        Found::default()
    };
    let capacity = given
        .capacity
        .or(machine.as_ref().map(|machine| machine.total))
        .unwrap_or(0);
    let of_provider = given.provider.map(|rule| {
        let machine = provider::Machine {
            capacity,
            nominal: given.nominal,
            pods: given.max_pods,
        };
        (rule.settings(machine), rule.describe(machine))
    });
    let pods = machine.as_ref().and_then(|machine| machine.pods.clone());
    let kubelet = given.capacity.is_some()
        || !given.settings.is_empty()
        || of_provider.is_some()
        || !found.places.is_empty()
        || pods.is_some();
    // A what-if about reservations is about what would be configured, not about the limit that the kernel holds now.
    let reserves = given.settings.kube_reserved.is_some()
        || given.settings.system_reserved.is_some()
        || of_provider.is_some();
    let held = match (given.kubepods_limit, &pods) {
        (Some(limit), _) => Some((Limit::Bytes(Bytes(limit)), "--from".to_owned())),
        (None, Some(pods)) if !reserves => {
            let limit = pods
                .limit_bytes
                .map_or(Limit::Max, |limit| Limit::Bytes(Bytes(limit)));
            Some((limit, format!("the kernel's limit on {}", pods.path)))
        }
        _ => None,
    };

    let mut survey = Survey {
        config: KubeletConfig {
            capacity: Bytes(capacity),
            thresholds: Vec::new(),
            ..KubeletConfig::default()
        },
        origins: Origins::default(),
        notes: found.notes,
        sources: of_provider.iter().map(|(_, rule)| rule.clone()).collect(),
    };
    if !found.places.is_empty() {
        survey
            .sources
            .push(format!("kubelet: {}", found.places.join(", ")));
    }
    survey.origins.capacity = match &machine {
        None => "given".to_owned(),
        Some(_) => "MemTotal in /proc/meminfo".to_owned(),
    };
    let hugepages = given.hugepages.map(|bytes| (bytes, "--from"));
    let measured = machine
        .as_ref()
        .map(|machine| (machine.hugetlb, "Hugetlb in /proc/meminfo"));
    if let Some((bytes, source)) = hugepages.or(measured) {
        survey.config.hugepages = Bytes(bytes);
        survey.origins.hugepages = Some(source.to_owned());
    }
    let settings = given
        .settings
        .or(of_provider.map(|(settings, _)| settings).unwrap_or_default())
        .or(found.settings);
    let knows_reservations = settings.kube_reserved.is_some() || settings.system_reserved.is_some();
    survey.configure(settings, kubelet)?;
    if let Some(allocatable) = given.allocatable {
        survey.infer_from_allocatable(allocatable, knows_reservations);
    } else if let Some((Limit::Bytes(limit), source)) = &held {
        survey.reconcile(limit.0, source, knows_reservations);
    }
    survey.origins.kubepods_limit = held.as_ref().map(|(_, source)| source.clone());
    if matches!(held, Some((Limit::Max, _))) {
        survey
            .notes
            .push("kubepods has no limit of its own: only the machine's end stops the pods".to_owned());
    }
    if let Some(reason) = machine
        .as_ref()
        .and_then(|machine| machine.cgroups_hidden.as_ref())
    {
        survey.notes.push(format!(
            "cgroups cannot be read, so neither pods nor their limit nor sockets are known: {reason}"
        ));
    }
    if !kubelet {
        survey
            .notes
            .push("no kubelet here: --provider or --eviction-hard show what one would do".to_owned());
    }
    let division = Division::of(&survey.config, held.map(|(limit, _)| limit)).map_err(anyhow::Error::msg)?;
    if let Some(given) = given.allocatable
        && given != division.allocatable_bytes
    {
        survey.notes.push(format!(
            "the node reports {}Ki as allocatable, these figures make {}Ki: one of them is not what the kubelet runs with",
            given >> 10,
            division.allocatable_bytes >> 10
        ));
    }
    let mut usage = machine.as_ref().map_or_else(Usage::default, Machine::usage);
    usage.pods_working_set = given.pods_used.or(usage.pods_working_set);
    usage.pods_unreclaimable = given.pods_used.or(usage.pods_unreclaimable);
    usage.node_working_set = given.node_used.or(usage.node_working_set);
    let walls = walls(&division, &survey.config, kubelet, &usage);
    let next = next_wall(&walls);
    let top = usage
        .node_working_set
        .filter(|_| kubelet)
        .and_then(|used| Top::of(used, usage.pods_working_set, &division));
    Ok(Report {
        kind: "node",
        version: 1,
        kubelet,
        sources: survey.sources,
        origins: survey.origins,
        next_wall: next.and_then(|index| walls.get(index)).map(|wall| wall.kind),
        next,
        top_node_percent: top.map(|top| top.shown_percent),
        top,
        thresholds: ThresholdLine::list(&survey.config),
        pressure_transition_seconds: survey.config.pressure_transition.0 / 1_000_000,
        division,
        walls,
        views: machine.as_ref().map(|machine| machine.views),
        pods,
        notes: survey.notes,
    })
}

impl Survey {
    /// Takes the settings over; without a kubelet there are none.
    fn configure(&mut self, settings: Settings, kubelet: bool) -> anyhow::Result<()> {
        if !kubelet {
            return Ok(());
        }
        let capacity = self.config.capacity;
        let take = |told: Option<Told<u64>>| match told {
            Some(told) => (Bytes(told.value), told.source),
            None => (Bytes::ZERO, DEFAULT.to_owned()),
        };
        (self.config.kube_reserved, self.origins.kube_reserved) = take(settings.kube_reserved);
        (self.config.system_reserved, self.origins.system_reserved) = take(settings.system_reserved);
        if let Some(told) = settings.enforces_pods {
            self.config.enforces_pods = told.value;
            if !told.value {
                self.notes.push(format!(
                    "{} does not enforce pods: kubepods has no limit below the capacity and no threshold of its own",
                    told.source
                ));
            }
        }
        if let Some(told) = settings.pressure_transition {
            self.config.pressure_transition = told.value;
        }
        if let Some(told) = settings.pod_grace_max {
            self.config.pod_grace_max = told.value;
        }
        let hard = settings.eviction_hard.unwrap_or_else(|| {
            self.notes.push(
                "eviction-hard is not known here: the kubelet's default of 100Mi is assumed".to_owned(),
            );
            Told::by(DEFAULT, Some(amount::exactly(default_hard().0)))
        });
        let min_reclaim = settings
            .min_reclaim
            .map_or(Bytes::ZERO, |told| told.value.bytes(capacity));
        let threshold = |signal, value, grace| Threshold {
            signal,
            value,
            grace,
            min_reclaim,
        };
        let value = hard.value.map_or(Bytes::ZERO, |value| value.bytes(capacity));
        if value > Bytes::ZERO {
            let thresholds = &mut self.config.thresholds;
            thresholds.push(threshold(Signal::MemoryAvailable, value, Span(0)));
            if self.config.enforces_pods {
                thresholds.push(threshold(Signal::AllocatableMemoryAvailable, value, Span(0)));
            }
        }
        self.origins.eviction_hard = Some(hard.source);
        if let Some(soft) = settings.eviction_soft
            && let Some(value) = soft.value
        {
            let grace = settings.soft_grace.ok_or_else(|| {
                anyhow::anyhow!(
                    "the soft threshold ({}) has no grace period, and a kubelet refuses to start with such; give one \
                     with --eviction-soft-grace-period 1m30s",
                    soft.source
                )
            })?;
            let line = threshold(Signal::MemoryAvailable, value.bytes(capacity), grace.value);
            self.config.thresholds.push(line);
            self.origins.eviction_soft = Some(soft.source);
        }
        Ok(())
    }

    /// What a node reports as allocatable is its capacity less reservations and hard threshold, so that the reservation
    /// follows where nothing else says it.
    fn infer_from_allocatable(&mut self, allocatable: u64, known: bool) {
        if known {
            return;
        }
        let config = &mut self.config;
        let reserved =
            (config.capacity - config.hugepages) - config.hard(Signal::MemoryAvailable) - Bytes(allocatable);
        config.kube_reserved = reserved;
        self.inferred("capacity less allocatable and threshold");
    }

    /// Where the kernel's limit on `kubepods` and the configuration disagree, the kernel's counts; where only the kernel's
    /// is known, what is missing up to the capacity must have been reserved.
    fn reconcile(&mut self, limit: u64, source: &str, known: bool) {
        if !known {
            self.config.kube_reserved = self.config.capacity - self.config.hugepages - Bytes(limit);
            self.inferred(&format!("capacity less {source}"));
            return;
        }
        let configured = self.config.kubepods_limit().0;
        if configured.abs_diff(limit) >= PAGE_BYTES_MAX {
            self.notes.push(format!(
                "the kernel limits kubepods to {}Ki, the configuration says {}Ki: was the kubelet restarted since?",
                limit >> 10,
                configured >> 10
            ));
        }
    }

    fn inferred(&mut self, how: &str) {
        how.clone_into(&mut self.origins.kube_reserved);
        self.notes.push(format!(
            "reservations are inferred ({how}); they are shown as kube-reserved"
        ));
    }
}

/// The hard threshold of a kubelet that was told nothing.
fn default_hard() -> Bytes {
    KubeletConfig::default().hard(Signal::MemoryAvailable)
}
