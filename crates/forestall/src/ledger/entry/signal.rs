//! A SIGKILL that somebody sent and that was not for memory.

use forestall_kernel::oom::CgroupPath;
use forestall_trace::record::{Writer, read_fields};

use super::Sender;
use super::field::{path, put, put_path};

/// Of one process, or of one of its threads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signal {
    /// `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot: Box<[u8]>,
    /// What the wall clock read when the machine's clock read 0, microseconds since 1970.
    pub(crate) zero_micros: i64,
    /// When, by the machine's clock.
    pub(crate) at_micros: u64,
    /// To whom.
    pub(crate) pid: u32,
    /// Its name, of its own choosing: escape it.
    pub(crate) comm: Box<[u8]>,
    /// Where it lived, if it was still there.
    pub(crate) cgroup: Option<CgroupPath>,
    /// By whom.
    pub(crate) sender: Sender,
    /// Whoever sent it lived in the same container; `None` where one of them was gone before anybody asked.
    pub(crate) is_inside: Option<bool>,
    /// It was sent to PID 1 of a PID namespace, with which a container ends; `None` where nobody could tell.
    pub(crate) is_of_first: Option<bool>,
    /// So many more were sent before by somebody of this name to processes of this name, which were not told one by one.
    pub(crate) more: u64,
}

impl Signal {
    /// When, microseconds since 1970.
    pub(crate) const fn unix_micros(&self) -> i64 {
        self.zero_micros.saturating_add_unsigned(self.at_micros)
    }

    pub(in crate::ledger) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.bytes(1, &self.boot);
        writer.signed(2, self.zero_micros);
        writer.number(3, self.at_micros);
        writer.number(4, self.pid.into());
        writer.bytes(5, &self.comm);
        put_path(&mut writer, 6, self.cgroup.as_ref());
        writer.record(7, |inner| self.sender.put(inner));
        put(&mut writer, 9, self.is_inside.map(u64::from));
        put(&mut writer, 10, self.is_of_first.map(u64::from));
        put(&mut writer, 11, Some(self.more).filter(|more| *more > 0));
        out
    }

    pub(in crate::ledger) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut signal = Self::default();
        read_fields(bytes, |tag, value| {
            match tag {
                1 => signal.boot = value.bytes()?.into(),
                2 => signal.zero_micros = value.signed()?,
                3 => signal.at_micros = value.number()?,
                4 => signal.pid = u32::try_from(value.number()?).ok()?,
                5 => signal.comm = value.bytes()?.into(),
                6 => signal.cgroup = Some(path(value)?),
                7 => signal.sender = Sender::read(value)?,
                // Where it was false somebody may have been gone.
                8 => signal.is_inside = value.switch()?.then_some(true),
                9 => signal.is_inside = Some(value.switch()?),
                10 => signal.is_of_first = Some(value.switch()?),
                11 => signal.more = value.number()?,
                _ => {}
            }
            Some(())
        })?;
        Some(signal)
    }
}
