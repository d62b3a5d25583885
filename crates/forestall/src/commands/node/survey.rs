//! The answer, brought together from what was given, what the kubelet is told and what the machine shows. The first of
//! these that speaks wins, figure by figure, and each figure keeps the name of its source.

use std::path::Path;

use anyhow::bail;
use forestall_decide::{Bytes, Limit};

use super::configure::Configured;
use super::division::Division;
use super::given::Given;
use super::kubelet::Found;
use super::machine::Machine;
use super::provider;
use super::report::{Report, ThresholdLine};
use super::setting::Settings;
use super::top::Top;
use super::wall::{Usage, next_wall, walls};

/// What is known of a node before anything is reckoned.
#[derive(Debug)]
struct Known {
    given: Given,
    machine: Option<Machine>,
    found: Found,
    /// What the provider tells its kubelets, and its rule in words.
    preset: Option<(Settings, String)>,
    capacity: u64,
}

/// Reads or reckons.
pub(crate) fn survey(given: Given, root: &Path, kubelet_config: Option<&Path>) -> anyhow::Result<Report> {
    let mut known = Known::gather(given, root, kubelet_config)?;
    let kubelet = known.has_kubelet();
    let held = known.held_limit();
    let node = known.configure(kubelet, held.as_ref())?;
    let limit = held.map(|(limit, _)| limit);
    let division = Division::of(&node.config, limit).map_err(anyhow::Error::msg)?;

    let mut notes = node.notes;
    notes.extend(known.remarks(kubelet, limit, &division));
    let usage = known.usage();
    let walls = walls(&division, &node.config, kubelet, &usage);
    let next = next_wall(&walls);
    let top = usage
        .node_working_set
        .filter(|_| kubelet)
        .and_then(|used| Top::of(used, usage.pods_working_set, &division));
    Ok(Report {
        kind: "node",
        version: 1,
        complete: known.is_complete(),
        kubelet,
        sources: known.sources(),
        origins: node.origins,
        next_wall: next.and_then(|index| walls.get(index)).map(|wall| wall.kind),
        next,
        top_node_percent: top.map(|top| top.shown_percent),
        top,
        thresholds: ThresholdLine::list(&node.config),
        pressure_transition_seconds: node.config.pressure_transition.0 / 1_000_000,
        division,
        walls,
        views: known.machine.as_ref().map(|machine| machine.views),
        pods: known.machine.and_then(|machine| machine.pods),
        notes,
    })
}

impl Known {
    fn gather(given: Given, root: &Path, kubelet_config: Option<&Path>) -> anyhow::Result<Self> {
        let machine = match given.capacity {
            Some(_) => None,
            None => Some(Machine::read(root)?),
        };
        // A provider's rule is asked for instead of what this machine's kubelet is told.
        let reads_kubelet = (machine.is_some() && given.provider.is_none()) || kubelet_config.is_some();
        let found = if reads_kubelet {
            Found::read(root, kubelet_config)?
        } else {
            Found::default()
        };
        let measured = machine.as_ref().map(|machine| machine.total);
        let capacity = given.capacity.or(measured).unwrap_or(0);
        if capacity == 0 {
            bail!("a node without memory is none: give the capacity that `kubectl describe node` shows");
        }
        if let Some(allocatable) = given.allocatable.filter(|allocatable| *allocatable > capacity) {
            bail!(
                "allocatable of {allocatable} bytes exceeds the capacity of {capacity} bytes, of which it is a part: give \
                 both of the same node"
            );
        }
        if let Some(limit) = given.kubepods_limit.filter(|limit| *limit > capacity) {
            bail!(
                "kubepods-limit of {limit} bytes exceeds the capacity of {capacity} bytes, which the reservations come off: give \
                 both of the same node"
            );
        }
        let preset = given.provider.map(|rule| {
            let machine = provider::Machine {
                capacity,
                nominal: given.nominal,
                pods: given.max_pods,
            };
            (rule.settings(machine), rule.describe(machine))
        });
        Ok(Self {
            given,
            machine,
            found,
            preset,
            capacity,
        })
    }

    /// Whether a kubelet's rules apply: asked for, configured, or at work.
    fn has_kubelet(&self) -> bool {
        let has_pods = self
            .machine
            .as_ref()
            .is_some_and(|machine| machine.pods.is_some());
        self.given.capacity.is_some()
            || !self.given.settings.is_empty()
            || self.preset.is_some()
            || !self.found.places.is_empty()
            || has_pods
    }

    /// The limit that the kernel holds on `kubepods`, and who said so. A what-if about reservations is about what would be
    /// configured, and not about that limit.
    fn held_limit(&self) -> Option<(Limit, String)> {
        if let Some(limit) = self.given.kubepods_limit {
            return Some((Limit::Bytes(Bytes(limit)), "--from".to_owned()));
        }
        let settings = &self.given.settings;
        if settings.kube_reserved.is_some() || settings.system_reserved.is_some() || self.preset.is_some() {
            return None;
        }
        self.machine.as_ref()?.held_limit()
    }

