//! What pods and containers are called, without asking a cluster: by the directories and links that the kubelet makes for their logs.
//!
//! `/var/log/pods/NAMESPACE_NAME_UID` (`BuildPodLogsDirectory`) and `/var/log/containers/NAME_NAMESPACE_CONTAINER-ID.log`
//! (`legacyLogSymlink`, both in `pkg/kubelet/kuberuntime`). The kernel says when one comes or goes; who is gone is remembered for an hour,
//! because a kill is often the last that is heard of a container.
//!
//! It opens no log, and invents nothing: who has no directory has no name.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use forestall_decide::{Moment, Span};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

const PODS: &str = "var/log/pods";
const CONTAINERS: &str = "var/log/containers";

/// So many are known of each kind; a node has 110 pods, or 250.
const KNOWN_MAX: usize = 2048;

/// Who is gone is remembered for so long.
const MEMORY: Span = Span::secs(3600);

/// What the name of a file tells: the UID of a pod with its namespace and name, or the ID of a container with its name.
type Told<'a> = (&'a str, [&'a str; 2]);

/// What is known of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    /// Of a pod its namespace and name, of a container its name.
    names: [Box<str>; 2],
    gone: Option<Moment>,
}

/// The names.
#[derive(Debug)]
pub(super) struct Names {
    ear: Option<OwnedFd>,
    pods: Kind,
    containers: Kind,
}

/// Pods by their UIDs, or containers by their IDs.
#[derive(Debug)]
struct Kind {
    directory: PathBuf,
    read: fn(&str) -> Option<Told<'_>>,
    watch: Option<i32>,
    known: BTreeMap<Box<str>, Known>,
}

impl Names {
    /// Of the machine below `root`.
    pub(super) fn open(root: &Path, now: Moment) -> Self {
        let kind = |directory: &str, read| Kind {
            directory: root.join(directory),
            read,
            watch: None,
            known: BTreeMap::new(),
        };
        let mut names = Self {
            // Without it everything is looked up when it is needed.
            ear: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok(),
            pods: kind(PODS, read_pod),
            containers: kind(CONTAINERS, read_container),
        };
        names.look(now);
        names
    }

    /// Becomes readable when [`Names::listen`] has something to do.
    pub(super) fn ear(&self) -> Option<BorrowedFd<'_>> {
        self.ear.as_ref().map(OwnedFd::as_fd)
    }

    /// Takes all that the kernel told. What it tells in time costs the names that have changed; all directories are read again only
    /// where it has missed some.
    pub(super) fn listen(&mut self, now: Moment) {
        let Some(ear) = &self.ear else { return };
        let mut scratch = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(ear, &mut scratch);
        let mut has_missed = false;
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(_) => break,
            };
            let events = event.events();
            let kinds = [&mut self.pods, &mut self.containers];
            let kind = kinds.into_iter().find(|kind| kind.watch == Some(event.wd()));
            let name = event.file_name().and_then(|name| name.to_str().ok());
            has_missed |= events.contains(ReadFlags::QUEUE_OVERFLOW);
            match (kind, name) {
                (Some(kind), None) if events.contains(ReadFlags::IGNORED) => kind.watch = None,
                (Some(kind), Some(name)) if events.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) => {
                    kind.come(name, now);
                }
                (Some(kind), Some(name)) => kind.go(name, now),
                _ => {}
            }
        }
        if has_missed {
            self.look(now);
        }
    }

    /// The namespace and name of a pod.
    pub(super) fn pod(&mut self, uid: &str, now: Moment) -> Option<[&str; 2]> {
        if !self.pods.known.contains_key(uid) {
            self.catch_up(now);
        }
        self.pods.find(uid)
    }

    /// The name of a container; where it is none of a pod's sandbox, this pod tells it, too.
    pub(super) fn container(&mut self, pod_uid: Option<&str>, id: &str, now: Moment) -> Option<&str> {
        if !self.containers.known.contains_key(id) {
            self.catch_up(now);
        }
        // The kubelet makes the link once the runtime says that the container runs, and on a busy node it has been killed by then.
        if !self.containers.known.contains_key(id)
            && let Some(name) = pod_uid.and_then(|uid| self.only_container(uid))
        {
            // Where the link is never made, nobody tells that it is gone: it is forgotten like one that was.
            self.containers
                .insert(id, [name.into(), "".into()], Some(now), now);
        }
        self.containers.find(id).map(|[name, _]| name)
    }

    /// The name of a pod's container, where it has had one alone: its directory is made before it is started (`BuildContainerLogsDirectory`) and stays until
    /// the pod's goes as a whole. So whoever ran when there is one was that one, an init container as well: those after it had not begun. What has no
    /// directory of its own is the pod's sandbox, which the caller knows. While a pod's directory is being removed another one's may be the last; by then
    /// all of its containers have ended, and a kill that is told so late has its link or none.
    fn only_container(&self, pod_uid: &str) -> Option<String> {
        let [namespace, name] = self.pods.find(pod_uid)?;
        let folder = self.pods.directory.join(format!("{namespace}_{name}_{pod_uid}"));
        let mut entries = std::fs::read_dir(folder).ok()?;
        let only = entries.next()?.ok()?;
        (entries.next().is_none() && only.file_type().ok()?.is_dir())
            .then(|| only.file_name().into_string().ok())?
    }

    /// Somebody is not known: whoever came by now has been told of, and the disk is asked only where nobody watches it. A storm of kills
    /// in a pod without a directory reads no directory for each.
    fn catch_up(&mut self, now: Moment) {
        self.listen(now);
        for kind in [&mut self.pods, &mut self.containers] {
            if kind.watch.is_none() {
                kind.look(self.ear.as_ref(), now);
            }
        }
    }

    fn look(&mut self, now: Moment) {
        for kind in [&mut self.pods, &mut self.containers] {
            kind.look(self.ear.as_ref(), now);
        }
    }
}

