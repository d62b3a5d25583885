//! Who is behind a number: the names, identities and handles of the followed cgroups, for whoever renders a decision or
//! acts on it. The engine sees none of this.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use forestall_decide::GroupId;
use forestall_kernel::cgroup::{Identity, Node, Tree, Version};

/// One followed cgroup.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// Its number.
    pub id: GroupId,
    /// Its path from the root of the hierarchy. Names from outside: escape them before they are shown.
    pub path: &'a [u8],
    /// Its place in the file system, for messages. The same warning holds.
    pub location: Arc<Path>,
    /// What the path says.
    pub identity: &'a Identity,
    /// The followed cgroup above it.
    pub parent: Option<GroupId>,
    /// Of which version its files are.
    pub version: Version,
    /// Its open directory, which names it for good.
    pub handle: Arc<OwnedFd>,
}

/// The followed cgroups, as of the last sample.
#[derive(Clone, Copy, Debug)]
pub struct Roster<'a> {
    tree: Option<&'a Tree>,
}

impl<'a> Roster<'a> {
    pub(crate) const fn new(tree: Option<&'a Tree>) -> Self {
        Self { tree }
    }

    /// The cgroup with this number, if it is followed.
    pub fn find(&self, id: GroupId) -> Option<Member<'a>> {
        let tree = self.tree?;
        let node = tree.nodes().get(tree.find(id.0)? as usize)?;
        Some(member(tree, node))
    }

    /// All of them, parents before their children.
    pub fn iter(&self) -> impl Iterator<Item = Member<'a>> + use<'a> {
        self.tree
            .into_iter()
            .flat_map(|tree| tree.nodes().iter().map(move |node| member(tree, node)))
    }

    /// How many are followed.
    pub fn len(&self) -> usize {
        self.tree.map_or(0, |tree| tree.nodes().len())
    }

    /// None is followed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cgroups that were seen and are not followed because there are too many; their memory counts in their parent.
    pub fn left_out(&self) -> usize {
        self.tree.map_or(0, Tree::left_out)
    }

    /// Cgroups that have no memory figures because their parent does not hand the controller down.
    pub fn without_memory(&self) -> usize {
        self.tree.map_or(0, Tree::without_memory)
    }
}

fn member<'a>(tree: &'a Tree, node: &'a Node) -> Member<'a> {
    let parent = node.parent.and_then(|parent| tree.nodes().get(parent as usize));
    Member {
        id: GroupId(node.dir.inode()),
        path: &node.path,
        location: Arc::clone(node.dir.shown()),
        identity: &node.identity,
        parent: parent.map(|parent| GroupId(parent.dir.inode())),
        version: node.dir.version(),
        handle: node.dir.handle(),
    }
}
