//! Page cache that the kubelet counts as used: the kubelet alone evicts for it, with forestall nobody goes, and what that costs the reader stands
//! beside a kubelet whose threshold is out of reach. All in one boot: a run in which the cache does not cross the threshold shows nothing.
use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::cluster::clear;
use crate::kubectl::Kubectl;
use crate::kubelet;
use crate::memory::Memory;
use crate::node::Node;
use crate::pod::{Pod, State};
use crate::wait::wait_within;

use super::PATIENCE;
use super::eviction::{hold, is_evicted, is_untouched};

/// The kubelet's hard threshold, as `e2e/guest/kubelet.yaml` has it, and one that is never met.
const THRESHOLD_MIB: u32 = 150;
const OUT_OF_REACH_MIB: u32 = 1;

/// What uses cache, and what grows beside it.
#[derive(Clone, Copy)]
struct Load {
    /// How the reader reads, and its file in thousandths of the node's memory.
    reader: &'static str,
    file: u64,
    /// How much of it a second.
    rate: u32,
    /// What a second pod takes, and asked for, in thousandths, within a minute or so.
    grows: Option<u64>,
    /// Nothing is to be evicted over so many times the looks that the kubelet took alone.
    times: usize,
    /// How much the kernel has available at the least while the kubelet thinks otherwise, in thousandths.
    available: u64,
}

/// A pod that reads a file again and again, and asks for no more memory than it holds: the kubelet counts cache that was used twice as if
/// it could not be had, and evicts with most of the memory available.
pub(super) fn rereader(kubectl: &Kubectl, node: &Node) -> Result<()> {
    let load = Load {
        reader: "reread",
        file: 610,
        rate: 200,
        grows: None,
        times: 5,
        available: 500,
    };
    thrice(kubectl, node, load)
}

/// The same while another pod grows within what it asked for, until a little of the file has to be let go of.
pub(super) fn beside_growth(kubectl: &Kubectl, node: &Node) -> Result<()> {
    let load = Load {
        reader: "reread",
        file: 400,
        rate: 200,
        grows: Some(220),
        times: 2,
        available: 250,
    };
    thrice(kubectl, node, load)
}

/// With the multi-gen LRU: what a mapped file's pages are used for it learns when it has to look for memory, which growth brings about, and all of them
/// count as active from then on, however seldom they are used (`mm/vmscan.c`, `lru_gen_look_around`). Pages that are read by calls never do.
pub(super) fn multi_gen(kubectl: &Kubectl, node: &Node) -> Result<()> {
    let load = Load {
        reader: "mapped",
        file: 400,
        rate: 20,
        grows: Some(330),
        times: 2,
        available: 250,
    };
    thrice(kubectl, node, load)
}

/// The kubelet alone, with forestall, and a kubelet that never evicts.
fn thrice(kubectl: &Kubectl, node: &Node, load: Load) -> Result<()> {
    let (taken, alone) = evicted(kubectl, node, load)?;
    eprintln!(
        "e2e:   the kubelet alone evicts at its look {taken} from the second reading on; the reader: {alone}"
    );
    let looks = taken * load.times;

    clear(node, kubectl)?;
    let agent = Agent::start(node, "enforce")?;
    let guarded = left(kubectl, node, load, looks)?;
    eprintln!("e2e:   with forestall nothing is evicted in {looks} looks; the reader: {guarded}");
    say_actions(&agent)?;
    agent.end()?;

    clear(node, kubectl)?;
    kubelet::set_threshold(kubectl, node, OUT_OF_REACH_MIB)?;
    let free = left(kubectl, node, load, looks);
    kubelet::set_threshold(kubectl, node, THRESHOLD_MIB)?;
    eprintln!(
        "e2e:   with a threshold out of reach, in {looks} looks; the reader: {}",
        free?
    );
    Ok(())
}

/// One that reads a file larger than memory uses nothing twice before the kernel has taken it: forestall has nothing to do.
pub(super) fn streamer(kubectl: &Kubectl, node: &Node) -> Result<()> {
    bystander(kubectl, node)?;
    let alone = stream(kubectl, node)?;
    eprintln!("e2e:   the reader beside the kubelet alone: {alone:?}");
    clear(node, kubectl)?;
    // A pod that comes with its memory is growth, too, as long as nobody knows better.
    bystander(kubectl, node)?;
    let agent = Agent::start(node, "enforce")?;
    let read = stream(kubectl, node)?;
    eprintln!("e2e:   and with forestall: {read:?}");
    let told = agent.told(&["action", "outcome", "alarm"])?;
    ensure!(told.is_empty(), "forestall moved: {told:?}");
    agent.end()
}

