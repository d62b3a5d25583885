//! `forestall trace info`: what a trace holds, and what is damaged in it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use forestall_decide::{GroupKind, Input, Span};
use forestall_trace::{Cause, Item, Version};
use serde::Serialize;

use super::date::write_date;
use super::source::{Source, newer_than_known};
use crate::exit::Exit;
use crate::log::escape;

/// A clock that is set corrects itself by less than this.
const BACK_MICROS: u64 = 60_000_000;
/// So many segments of newer formats are named; a file has room for one in ten bytes.
const NAMED_MAX: usize = 8;
/// From this version on recorders say where a run ends.
const MINOR_WITH_ENDS: u8 = 1;

/// What is counted. Fields may be added, none changes its meaning within a version.
#[derive(Debug, Default, Serialize)]
struct Info {
    kind: &'static str,
    version: u32,
    format: String,
    node: String,
    kernel: String,
    program: String,
    files: usize,
    /// Of one boot of one machine each; all other figures are of all of them together, and the node is the first one's.
    recordings: usize,
    size_bytes: u64,
    begins: Option<String>,
    ends: Option<String>,
    lasts_micros: u64,
    runs: u64,
    gaps: u64,
    samples: u64,
    outcomes: u64,
    policies: u64,
    pods: u64,
    kubelet_configs: u64,
    inputs_lost: u64,
    unknown: u64,
    damaged_bytes: u64,
    torn_bytes: u64,
    /// Of the last run.
    end: End,
    /// Runs before the last one that no recorder ended.
    open_ends: u64,
    groups_max: usize,
    containers_max: usize,
    group_samples: u64,
    container_samples: u64,
    /// Of the whole file, by containers; by all followed cgroups where there is no container.
    bytes_per_container_and_sample: Option<f64>,
    bytes_per_group_and_sample: Option<f64>,
    looks_apart_micros_max: u64,
    kernel_kills: u64,
    cgroups_named: usize,
    notes: Vec<String>,
}

/// How the last run ends. An open end is nothing wrong: a live recording has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum End {
    /// Its recorder ended it.
    Whole,
    /// Still being recorded, or its recorder was ended by force, or the rest is cut off: nothing in the bytes tells which.
    Open,
    /// Its format has no ends.
    #[default]
    Untold,
}

impl End {
    /// What stands there as long as nothing else comes.
    const fn until_told(version: Version) -> Self {
        if version.minor >= MINOR_WITH_ENDS {
            Self::Open
        } else {
            Self::Untold
        }
    }
}

/// Prints what a trace holds.
pub(super) fn run(path: &Path, as_json: bool) -> anyhow::Result<Exit> {
    let source = Source::load(path)?;
    let info = count(&source)?;
    let text = if as_json {
        let mut text = serde_json::to_string_pretty(&info)?;
        text.push('\n');
        text
    } else {
        table(&info)
    };
    super::super::print(text.as_bytes())?;
    let missing = info.damaged_bytes + info.torn_bytes + info.unknown + info.inputs_lost;
    let whole = missing == 0 && info.notes.is_empty();
    Ok(if whole { Exit::Clean } else { Exit::Stale })
}

