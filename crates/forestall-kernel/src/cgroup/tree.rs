//! The cgroups that are followed, in preorder, kept over changes.
//!
//! Followed are `kubepods` with its QoS levels, pods and containers (nothing below a container), and outside of it the
//! plain tree down to a bounded depth. The number is bounded, too: `kubepods` comes first, then the host's cgroups by
//! name; what is left out is counted. Change is noticed cheaply (the root's `nr_descendants`, a directory's link count,
//! a read that says the cgroup is gone), and only directories that changed are listed again.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::dir::{CgroupDir, GroupFile};
use super::hierarchy::{Hierarchy, Version};
use super::identity::Identity;
use crate::Error;
use crate::file::{Buffer, HeldFile};
use crate::parse::entries;

/// How much is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Cgroups in all.
    pub groups_max: usize,
    /// Of those, outside `kubepods`: a user who makes thousands must not crowd out the pods.
    pub host_groups_max: usize,
    /// Levels below the root, outside `kubepods`.
    pub host_depth_max: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            groups_max: 4096,
            host_groups_max: 1024,
            host_depth_max: 4,
        }
    }
}

/// How closely [`Tree::refresh`] looks for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    /// Only at what is already known to have changed, and at the root's count of descendants.
    Count,
    /// At every directory's link count, too.
    Links,
    /// At every directory's children.
    Everything,
}

/// What was found when a directory was last listed.
#[derive(Clone, Copy, Debug, Default)]
struct Listing {
    links: u64,
    children: usize,
    left_out: usize,
    without_memory: usize,
    stale: bool,
}

impl Listing {
    /// Some children are not followed, and may be by the next time.
    const fn is_partial(&self) -> bool {
        self.left_out + self.without_memory > 0
    }
}

/// One followed cgroup.
#[derive(Debug)]
pub struct Node {
    /// The open cgroup.
    pub dir: CgroupDir,
    /// Index of its parent, `None` right below the root.
    pub parent: Option<u32>,
    /// Its path from the root of the hierarchy, with a leading `/`. Any bytes but `/`-separated names.
    pub path: Box<[u8]>,
    /// What the path says.
    pub identity: Identity,
    depth: u32,
    listing: Listing,
    gone: bool,
}

impl Node {
    /// No cgroup below it is followed, by rule.
    fn is_bottom(&self, bounds: &Bounds) -> bool {
        match self.identity {
            Identity::Container(_) => true,
            Identity::Host => self.depth >= bounds.host_depth_max || is_under_kubepods(&self.path),
            Identity::Kubepods | Identity::Qos(_) | Identity::Pod(_) => false,
        }
    }
}

/// The parent of `path` belongs to `kubepods`, so a child that is nothing there is nobody's.
fn is_under_kubepods(path: &[u8]) -> bool {
    let parent = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .and_then(|slash| path.get(..slash));
    parent.is_some_and(|parent| Identity::of_path(parent).is_in_kubepods())
}

/// The followed part of the hierarchy.
#[derive(Debug)]
pub struct Tree {
    root: CgroupDir,
    root_listing: Listing,
    root_stat: Option<HeldFile>,
    descendants: u64,
    bounds: Bounds,
    nodes: Vec<Node>,
    by_inode: BTreeMap<u64, u32>,
    scratch: Box<[MaybeUninit<u8>]>,
    buffer: Buffer,
}

/// A cgroup still to be visited during a rebuild.
enum Visit {
    /// One that is followed already, by its old index.
    Known(u32),
    /// A new one by name.
    New(Box<CStr>),
}

impl Tree {
    /// Opens the hierarchy and walks it once.
    pub fn open(hierarchy: &Hierarchy, bounds: Bounds) -> Result<Self, Error> {
        let root = hierarchy.open_root()?;
        // `cgroup.stat` is not there on v1.
        let root_stat =
            HeldFile::open_at(&root, Path::new("cgroup.stat"), &root.shown().join("cgroup.stat")).ok();
        let mut tree = Self {
            root,
            root_listing: Listing {
                stale: true,
                ..Listing::default()
            },
            root_stat,
            descendants: 0,
            bounds,
            nodes: Vec::new(),
            by_inode: BTreeMap::new(),
            scratch: vec![MaybeUninit::uninit(); 32 * 1024].into_boxed_slice(),
            buffer: Buffer::with_capacity(4096),
        };
        tree.refresh(Look::Everything)?;
        Ok(tree)
    }

