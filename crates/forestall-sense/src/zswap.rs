//! The compressed pool of `zswap`: how much more memory it may take before it writes to the swap device.
//!
//! Its switches may be thrown at any time and seldom are. What it holds is told by meminfo from 5.19 on; before, the whole of
//! what it may take counts as room, so that swap is rather believed to free less than it does. It refuses to say what it holds
//! for a single cgroup.

use std::path::Path;

use forestall_decide::{Bytes, Moment, Span};
use forestall_kernel::file::{Buffer, HeldFile};
use forestall_kernel::parse::{Meminfo, unsigned};

use crate::node::is_due;

/// Where the switches are, below sysfs (`module_param_named` in `mm/zswap.c`).
const PARAMETERS: &str = "module/zswap/parameters";
/// The switches are thrown by hand.
const SWITCHES_EVERY: Span = Span::secs(10);

/// Reads the pool's switches; absent where the kernel was built without it.
#[derive(Debug)]
pub(crate) struct Zswap {
    switches: Option<(HeldFile, HeldFile)>,
    due: Moment,
    /// The most it may take of the machine's memory, percent; 0 where it is off.
    percent_max: u64,
}

impl Zswap {
    pub(crate) fn open(sys_root: &Path) -> Self {
        let open = |name| HeldFile::open(&sys_root.join(PARAMETERS).join(name)).ok();
        Self {
            switches: open("enabled").zip(open("max_pool_percent")),
            due: Moment(0),
            percent_max: 0,
        }
    }

    /// Brings the switches up to date where they are due. What cannot be read counts as off.
    pub(crate) fn read(&mut self, buffer: &mut Buffer, now: Moment) {
        let Some((enabled, percent)) = &self.switches else {
            return;
        };
        if !is_due(&mut self.due, now, SWITCHES_EVERY) {
            return;
        }
        let is_on = enabled
            .read_into(buffer)
            .is_ok_and(|content| content.trim_ascii() == b"Y");
        self.percent_max = match percent.read_into(buffer) {
            Ok(content) if is_on => unsigned(content).unwrap_or(0).min(100),
            _ => 0,
        };
    }

    /// What is left of the most it may take (`zswap_max_pages` in `mm/zswap.c`).
    pub(crate) const fn room(&self, meminfo: &Meminfo) -> Bytes {
        let most = (meminfo.total / 100).saturating_mul(self.percent_max);
        Bytes(most.saturating_sub(meminfo.zswap))
    }
}
