use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;

use super::*;
use crate::cgroup::Layout;

const CID: &str = "b27201334a41cd0749d053b18378d7ea65617b8e26277197ea25c974da1a5a8a";

/// A tree of directories that looks like cgroupfs.
struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir }
    }

    fn path(&self, cgroup: &str) -> PathBuf {
        self.dir.path().join(cgroup.trim_start_matches('/'))
    }

    /// Makes the cgroup and those above it.
    fn make(&self, cgroup: &str) {
        let mut path = self.dir.path().to_path_buf();
        for name in cgroup.split('/').filter(|name| !name.is_empty()) {
            path.push(name);
            fs::create_dir_all(&path).expect("made");
            fs::write(path.join("memory.current"), "4096\n").expect("written");
        }
    }

    fn count(&self, descendants: u64) {
        fs::write(
            self.path("cgroup.stat"),
            format!("nr_descendants {descendants}\nnr_dying_descendants 0\n"),
        )
        .expect("written");
    }

    fn open(&self, bounds: Bounds) -> Tree {
        let hierarchy = Hierarchy {
            version: Version::V2,
            layout: Layout::Unified,
            root: self.dir.path().to_path_buf(),
            hands_down_memory: true,
            mount_root: b"/".to_vec(),
        };
        Tree::open(&hierarchy, bounds).expect("opened")
    }
}

fn paths(tree: &Tree) -> Vec<String> {
    tree.nodes()
        .iter()
        .map(|node| node.path.escape_ascii().to_string())
        .collect()
}

/// Parents stand before their children and the index finds everything.
fn assert_preorder(tree: &Tree) {
    for (index, node) in tree.nodes().iter().enumerate() {
        if let Some(parent) = node.parent {
            assert!((parent as usize) < index);
            let parent = &tree.nodes()[parent as usize];
            assert!(node.path.starts_with(&parent.path), "{:?}", node.path);
        }
        assert_eq!(tree.find(node.dir.inode()), u32::try_from(index).ok());
    }
}

#[test]
fn kubepods_comes_first_and_nothing_below_a_container() {
    let fixture = Fixture::new();
    fixture.make(&format!("kubepods/burstable/poda/{CID}/app"));
    fixture.make("kubepods/podb/x");
    fixture.make("a.slice/b/c/d/e");
    let tree = fixture.open(Bounds::default());
    let container = format!("/kubepods/burstable/poda/{CID}");
    assert_eq!(
        paths(&tree),
        [
            "/kubepods",
            "/kubepods/burstable",
            "/kubepods/burstable/poda",
            container.as_str(),
            "/kubepods/podb",
            "/kubepods/podb/x",
            "/a.slice",
            "/a.slice/b",
            "/a.slice/b/c",
            "/a.slice/b/c/d",
        ]
    );
    assert_preorder(&tree);
}

#[test]
fn a_new_cgroup_is_found_by_links_and_a_gone_one_by_its_mark() {
    let fixture = Fixture::new();
    fixture.make("kubepods/poda/one");
    let mut tree = fixture.open(Bounds::default());
    let kept = tree.nodes()[2].dir.inode();
    fixture.make("kubepods/poda/two");
    assert_eq!(tree.refresh(Look::Count), Ok(false), "nothing told it to look");
    assert_eq!(tree.refresh(Look::Links), Ok(true));
    assert_eq!(
        paths(&tree),
        [
            "/kubepods",
            "/kubepods/poda",
            "/kubepods/poda/one",
            "/kubepods/poda/two"
        ]
    );
    assert_eq!(tree.nodes()[2].dir.inode(), kept);
    assert_eq!(tree.refresh(Look::Everything), Ok(false));
    fs::remove_dir_all(fixture.path("kubepods/poda/one")).expect("removed");
    tree.mark_gone(2);
    assert_eq!(tree.refresh(Look::Count), Ok(true));
    assert_eq!(
        paths(&tree),
        ["/kubepods", "/kubepods/poda", "/kubepods/poda/two"]
    );
    assert_eq!(tree.find(kept), None);
    assert_preorder(&tree);
}

#[test]
fn the_count_of_descendants_is_enough_to_look() {
    let fixture = Fixture::new();
    fixture.count(1);
    fixture.make("kubepods");
    let mut tree = fixture.open(Bounds::default());
    fixture.make("kubepods/poda");
    fixture.count(2);
    assert_eq!(tree.refresh(Look::Count), Ok(true));
    assert_eq!(paths(&tree), ["/kubepods", "/kubepods/poda"]);
}

#[test]
fn a_cgroup_replaced_by_another_of_the_same_name_is_another() {
    let fixture = Fixture::new();
    fixture.make("kubepods/poda/one");
    let mut tree = fixture.open(Bounds::default());
    let before = tree.nodes()[2].dir.inode();
    // Held open by the tree, so the file system cannot hand the inode out again.
    fs::remove_dir_all(fixture.path("kubepods/poda/one")).expect("removed");
    fixture.make("kubepods/poda/one");
    assert_eq!(
        tree.refresh(Look::Links),
        Ok(false),
        "the number of links is the same"
    );
    assert_eq!(tree.refresh(Look::Everything), Ok(true));
    assert_ne!(tree.nodes()[2].dir.inode(), before);
    assert_preorder(&tree);
}

