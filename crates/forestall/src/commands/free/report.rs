//! From figures to the answer: which limit binds, what is left below it, and what deserves a remark.
//!
//! A limit counts wherever it is: the process's own cgroup, any ancestor, or the machine. The lowest one is the total that is
//! shown. What is available is the least of what each of them leaves, because an ancestor may be filled by others.

use forestall_kernel::parse::{Limit, Meminfo};
use serde::Serialize;

use super::level::Level;
use super::locate::{Located, Place};
use super::meminfo::Believed;
use super::shown::{human, path as shown_path};

/// One line of the table, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "every figure carries its unit, last in its name"
)]
pub(crate) struct Row {
    /// The limit, or the machine's memory.
    pub(crate) total_bytes: u64,
    /// What the kernel could not give away.
    pub(crate) used_bytes: u64,
    /// What is charged to nobody.
    pub(crate) free_bytes: u64,
    /// tmpfs and shared memory.
    pub(crate) shared_bytes: u64,
    /// Cache of block devices; the kernel counts it for the machine only.
    pub(crate) buffers_bytes: Option<u64>,
    /// Page cache, shared memory with it, and reclaimable kernel objects.
    pub(crate) cache_bytes: u64,
    /// What can be had before something is killed.
    pub(crate) available_bytes: u64,
}

/// Swap, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "every figure carries its unit, last in its name"
)]
pub(crate) struct Swap {
    /// What may be used.
    pub(crate) total_bytes: u64,
    /// What is used.
    pub(crate) used_bytes: u64,
    /// The rest.
    pub(crate) free_bytes: u64,
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Owner {
    /// The process's own cgroup.
    Own,
    /// One of its ancestors: others may fill it.
    Ancestor,
    /// An ancestor that is not visible from here.
    UnseenAncestor,
}

/// The lowest limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Binding {
    /// The limit.
    pub(crate) bytes: u64,
    /// Whose it is.
    pub(crate) owner: Owner,
    /// Where it was read.
    pub(crate) file: String,
    /// Left below it; absent where it is not known what is used.
    pub(crate) distance_bytes: Option<u64>,
}

/// The process's own cgroup, bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Own {
    /// Its directory.
    pub(crate) path: String,
    /// `v1` or `v2`.
    pub(crate) version: &'static str,
    /// Charged to it.
    pub(crate) usage_bytes: u64,
    /// The kubelet's figure: usage − inactive file cache.
    pub(crate) working_set_bytes: u64,
    /// What the kernel could give away.
    pub(crate) reclaimable_bytes: u64,
    /// Swap it uses.
    pub(crate) swap_bytes: Option<u64>,
}

/// The whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// Whether everything that was looked for could be read and can be true.
    pub(crate) complete: bool,
    /// The limit that binds; absent where only the machine limits, and where none could be read.
    pub(crate) limit: Option<Binding>,
    /// Memory below that limit; absent without one, and where it is not known what is used.
    pub(crate) limited: Option<Row>,
    /// Memory of the machine.
    pub(crate) node: Row,
    /// Swap that this cgroup may use.
    pub(crate) swap: Swap,
    /// Swap of the machine.
    pub(crate) node_swap: Swap,
    /// The process's own cgroup, where it can be seen.
    pub(crate) own: Option<Own>,
    /// Remarks.
    pub(crate) notes: Vec<String>,
}

/// Puts the answer together. `levels` are the cgroup and its ancestors, innermost first.
pub(crate) fn assess(believed: &Believed, located: &Located, levels: &[Level]) -> Report {
    let meminfo = &believed.meminfo;
    let mut report = Report {
        node: node_row(meminfo),
        node_swap: node_swap(meminfo),
        ..Report::default()
    };
    report.swap = cgroup_swap(&report.node_swap, levels);
    let doubts = levels.iter().flat_map(|level| &level.doubts);
    report.notes.extend(believed.doubts.iter().chain(doubts).cloned());
    if !report.notes.is_empty() {
        let advice =
            "what these files hide is not in the figures: try again, or as root, or copy the files anew";
        report.notes.push(advice.to_owned());
    }
    report.complete = report.notes.is_empty() && matches!(located, Located::At(_));
    if meminfo.available.is_none() {
        report
            .notes
            .push("/proc/meminfo has no MemAvailable here; the node's available is estimated".to_owned());
    }
    match located {
        Located::Hidden(why) => {
            report
                .notes
                .push(format!("only the node is shown, a limit may apply: {why}"));
        }
        Located::At(place) => report.note_place(meminfo, place, levels),
    }
    report
}

impl Report {
    fn note_place(&mut self, meminfo: &Meminfo, place: &Place, levels: &[Level]) {
        let Some(own) = levels.first() else { return };
        self.own = own_of(place, own);
        let lowest = lowest_limit(levels);
        let Some((bytes, owner, level)) = lowest.filter(|(bytes, ..)| *bytes < meminfo.total) else {
            if let Some((bytes, ..)) = lowest {
                self.notes.push(format!(
                    "the lowest limit, {}, is more than the machine has",
                    human(bytes)
                ));
            }
            return;
        };
        let file = match owner {
            Owner::UnseenAncestor => format!(
                "{} (hierarchical_memory_limit)",
                shown_path(&own.dir.join("memory.stat"))
            ),
            Owner::Own | Owner::Ancestor => shown_path(&level.limit_file),
        };
        let used = level.unreclaimable();
        let distance = used.map(|used| bytes.saturating_sub(used));
        self.limit = Some(Binding {
            bytes,
            owner,
            file,
            distance_bytes: distance,
        });
        let (Some(used), Some(usage), Some(distance)) = (used, level.usage, distance) else {
            return;
        };
        let nearest = levels
            .iter()
            .filter_map(|level| Some((level.distance()?, level)))
            .min_by_key(|(left, _)| *left);
        let least = nearest.map_or(distance, |(left, _)| left.min(distance));
        self.limited = Some(Row {
            total_bytes: bytes,
            used_bytes: used,
            free_bytes: bytes.saturating_sub(usage),
            shared_bytes: level.stat.shmem,
            buffers_bytes: None,
            cache_bytes: level.stat.file.saturating_add(level.stat.slab_reclaimable),
            available_bytes: least.min(self.node.available_bytes),
        });
        self.note_surprises(meminfo, own, level, (distance, nearest));
    }

