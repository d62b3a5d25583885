//! Where a victim lived, as people call it: its pod's and its container's names, and who told of its cgroup.

use super::Sender;
use crate::log::escape;
use forestall_trace::record::{Value, Writer, read_fields};

/// Of one victim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Home {
    /// Whose.
    pub(crate) pid: u32,
    /// The pod's namespace; this and the other names are empty where nobody knew. Bytes from outside: escape them.
    pub(crate) namespace: String,
    /// The pod's name.
    pub(crate) pod: String,
    /// The container's name.
    pub(crate) container: String,
    /// No line told its cgroup: it was read from `/proc` while the process was ending.
    pub(crate) is_cgroup_from_proc: bool,
    /// Nor that: it is the only one in which the cgroups' counters have moved.
    pub(crate) is_cgroup_from_counters: bool,
    /// Who sent SIGKILL, where the kernel's tracing told.
    pub(crate) sender: Option<Sender>,
}

impl Home {
    /// Anything but whose it is.
    pub(crate) fn says_something(&self) -> bool {
        let has_names = !self.pod.is_empty() || !self.container.is_empty();
        has_names || self.sender.is_some() || self.cgroup_source() != "log"
    }

    /// What told its cgroup, in a short fixed word.
    pub(crate) const fn cgroup_source(&self) -> &'static str {
        match (self.is_cgroup_from_proc, self.is_cgroup_from_counters) {
            (true, _) => "proc",
            (false, true) => "counters",
            (false, false) => "log",
        }
    }

    /// By name, fit for a terminal; `None` where nobody knew the pod's.
    pub(crate) fn words(&self) -> Option<String> {
        let [namespace, pod, container] =
            [&self.namespace, &self.pod, &self.container].map(|name| escape::text(name));
        if pod.is_empty() {
            return None;
        }
        Some(if container.is_empty() {
            format!("pod {namespace}/{pod}")
        } else {
            format!("container {container} of pod {namespace}/{pod}")
        })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        writer.number(1, self.pid.into());
        for (tag, name) in (2..).zip([&self.namespace, &self.pod, &self.container]) {
            if !name.is_empty() {
                writer.bytes(tag, name.as_bytes());
            }
        }
        writer.switch(5, self.is_cgroup_from_proc);
        writer.switch(6, self.is_cgroup_from_counters);
        if let Some(sender) = &self.sender {
            writer.record(7, |inner| sender.put(inner));
        }
    }

    pub(super) fn read(value: Value<'_>) -> Option<Self> {
        let mut home = Self::default();
        read_fields(value.bytes()?, |tag, value| {
            let text = |value: Value<'_>| Some(String::from_utf8_lossy(value.bytes()?).into_owned());
            match tag {
                1 => home.pid = u32::try_from(value.number()?).ok()?,
                2 => home.namespace = text(value)?,
                3 => home.pod = text(value)?,
                4 => home.container = text(value)?,
                5 => home.is_cgroup_from_proc = value.switch()?,
                6 => home.is_cgroup_from_counters = value.switch()?,
                7 => home.sender = Some(Sender::read(value)?),
                _ => {}
            }
            Some(())
        })?;
        Some(home)
    }
}