#[test]
fn a_removed_pod_takes_its_containers_with_it() {
    let fixture = Fixture::new();
    fixture.make("kubepods/poda/one");
    fixture.make("kubepods/podb/two");
    let mut tree = fixture.open(Bounds::default());
    fs::remove_dir_all(fixture.path("kubepods/poda")).expect("removed");
    assert_eq!(tree.refresh(Look::Links), Ok(true));
    assert_eq!(
        paths(&tree),
        ["/kubepods", "/kubepods/podb", "/kubepods/podb/two"]
    );
    assert_preorder(&tree);
}

#[test]
fn too_many_are_counted_and_not_followed_and_take_no_place_from_pods() {
    let fixture = Fixture::new();
    for number in 0..30 {
        fixture.make(&format!("a.slice/u{number:02}"));
    }
    fixture.make("kubepods/poda/one");
    let bounds = Bounds {
        groups_max: 12,
        host_groups_max: 5,
        host_depth_max: 4,
    };
    let mut tree = fixture.open(bounds);
    assert_eq!(tree.nodes().len(), 3 + 5);
    assert_eq!(tree.left_out(), 26);
    // Room that becomes free is used at the next change.
    fs::remove_dir_all(fixture.path("a.slice/u01")).expect("removed");
    assert_eq!(tree.refresh(Look::Links), Ok(true));
    assert_eq!((tree.nodes().len(), tree.left_out()), (8, 25));
    // A full tree that does not change is at rest.
    assert_eq!(tree.refresh(Look::Everything), Ok(false));
    assert_preorder(&tree);
}

#[test]
fn a_cgroup_without_the_controller_is_said_and_taken_up_later() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("bare")).expect("made");
    fixture.make("other");
    let mut tree = fixture.open(Bounds::default());
    assert_eq!(
        (paths(&tree), tree.without_memory()),
        (vec!["/other".to_owned()], 1)
    );
    fixture.make("bare");
    assert_eq!(tree.refresh(Look::Everything), Ok(true));
    assert_eq!((tree.nodes().len(), tree.without_memory()), (2, 0));
}

#[test]
fn names_are_bytes() {
    let fixture = Fixture::new();
    let name = OsStr::from_bytes(b"x\n\xff y");
    let path = fixture.dir.path().join(name);
    fs::create_dir(&path).expect("made");
    fs::write(path.join("memory.current"), "1\n").expect("written");
    let tree = fixture.open(Bounds::default());
    assert_eq!(&*tree.nodes()[0].path, b"/x\n\xff y");
}

#[test]
fn ten_thousand_cgroups_are_bounded() {
    let fixture = Fixture::new();
    fixture.make("kubepods");
    for number in 0..2_000 {
        fs::create_dir_all(fixture.path(&format!("kubepods/pod{number}/a"))).expect("made");
        fs::create_dir_all(fixture.path(&format!("kubepods/pod{number}/b"))).expect("made");
    }
    for number in 0..4_000 {
        fs::create_dir_all(fixture.path(&format!("user.slice/{number}"))).expect("made");
    }
    // Bare directories: whether they have figures is another test's matter, so the pods' are added here.
    for number in 0..100 {
        fixture.make(&format!("kubepods/pod{number}/a"));
    }
    let bounds = Bounds {
        groups_max: 150,
        ..Bounds::default()
    };
    let mut tree = fixture.open(bounds);
    assert!(tree.nodes().len() <= 150);
    assert!(tree.left_out() + tree.without_memory() > 0);
    assert_preorder(&tree);
    fs::remove_dir_all(fixture.path("kubepods/pod1")).expect("removed");
    assert_eq!(tree.refresh(Look::Links), Ok(true));
    assert_preorder(&tree);
}

#[test]
fn what_the_kernel_tells_is_followed_without_a_look_at_anything() {
    let fixture = Fixture::new();
    fixture.make("/docker/one");
    fixture.make(&format!(
        "/kubepods/pod57dcfcd1-ef1a-a4d1-c9bb-2cbb04bb9a73/{CID}"
    ));
    let mut tree = fixture.open(Bounds::default());
    tree.listen().expect("inotify");
    assert!(tree.ear().is_some());
    tree.refresh(Look::Count).expect("looked");
    assert!(!tree.hear());
    assert!(!tree.refresh(Look::Count).expect("looked"));
    // One goes and another comes in its place: the link count and the number of descendants are as before.
    fs::remove_dir_all(fixture.path("/docker/one")).expect("removed");
    fixture.make("/docker/two");
    assert!(tree.hear());
    assert!(tree.refresh(Look::Count).expect("looked"));
    assert!(
        paths(&tree).contains(&"/docker/two".to_owned()),
        "{:?}",
        paths(&tree)
    );
    // Who has just come is heard as well, and its limit.
    fixture.make("/docker/two/deep");
    assert!(tree.hear());
    assert!(tree.refresh(Look::Count).expect("looked"));
    fs::write(fixture.path("/docker/two/deep/memory.max"), "4096\n").expect("written");
    assert!(tree.hear());
    assert!(!tree.refresh(Look::Count).expect("looked"));
    fixture.make("/new");
    assert!(tree.hear() && tree.refresh(Look::Count).expect("looked"));
    // The pods are looked at each time, and tell nothing.
    fixture.make("/kubepods/pod57dcfcd1-ef1a-a4d1-c9bb-2cbb04bb9a74");
    assert!(!tree.hear());
}

