//! `forestall node`: the allocation map of a node. What the kubelet gives to pods, where something is killed, what is in
//! use as the kernel and as the kubelet count it, and which of the walls is next.
//!
//! It reads this machine, or reckons with figures that are given, or both (a what-if on this machine). It changes nothing
//! and asks no API server.

mod bar;
mod kubelet;
mod machine;
mod map;
mod provider;
pub(crate) mod quantity;
mod report;
mod table;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use self::kubelet::Settings;
use self::machine::Machine;
use self::map::{Division, Inputs, Usage, next_wall, top_node_percent, walls};
use self::provider::{Provider, guess_nominal};
use self::quantity::{Threshold, parse_quantity, parse_reservation, parse_threshold};
use self::report::Report;
use self::table::Style;
use crate::commands::free::shown::human;
use crate::exit::Exit;

/// Arguments of `node`.
#[derive(Args, Debug)]
pub(crate) struct NodeArgs {
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
    /// Reckon with what this provider reserves
    #[arg(long, value_enum, value_name = "NAME")]
    provider: Option<Provider>,
    /// Most pods of the node, for providers that reserve by pods
    #[arg(long, value_name = "COUNT", default_value_t = 110)]
    max_pods: u32,
    /// Memory the machine is sold with, for AKS; otherwise guessed from the capacity
    #[arg(long, value_name = "AMOUNT", value_parser = parse_quantity)]
    nominal: Option<u64>,
    /// Working set of all pods, to see distances with given figures
    #[arg(long, value_name = "AMOUNT", value_parser = parse_quantity, requires = "capacity")]
    pods_used: Option<u64>,
    /// Working set of the node, likewise
    #[arg(long, value_name = "AMOUNT", value_parser = parse_quantity, requires = "capacity")]
    node_used: Option<u64>,
    /// The kubelet's configuration, or what its configz answered, instead of the usual places
    #[arg(long, value_name = "FILE", conflicts_with = "provider")]
    kubelet_config: Option<PathBuf>,
    /// What to print
    #[arg(short = 'o', long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
    /// Look for /proc, /sys and the kubelet's files below this directory
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// Formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For people, with every part of the blind bytes
    Wide,
    /// For programs: figures in bytes
    Json,
    /// The same as YAML
    Yaml,
}

/// Reads or reckons, and prints.
pub(crate) fn run(args: &NodeArgs) -> anyhow::Result<Exit> {
    let report = survey(args)?;
    let text = match args.output {
        Output::Json => {
            let mut text = serde_json::to_string_pretty(&report)?;
            text.push('\n');
            text
        }
        Output::Yaml => report::yaml(&serde_json::to_value(&report)?),
        Output::Table | Output::Wide => table::table(&report, style(args.output == Output::Wide)),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(Exit::Clean)
}

/// Colour is for terminals, and for those who did not ask to be spared (no-color.org).
fn style(wide: bool) -> Style {
    let stdout = io::stdout();
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    let size = rustix::termios::tcgetwinsize(&stdout).ok();
    let columns = size
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0);
    Style {
        columns: columns.unwrap_or(100),
        colour: stdout.is_terminal() && !refused,
        wide,
    }
}

