//! How soon a kill is in the agent's ledger: beside a bare reader of the kernel's tracing, which does nothing but read.
//!
//! Both are seen from here, by one clock: the reader's own mark, and the ledger's file as it grows. Kills come one by one, so that none waits
//! for another. It is told and no gate: an emulated guest takes its time.
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use forestall_act::TraceInstance;
use forestall_kernel::tracing::{TraceEvent, TraceReader, find_tracefs};
use forestall_lab_init::report::StormKept;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::{LEDGER, LIMIT_BYTES, PATIENCE, compare, container, grower};
use crate::node::Node;

const KILLS: usize = 40;
/// Longer than kills of a burst are kept apart.
const APART: Duration = Duration::from_millis(700);
const KEPT: &str = "kills.ledger";
/// An entry takes more than this; a note of what was heard takes less.
const ENTRY_BYTES_MIN: u64 = 60;

/// Kills one by one.
pub(super) fn single(node: &Node) -> Result<StormKept> {
    let container = container(node, "pod5702-single")?;
    node.tree.limit(&container, LIMIT_BYTES)?;
    let tracefs = find_tracefs(Path::new("/"), Path::new("/proc/self/mountinfo"))?;
    let instance = TraceInstance::make(&tracefs)?;
    let mut bare = TraceReader::open(instance.path())?;
    let ear = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&ear, LEDGER, WatchFlags::MODIFY)?;
    let mut ended = std::collections::BTreeMap::new();
    let mut delays = Vec::new();
    let began = Instant::now();
    for _ in 0..KILLS {
        sleep(APART);
        drain(&ear);
        let before = kept_bytes();
        let mut child = grower(&container, 0)?;
        let pid = i32::try_from(child.id())?;
        let (mut marked, mut kept) = (None, None);
        let deadline = Instant::now() + PATIENCE;
        while marked.is_none() || kept.is_none() {
            if Instant::now() > deadline {
                bail!("of {pid}: read by the bare reader: {marked:?}, kept: {kept:?}");
            }
            let moment = Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            };
            poll(
                &mut [
                    PollFd::new(&bare, PollFlags::IN),
                    PollFd::new(&ear, PollFlags::IN),
                ],
                Some(&moment),
            )?;
            let now = Instant::now();
            bare.read(|event| {
                if matches!(event, TraceEvent::Marked(one) if one.pid == pid) {
                    marked.get_or_insert(now);
                }
            })?;
            drain(&ear);
            if kept.is_none() && kept_bytes() >= before + ENTRY_BYTES_MIN {
                kept = Some(Instant::now());
            }
        }
        if child.wait()?.signal() == Some(9) {
            ended.insert(u64::from(child.id()), container.clone());
        }
        if let (Some(marked), Some(kept)) = (marked, kept) {
            delays.push(u64::try_from(kept.saturating_duration_since(marked).as_micros())?);
        }
    }
    drop(bare);
    let mut told = compare(&ended, node)?;
    delays.sort_unstable();
    told.storm = "one by one".into();
    told.delay_micros = [delays.get(delays.len() / 2), delays.last()].map(|it| it.copied().unwrap_or(0));
    told.took_millis = u64::try_from(began.elapsed().as_millis())?;
    Ok(told)
}

fn kept_bytes() -> u64 {
    fs::metadata(Path::new(LEDGER).join(KEPT)).map_or(0, |file| file.len())
}

fn drain(ear: &impl std::os::fd::AsFd) {
    let mut events = [0; 4096];
    while rustix::io::read(ear, &mut events).is_ok_and(|count| count > 0) {}
}
