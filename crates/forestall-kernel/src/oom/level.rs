//! Whose limit it was.

use super::pieces::Piece;
use super::report::Report;
use crate::cgroup::Identity;
use crate::parse::find;

/// Where memory ran out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A container's limit, or one below it.
    Container,
    /// A pod's.
    Pod,
    /// `burstable`'s or `besteffort`'s.
    Qos,
    /// All pods'.
    Kubepods,
    /// A cgroup's that Kubernetes did not make.
    OtherCgroup,
    /// A cgroup's, and the report does not say which, or not all of its path.
    SomeCgroup,
    /// The machine's memory. Where a kill line alone speaks, it may as well have been that of some NUMA nodes.
    Node,
    /// The memory of the NUMA nodes that a memory policy allows.
    Numa,
    /// The memory of the NUMA nodes that a cpuset allows.
    Cpuset,
    /// The report does not say.
    #[default]
    Unknown,
}

impl Level {
    /// All of them; files know them by their place here, so that one that is added comes last.
    pub const ALL: [Self; 10] = [
        Self::Unknown,
        Self::Container,
        Self::Pod,
        Self::Qos,
        Self::Kubepods,
        Self::OtherCgroup,
        Self::SomeCgroup,
        Self::Node,
        Self::Numa,
        Self::Cpuset,
    ];

    /// A short fixed word, for metrics and labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Pod => "pod",
            Self::Qos => "qos",
            Self::Kubepods => "kubepods",
            Self::OtherCgroup => "other-cgroup",
            Self::SomeCgroup => "some-cgroup",
            Self::Node => "node",
            Self::Numa => "numa",
            Self::Cpuset => "cpuset",
            Self::Unknown => "unknown",
        }
    }

    /// The level of a limit's path.
    pub fn of_path(path: &[u8]) -> Self {
        match Identity::of_path(path) {
            Identity::Container(_) => Self::Container,
            Identity::Pod(_) => Self::Pod,
            Identity::Qos(_) => Self::Qos,
            Identity::Kubepods => Self::Kubepods,
            Identity::Host => Self::OtherCgroup,
        }
    }

    /// The level of a path that may lack its end: outside of `kubepods` and below a container's own node it is clear all the same.
    fn of_cut_path(path: &[u8]) -> Self {
        let last = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let parent = path.get(..last).unwrap_or_default();
        if find(path, b"kube").is_none() {
            Self::OtherCgroup
        } else if Self::of_path(parent) == Self::Container {
            Self::Container
        } else {
            Self::SomeCgroup
        }
    }

    /// What a report comes to. `is_cgroups` is what its kill line says.
    pub(crate) fn of_report(report: &Report, is_cgroups: Option<bool>) -> Self {
        match &report.limit {
            Some(limit) if limit.is_cut => return Self::of_cut_path(&limit.path),
            Some(limit) => return Self::of_path(&limit.path),
            None => {}
        }
        match report.constraint.as_deref() {
            Some(b"CONSTRAINT_NONE") => return Self::Node,
            Some(b"CONSTRAINT_CPUSET") => return Self::Cpuset,
            Some(b"CONSTRAINT_MEMORY_POLICY") => return Self::Numa,
            Some(b"CONSTRAINT_MEMCG") => return Self::SomeCgroup,
            _ => {}
        }
        if is_cgroups == Some(true) || report.pieces.has(Piece::Usage) {
            return Self::SomeCgroup;
        }
        let is_global = is_cgroups == Some(false) || report.is_global || report.pieces.has(Piece::MemInfo);
        match is_global {
            true if report.nodemask.is_some() => Self::Numa,
            true => Self::Node,
            false => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_its_end_is_placed_only_where_the_end_does_not_matter() {
        for (path, level) in [
            ("/machine.slice/machine-libpod_pod_9169", Level::OtherCgroup),
            ("/kubepods/burstable/pod1", Level::SomeCgroup),
            ("/kubepods/burstable/pod1/c", Level::SomeCgroup),
            ("/kubepods/burstable/pod1/c/inner", Level::Container),
            ("/kube", Level::SomeCgroup),
            ("", Level::OtherCgroup),
        ] {
            assert_eq!(Level::of_cut_path(path.as_bytes()), level, "{path}");
        }
        assert_eq!(Level::of_path(b"/kubepods/burstable/pod1"), Level::Pod);
    }
}