impl Kind {
    fn find(&self, id: &str) -> Option<[&str; 2]> {
        let Known {
            names: [first, second],
            ..
        } = self.known.get(id)?;
        Some([first, second])
    }

    /// Reads the directory, and has it watched from before that on. Who is not there any more has gone unheard.
    fn look(&mut self, ear: Option<&OwnedFd>, now: Moment) {
        if let (None, Some(ear)) = (self.watch, ear) {
            let changes = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
            self.watch = inotify::add_watch(ear, &self.directory, changes).ok();
        }
        let Some((files, is_whole)) = list(&self.directory) else {
            return;
        };
        if is_whole {
            let there: BTreeSet<&str> = files
                .iter()
                .filter_map(|file| (self.read)(file))
                .map(|(id, _)| id)
                .collect();
            let gone = self.known.iter_mut().filter(|(id, _)| !there.contains(&***id));
            for (_, known) in gone {
                known.gone.get_or_insert(now);
            }
        }
        for file in &files {
            self.come(file, now);
        }
    }

    fn come(&mut self, file: &str, now: Moment) {
        let Some((id, names)) = (self.read)(file) else {
            return;
        };
        self.insert(id, names.map(Box::from), None, now);
    }

    /// Where there is no room, whoever has been gone the longest makes it; who is there is never put out.
    fn insert(&mut self, id: &str, names: [Box<str>; 2], gone: Option<Moment>, now: Moment) {
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(id) {
            self.forget(now);
        }
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(id) {
            let gone = self
                .known
                .iter()
                .filter_map(|(id, known)| Some((known.gone?, id)));
            let Some((_, longest)) = gone.min() else { return };
            let longest = longest.clone();
            self.known.remove(&longest);
        }
        self.known.insert(id.into(), Known { names, gone });
    }

    fn forget(&mut self, now: Moment) {
        self.known
            .retain(|_, known| known.gone.is_none_or(|gone| now.since(gone) < MEMORY));
    }

    fn go(&mut self, file: &str, now: Moment) {
        if let Some((id, _)) = (self.read)(file)
            && let Some(known) = self.known.get_mut(id)
        {
            known.gone = Some(now);
        }
        self.forget(now);
    }
}

/// The names in a directory, and whether these are all; none where there is no such directory, and `None` where it cannot be read.
fn list(directory: &Path) -> Option<(Vec<String>, bool)> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return (error.kind() == ErrorKind::NotFound).then(|| (Vec::new(), true)),
    };
    let mut files = Vec::new();
    for (count, entry) in entries.enumerate() {
        let Ok(entry) = entry else {
            return Some((files, false));
        };
        if count >= 2 * KNOWN_MAX {
            return Some((files, false));
        }
        files.extend(entry.file_name().into_string());
    }
    Some((files, true))
}

