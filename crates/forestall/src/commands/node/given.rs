//! Figures that are given instead of read: each by an option of its own, or several pasted together after `--from`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use forestall_decide::Span;

use super::amount::{Threshold, parse_quantity, parse_reservation, parse_threshold};
use super::provider::Provider;
use super::setting::{Settings, Told, parse_duration};

/// The names that `--from` knows; most are those of the options, and of the kubelet's flags.
const NAMES: &str = "capacity, allocatable, kube-reserved, system-reserved, hugepages, eviction-hard, eviction-soft, \
                     eviction-soft-grace-period, kubepods-limit, provider, max-pods, nominal, pods-used, node-used";

/// Options that give figures.
#[derive(Args, Debug)]
pub(crate) struct GivenArgs {
    /// Figures instead of a machine, as capacity=7120616Ki,kube-reserved=1638Mi,eviction-hard=750Mi
    #[arg(long, value_name = "NAME=AMOUNT,…", value_parser = parse_from, long_help = FROM_HELP)]
    from: Option<Given>,
    /// Reckon for a node of this capacity, as `kubectl describe node` shows it (7120616Ki), instead of this machine
    #[arg(long, value_name = "AMOUNT", value_parser = parse_quantity)]
    capacity: Option<u64>,
    /// Reserved for Kubernetes' daemons: 1638Mi, or a flag's value such as cpu=100m,memory=1638Mi
    #[arg(long, value_name = "AMOUNT", value_parser = parse_reservation)]
    kube_reserved: Option<u64>,
    /// Reserved for the system's daemons
    #[arg(long, value_name = "AMOUNT", value_parser = parse_reservation)]
    system_reserved: Option<u64>,
    /// Hard threshold: 750Mi, 5%, or a flag's value such as memory.available<750Mi
    #[arg(long, value_name = "AMOUNT", value_parser = parse_threshold)]
    eviction_hard: Option<Threshold>,
    /// Soft threshold, likewise
    #[arg(long, value_name = "AMOUNT", value_parser = parse_threshold)]
    eviction_soft: Option<Threshold>,
    /// For so long the soft threshold must be met: 1m30s, or a flag's value such as memory.available=1m30s
    #[arg(long, value_name = "DURATION", value_parser = parse_grace)]
    eviction_soft_grace_period: Option<Span>,
    /// Reckon with what this provider reserves
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "kubelet_config")]
    provider: Option<Provider>,
    /// Most pods of the node, for providers that reserve by pods; the kubelet's default is 110
    #[arg(long, value_name = "COUNT")]
    max_pods: Option<u32>,
    /// Memory the machine is sold with, for AKS; otherwise guessed from the capacity
    #[arg(long, value_name = "AMOUNT", value_parser = parse_quantity)]
    nominal: Option<u64>,
    /// Working set of all pods, to see distances with given figures
    #[arg(long, value_name = "AMOUNT", value_parser = parse_quantity)]
    pods_used: Option<u64>,
    /// Working set of the node, likewise
    #[arg(long, value_name = "AMOUNT", value_parser = parse_quantity)]
    node_used: Option<u64>,
    /// Explain what `kubectl top node` shows for this use of the node, such as 838124Ki or 5.70Gi
    #[arg(long, value_name = "USAGE", value_parser = parse_quantity, conflicts_with = "node_used")]
    top: Option<u64>,
    /// The kubelet's configuration, or what its configz answered, instead of the usual places; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) kubelet_config: Option<PathBuf>,
}

/// What `--help` says of `--from`.
const FROM_HELP: &str = "\
Figures instead of a machine, as capacity=7120616Ki,kube-reserved=1638Mi,eviction-hard=750Mi

Pairs are parted by commas or blanks. Names: capacity, allocatable, kube-reserved, system-reserved, hugepages, \
eviction-hard, eviction-soft, eviction-soft-grace-period, kubepods-limit, provider, max-pods, nominal, pods-used, \
node-used. With capacity and allocatable, as `kubectl describe node` shows them, the reservation follows. An option \
wins over the pair of its name.";

/// What was given.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Given {
    /// The node's memory, bytes.
    pub(crate) capacity: Option<u64>,
    /// What the node reports as allocatable, bytes.
    pub(crate) allocatable: Option<u64>,
    /// Huge pages, bytes.
    pub(crate) hugepages: Option<u64>,
    /// The kernel's limit on `kubepods`, bytes.
    pub(crate) kubepods_limit: Option<u64>,
    /// A provider's rule.
    pub(crate) provider: Option<Provider>,
    /// Most pods of the node.
    pub(crate) max_pods: Option<u32>,
    /// Memory the machine is sold with, bytes.
    pub(crate) nominal: Option<u64>,
    /// Working set of all pods, bytes.
    pub(crate) pods_used: Option<u64>,
    /// Working set of the node, bytes.
    pub(crate) node_used: Option<u64>,
    /// What the kubelet is told.
    pub(crate) settings: Settings,
}

impl GivenArgs {
    /// Options over pasted figures.
    pub(crate) fn given(&self) -> Given {
        let from = self.from.clone().unwrap_or_default();
        let options = Settings {
            kube_reserved: self.kube_reserved.map(|value| Told::by("--kube-reserved", value)),
            system_reserved: self
                .system_reserved
                .map(|value| Told::by("--system-reserved", value)),
            eviction_hard: self
                .eviction_hard
                .clone()
                .map(|value| Told::by("--eviction-hard", value)),
            eviction_soft: self
                .eviction_soft
                .clone()
                .map(|value| Told::by("--eviction-soft", value)),
            soft_grace: self
                .eviction_soft_grace_period
                .map(|value| Told::by("--eviction-soft-grace-period", value)),
            ..Settings::default()
        };
        Given {
            capacity: self.capacity.or(from.capacity),
            provider: self.provider.or(from.provider),
            max_pods: self.max_pods.or(from.max_pods),
            nominal: self.nominal.or(from.nominal),
            pods_used: self.pods_used.or(from.pods_used),
            node_used: self.top.or(self.node_used).or(from.node_used),
            settings: options.or(from.settings),
            ..from
        }
    }

