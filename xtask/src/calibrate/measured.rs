//! What really happened: one line of JSON for each run, made from what the lab has kept of it, and read by everything else here.
//!
//! A line holds the plan that the guest carried out, so that a prediction is about that very run even where the lab draws its
//! scenarios differently by now. It refuses to hold what was predicted.
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use forestall_decide::{Bytes, BytesPerSecond, Input, Sample, Span};
use forestall_lab_init::plan::{Plan, Pod, Role, Service, Work};
use forestall_lab_init::report::{Cause, Report};
use forestall_trace::{Item, Reader};
use serde::{Deserialize, Serialize};

/// One run of the lab in which nobody saved anybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// The lab's name of the kernel.
    pub(crate) kernel: String,
    /// How the guest's time went.
    pub(crate) clock: Clock,
    /// `MemTotal`.
    pub(crate) memory_bytes: u64,
    /// The kernel ran the multi-gen LRU.
    pub(crate) multi_gen: bool,
    /// What the trace tells of the machine; nothing, where none was recorded.
    pub(crate) machine: Option<Machine>,
    /// The first that did not end by itself; nobody, where nobody did.
    pub(crate) first: Option<First>,
    /// What the guest was told to do.
    pub(crate) plan: Plan,
}

/// Whose clock the guest had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Clock {
    /// Its own instructions, counted: other work on the machine did not slow it down.
    Counted,
    /// The machine's, with whatever else ran on it.
    Machine,
}

/// The guest before its culprit started, as its trace has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// In use and not to be had, beside what `kubepods` and the plan's services hold.
    pub(crate) own_bytes: u64,
    /// Beside what the plan has the pods hold, what is charged to `kubepods`; nothing, where the culprit was there already.
    pub(crate) pods_extra_bytes: Option<u64>,
    /// The zones' lowest watermarks together.
    pub(crate) watermark_min_bytes: u64,
    /// From the culprit's start until the page cache began to grow for good, where the culprit first lays out a file and then
    /// reads it.
    pub(crate) laid_out_millis: Option<u64>,
}

/// Who ended first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct First {
    /// From the culprit's start to the kill as the kernel's log has it, or the eviction.
    pub(crate) millis: u64,
    /// The pod or service.
    pub(crate) name: String,
    /// By whom.
    pub(crate) by: Cause,
}

/// The kept runs, in the file's order.
pub(crate) fn parse(text: &str) -> Result<Vec<Measured>> {
    text.lines()
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line).with_context(|| format!("measured.jsonl, line {}", index + 1))
        })
        .collect()
}

/// The file's text.
pub(crate) fn print(runs: &[Measured]) -> Result<String> {
    let lines: serde_json::Result<Vec<String>> = runs.iter().map(serde_json::to_string).collect();
    Ok(lines.context("a run as JSON")?.join("\n") + "\n")
}

/// Every run that the lab has kept in `folder`: the plan and the reports of each, and its trace where there is one.
pub(crate) fn collect(folder: &Path, clock: Clock) -> Result<Vec<Measured>> {
    const PLAN: &str = "-without.plan.json";
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut labels: Vec<String> = entries
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(PLAN)?.to_owned()))
        .collect();
    labels.sort();
    let mut runs = Vec::new();
    for label in labels {
        let read = |suffix: &str| {
            let path = folder.join(format!("{label}-without.{suffix}"));
            fs::read(&path).with_context(|| format!("reading {}", path.display()))
        };
        let plan: Plan = serde_json::from_slice(&read("plan.json")?).context(label.clone())?;
        let reports: Vec<Report> = String::from_utf8_lossy(&read("reports.jsonl")?)
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let trace = read("ftr").ok();
        let kernel = label.split('-').next().unwrap_or_default();
        match of(kernel, clock, plan, &reports, trace.as_deref()) {
            Ok(run) => runs.push(run),
            // A guest that was lost tells nothing about time.
            Err(error) => eprintln!("calibrate: {label} is left out: {error:#}"),
        }
    }
    Ok(runs)
}