/// `NAMESPACE_NAME_UID`. Neither of the three has an underscore in it.
fn read_pod(file: &str) -> Option<Told<'_>> {
    let mut parts = file.split('_');
    let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && [namespace, name, uid].iter().all(|part| !part.is_empty());
    is_whole.then_some((uid, [namespace, name]))
}

/// `NAME_NAMESPACE_CONTAINER-ID.log`.
fn read_container(file: &str) -> Option<Told<'_>> {
    let (_, last) = file.strip_suffix(".log")?.rsplit_once('_')?;
    let (name, id) = last.rsplit_once('-')?;
    (!name.is_empty() && !id.is_empty()).then_some((id, [name, ""]))
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};
    use tempfile::TempDir;

    use super::*;

    const UID: &str = "0330b2c1-a15b-4cdd-b5e5-72d4a90bee82";
    const ID: &str = "b27201334a41cd0749d053b18378d7ea65617b8e26277197ea25c974da1a5a8a";

    fn heard(names: &mut Names, now: Moment) {
        let mut waited = [PollFd::from_borrowed_fd(
            names.ear().expect("inotify"),
            PollFlags::IN,
        )];
        assert!(poll(&mut waited, None).expect("a descriptor") > 0);
        names.listen(now);
    }

    #[test]
    fn a_pod_that_is_gone_has_its_name_for_an_hour() {
        let root = TempDir::new().expect("a directory");
        let (pods, containers) = (root.path().join(PODS), root.path().join(CONTAINERS));
        std::fs::create_dir_all(&pods).expect("a directory");
        let at = |secs: u64| Moment(secs * 1_000_000);
        let mut names = Names::open(root.path(), at(0));
        assert_eq!(names.pod(UID, at(0)), None);
        let log = pods.join(format!("shop_cart-0_{UID}"));
        std::fs::create_dir(&log).expect("a directory");
        heard(&mut names, at(1));
        std::fs::remove_dir(&log).expect("it is empty");
        heard(&mut names, at(10));
        assert_eq!(names.pod(UID, at(3600)), Some(["shop", "cart-0"]));
        // What was not there when the agent was started is looked up when it is needed.
        std::fs::create_dir_all(&containers).expect("a directory");
        let link = containers.join(format!("cart-0_shop_web-app-{ID}.log"));
        std::fs::write(link, "").expect("a file");
        assert_eq!(names.container(None, ID, at(11)), Some("web-app"));
        // After an hour the next that goes takes it along.
        std::fs::create_dir(pods.join("a_b_c")).expect("a directory");
        std::fs::remove_dir(pods.join("a_b_c")).expect("it is empty");
        heard(&mut names, at(3611));
        assert_eq!(names.pod(UID, at(3611)), None);
    }

    #[test]
    fn a_directory_that_is_watched_is_not_read_again_for_whom_nobody_knows() {
        let (root, other) = (
            TempDir::new().expect("a directory"),
            TempDir::new().expect("a directory"),
        );
        let pods = root.path().join(PODS);
        std::fs::create_dir_all(&pods).expect("a directory");
        let mut names = Names::open(root.path(), Moment(0));
        // Who came a moment ago is known without a wait for the descriptor.
        std::fs::create_dir(pods.join(format!("shop_cart-0_{UID}"))).expect("a directory");
        assert_eq!(names.pod(UID, Moment(0)), Some(["shop", "cart-0"]));
        // Whoever read the disk now would find somebody.
        std::fs::create_dir(other.path().join("shop_cart-1_unheard")).expect("a directory");
        names.pods.directory = other.path().to_owned();
        assert_eq!(names.pod("unheard", Moment(0)), None);
        // Where nobody watches, it is read.
        names.pods.watch = None;
        assert_eq!(names.pod("unheard", Moment(0)), Some(["shop", "cart-1"]));
    }

    #[test]
    fn a_container_that_is_killed_before_its_link_is_made_is_its_pods_only_one() {
        let root = TempDir::new().expect("a directory");
        let log = root.path().join(PODS).join(format!("shop_cart-0_{UID}"));
        let mut names = Names::open(root.path(), Moment(0));
        assert_eq!(names.container(Some(UID), ID, Moment(0)), None);
        std::fs::create_dir_all(log.join("web")).expect("a directory");
        assert_eq!(names.container(Some(UID), ID, Moment(0)), Some("web"));
        // Of two it may be either.
        std::fs::create_dir(log.join("sidecar")).expect("a directory");
        assert_eq!(names.container(Some(UID), "other", Moment(0)), None);
    }

    #[test]
    fn a_link_that_is_never_made_takes_nobodys_room() {
        let root = TempDir::new().expect("a directory");
        let log = root.path().join(PODS).join(format!("shop_cart-0_{UID}"));
        std::fs::create_dir_all(log.join("web")).expect("a directory");
        std::fs::create_dir_all(root.path().join(CONTAINERS)).expect("a directory");
        let mut names = Names::open(root.path(), Moment(0));
        for container in 0..KNOWN_MAX {
            let id = format!("c{container}");
            assert_eq!(names.container(Some(UID), &id, Moment(0)), Some("web"));
        }
        // Within the hour, too; and one that is there is never put out for one that is inferred.
        let link = |id: &str| format!("cart-1_shop_db-{id}.log");
        for there in 0..KNOWN_MAX {
            names.containers.come(&link(&format!("d{there}")), Moment(1));
        }
        assert_eq!(names.containers.known.len(), KNOWN_MAX);
        assert_eq!(names.container(Some(UID), "other", Moment(2)), None);
        assert_eq!(names.container(None, "d7", Moment(2)), Some("db"));
    }

    #[test]
    fn who_went_unheard_is_gone_when_the_disk_is_asked_again() {
        let root = TempDir::new().expect("a directory");
        let (pods, containers) = (root.path().join(PODS), root.path().join(CONTAINERS));
        let log = pods.join(format!("shop_cart-0_{UID}"));
        std::fs::create_dir_all(&log).expect("a directory");
        std::fs::create_dir_all(pods.join("shop_cart-1_there")).expect("a directory");
        std::fs::create_dir_all(&containers).expect("a directory");
        let mut names = Names::open(root.path(), Moment(0));
        // As where the kernel's queue has overflowed: nobody tells of it.
        names.ear = None;
        std::fs::remove_dir(&log).expect("it is empty");
        names.look(Moment(1));
        assert_eq!(
            names.pods.known.get(UID).map(|known| known.gone),
            Some(Some(Moment(1)))
        );
        assert_eq!(names.pods.known.get("there").map(|known| known.gone), Some(None));
        // It has its name for an hour, and comes to be there again if it is.
        assert_eq!(names.pod(UID, Moment(2)), Some(["shop", "cart-0"]));
        std::fs::create_dir(&log).expect("a directory");
        names.look(Moment(3));
        assert_eq!(names.pods.known.get(UID).map(|known| known.gone), Some(None));
        // Where all directories are gone, so are all of them; one that cannot be read tells nothing.
        let unreadable = root.path().join("file");
        std::fs::write(&unreadable, "").expect("a file");
        names.pods.directory = unreadable;
        names.look(Moment(4));
        assert!(names.pods.known.values().all(|known| known.gone.is_none()));
        names.pods.directory = root.path().join("none");
        names.look(Moment(5));
        assert!(
            names
                .pods
                .known
                .values()
                .all(|known| known.gone == Some(Moment(5)))
        );
    }

    #[test]
    fn what_the_kubelet_did_not_make_names_nobody() {
        for file in ["", "shop", "shop_cart-0", "a_b_c_d", "_b_c", "a_b_"] {
            assert_eq!(read_pod(file), None, "{file}");
        }
        for file in ["", "a_b_c-1.txt", "a_b_c.log", "a-1.log", "a_b_-1.log"] {
            assert_eq!(read_container(file), None, "{file}");
        }
    }

    #[test]
    fn no_crowd_of_directories_fills_the_memory() {
        let root = TempDir::new().expect("a directory");
        let mut names = Names::open(root.path(), Moment(0));
        for pod in 0..3 * KNOWN_MAX {
            names.pods.come(&format!("a_b_{pod}"), Moment(0));
        }
        assert_eq!(names.pods.known.len(), KNOWN_MAX);
        // Those that are gone make room.
        for pod in 0..KNOWN_MAX {
            names.pods.go(&format!("a_b_{pod}"), Moment(0));
        }
        names.pods.come("a_b_new", Moment(0) + MEMORY);
        assert_eq!(names.pods.known.len(), 1);
    }
}
