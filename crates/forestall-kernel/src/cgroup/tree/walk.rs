//! Walking the tree anew: every cgroup that is still there is taken over with its open files, and only directories that
//! changed are listed.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Hearing, Listing, Node, Tree};
use crate::Error;
use crate::cgroup::{CgroupDir, GroupFile, Identity};

/// A cgroup still to be visited during a rebuild.
enum Visit {
    /// One that is followed already, by its old index.
    Known(u32),
    /// A new one by name.
    New(Box<CStr>),
}

impl Tree {
    /// Walks anew, taking over every cgroup that is still there and listing only what changed.
    pub(super) fn rebuild(&mut self) -> Result<(), Error> {
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
            // Before it is listed and read, so that nothing comes in between.
            if old.is_none()
                && let Some(ear) = &mut self.ear
                && let Err(error) = node.listen(ear)
            {
                // Without every one of them nothing is heard for certain.
                self.ear = None;
                self.deaf = true;
                self.hearing = Some(Hearing::Lost(error));
            }
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
            watch: None,
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

fn join(above: &[u8], name: &[u8]) -> Box<[u8]> {
    [above, b"/", name].concat().into()
}
