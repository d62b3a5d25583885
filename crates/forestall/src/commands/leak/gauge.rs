//! What the kernel says of this process, its children and its cgroup while it allocates.

use std::fs;
use std::path::Path;

use forestall_kernel::parse::ProcStatus;

use crate::commands::free::level::{Level, Most};
use crate::commands::free::locate::{Located, Place, locate};

/// A reading, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Resident, of this process and its children.
    pub(crate) rss: u64,
    /// Of that, private: anonymous memory.
    pub(crate) private: u64,
    /// Page tables.
    pub(crate) page_tables: u64,
    /// Charged to the cgroup; `None` where it cannot be seen.
    pub(crate) cgroup: Option<u64>,
}

/// Knows where to look.
#[derive(Debug)]
pub(crate) struct Gauge {
    place: Option<Place>,
}

impl Gauge {
    /// Finds the own cgroup.
    pub(crate) fn new() -> Self {
        let place = match locate(Path::new("/"), None) {
            Ok(Located::At(place)) => Some(place),
            // The figures of the process are worth having without those of the cgroup.
            Ok(Located::Hidden(_)) | Err(_) => None,
        };
        Self { place }
    }

    /// Reads. A child that is gone counts nothing.
    pub(crate) fn read(&self, children: impl Iterator<Item = u32>) -> Reading {
        let mut reading = Reading::default();
        let processes = std::iter::once("self".to_owned()).chain(children.map(|pid| pid.to_string()));
        for process in processes {
            let Ok(content) = fs::read(Path::new("/proc").join(process).join("status")) else {
                continue;
            };
            let status = ProcStatus::parse(&content);
            reading.rss = reading.rss.saturating_add(status.rss);
            reading.private = reading.private.saturating_add(status.rss_anon);
            reading.page_tables = reading.page_tables.saturating_add(status.page_tables);
        }
        reading.cgroup = self
            .place
            .as_ref()
            .and_then(|place| Level::read(&place.dir, place.version, Most::ANY).usage);
        reading
    }
}