    /// The kubelet's configuration, from the first source that speaks, figure by figure.
    fn configure(&mut self, kubelet: bool, held: Option<&(Limit, String)>) -> anyhow::Result<Configured> {
        let given = self.given.hugepages.map(|bytes| (bytes, "--from"));
        let measured = self
            .machine
            .as_ref()
            .map(|machine| (machine.hugetlb, "Hugetlb in /proc/meminfo"));
        let hugepages = given.or(measured);
        let bytes = Bytes(hugepages.map_or(0, |(bytes, _)| bytes));
        let mut node = Configured::bare(Bytes(self.capacity), bytes);
        node.origins.hugepages = hugepages.map(|(_, source)| source.to_owned());
        node.origins.capacity = match &self.machine {
            None => "given".to_owned(),
            Some(_) => "MemTotal in /proc/meminfo".to_owned(),
        };
        if !kubelet {
            return Ok(node);
        }
        node.origins.kubepods_limit = held.map(|(_, source)| source.clone());
        let settings = std::mem::take(&mut self.given.settings);
        let preset = self.preset.as_ref().map(|(settings, _)| settings.clone());
        let found = std::mem::take(&mut self.found.settings);
        node.apply(settings.or(preset.unwrap_or_default()).or(found))?;
        match (self.given.allocatable, held) {
            (Some(allocatable), _) => node.infer_from_allocatable(Bytes(allocatable)),
            (None, Some((Limit::Bytes(limit), source))) => node.reconcile(*limit, source),
            (None, _) => {}
        }
        node.settle(held.map(|(limit, _)| *limit))?;
        Ok(node)
    }

    /// How much is in use; what was given wins over what is measured.
    fn usage(&self) -> Usage {
        let measured = self.machine.as_ref().map_or_else(Usage::default, Machine::usage);
        Usage {
            pods_working_set: self.given.pods_used.or(measured.pods_working_set),
            pods_unreclaimable: self.given.pods_used.or(measured.pods_unreclaimable),
            node_working_set: self.given.node_used.or(measured.node_working_set),
            ..measured
        }
    }

    /// Whether everything that was looked for on the machine could be read and can be true.
    fn is_complete(&self) -> bool {
        let machine = self.machine.as_ref();
        machine.is_none_or(|machine| machine.doubts.is_empty() && machine.cgroups_hidden.is_none())
    }

    /// Where the figures come from, in words.
    fn sources(&self) -> Vec<String> {
        let mut sources: Vec<_> = self.preset.iter().map(|(_, rule)| rule.clone()).collect();
        if !self.found.places.is_empty() {
            sources.push(format!("kubelet: {}", self.found.places.join(", ")));
        }
        sources
    }

    /// What a reader should know beside the figures.
    fn remarks(&self, kubelet: bool, limit: Option<Limit>, division: &Division) -> Vec<String> {
        let doubts = self.machine.as_ref().map_or(&[][..], |machine| &machine.doubts);
        let mut remarks = doubts.to_vec();
        if !remarks.is_empty() {
            let advice =
                "what these files hide is not in the figures: try again, or as root, or copy the files anew";
            remarks.push(advice.to_owned());
        }
        remarks.extend(self.found.notes.iter().cloned());
        if limit == Some(Limit::Max) {
            remarks
                .push("kubepods has no limit of its own: only the machine's end stops the pods".to_owned());
        }
        let hidden = self
            .machine
            .as_ref()
            .and_then(|machine| machine.cgroups_hidden.as_ref());
        if let Some(reason) = hidden {
            remarks.push(format!(
                "cgroups cannot be read, so neither pods nor their limit nor sockets are known: {reason}"
            ));
        }
        if !kubelet {
            remarks.push("no kubelet here: --provider or --eviction-hard show what one would do".to_owned());
            if self.given.node_used.is_some() {
                remarks.push(
                    "nothing is allocatable here, so kubectl top node shows no percentage: add --provider, or --from with \
                     the node's figures"
                        .to_owned(),
                );
            }
        }
        let given = [self.given.node_used, self.given.pods_used];
        if given.iter().flatten().any(|used| *used > self.capacity) {
            remarks.push("more is in use than the node has: was it read on another node?".to_owned());
        }
        if let [Some(node), Some(pods)] = given
            && pods > node
        {
            remarks.push(format!(
                "pods use {}Ki and the whole node {}Ki, of which they are a part: were both read at once?",
                pods >> 10,
                node >> 10
            ));
        }
        let reckoned = division.allocatable_bytes;
        if let Some(reported) = self.given.allocatable.filter(|reported| *reported != reckoned) {
            remarks.push(format!(
                "the node reports {}Ki as allocatable, these figures make {}Ki: one of them is not what the kubelet runs with",
                reported >> 10,
                reckoned >> 10
            ));
        }
        remarks
    }
}