/// A reader of a file larger than memory, until it has read three times what memory is.
fn stream(kubectl: &Kubectl, node: &Node) -> Result<Read> {
    let reader = Reader::start(kubectl, node, &json!({"stream": {"size": 1050, "rate": 0}}))?;
    let total_mib = Memory::of(node)?.total_mib;
    let mut read = Read::default();
    wait_within(PATIENCE, "a second reading of a file larger than memory", || {
        read = reader.read()?.context("the reader has ended")?;
        Ok(read.mib >= 3 * total_mib)
    })?;
    is_untouched(kubectl, "bystander")?;
    is_untouched(kubectl, "reader")?;
    Ok(read)
}

/// The kubelet alone: how many looks it took from the reader's second reading to its end, and what it had read.
fn evicted(kubectl: &Kubectl, node: &Node, load: Load) -> Result<(usize, Progress)> {
    bystander(kubectl, node)?;
    let mut looks_before = 0;
    let reader = load.start(kubectl, node)?;
    let mut least: Option<Memory> = None;
    let mut progress = Progress::of(node, load)?;
    wait_within(PATIENCE, "the end of the reader", || {
        let now = Memory::of(node)?;
        if least.is_none_or(|least| now.allocatable_available_mib < least.allocatable_available_mib) {
            least = Some(now);
        }
        let Some(read) = reader.read()? else {
            return Ok(State::of(kubectl, "reader")?.phase() == "Failed");
        };
        progress.add(read);
        if progress.first.is_none() {
            looks_before = kubelet::looks(node)?.len();
        }
        Ok(false)
    })?;
    let looks = kubelet::looks(node)?.split_off(looks_before);
    is_evicted(kubectl, &State::of(kubectl, "reader")?)?;
    is_untouched(kubectl, "bystander")?;
    let least = least.context("nothing was seen of the node's memory")?;
    eprintln!("e2e:   {least}");
    ensure!(
        least.allocatable_available_mib < u64::from(THRESHOLD_MIB),
        "the cache never crossed the kubelet's threshold: {least}"
    );
    ensure!(
        least.available_mib > least.total_mib * load.available / 1000,
        "memory was short by itself: {least}"
    );
    let crossed = looks.iter().position(|mib| *mib < u64::from(THRESHOLD_MIB));
    let crossed =
        crossed.with_context(|| format!("no look of the kubelet's crossed its threshold: {looks:?}"))?;
    Ok((crossed + 1, progress))
}

/// A reader that is left alone for so many looks of the kubelet's from its second reading on.
fn left(kubectl: &Kubectl, node: &Node, load: Load, looks: usize) -> Result<Progress> {
    bystander(kubectl, node)?;
    let mut looks_before = 0;
    let reader = load.start(kubectl, node)?;
    let mut progress = Progress::of(node, load)?;
    let mut seen = Vec::new();
    wait_within(PATIENCE * 3, &format!("look {looks} of the kubelet's"), || {
        let Some(read) = reader.read()? else {
            bail!("the reader has ended: {:?}", State::of(kubectl, "reader")?);
        };
        progress.add(read);
        seen = kubelet::looks(node)?;
        if progress.first.is_none() {
            looks_before = seen.len();
        }
        seen.drain(..looks_before);
        Ok(seen.len() >= looks)
    })?;
    for name in ["reader", "bystander"]
        .into_iter()
        .chain(load.grows.map(|_| "grower"))
    {
        is_untouched(kubectl, name)?;
    }
    progress.least_mib = seen.into_iter().min();
    Ok(progress)
}

/// Within its request, and far below it: of those who keep within theirs, as far as the kubelet knows, the one that asked for least beyond what it
/// holds goes, and what the kubelet knows of the reader is some ten seconds old.
fn bystander(kubectl: &Kubectl, node: &Node) -> Result<()> {
    hold(
        kubectl,
        node,
        "bystander",
        80,
        &json!({"requests": {"memory": "300Mi"}}),
    )
}

/// Says what the agent did, by rung, and what it came to. It has to have reclaimed, and nothing else.
fn say_actions(agent: &Agent<'_>) -> Result<()> {
    let told = agent.told(&["action", "outcome"])?;
    let is = |line: &&Value, event: &str| line["event"] == *event;
    let orders: Vec<&Value> = told.iter().filter(|line| is(line, "action")).collect();
    let others: Vec<&&Value> = orders.iter().filter(|line| line["rung"] != "reclaim").collect();
    ensure!(others.is_empty(), "more than reclaim was ordered: {others:?}");
    let ended = told
        .iter()
        .filter(|line| is(line, "outcome") && line["outcome"] != "progress");
    let sum = |key: &str| -> u64 {
        let figures = ended.clone().filter_map(|line| line[key].as_u64());
        figures.sum::<u64>()
    };
    let [gained_mib, taken_mib, refaulted_mib] =
        ["freed_bytes", "taken_bytes", "refaulted_bytes"].map(|key| sum(key) >> 20);
    eprintln!(
        "e2e:   forestall: {} reclaims lowered the working set by {gained_mib} MiB and took {taken_mib}, of which {refaulted_mib} were read again",
        orders.len()
    );
    ensure!(gained_mib > 0, "forestall had no part in it");
    Ok(())
}

