//! Who sent SIGKILL, as the kernel's tracing tells it.

use forestall_trace::record::{Value, Writer, read_fields};

use super::field::put;
use crate::log::escape;

/// Somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sender {
    /// The kernel's OOM killer, and the rest is for whom it was at work: who needed memory.
    pub(crate) is_kernel: bool,
    /// The thread's number.
    pub(crate) pid: u32,
    /// Its name, of its own choosing: escape it. Empty where it was gone before anybody asked.
    pub(crate) comm: Box<[u8]>,
    /// The real user, where it was still there.
    pub(crate) uid: Option<u32>,
    /// It was root or an account of the system's, and in no container, so that it is what its name says; `None` where nobody could tell.
    pub(crate) is_on_node: Option<bool>,
}

impl Sender {
    /// For people, fit for a terminal.
    pub(crate) fn words(&self) -> String {
        let name = if self.comm.is_empty() {
            "gone before its name was read".to_owned()
        } else {
            escape::bytes(&self.comm)
        };
        let uid = self.uid.map_or_else(String::new, |uid| format!(", uid {uid}"));
        let by = if self.is_kernel {
            "the kernel, for PID "
        } else {
            "PID "
        };
        format!("{by}{} ({name}{uid})", self.pid)
    }

    pub(in crate::ledger) fn put(&self, writer: &mut Writer<'_>) {
        writer.switch(1, self.is_kernel);
        writer.number(2, self.pid.into());
        writer.bytes(3, &self.comm);
        put(writer, 4, self.uid.map(u64::from));
        put(writer, 5, self.is_on_node.map(u64::from));
    }

    pub(in crate::ledger) fn read(value: Value<'_>) -> Option<Self> {
        let mut sender = Self::default();
        read_fields(value.bytes()?, |tag, value| {
            match tag {
                1 => sender.is_kernel = value.switch()?,
                2 => sender.pid = u32::try_from(value.number()?).ok()?,
                3 => sender.comm = value.bytes()?.into(),
                4 => sender.uid = Some(u32::try_from(value.number()?).ok()?),
                5 => sender.is_on_node = Some(value.switch()?),
                _ => {}
            }
            Some(())
        })?;
        Some(sender)
    }
}