    /// Every followed cgroup; a parent stands before its children.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The root itself, which has no figures of its own.
    pub const fn root(&self) -> &CgroupDir {
        &self.root
    }

    /// The version of the hierarchy.
    pub const fn version(&self) -> Version {
        self.root.version()
    }

    /// Where the cgroup with this inode stands in [`Tree::nodes`].
    pub fn find(&self, inode: u64) -> Option<u32> {
        self.by_inode.get(&inode).copied()
    }

    /// Cgroups that were seen and are not followed because of the bounds on their number. What lies below them, or
    /// below the deepest followed level, is in nobody's count.
    pub fn left_out(&self) -> usize {
        self.root_listing.left_out + self.nodes.iter().map(|node| node.listing.left_out).sum::<usize>()
    }

    /// Cgroups that are not followed because their parent does not hand the memory controller down.
    pub fn without_memory(&self) -> usize {
        self.root_listing.without_memory
            + self
                .nodes
                .iter()
                .map(|node| node.listing.without_memory)
                .sum::<usize>()
    }

    /// A read said that this cgroup has been removed: the next [`Tree::refresh`] closes it.
    pub fn mark_gone(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.gone = true;
        match node.parent {
            Some(parent) => self.mark_stale(parent as usize),
            None => self.root_listing.stale = true,
        }
    }

    /// Looks for changes and follows them; `true` where [`Tree::nodes`] differs from before. Allocates only then.
    pub fn refresh(&mut self, look: Look) -> Result<bool, Error> {
        let look = if self.count_changed()? {
            look.max(Look::Links)
        } else {
            look
        };
        let mut changed = self.root_listing.stale;
        if look > Look::Count && !changed {
            changed = self.root_changed(look)?;
            self.root_listing.stale = changed;
        }
        for index in 0..self.nodes.len() {
            changed |= self.look_at(index, look);
        }
        if changed {
            self.rebuild()?;
        }
        Ok(changed)
    }