/// The pod that reads.
struct Reader<'a> {
    node: &'a Node,
    /// Its container's cgroup.
    cgroup: String,
}

/// What a reader has read since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Read {
    uptime_millis: u64,
    /// From memory or disk, and besides what was written of its file before that.
    mib: u64,
    disk_mib: u64,
    refaulted_mib: u64,
    /// For how long its tasks waited for memory (`some total`).
    stalled_millis: u64,
}

/// From the first time that it was seen in its second reading to the last.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    size_mib: u64,
    first: Option<Read>,
    last: Read,
    /// What the kubelet saw available at the worst of its looks.
    least_mib: Option<u64>,
}

impl Load {
    fn start<'a>(&self, kubectl: &Kubectl, node: &'a Node) -> Result<Reader<'a>> {
        let mut work = json!({});
        work[self.reader] = json!({"size": self.file, "rate": self.rate});
        let reader = Reader::start(kubectl, node, &work)?;
        let Some(grows) = self.grows else {
            return Ok(reader);
        };
        let request_mib = Memory::of(node)?.total_mib * (grows + 20) / 1000;
        let grower = Pod {
            name: "grower",
            work: json!({"grow": {"rate": grows / 60, "total": grows, "start": 0}}),
            resources: json!({"requests": {"memory": format!("{request_mib}Mi")}}),
            restart: "Never",
            heap_kib: None,
        };
        grower.make(kubectl)?;
        Ok(reader)
    }
}

impl<'a> Reader<'a> {
    fn start(kubectl: &Kubectl, node: &'a Node, work: &Value) -> Result<Self> {
        let pod = Pod {
            name: "reader",
            work: work.clone(),
            resources: json!({"requests": {"memory": "32Mi"}}),
            restart: "Never",
            heap_kib: None,
        };
        pod.make(kubectl)?;
        let state = State::wait_for(kubectl, "reader", "Running", |state| state.phase() == "Running")?;
        let cgroup = format!(
            "/sys/fs/cgroup/kubepods/burstable/pod{}/{}",
            state.uid()?,
            state.container_id()?
        );
        Ok(Self { node, cgroup })
    }

    /// None once it has ended.
    fn read(&self) -> Result<Option<Read>> {
        let own = &self.cgroup;
        let said = self.node.run(&format!(
            "cat /proc/$(cat {own}/cgroup.procs)/io; grep '^workingset_refault_file ' {own}/memory.stat; \
             sed -n 's/some.*total=/stalled /p' {own}/memory.pressure; echo uptime $(cat /proc/uptime)"
        ))?;
        Ok(Read::parse(&said))
    }
}

impl Read {
    fn parse(said: &str) -> Option<Self> {
        let words = |name: &str| {
            let mut lines = said.lines().filter_map(|line| line.split_once(' '));
            let (_, rest) = lines.find(|(key, _)| *key == name)?;
            rest.split_whitespace().next()
        };
        let figure = |name: &str| words(name)?.parse::<u64>().ok();
        let (seconds, hundredths) = words("uptime")?.split_once('.')?;
        Some(Self {
            uptime_millis: seconds.parse::<u64>().ok()? * 1000 + hundredths.parse::<u64>().ok()? * 10,
            mib: (figure("rchar:")? + figure("wchar:")?) >> 20,
            disk_mib: figure("read_bytes:")? >> 20,
            refaulted_mib: figure("workingset_refault_file")? / 256,
            stalled_millis: figure("stalled")? / 1000,
        })
    }
}

impl Progress {
    fn of(node: &Node, load: Load) -> Result<Self> {
        Ok(Self {
            size_mib: Memory::of(node)?.total_mib * load.file / 1000,
            ..Self::default()
        })
    }

    /// Its file is laid out before it is read, and read from the disk the first time.
    fn add(&mut self, read: Read) {
        if read.mib > 2 * self.size_mib {
            self.first.get_or_insert(read);
        }
        self.last = read;
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.first else {
            return write!(formatter, "not in its second reading, at {:?}", self.last);
        };
        let last = self.last;
        let over = |to: u64, from: u64| to.saturating_sub(from);
        let millis = over(last.uptime_millis, first.uptime_millis).max(1);
        let mib = over(last.mib, first.mib);
        write!(
            formatter,
            "{mib} MiB in {} s from its second reading on, {} MiB/s; {} MiB from the disk, {} MiB refaulted; waited for memory {} ms",
            millis / 1000,
            mib * 1000 / millis,
            over(last.disk_mib, first.disk_mib),
            over(last.refaulted_mib, first.refaulted_mib),
            over(last.stalled_millis, first.stalled_millis),
        )?;
        match self.least_mib {
            Some(least) => write!(
                formatter,
                "; at the worst of its looks the kubelet saw {least} MiB available"
            ),
            None => Ok(()),
        }
    }
}