fn of(kernel: &str, clock: Clock, plan: Plan, reports: &[Report], trace: Option<&[u8]>) -> Result<Measured> {
    let booted = reports.iter().find_map(|report| match report {
        Report::Booted {
            memory_bytes,
            lru_gen,
            ..
        } => Some((*memory_bytes, lru_gen.clone())),
        _ => None,
    });
    let (memory_bytes, lru_gen) = booted.context("the guest did not come up")?;
    let started = reports.iter().find_map(|report| match report {
        Report::Started { at_millis } => Some(*at_millis),
        _ => None,
    });
    let started = started.context("the culprit did not start")?;
    if !reports
        .iter()
        .any(|report| matches!(report, Report::Ended { .. }))
    {
        bail!("the run has no end");
    }
    let machine = trace
        .map(|trace| machine(trace, started, memory_bytes, &plan))
        .transpose()?;
    Ok(Measured {
        kernel: kernel.to_owned(),
        clock,
        memory_bytes,
        // The first bit of lru_gen/enabled is the switch, the others say what of it is used.
        multi_gen: lru_gen.is_some_and(|text| text.ends_with(['1', '3', '5', '7'])),
        machine,
        first: first(reports, started),
        plan: without_ids(plan),
    })
}

/// The kernel's log knows the moment of a kill; a process that is reaped has been ending for a while.
fn first(reports: &[Report], started: u64) -> Option<First> {
    reports.iter().find_map(|report| match report {
        Report::Kernel { at_millis, line } if *at_millis >= started => Some(First {
            millis: at_millis - started,
            name: killed(line)?.to_owned(),
            by: Cause::Kernel,
        }),
        Report::Death {
            at_millis,
            name,
            by: by @ (Cause::Kubelet | Cause::Agent),
            ..
        } => Some(First {
            millis: at_millis.saturating_sub(started),
            name: name.split('/').next().unwrap_or_default().to_owned(),
            by: *by,
        }),
        _ => None,
    })
}

/// The process that a line of the kernel's log says was killed: `…Killed process 123 (name) …`.
fn killed(line: &str) -> Option<&str> {
    let (_, after) = line.split_once("Killed process ")?;
    let (_, name) = after.split_once('(')?;
    name.split_once(')').map(|(name, _)| name)
}

/// While a file is laid out no more of it than this is in the cache: its writer drops it every 16 MiB.
const LAYING_OUT_MAX: Bytes = Bytes(24 << 20);

/// What the last sample before the culprit's start says, or the first one there is.
fn machine(trace: &[u8], started: u64, memory_bytes: u64, plan: &Plan) -> Result<Machine> {
    let mut reader = Reader::open(trace).context("the recording")?;
    let mut found: Option<(bool, Sample)> = None;
    let mut cache = Vec::new();
    while let Some(item) = reader.read() {
        if let Item::Input(at, Input::Sample(sample)) = item {
            let is_before = at.0 / 1000 < started;
            if found.is_none() || is_before {
                found = Some((is_before, sample.clone()));
            }
            let files = sample.node.active_file + sample.node.inactive_file;
            cache.push(((at.0 / 1000).saturating_sub(started), files));
        }
    }
    let (is_before, sample) = found.context("the recording holds no sample")?;
    let node = &sample.node;
    let pods = sample.groups.first().map_or(0, |kubepods| kubepods.current.0);
    let services: u64 = plan
        .services
        .iter()
        .map(|service| held(&service.work, memory_bytes))
        .sum();
    let in_use = node
        .total
        .0
        .saturating_sub((node.free + node.active_file + node.inactive_file).0);
    let bystanders = plan.pods.iter().filter(|pod| pod.role == Role::Innocent);
    let planned: u64 = bystanders.map(|pod| held(&pod.work, memory_bytes)).sum();
    Ok(Machine {
        own_bytes: in_use.saturating_sub(pods).saturating_sub(services),
        pods_extra_bytes: is_before.then(|| pods.saturating_sub(planned)),
        watermark_min_bytes: node.watermark_min.0,
        laid_out_millis: match culprit(plan) {
            Some(Work::Reread { rate, .. } | Work::Stream { rate, .. }) => {
                grows_from(&cache, BytesPerSecond(rate.bytes_of(memory_bytes)))
            }
            _ => None,
        },
    })
}