    fn mark_stale(&mut self, index: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.listing.stale = true;
        }
    }

    /// The root's `nr_descendants` differs from the last look.
    fn count_changed(&mut self) -> Result<bool, Error> {
        let Some(file) = &self.root_stat else {
            return Ok(false);
        };
        let content = file.read_into(&mut self.buffer)?;
        let count = entries(content)
            .find(|entry| entry.key == b"nr_descendants")
            .map_or(0, |entry| entry.number());
        let changed = count != self.descendants;
        self.descendants = count;
        Ok(changed)
    }

    fn root_changed(&mut self, look: Look) -> Result<bool, Error> {
        let followed = self.nodes.iter().filter(|node| node.parent.is_none()).count();
        listing_changed(
            &self.root,
            self.root_listing,
            followed,
            look,
            &self.by_inode,
            &mut self.scratch,
        )
    }

    /// Marks the node where it has changed; says whether it has.
    fn look_at(&mut self, index: usize, look: Look) -> bool {
        let Some(node) = self.nodes.get(index) else {
            return false;
        };
        if node.gone || node.listing.stale {
            return true;
        }
        if look == Look::Count || node.is_bottom(&self.bounds) {
            return false;
        }
        let children = self.nodes.get(index + 1..).unwrap_or_default();
        let followed = if look == Look::Everything || node.listing.links < 2 {
            // In preorder the descendants follow directly; the first one that is no deeper ends them.
            let below = children.iter().take_while(|child| child.depth > node.depth);
            below.filter(|child| child.depth == node.depth + 1).count()
        } else {
            0
        };
        let changed = listing_changed(
            &node.dir,
            node.listing,
            followed,
            look,
            &self.by_inode,
            &mut self.scratch,
        );
        match changed {
            Ok(false) => false,
            Ok(true) => {
                self.mark_stale(index);
                true
            }
            Err(_) => {
                self.mark_gone(index);
                true
            }
        }
    }

    /// Walks anew, taking over every cgroup that is still there and listing only what changed.
    fn rebuild(&mut self) -> Result<(), Error> {
        let mut known = Known::take(&mut self.nodes, &mut self.by_inode);
        let mut host_groups = 0_usize;
        let mut pending: Vec<(Option<u32>, Visit)> = Vec::new();
        if self.root_listing.stale || self.root_listing.is_partial() {
            let (listing, found) = known.list(&self.root, b"", &mut self.scratch)?;
            self.root_listing = listing;
            pending.extend(found.into_iter().rev().map(|visit| (None, visit)));
        } else {
            pending.extend(known.top.iter().rev().map(|index| (None, Visit::Known(*index))));
        }
        while let Some((parent, visit)) = pending.pop() {
            let (name, old) = match visit {
                Visit::Known(index) => (None, Some(index as usize)),
                Visit::New(name) => (Some(name), None),
            };
            let taken = old
                .and_then(|old| known.nodes.get_mut(old))
                .and_then(Option::take);
            let path = name.as_deref().map(|name| self.path_below(parent, name));
            let identity = match (&taken, &path) {
                (Some(node), _) if !node.gone => node.identity.clone(),
                (None, Some(path)) => Identity::of_path(path),
                _ => continue,
            };
            // The bounds are held before anything is opened: a thousand names must not cost a thousand handles.
            let is_host = identity == Identity::Host;
            if self.nodes.len() >= self.bounds.groups_max
                || (is_host && host_groups >= self.bounds.host_groups_max)
            {
                self.listing_mut(parent).left_out += 1;
                continue;
            }
            let opened = match (name, path) {
                (Some(name), Some(path)) => self.open_child(parent, &name, path, identity),
                _ => None,
            };
            let Some(mut node) = taken.or(opened) else {
                continue;
            };
            if !node.dir.has(GroupFile::Current) {
                self.listing_mut(parent).without_memory += 1;
                continue;
            }
            node.parent = parent;
            let index = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
            if node.is_bottom(&self.bounds) {
                node.listing = Listing::default();
            } else if old.is_none() || node.listing.stale || node.listing.is_partial() {
                // A failure means that it went away while it was looked at.
                let Ok((listing, found)) = known.list(&node.dir, &node.path, &mut self.scratch) else {
                    continue;
                };
                node.listing = listing;
                pending.extend(found.into_iter().rev().map(|visit| (Some(index), visit)));
            } else {
                let same = old
                    .and_then(|old| known.children.get(old))
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                pending.extend(same.iter().rev().map(|child| (Some(index), Visit::Known(*child))));
            }
            host_groups += usize::from(is_host);
            self.by_inode.insert(node.dir.inode(), index);
            self.nodes.push(node);
        }
        Ok(())
    }

    fn listing_mut(&mut self, parent: Option<u32>) -> &mut Listing {
        match parent.and_then(|parent| self.nodes.get_mut(parent as usize)) {
            Some(node) => &mut node.listing,
            None => &mut self.root_listing,
        }
    }

    fn path_below(&self, parent: Option<u32>, name: &CStr) -> Box<[u8]> {
        let above = parent
            .and_then(|parent| self.nodes.get(parent as usize))
            .map_or(&b""[..], |node| &node.path);
        join(above, name.to_bytes())
    }

    /// `None` where it has gone again, or may not be opened.
    fn open_child(
        &self,
        parent: Option<u32>,
        name: &CStr,
        path: Box<[u8]>,
        identity: Identity,
    ) -> Option<Node> {
        let above = parent.and_then(|parent| self.nodes.get(parent as usize));
        let (dir, depth) = above.map_or((&self.root, 1), |node| (&node.dir, node.depth + 1));
        let name = Path::new(OsStr::from_bytes(name.to_bytes()));
        let dir = CgroupDir::open_at(dir, name, &dir.shown().join(name), self.root.version()).ok()?;
        Some(Node {
            dir,
            parent,
            path,
            identity,
            depth,
            listing: Listing::default(),
            gone: false,
        })
    }
}