/// Brings together what was given, what is configured and what is measured; the first of these that speaks wins.
fn survey(args: &NodeArgs) -> anyhow::Result<Report> {
    let machine = if args.capacity.is_none() {
        Some(Machine::read(&args.root)?)
    } else {
        None
    };
    let settings = if (machine.is_some() && args.provider.is_none()) || args.kubelet_config.is_some() {
        Settings::read(&args.root, args.kubelet_config.as_deref())?
    } else {
        None
    };
    let capacity = args
        .capacity
        .or(machine.as_ref().map(|machine| machine.total))
        .unwrap_or(0);
    let mut sources = Vec::new();
    let mut notes = Vec::new();

    let preset = args.provider.map(|provider| {
        let nominal = args.nominal.unwrap_or_else(|| guess_nominal(capacity));
        sources.push(describe(provider, args, nominal));
        provider.preset(capacity, nominal, args.max_pods)
    });
    if let Some(settings) = &settings {
        sources.push(format!("kubelet: {}", settings.files.join(", ")));
    }
    let settings = settings.unwrap_or_default();
    let threshold = args
        .eviction_hard
        .or(preset.map(|preset| preset.eviction_hard))
        .or(settings.eviction_hard);
    let given =
        args.kube_reserved.is_some() || args.system_reserved.is_some() || args.eviction_hard.is_some();
    let pods = machine.as_ref().and_then(|machine| machine.pods.clone());
    let kubelet =
        given || preset.is_some() || !settings.files.is_empty() || pods.is_some() || args.capacity.is_some();

    let mut inputs = Inputs {
        capacity,
        kube_reserved: args
            .kube_reserved
            .or(preset.map(|preset| preset.kube_reserved_bytes))
            .or(settings.kube_reserved)
            .unwrap_or(0),
        system_reserved: args.system_reserved.or(settings.system_reserved).unwrap_or(0),
        hugepages: machine.as_ref().map_or(0, |machine| machine.hugetlb),
        eviction_hard: if kubelet {
            threshold
                .unwrap_or(Threshold::KUBELET_DEFAULT)
                .of_capacity(capacity)
        } else {
            0
        },
        kubepods_limit: None,
    };
    if kubelet && threshold.is_none() {
        notes.push("eviction-hard is not known here: the kubelet's default of 100Mi is assumed".to_owned());
    }
    if !kubelet {
        notes.push("no kubelet here: --provider or --eviction-hard show what one would do".to_owned());
    }
    // A what-if about reservations is about what would be configured, not about the limit that the kernel holds now.
    let reserves = args.kube_reserved.is_some() || args.system_reserved.is_some() || preset.is_some();
    if let Some(pods) = pods.as_ref().filter(|_| !reserves) {
        inputs.kubepods_limit = pods.limit_bytes;
        sources.push(format!("kernel: {}", pods.path));
        reconcile(
            &mut inputs,
            &mut notes,
            settings.kube_reserved.is_none() && settings.system_reserved.is_none(),
        );
    }
    if let Some(reason) = machine
        .as_ref()
        .and_then(|machine| machine.cgroups_hidden.as_ref())
    {
        notes.push(format!(
            "cgroups cannot be read, so neither pods nor their limit nor sockets are known: {reason}"
        ));
    }
    let division = Division::of(&inputs).map_err(anyhow::Error::msg)?;
    let usage = machine.as_ref().map_or(
        Usage {
            pods_working_set: args.pods_used,
            pods_unreclaimable: args.pods_used,
            node_working_set: args.node_used,
            node_unavailable: None,
        },
        Machine::usage,
    );
    let walls = walls(&division, kubelet, &usage);
    Ok(Report {
        kind: "node",
        version: 1,
        kubelet,
        sources,
        next_wall: next_wall(&walls).map(|wall| wall.kind),
        top_node_percent: usage
            .node_working_set
            .filter(|_| kubelet)
            .and_then(|used| top_node_percent(used, &division)),
        division,
        walls,
        views: machine.as_ref().map(|machine| machine.views),
        pods,
        notes,
    })
}

/// The provider's rule, and what it was applied to.
fn describe(provider: Provider, args: &NodeArgs, nominal: u64) -> String {
    let mut text = provider.rule().to_owned();
    if provider.counts_pods() {
        let _ = write!(text, "; {} pods", args.max_pods);
    }
    if provider.counts_nominal() {
        let guessed = if args.nominal.is_none() { " guessed" } else { "" };
        let _ = write!(text, "; nominal memory {}{guessed}", human(nominal));
    }
    text
}

/// Where the kernel's limit on `kubepods` and the configuration disagree, the kernel's counts; where only the kernel's is
/// known, what is missing up to the capacity must have been reserved.
fn reconcile(inputs: &mut Inputs, notes: &mut Vec<String>, unknown: bool) {
    let Some(limit) = inputs.kubepods_limit else {
        notes.push("kubepods has no limit of its own: only the machine's end stops the pods".to_owned());
        return;
    };
    let configured = inputs
        .capacity
        .saturating_sub(inputs.kube_reserved)
        .saturating_sub(inputs.system_reserved)
        .saturating_sub(inputs.hugepages);
    if unknown {
        inputs.kube_reserved = inputs
            .capacity
            .saturating_sub(limit)
            .saturating_sub(inputs.hugepages);
        notes.push(
            "reservations are inferred from the limit of kubepods; they are shown as kube-reserved"
                .to_owned(),
        );
    } else if configured != limit {
        notes.push(format!(
            "the kernel limits kubepods to {}Ki, the configuration says {}Ki: was the kubelet restarted since?",
            limit >> 10,
            configured >> 10
        ));
    }
}