/// When the cache began to grow at this rate (0: at once), never to be small again.
fn grows_from(cache: &[(u64, Bytes)], rate: BytesPerSecond) -> Option<u64> {
    let large = cache
        .iter()
        .rev()
        .take_while(|(_, files)| *files > LAYING_OUT_MAX);
    let (millis, files) = *large.last()?;
    let since = if rate.0 == 0 {
        Span(0)
    } else {
        Span::to_cover(files, rate)
    };
    Some(millis.saturating_sub(since.as_millis()))
}

fn held(work: &Work, memory_bytes: u64) -> u64 {
    match work {
        Work::Hold { hold } => hold.bytes_of(memory_bytes),
        _ => 0,
    }
}

/// Who is who is told by the names; the ids only fill the file.
fn without_ids(mut plan: Plan) -> Plan {
    let clear = |pod: &mut Pod| {
        for id in [&mut pod.uid, &mut pod.container, &mut pod.pause] {
            id.clear();
        }
        if let Some(sidecar) = &mut pod.sidecar {
            sidecar.container.clear();
        }
    };
    plan.pods.iter_mut().for_each(clear);
    plan
}

/// What the culprit does; a plan has exactly one, or nothing that anybody would have to end for.
pub(crate) fn culprit(plan: &Plan) -> Option<&Work> {
    let of_pod = |pod: &'_ Pod| pod.role == Role::Culprit;
    let of_service = |service: &Service| service.role == Role::Culprit;
    let pods = plan.pods.iter().filter(|pod| of_pod(pod));
    let pods = pods.map(|pod| pod.sidecar.as_ref().map_or(&pod.work, |sidecar| &sidecar.work));
    let services = plan.services.iter().filter(|service| of_service(service));
    pods.chain(services.map(|service| &service.work)).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(at_millis: u64, line: &str) -> Report {
        Report::Kernel {
            at_millis,
            line: line.into(),
        }
    }

    // Lines as kernel 6.1 prints them (mm/oom_kill.c).
    #[test]
    fn the_first_kill_is_that_of_the_kernels_log() {
        let reports = [
            kernel(
                900,
                "Memory cgroup out of memory: Killed process 70 (early) total-vm:1kB",
            ),
            kernel(5000, "oom-kill:constraint=CONSTRAINT_MEMCG,task=mapper,pid=100"),
            kernel(
                5000,
                "Memory cgroup out of memory: Killed process 100 (mapper) total-vm:1kB",
            ),
            kernel(
                8000,
                "Memory cgroup out of memory: Killed process 82 (batch) total-vm:1kB",
            ),
        ];
        let first = first(&reports, 1000).unwrap();
        assert_eq!(
            (first.millis, first.name.as_str(), first.by),
            (4000, "mapper", Cause::Kernel)
        );
    }

    #[test]
    fn a_file_is_laid_out_when_the_cache_stays() {
        let mebi = |(millis, mebi): (u64, u64)| (millis, Bytes::mebi(mebi));
        let cache = [(0, 0), (900, 30), (1000, 16), (2000, 4), (3000, 50), (4000, 150)].map(mebi);
        // 50 MiB at 100 MiB/s began half a second before.
        assert_eq!(grows_from(&cache, BytesPerSecond(100 << 20)), Some(2500));
        assert_eq!(grows_from(&cache, BytesPerSecond(0)), Some(3000));
        assert_eq!(grows_from(&cache[..4], BytesPerSecond(0)), None);
    }

    #[test]
    fn an_eviction_is_one_pod_whatever_process_goes_first() {
        let death = Report::Death {
            at_millis: 9000,
            role: None,
            name: "reader/pause".into(),
            by: Cause::Kubelet,
            how: "signal 9".into(),
        };
        assert_eq!(first(&[death], 1000).unwrap().name, "reader");
        assert_eq!(first(&[], 1000), None);
    }
}