fn count(source: &Source) -> anyhow::Result<Info> {
    let mut reader = source.reader()?;
    let version = reader.version();
    let origin = reader.origin();
    let mut info = Info {
        kind: "trace-info",
        version: 1,
        format: format!("{}.{}", version.major, version.minor),
        node: escape::text(&origin.node),
        kernel: escape::text(&origin.kernel),
        program: escape::text(&origin.program),
        files: source.files,
        recordings: source.count_recordings()?,
        size_bytes: source.size(),
        notes: source.notes.clone(),
        end: End::until_told(version),
        ..Info::default()
    };
    let (mut begun, mut looked, mut kills) = (None, None, None);
    let mut ends: Option<u64> = None;
    let mut told_back = false;
    let mut named = BTreeSet::new();
    let mut newest = version;
    let mut left_out = Vec::new();
    while reader.advance() {
        newest = newest.max(reader.version());
        let Some(item) = reader.item() else { break };
        match item {
            Item::Begin(begin) => {
                let ends_open = begin.cause == Cause::Run && info.end == End::Open && info.runs > 0;
                info.open_ends += u64::from(ends_open);
                info.end = End::until_told(reader.version());
                match begin.cause {
                    Cause::Opening | Cause::Run => info.runs += 1,
                    Cause::Gap => info.gaps += 1,
                }
                let unix = reader.unix_micros(begin.at);
                if let Some(before) = ends.filter(|before| unix.saturating_add(BACK_MICROS) < *before)
                    && !told_back
                {
                    told_back = true;
                    info.notes.push(format!(
                        "time goes back from {} to {}: are these files of one recording, in their order?",
                        write_date(before),
                        write_date(unix)
                    ));
                }
                begun = Some(begun.map_or(unix, |begun: u64| begun.min(unix)));
                (looked, kills) = (None, None);
            }
            Item::Input(at, recorded) => {
                ends = ends.max(Some(reader.unix_micros(at)));
                match recorded {
                    Input::Outcome(_) => info.outcomes += 1,
                    Input::Policy(_) => info.policies += 1,
                    Input::Pods(_) => info.pods += 1,
                    Input::KubeletConfig(_) => info.kubelet_configs += 1,
                    Input::Sample(sample) => {
                        info.samples += 1;
                        let groups = sample.groups.len();
                        let is_container = |kind| matches!(kind, GroupKind::Container(_));
                        let containers = sample
                            .groups
                            .iter()
                            .filter(|group| is_container(group.kind))
                            .count();
                        info.groups_max = info.groups_max.max(groups);
                        info.containers_max = info.containers_max.max(containers);
                        info.group_samples += groups as u64;
                        info.container_samples += containers as u64;
                        if let Some(before) = looked.replace(at) {
                            info.looks_apart_micros_max = info.looks_apart_micros_max.max(at.since(before).0);
                        }
                        if let Some(before) = kills.replace(sample.node.oom_kills) {
                            info.kernel_kills += sample.node.oom_kills.saturating_sub(before);
                        }
                        named.extend(sample.groups.iter().map(|group| group.id));
                    }
                }
            }
            Item::End => info.end = End::Whole,
            Item::Lost(count) => info.inputs_lost = info.inputs_lost.saturating_add(count),
            Item::Unknown(_) => info.unknown += 1,
            Item::Damaged { offset, bytes, newer } => {
                info.damaged_bytes += bytes as u64;
                left_out.extend(newer.map(|version| (offset, version)));
            }
            Item::Torn { offset, bytes, newer } => {
                info.torn_bytes += bytes as u64;
                left_out.extend(newer.map(|version| (offset, version)));
            }
        }
    }
    info.notes.extend(newer_than_known(newest));
    let named_segments = left_out.iter().take(NAMED_MAX);
    info.notes.extend(named_segments.map(tell_left_out));
    let more = left_out.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        info.notes
            .push(format!("and so are {more} more segments of newer formats"));
    }
    info.cgroups_named = named
        .iter()
        .filter(|id| reader.names().group(**id).is_some())
        .count();
    info.begins = begun.map(write_date);
    info.ends = ends.map(write_date);
    info.lasts_micros = ends
        .zip(begun)
        .map_or(0, |(end, begun)| end.saturating_sub(begun));
    info.bytes_per_container_and_sample = ratio(info.size_bytes, info.container_samples);
    info.bytes_per_group_and_sample = ratio(info.size_bytes, info.group_samples);
    Ok(info)
}

fn tell_left_out((offset, Version { major, minor }): &(usize, Version)) -> String {
    format!("a segment at byte {offset} has format {major}.{minor} and is left out; use a newer forestall")
}

// Figures for people; no decision rests on them.
#[allow(clippy::cast_precision_loss)]
fn ratio(bytes: u64, samples: u64) -> Option<f64> {
    (samples > 0).then(|| (bytes as f64 / samples as f64 * 100.0).round() / 100.0)
}

fn table(info: &Info) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<12} {value}");
    };
    let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    row("node", format!("{} (Linux {})", info.node, info.kernel));
    row("recorded", format!("by {}, format {}", info.program, info.format));
    row(
        "size",
        format!("{} bytes in {} files", info.size_bytes, info.files),
    );
    if info.recordings > 1 {
        row(
            "recordings",
            format!(
                "{}, each of one boot of one machine; the figures are of all together",
                info.recordings
            ),
        );
    }
    row(
        "time",
        format!(
            "{} to {}, {}",
            or_dash(&info.begins),
            or_dash(&info.ends),
            Span(info.lasts_micros)
        ),
    );
    let ends_open = match info.open_ends {
        0 => String::new(),
        open => format!("; {open} of those before have an open end"),
    };
    row("runs", format!("{}, gaps {}{ends_open}", info.runs, info.gaps));
    row(
        "end",
        match info.end {
            End::Whole => "whole: the recorder ended it",
            End::Open => {
                "open: still being recorded, or the recorder was ended by force, or the rest is cut off"
            }
            End::Untold => "not told by this format",
        }
        .to_owned(),
    );
    row(
        "inputs",
        format!(
            "{} samples, {} outcomes, {} policies, {} of pods, {} of the kubelet; {} lost",
            info.samples, info.outcomes, info.policies, info.pods, info.kubelet_configs, info.inputs_lost
        ),
    );
    row(
        "looks",
        format!("at most {} apart", Span(info.looks_apart_micros_max)),
    );
    row(
        "cgroups",
        format!(
            "at most {}, {} of them containers",
            info.groups_max, info.containers_max
        ),
    );
    if let (Some(group), container) = (
        info.bytes_per_group_and_sample,
        info.bytes_per_container_and_sample,
    ) {
        let container = container
            .map(|bytes| format!(", a container {bytes}"))
            .unwrap_or_default();
        row("bytes", format!("a cgroup and sample {group}{container}"));
    }
    row("kills", format!("{} by the kernel", info.kernel_kills));
    if info.damaged_bytes + info.torn_bytes + info.unknown > 0 {
        row(
            "damage",
            format!(
                "{} bytes passed over, {} cut off at the end, {} inputs of a newer program",
                info.damaged_bytes, info.torn_bytes, info.unknown
            ),
        );
    }
    for note in &info.notes {
        row("note", note.clone());
    }
    text
}
