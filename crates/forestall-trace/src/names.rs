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
/// All names of a kind together: half a kibibyte for each. In a trace each stands as what it adds to the one before, so that a few
/// bytes may stand for the longest.
const NAMES_BYTES_MAX: usize = 32 << 20;

/// Names as bytes: cgroup paths and process names come from outside and are escaped before they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    groups: Known<GroupId>,
    processes: Known<ProcessId>,
}

/// Those of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known<K> {
    names: BTreeMap<K, Box<[u8]>>,
    bytes: usize,
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self {
            names: BTreeMap::new(),
            bytes: 0,
        }
    }
}

impl<K: Ord> Known<K> {
    fn name(&mut self, id: K, name: &[u8]) {
        self.bytes += name.len();
        let replaced = self.names.insert(id, name.into());
        self.bytes -= replaced.map_or(0, |name| name.len());
        while (self.names.len() > NAMES_MAX || self.bytes > NAMES_BYTES_MAX)
            && let Some((_, gone)) = self.names.pop_first()
        {
            self.bytes -= gone.len();
        }
    }

    fn keep(&mut self, is_there: impl Fn(&K) -> bool) {
        self.names.retain(|id, _| is_there(id));
        self.bytes = self.names.values().map(|name| name.len()).sum();
    }
}

impl Names {
    /// The path of a cgroup below the hierarchy's root.
    pub fn group(&self, id: GroupId) -> Option<&[u8]> {
        self.groups.names.get(&id).map(|name| &**name)
    }

    /// The name of a process (`comm`).
    pub fn process(&self, id: ProcessId) -> Option<&[u8]> {
        self.processes.names.get(&id).map(|name| &**name)
    }

    /// Names a cgroup; the last name counts.
    pub fn name_group(&mut self, id: GroupId, path: &[u8]) {
        self.groups.name(id, path);
    }

    /// Names a process; the last name counts.
    pub fn name_process(&mut self, id: ProcessId, name: &[u8]) {
        self.processes.name(id, name);
    }

    /// Every cgroup with its path.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &[u8])> {
        self.groups.names.iter().map(|(id, name)| (*id, &**name))
    }

    /// Every process with its name.
    pub fn processes(&self) -> impl Iterator<Item = (ProcessId, &[u8])> {
        self.processes.names.iter().map(|(id, name)| (*id, &**name))
    }

    /// Nobody has a name.
    pub fn is_empty(&self) -> bool {
        self.groups.names.is_empty() && self.processes.names.is_empty()
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
        self.groups.keep(|id| group(*id));
        self.processes.keep(|id| process(*id));
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
        for (id, name) in &self.groups.names {
            put(out, GROUP);
            put(out, id.0);
            put_name(name, out, before);
            before = name;
        }
        for (id, name) in &self.processes.names {
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
    fn a_few_bytes_that_stand_for_long_names_are_bounded() {
        // A path of 4,096 bytes, and 20,000 more that change its last byte: 78 MiB out of less than 200 KiB.
        let mut names = Names::default();
        for id in 0..=20_000_u64 {
            let mut path = vec![b'a'; NAME_BYTES_MAX];
            path[NAME_BYTES_MAX - 1] = b'0' + u8::try_from(id % 10).expect("a digit");
            names.name_group(GroupId(id), &path);
        }
        let mut told = Vec::new();
        for number in [GROUP, 0, 0, 4096] {
            put(&mut told, number);
        }
        told.extend([b'a'; 4096]);
        for id in 1..=20_000 {
            put(&mut told, GROUP);
            put(&mut told, id);
            put(&mut told, 4095);
            told.extend([1, b'b']);
        }
        assert!(told.len() < 200 << 10, "{}", told.len());
        let mut read = Names::default();
        read.read(&told).expect("it is understood");
        for names in [&mut names, &mut read] {
            assert_eq!(names.groups().count(), NAMES_BYTES_MAX / 4096);
            assert!(names.group(GroupId(0)).is_none() && names.group(GroupId(20_000)).is_some());
            // Whoever gets another name, or goes, makes room.
            names.name_group(GroupId(20_000), b"");
            names.name_group(GroupId(20_001), &[b'c'; 4096]);
            assert_eq!(names.groups().count(), NAMES_BYTES_MAX / 4096 + 1);
            names.keep(|id| id.0 == 20_001, |_| true);
            names.name_group(GroupId(1), b"d");
            assert_eq!(names.groups().count(), 2);
        }
    }

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