/// Directories that the kernel watches for the tree.
fn watched(tree: &Tree) -> usize {
    let fd = tree.ear().expect("an ear").as_raw_fd();
    let told = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).expect("of this process");
    told.lines()
        .filter(|line| line.starts_with("inotify wd:"))
        .count()
}

#[test]
fn a_cgroup_that_has_left_is_closed_at_the_next_look_and_watched_no_more() {
    let fixture = Fixture::new();
    fixture.make("/docker/stays");
    let mut tree = fixture.open(Bounds::default());
    tree.listen().expect("inotify");
    tree.refresh(Look::Count).expect("looked");
    assert_eq!(watched(&tree), 3, "the root and two");
    // A directory that is moved away is watched for ever, as one of cgroupfs that is removed.
    let elsewhere = tempfile::tempdir().expect("a directory");
    for number in 0..20 {
        fixture.make("/docker/leaves/deep");
        assert!(tree.hear() && tree.refresh(Look::Count).expect("looked"));
        assert_eq!(watched(&tree), 5);
        let to = elsewhere.path().join(number.to_string());
        fs::rename(fixture.path("/docker/leaves"), to).expect("moved");
        assert!(tree.hear() && tree.refresh(Look::Count).expect("looked"));
        assert_eq!((tree.nodes().len(), watched(&tree)), (2, 3));
        assert!(!tree.hear(), "that it is not watched is nothing new");
    }
    // The kernel forgets by itself what is gone from a file system like this one.
    fixture.make("/docker/goes");
    assert!(tree.hear() && tree.refresh(Look::Count).expect("looked"));
    fs::remove_dir_all(fixture.path("/docker/goes")).expect("removed");
    assert!(tree.hear() && tree.refresh(Look::Count).expect("looked"));
    assert_eq!((tree.nodes().len(), watched(&tree)), (2, 3));
}

#[test]
fn a_renamed_cgroup_is_followed_under_its_new_name_and_heard() {
    let fixture = Fixture::new();
    fixture.make("/docker/one");
    let mut tree = fixture.open(Bounds::default());
    tree.listen().expect("inotify");
    tree.refresh(Look::Count).expect("looked");
    fs::rename(fixture.path("/docker/one"), fixture.path("/docker/two")).expect("renamed");
    assert!(tree.hear() && tree.refresh(Look::Count).expect("looked"));
    assert_eq!(paths(&tree), ["/docker", "/docker/two"]);
    fixture.make("/docker/two/deep");
    assert!(tree.hear() && tree.refresh(Look::Count).expect("looked"));
    assert_eq!(paths(&tree).len(), 3);
}

#[test]
fn where_one_cannot_be_watched_nothing_is_heard_until_it_is_tried_again() {
    let fixture = Fixture::new();
    fixture.make("/docker/one");
    let mut tree = fixture.open(Bounds::default());
    tree.listen().expect("inotify");
    tree.refresh(Look::Count).expect("looked");
    // Watching goes by the path, opening by the directory above: a file in the path's way keeps only the first from working.
    let elsewhere = tempfile::tempdir().expect("a directory");
    let moved = elsewhere.path().join("moved");
    fs::rename(fixture.dir.path(), &moved).expect("moved");
    fs::write(fixture.dir.path(), "").expect("written");
    fs::create_dir(moved.join("two")).expect("made");
    fs::write(moved.join("two/memory.current"), "4096\n").expect("written");
    assert!(tree.hear() && tree.refresh(Look::Count).expect("looked"));
    assert_eq!(paths(&tree), ["/docker", "/docker/one", "/two"]);
    assert!(tree.ear().is_none());
    let Some(Hearing::Lost(error)) = tree.take_hearing() else {
        panic!("it failed")
    };
    assert_eq!(
        (error.path(), error.errno()),
        (&*fixture.path("/two"), Some(Errno::NOTDIR))
    );
    assert!(tree.listen().is_err() && tree.ear().is_none());
    assert!(tree.take_hearing().is_none(), "once");
    fs::remove_file(fixture.dir.path()).expect("removed");
    fs::rename(&moved, fixture.dir.path()).expect("moved");
    tree.listen().expect("inotify");
    assert!(matches!(tree.take_hearing(), Some(Hearing::Back)));
    tree.listen().expect("inotify");
    assert!(tree.take_hearing().is_none(), "once");
    // What came in between is looked for.
    assert!(tree.refresh(Look::Count).expect("looked") && !tree.hear());
    assert_eq!(watched(&tree), 4);
    fixture.make("/two/deep");
    assert!(tree.hear() && tree.refresh(Look::Count).expect("looked"));
}