    /// What the figures alone would not say.
    fn note_surprises(
        &mut self,
        meminfo: &Meminfo,
        own: &Level,
        binding: &Level,
        (distance, nearest): (u64, Option<(u64, &Level)>),
    ) {
        let Some(limit) = &self.limit else { return };
        self.notes.push(format!(
            "/proc/meminfo shows the node's {}, not this limit of {}: what sizes itself by it takes too much",
            human(meminfo.total),
            human(limit.bytes)
        ));
        if limit.owner == Owner::UnseenAncestor {
            let text =
                "the ancestor with this limit is not visible: others may use it too, so less may be left";
            self.notes.push(text.to_owned());
        }
        if let Some((left, level)) =
            nearest.filter(|(left, level)| *left < distance && level.dir != binding.dir)
        {
            self.notes.push(format!(
                "a higher limit is nearer: {} leaves {}, because others fill it",
                shown_path(&level.limit_file),
                human(left)
            ));
        }
        if self.node.available_bytes < distance {
            self.notes.push(format!(
                "the node itself has only {} left",
                human(self.node.available_bytes)
            ));
        }
        if let (Some(working_set), Some(needed)) = (binding.working_set(), binding.unreclaimable())
            && working_set > needed.saturating_add(limit.bytes / 20)
        {
            self.notes.push(format!(
                "the kubelet counts {} as used, {} of it is cache that the kernel can drop",
                human(working_set),
                human(working_set.saturating_sub(needed))
            ));
        }
        if let Some(high) = own.high.bytes().filter(|high| *high < limit.bytes) {
            self.notes.push(format!(
                "from {} on (memory.high) the kernel slows this cgroup down",
                human(high)
            ));
        }
    }
}

fn own_of(place: &Place, own: &Level) -> Option<Own> {
    Some(Own {
        path: shown_path(&place.dir),
        version: place.version.name(),
        usage_bytes: own.usage?,
        working_set_bytes: own.working_set()?,
        reclaimable_bytes: own.reclaimable()?,
        swap_bytes: own.swap,
    })
}

/// The lowest limit of all, whose it is, and the level whose usage counts against it. Of equals the innermost.
fn lowest_limit(levels: &[Level]) -> Option<(u64, Owner, &Level)> {
    let own = levels.first()?;
    let seen = levels.iter().enumerate().filter_map(|(depth, level)| {
        let owner = if depth == 0 { Owner::Own } else { Owner::Ancestor };
        Some((level.limit?.bytes()?, owner, level))
    });
    let seen = seen.min_by_key(|(bytes, ..)| *bytes);
    // Cgroup v1 tells the lowest limit even where its owner is outside of what is mounted.
    let told = own.stat.hierarchical_limit.and_then(Limit::bytes);
    match (seen, told) {
        (Some(seen), Some(told)) if told >= seen.0 => Some(seen),
        (_, Some(told)) => Some((told, Owner::UnseenAncestor, levels.last().unwrap_or(own))),
        (seen, None) => seen,
    }
}

fn node_row(meminfo: &Meminfo) -> Row {
    let cache = meminfo.cached.saturating_add(meminfo.slab_reclaimable);
    let available = meminfo.available.unwrap_or_else(|| {
        let droppable = cache
            .saturating_add(meminfo.buffers)
            .saturating_sub(meminfo.shmem);
        meminfo.free.saturating_add(droppable).min(meminfo.total)
    });
    Row {
        total_bytes: meminfo.total,
        used_bytes: meminfo.total.saturating_sub(available),
        free_bytes: meminfo.free,
        shared_bytes: meminfo.shmem,
        buffers_bytes: Some(meminfo.buffers),
        cache_bytes: cache,
        available_bytes: available,
    }
}

fn node_swap(meminfo: &Meminfo) -> Swap {
    Swap {
        total_bytes: meminfo.swap_total,
        used_bytes: meminfo.swap_used(),
        free_bytes: meminfo.swap_free,
    }
}

/// Swap that the cgroup may still use: the lowest `memory.swap.max`, and no more than the machine has. A limit on memory and
/// swap together (v1) says nothing about swap alone and is left out.
fn cgroup_swap(node: &Swap, levels: &[Level]) -> Swap {
    let is_v2 = |level: &&Level| level.limit_file.ends_with("memory.max");
    let lowest = levels
        .iter()
        .filter(is_v2)
        .filter_map(|level| Some((level.swap_limit.bytes()?, level)));
    let Some((limit, level)) = lowest.min_by_key(|(limit, _)| *limit) else {
        return *node;
    };
    let used = level.swap.unwrap_or(0);
    Swap {
        total_bytes: limit.min(node.total_bytes),
        used_bytes: used,
        free_bytes: limit.saturating_sub(used).min(node.free_bytes),
    }
}

#[cfg(test)]
mod tests;
