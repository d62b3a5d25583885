//! The names of what the engine knows by number, so that a replay can say who is meant. No decision depends on them.

use std::collections::BTreeMap;

use forestall_decide::{GroupId, ProcessId};

use crate::varint::{Cursor, put};

const GROUP: u64 = 0;
const PROCESS: u64 = 1;

/// More names than this are kept by nobody; the oldest numbers go first.
const NAMES_MAX: usize = 1 << 16;
/// Longer than any path the kernel takes.
const NAME_BYTES_MAX: usize = 4096;

/// Names as bytes: cgroup paths and process names come from outside and are escaped before they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    groups: BTreeMap<GroupId, Box<[u8]>>,
    processes: BTreeMap<ProcessId, Box<[u8]>>,
}

impl Names {
    /// The path of a cgroup below the hierarchy's root.
    pub fn group(&self, id: GroupId) -> Option<&[u8]> {
        self.groups.get(&id).map(|name| &**name)
    }

    /// The name of a process (`comm`).
    pub fn process(&self, id: ProcessId) -> Option<&[u8]> {
        self.processes.get(&id).map(|name| &**name)
    }

    /// Names a cgroup; the last name counts.
    pub fn name_group(&mut self, id: GroupId, path: &[u8]) {
        self.groups.insert(id, path.into());
        if self.groups.len() > NAMES_MAX {
            self.groups.pop_first();
        }
    }

    /// Names a process; the last name counts.
    pub fn name_process(&mut self, id: ProcessId, name: &[u8]) {
        self.processes.insert(id, name.into());
        if self.processes.len() > NAMES_MAX {
            self.processes.pop_first();
        }
    }

    /// Every cgroup with its path.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &[u8])> {
        self.groups.iter().map(|(id, name)| (*id, &**name))
    }

    /// Every process with its name.
    pub fn processes(&self) -> impl Iterator<Item = (ProcessId, &[u8])> {
        self.processes.iter().map(|(id, name)| (*id, &**name))
    }

    /// Nobody has a name.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.processes.is_empty()
    }

    /// Takes over all of another one's.
    pub(crate) fn extend(&mut self, other: &Self) {
        for (id, name) in other.groups() {
            self.name_group(id, name);
        }
        for (id, name) in other.processes() {
            self.name_process(id, name);
        }
    }

    /// Drops who is no longer there.
    pub(crate) fn keep(&mut self, group: impl Fn(GroupId) -> bool, process: impl Fn(ProcessId) -> bool) {
        self.groups.retain(|id, _| group(*id));
        self.processes.retain(|id, _| process(*id));
    }

    /// Appends all of them, each as what it has in common with the one before and the rest.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut before: &[u8] = &[];
        let put_name = |name: &[u8], out: &mut Vec<u8>, before: &[u8]| {
            let name = name.get(..NAME_BYTES_MAX).unwrap_or(name);
            let common = name
                .iter()
                .zip(before)
                .take_while(|(one, other)| one == other)
                .count();
            put(out, common as u64);
            put(out, (name.len() - common) as u64);
            out.extend_from_slice(name.get(common..).unwrap_or_default());
        };
        for (id, name) in &self.groups {
            put(out, GROUP);
            put(out, id.0);
            put_name(name, out, before);
            before = name;
        }
        for (id, name) in &self.processes {
            put(out, PROCESS);
            put(out, u64::from(id.pid));
            put(out, id.start_ticks);
            put_name(name, out, before);
            before = name;
        }
    }

    /// Takes over what [`Names::write`] wrote. `None` where it is none of that.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(bytes);
        let mut name = Vec::new();
        while !cursor.is_empty() {
            let kind = cursor.number()?;
            let id = cursor.number()?;
            let start_ticks = match kind {
                GROUP => 0,
                PROCESS => cursor.number()?,
                _ => return None,
            };
            let common = cursor.count().filter(|common| *common <= name.len())?;
            name.truncate(common);
            let count = cursor.count()?;
            name.extend_from_slice(cursor.bytes(count)?);
            if name.len() > NAME_BYTES_MAX {
                return None;
            }
            if kind == GROUP {
                self.name_group(GroupId(id), &name);
            } else {
                let pid = u32::try_from(id).ok()?;
                self.name_process(ProcessId { pid, start_ticks }, &name);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_share_what_they_have_in_common() {
        let mut names = Names::default();
        names.name_group(GroupId(7), b"/kubepods.slice/kubepods-pod1.slice");
        names.name_group(
            GroupId(9),
            b"/kubepods.slice/kubepods-pod1.slice/cri-containerd-ab\xff.scope",
        );
        names.name_process(
            ProcessId {
                pid: 3,
                start_ticks: 500,
            },
            b"mysqld",
        );
        let mut out = Vec::new();
        names.write(&mut out);
        // 35 bytes are shared by the first two names.
        assert!(out.len() < 35 + 25 + 6 + 16, "{} bytes", out.len());
        let mut back = Names::default();
        back.read(&out).expect("it is understood");
        assert_eq!(back, names);
        assert_eq!(Names::default().read(&out[..out.len() - 1]), None);
    }
}