/// What was followed before a rebuild.
struct Known {
    nodes: Vec<Option<Node>>,
    children: Vec<Vec<u32>>,
    top: Vec<u32>,
    by_inode: BTreeMap<u64, u32>,
}

impl Known {
    fn take(nodes: &mut Vec<Node>, by_inode: &mut BTreeMap<u64, u32>) -> Self {
        let nodes: Vec<Option<Node>> = std::mem::take(nodes).into_iter().map(Some).collect();
        let mut children = vec![Vec::new(); nodes.len()];
        let mut top = Vec::new();
        for (index, node) in (0..).zip(nodes.iter().flatten()) {
            match node.parent.and_then(|parent| children.get_mut(parent as usize)) {
                Some(siblings) => siblings.push(index),
                None => top.push(index),
            }
        }
        Self {
            nodes,
            children,
            top,
            by_inode: std::mem::take(by_inode),
        }
    }

    /// Lists `dir`: `kubepods` and what belongs to it first, then by name, so that the same tree has the same order.
    fn list(
        &self,
        dir: &CgroupDir,
        path: &[u8],
        scratch: &mut [MaybeUninit<u8>],
    ) -> Result<(Listing, Vec<Visit>), Error> {
        let mut found: Vec<(Box<CStr>, u64)> = Vec::new();
        // Before listing, so that a child made in between is seen as a difference at the next look.
        let links = dir.links()?;
        dir.list(scratch, |name, inode| found.push((name.into(), inode)))?;
        found.sort_by_cached_key(|(name, _)| {
            let is_host = !Identity::of_path(&join(path, name.to_bytes())).is_in_kubepods();
            (is_host, name.clone())
        });
        let listing = Listing {
            links,
            children: found.len(),
            ..Listing::default()
        };
        Ok((
            listing,
            found
                .into_iter()
                .map(|(name, inode)| self.recognise(path, name, inode))
                .collect(),
        ))
    }

    /// The same inode under the same path is the same cgroup; a renamed one (v1 allows that) is opened anew.
    fn recognise(&self, path: &[u8], name: Box<CStr>, inode: u64) -> Visit {
        let index = self.by_inode.get(&inode).copied();
        let node = index
            .and_then(|index| self.nodes.get(index as usize))
            .and_then(Option::as_ref);
        match (index, node) {
            (Some(index), Some(node)) if !node.gone && *node.path == *join(path, name.to_bytes()) => {
                Visit::Known(index)
            }
            _ => Visit::New(name),
        }
    }
}

/// Whether `dir` no longer is what `listing` says. `followed` is the number of its followed children; it is needed only
/// where the children themselves are looked at.
fn listing_changed(
    dir: &CgroupDir,
    listing: Listing,
    followed: usize,
    look: Look,
    by_inode: &BTreeMap<u64, u32>,
    scratch: &mut [MaybeUninit<u8>],
) -> Result<bool, Error> {
    let links = dir.links()?;
    // A file system that keeps no link count for directories (btrfs, overlayfs) says 1.
    if links != listing.links {
        return Ok(true);
    }
    if look < Look::Everything && links >= 2 {
        return Ok(false);
    }
    if look == Look::Everything && listing.without_memory > 0 {
        return Ok(true);
    }
    let (mut children, mut recognised) = (0, 0);
    dir.list(scratch, |_, inode| {
        children += 1;
        recognised += usize::from(by_inode.contains_key(&inode));
    })?;
    Ok(children != listing.children || recognised != followed)
}

fn join(above: &[u8], name: &[u8]) -> Box<[u8]> {
    [above, b"/", name].concat().into()
}

#[cfg(test)]
mod tests;
