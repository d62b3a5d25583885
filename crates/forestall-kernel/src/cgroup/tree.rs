//! The cgroups that are followed, in preorder, kept over changes.
//!
//! Followed are `kubepods` with its QoS levels, pods and containers (nothing below a container), and outside of it the
//! plain tree down to a bounded depth. The number is bounded, too: `kubepods` comes first, then the host's cgroups by
//! name; what is left out is counted. Change is noticed cheaply (the root's `nr_descendants`, a directory's link count,
//! a read that says the cgroup is gone, and what the kernel tells by itself where it was asked to), and only directories that
//! changed are listed again.

mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::dir::CgroupDir;
use super::ear::{Ear, Heard, Watch};
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

/// A change of whether the kernel can be heard.
#[derive(Debug)]
pub enum Hearing {
    /// It can be heard no longer, for this reason.
    Lost(Error),
    /// It can be heard again.
    Back,
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
    watch: Option<Watch>,
    gone: bool,
}

impl Node {
    /// Has the kernel tell of it where it is outside `kubepods`, whose cgroups are looked at each time. An error is none of its
    /// own: it may have been removed.
    fn listen(&mut self, ear: &mut Ear) -> Result<(), Error> {
        if self.identity == Identity::Host {
            self.watch = match ear.watch(&self.dir) {
                Ok(watch) => Some(watch),
                Err(error) if error.is_gone() => None,
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

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
    ear: Option<Ear>,
    hearing: Option<Hearing>,
    /// It was tried to hear the kernel, and failed.
    deaf: bool,
    root_watch: Option<Watch>,
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
            ear: None,
            hearing: None,
            deaf: false,
            root_watch: None,
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

    /// Has the kernel tell of new and removed cgroups and of written limits outside `kubepods` from now on: of all those that are
    /// followed, and of those to come. The error says why it cannot.
    pub fn listen(&mut self) -> Result<(), Error> {
        let listening = self.try_to_listen();
        if listening.is_ok() && self.deaf {
            self.hearing = Some(Hearing::Back);
        }
        self.deaf = listening.is_err();
        listening
    }

    fn try_to_listen(&mut self) -> Result<(), Error> {
        let mut ear = Ear::open().map_err(|errno| Error::from_errno(self.root.shown(), errno))?;
        self.root_watch = Some(ear.watch(&self.root)?);
        for node in &mut self.nodes {
            node.listen(&mut ear)?;
        }
        self.ear = Some(ear);
        // What has come since it was walked was not told of.
        self.forget_listings();
        Ok(())
    }

    /// Readable where the kernel has told something; `None` where it cannot be heard, or no longer.
    pub fn ear(&self) -> Option<BorrowedFd<'_>> {
        self.ear.as_ref().map(AsFd::as_fd)
    }

    /// Whether it can be heard, once after every change of that; what [`Tree::listen`] answers itself when it is first asked is none.
    pub const fn take_hearing(&mut self) -> Option<Hearing> {
        self.hearing.take()
    }

    /// Takes what the kernel has told: whether a cgroup was made, removed or renamed, or a limit written. The next
    /// [`Tree::refresh`] lists where that was. Never allocates.
    pub fn hear(&mut self) -> bool {
        let Some(ear) = &self.ear else { return false };
        let (nodes, root_listing, root_watch) = (&mut self.nodes, &mut self.root_listing, self.root_watch);
        let (mut heard, mut anything) = (false, false);
        ear.listen(self.root.version(), &mut self.scratch, |told| {
            heard = true;
            match told {
                Heard::Changed(watch) if root_watch == Some(watch) => root_listing.stale = true,
                Heard::Changed(watch) => {
                    if let Some(node) = nodes.iter_mut().find(|node| node.watch == Some(watch)) {
                        node.listing.stale = true;
                    }
                }
                Heard::Limit => {}
                Heard::Anything => anything = true,
            }
        });
        if anything {
            self.forget_listings();
        }
        heard
    }

    /// Has the kernel forget all that is followed no more.
    fn stop_watching_the_gone(&mut self) {
        if let Some(ear) = &mut self.ear {
            let below = self.nodes.iter().filter_map(|node| node.watch);
            let followed: BTreeSet<Watch> = self.root_watch.into_iter().chain(below).collect();
            ear.keep(&followed);
        }
    }

    fn forget_listings(&mut self) {
        self.root_listing.stale = true;
        for node in &mut self.nodes {
            node.listing.stale = true;
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
            let rebuilt = self.rebuild();
            self.stop_watching_the_gone();
            rebuilt?;
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

#[cfg(test)]
mod tests;
