//! The way out of the guest: reports as JSON lines on the second serial port.
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use forestall_lab_init::report::{Report, Speaker};

use crate::{kubelet, machine};

/// How many lines of one speaker are sent as they come. A serial port under emulation is slow; what comes after these is
/// kept back, and the last of it is sent at the end.
const LINES_SENT_MAX: usize = 600;
/// How many of the lines that were kept back are sent at the end.
const LINES_KEPT_MAX: usize = 150;

/// Shared by the threads that have something to report.
#[derive(Clone)]
pub(crate) struct Reporter {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    port: File,
    sent: HashMap<Speaker, usize>,
    kept: VecDeque<Report>,
    /// The pods that the stand-in for the kubelet has said it evicts.
    evicted: Vec<String>,
}

impl Reporter {
    pub(crate) fn open() -> Result<Self> {
        let path = "/dev/ttyS1";
        let port = File::options()
            .write(true)
            .open(path)
            .with_context(|| format!("opening {path}"))?;
        Ok(Self {
            inner: Arc::new(Mutex::new(Inner {
                port,
                sent: HashMap::new(),
                kept: VecDeque::new(),
                evicted: Vec::new(),
            })),
        })
    }

    pub(crate) fn send(&self, report: &Report) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.write(report);
    }

    /// Passes on a line that somebody in the guest has printed.
    pub(crate) fn said(&self, by: Speaker, line: String) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pod) = line
            .strip_prefix(kubelet::EVICTS)
            .filter(|_| by == Speaker::Kubelet)
        {
            inner.evicted.push(pod.to_owned());
        }
        let report = Report::Said {
            at_millis: machine::now_millis(),
            by,
            line,
        };
        let sent = inner.sent.entry(by).or_insert(0);
        if *sent < LINES_SENT_MAX {
            *sent += 1;
            inner.write(&report);
        } else {
            if inner.kept.len() >= LINES_KEPT_MAX {
                inner.kept.pop_front();
            }
            inner.kept.push_back(report);
        }
    }

    /// Whether the stand-in for the kubelet has evicted this pod.
    pub(crate) fn evicted(&self, pod: &str) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.evicted.iter().any(|evicted| evicted == pod)
    }

    /// Sends what was kept back, in its order.
    pub(crate) fn flush(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(report) = inner.kept.pop_front() {
            inner.write(&report);
        }
    }
}

impl Inner {
    fn write(&mut self, report: &Report) {
        // A report that cannot be sent cannot be reported either; the host notices that the end is missing.
        if let Ok(mut line) = serde_json::to_vec(report) {
            line.push(b'\n');
            let _ = self.port.write_all(&line);
        }
    }
}