    /// Whether an explanation of `kubectl top node` was asked for.
    pub(crate) const fn explains_top(&self) -> bool {
        self.top.is_some()
    }
}

/// Reads pasted figures.
fn parse_from(text: &str) -> Result<Given, String> {
    let mut given = Given::default();
    let mut seen: Vec<&str> = Vec::new();
    let pairs = text.split(|c: char| c == ',' || c.is_whitespace());
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("{pair:?} is no NAME=AMOUNT; names are {NAMES}"))?;
        if seen.contains(&name) {
            return Err(format!("{} is given twice", name.escape_debug()));
        }
        seen.push(name);
        given
            .take(name, value)
            .map_err(|why| format!("{}: {why}", name.escape_debug()))?;
    }
    if seen.is_empty() {
        return Err(format!("no figures; write NAME=AMOUNT, where names are {NAMES}"));
    }
    Ok(given)
}

impl Given {
    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        let bytes = || parse_quantity(value).map(Some);
        let settings = &mut self.settings;
        match name {
            "capacity" => self.capacity = bytes()?,
            "allocatable" => self.allocatable = bytes()?,
            "hugepages" => self.hugepages = bytes()?,
            "kubepods-limit" => self.kubepods_limit = bytes()?,
            "nominal" => self.nominal = bytes()?,
            "pods-used" => self.pods_used = bytes()?,
            "node-used" => self.node_used = bytes()?,
            "max-pods" => {
                let pods = value
                    .parse()
                    .map_err(|_| format!("{value:?} is no number of pods"))?;
                self.max_pods = Some(pods);
            }
            "provider" => self.provider = Some(Provider::from_str(value, false)?),
            "kube-reserved" => settings.kube_reserved = Some(pasted(parse_reservation(value)?)),
            "system-reserved" => settings.system_reserved = Some(pasted(parse_reservation(value)?)),
            "eviction-hard" => settings.eviction_hard = Some(pasted(parse_threshold(value)?)),
            "eviction-soft" => settings.eviction_soft = Some(pasted(parse_threshold(value)?)),
            "eviction-soft-grace-period" => settings.soft_grace = Some(pasted(parse_grace(value)?)),
            _ => return Err(format!("no such figure; names are {NAMES}")),
        }
        Ok(())
    }
}

fn pasted<T>(value: T) -> Told<T> {
    Told::by("--from", value)
}

/// A grace period: a duration, or a list as `--eviction-soft-grace-period` takes it.
fn parse_grace(text: &str) -> Result<Span, String> {
    let found = text
        .split(',')
        .find_map(|pair| pair.trim().strip_prefix("memory.available="));
    match parse_duration(found.unwrap_or(text))? {
        Span(0) => Err("a soft threshold without a grace period is a hard one: use eviction-hard".to_owned()),
        span => Ok(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasted_figures_are_read_with_their_source() {
        let given = parse_from(
            "capacity=7120616Ki,kube-reserved=1638Mi eviction-hard=750Mi,\n eviction-soft=1000Mi,eviction-soft-grace-period=1m30s,max-pods=30",
        )
        .expect("figures");
        assert_eq!(given.capacity, Some(7_120_616 << 10));
        assert_eq!(given.max_pods, Some(30));
        assert_eq!(given.settings.kube_reserved, Some(Told::by("--from", 1638 << 20)));
        assert_eq!(
            given.settings.soft_grace,
            Some(Told::by("--from", Span::secs(90)))
        );
        assert_eq!(
            given.settings.eviction_soft,
            Some(Told::by("--from", Threshold::read("1000Mi").expect("an amount")))
        );
        let given = parse_from("provider=aks-1.29,eviction-hard=memory.available<5%").expect("figures");
        assert_eq!(given.provider, Some(Provider::Aks));
        assert_eq!(
            given.settings.eviction_hard,
            Some(Told::by("--from", parse_threshold("5%").expect("a percentage")))
        );
    }

    #[test]
    fn what_is_no_figure_is_refused_by_name() {
        for (bad, part) in [
            ("", "names are capacity"),
            ("7120616Ki", "is no NAME=AMOUNT"),
            ("capacity=lots", "capacity: \"lots\""),
            ("capacity=1Gi,capacity=2Gi", "capacity is given twice"),
            ("kube_reserved=1Gi", "kube_reserved: no such figure"),
            ("max-pods=-1", "max-pods: \"-1\""),
            ("provider=acme", "provider: "),
            ("eviction-soft-grace-period=0s", "use eviction-hard"),
            ("\u{1b}[2J=1", "\\u{1b}[2J: no such figure"),
        ] {
            let error = parse_from(bad).expect_err(bad);
            assert!(error.contains(part), "{bad}: {error}");
        }
    }

    #[test]
    fn every_name_in_the_help_is_known() {
        for name in NAMES.split(", ") {
            assert!(FROM_HELP.contains(name), "{name}");
            let error = Given::default().take(name, "\u{7}").expect_err(name);
            assert!(!error.contains("no such figure"), "{name}: {error}");
        }
    }
}
