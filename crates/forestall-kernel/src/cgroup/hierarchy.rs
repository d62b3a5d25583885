//! Which cgroup hierarchy accounts memory on this machine, and where it is mounted.
//!
//! It refuses to guess: a mount point that holds something else is an error that names it, and so is a v2 hierarchy
//! without the memory controller.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::dir::CgroupDir;
use crate::Error;
use crate::file::{Buffer, HeldFile};
use crate::parse::{Mount, mounts, unescape};

/// `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
const MAGIC_V2: i64 = 0x6367_7270;
/// `CGROUP_SUPER_MAGIC` of `linux/magic.h`.
const MAGIC_V1: i64 = 0x0027_e0eb;

/// Of which version the memory hierarchy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// A hierarchy of the memory controller's own.
    V1,
    /// The unified hierarchy.
    V2,
}

/// How a machine mounts its hierarchies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// v2 alone, with the memory controller.
    Unified,
    /// v1 alone.
    Legacy,
    /// Memory on v1, and v2 mounted beside it without the memory controller.
    Hybrid,
}

impl Layout {
    /// The word used in logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unified => "unified",
            Self::Legacy => "legacy",
            Self::Hybrid => "hybrid",
        }
    }
}

/// Why there is no memory hierarchy to be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HierarchyError {
    /// A file or directory on the way could not be read.
    #[error(transparent)]
    Read(#[from] Error),
    /// What is at the path is no cgroup file system.
    #[error("{}: not a cgroup file system (its type is {found}); mount cgroup2 there or name the right path", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// The type as mountinfo names it, or the magic number.
        found: String,
    },
    /// cgroup v2 is mounted and the memory controller is neither there nor on v1.
    #[error(
        "{}: the memory controller is not available (cgroup.controllers lacks it); boot without cgroup_disable=memory",
        path.display()
    )]
    NoMemoryController {
        /// Where v2 is mounted.
        path: PathBuf,
    },
    /// Nothing that accounts memory is mounted.
    #[error("no cgroup hierarchy with the memory controller is mounted below {}", prefix.display())]
    NotMounted {
        /// Where one was looked for.
        prefix: PathBuf,
    },
}

/// The hierarchy that accounts memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its version.
    pub version: Version,
    /// How the machine mounts its hierarchies.
    pub layout: Layout,
    /// Where it is mounted.
    pub root: PathBuf,
    /// v2: whether the root hands the memory controller down (`cgroup.subtree_control`); without that no cgroup below
    /// it has figures. Always so on v1.
    pub hands_down_memory: bool,
    /// What of it is mounted there, as `mountinfo` shows it to this process, unescaped: `/` for all of it, unless this process
    /// has a cgroup namespace of its own.
    pub mount_root: Vec<u8>,
}

impl Hierarchy {
    /// Finds it among the mounts of `mountinfo`. Of several, the one at or right below `prefix` (`/`, or `/host` where the
    /// host's file systems are mounted there) with the shortest path.
    pub fn find(mountinfo: &[u8], prefix: &Path) -> Result<Self, HierarchyError> {
        let mut found = Self::find_mounted(mountinfo, prefix)?;
        found.learn_mount_root(mountinfo);
        Ok(found)
    }

    /// Reads in `mountinfo` what is mounted at its root. Where that names no such mount, it stays as it is.
    pub fn learn_mount_root(&mut self, mountinfo: &[u8]) {
        // The last mount at a place hides those before it.
        let mount = mounts(mountinfo)
            .filter(|mount| point_of(mount) == self.root)
            .last();
        if let Some(mount) = mount {
            self.mount_root = unescape(mount.root).collect();
        }
    }

    fn find_mounted(mountinfo: &[u8], prefix: &Path) -> Result<Self, HierarchyError> {
        let nearest = |wanted: &dyn Fn(&Mount<'_>) -> bool| {
            mounts(mountinfo)
                .filter(|mount| wanted(mount))
                .map(|mount| point_of(&mount))
                .filter(|point| point.starts_with(prefix))
                .min_by_key(|point| point.components().count())
        };
        let unified = nearest(&|mount| mount.kind == b"cgroup2");
        let legacy = nearest(&|mount| mount.kind == b"cgroup" && mount.has_super_option(b"memory"));
        if let Some(root) = &unified
            && let Some(hands_down_memory) = unified_memory(root)?
        {
            verify_magic(root, MAGIC_V2)?;
            let root = root.clone();
            return Ok(Self {
                version: Version::V2,
                layout: Layout::Unified,
                root,
                hands_down_memory,
                mount_root: b"/".to_vec(),
            });
        }
        match (legacy, unified) {
            (Some(root), unified) => {
                verify_magic(&root, MAGIC_V1)?;
                let layout = if unified.is_some() {
                    Layout::Hybrid
                } else {
                    Layout::Legacy
                };
                Ok(Self {
                    version: Version::V1,
                    layout,
                    root,
                    hands_down_memory: true,
                    mount_root: b"/".to_vec(),
                })
            }
            (None, Some(path)) => Err(HierarchyError::NoMemoryController { path }),
            (None, None) => Err(missing(mountinfo, prefix)),
        }
    }

    /// Takes the hierarchy mounted at `root`, whatever mountinfo says. `trusting` skips the check of the file system's
    /// magic number and tells the version by the files there: for saved trees and tests.
    pub fn at(root: &Path, trusting: bool) -> Result<Self, HierarchyError> {
        let hierarchy = |version, layout, hands_down_memory| Self {
            version,
            layout,
            root: root.to_path_buf(),
            hands_down_memory,
            mount_root: b"/".to_vec(),
        };
        if root.join("cgroup.controllers").exists() {
            if !trusting {
                verify_magic(root, MAGIC_V2)?;
            }
            return match unified_memory(root)? {
                Some(hands_down) => Ok(hierarchy(Version::V2, Layout::Unified, hands_down)),
                None => Err(HierarchyError::NoMemoryController {
                    path: root.to_path_buf(),
                }),
            };
        }
        if !trusting {
            verify_magic(root, MAGIC_V1)?;
        }
        if root.join("memory.usage_in_bytes").exists() {
            return Ok(hierarchy(Version::V1, Layout::Legacy, true));
        }
        Err(HierarchyError::NotMounted {
            prefix: root.to_path_buf(),
        })
    }

    /// Opens its root.
    pub fn open_root(&self) -> Result<CgroupDir, Error> {
        // The mount point may be a symbolic link, unlike anything below it.
        let shown: std::sync::Arc<Path> = std::sync::Arc::from(self.root.as_path());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&self.root, flags, Mode::empty())
            .map_err(|errno| Error::from_errno(&shown, errno))?;
        CgroupDir::from_dir(dir, shown, self.version)
    }
}

/// Nothing was found: says what is in the usual place, if anything is.
fn missing(mountinfo: &[u8], prefix: &Path) -> HierarchyError {
    let usual = prefix.join("sys/fs/cgroup");
    // The last mount at a place hides those before it.
    let there = mounts(mountinfo).filter(|mount| point_of(mount) == usual).last();
    match there {
        // A tmpfs there is the frame of v1 hierarchies, and says nothing by itself.
        Some(mount) if mount.kind != b"tmpfs" => HierarchyError::Foreign {
            path: usual,
            found: mount.kind.escape_ascii().to_string(),
        },
        _ => HierarchyError::NotMounted {
            prefix: prefix.to_path_buf(),
        },
    }
}

fn point_of(mount: &Mount<'_>) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(mount.point).collect()))
}

/// Whether v2 at `root` has the memory controller and, if so, whether it hands it down.
fn unified_memory(root: &Path) -> Result<Option<bool>, Error> {
    let mut buffer = Buffer::with_capacity(4096);
    let mut lists_memory = |name: &str| -> Result<bool, Error> {
        let content = HeldFile::open(&root.join(name))?;
        let content = content.read_into(&mut buffer)?;
        Ok(content
            .split(u8::is_ascii_whitespace)
            .any(|word| word == b"memory"))
    };
    if !lists_memory("cgroup.controllers")? {
        return Ok(None);
    }
    match lists_memory("cgroup.subtree_control") {
        Ok(hands_down) => Ok(Some(hands_down)),
        Err(error) if error.is_gone() => Ok(Some(true)),
        Err(error) => Err(error),
    }
}

fn verify_magic(path: &Path, wanted: i64) -> Result<(), HierarchyError> {
    let shown: std::sync::Arc<Path> = std::sync::Arc::from(path);
    let found = rustix::fs::statfs(path)
        .map_err(|errno| Error::from_errno(&shown, errno))?
        .f_type;
    // The field's width differs between architectures, and v1's number has no sign bit to lose.
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        clippy::cast_possible_wrap
    )]
    let found = found as i64;
    if found == wanted {
        return Ok(());
    }
    Err(HierarchyError::Foreign {
        path: path.to_path_buf(),
        found: format!("magic number {found:#x}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unified(controllers: &str, handed_down: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("cgroup.controllers"), controllers).expect("written");
        std::fs::write(dir.path().join("cgroup.subtree_control"), handed_down).expect("written");
        dir
    }

    fn line(id: u32, point: &Path, kind: &str, options: &str) -> String {
        format!(
            "{id} 1 0:{id} / {} rw,relatime - {kind} none rw{options}\n",
            point.display()
        )
    }

    #[test]
    fn a_tree_is_told_by_its_files() {
        let dir = unified("cpu memory pids\n", "memory\n");
        let found = Hierarchy::at(dir.path(), true).expect("v2");
        assert_eq!(
            (found.version, found.layout, found.hands_down_memory),
            (Version::V2, Layout::Unified, true)
        );
        let dir = unified("cpu memory\n", "cpu\n");
        assert!(!Hierarchy::at(dir.path(), true).expect("v2").hands_down_memory);
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("memory.usage_in_bytes"), "1\n").expect("written");
        assert_eq!(
            Hierarchy::at(dir.path(), true).map(|found| found.version),
            Ok(Version::V1)
        );
    }

    #[test]
    fn a_missing_memory_controller_is_said_so() {
        let dir = unified("cpu pids\n", "");
        let error = Hierarchy::at(dir.path(), true).expect_err("no memory");
        assert_eq!(
            error,
            HierarchyError::NoMemoryController {
                path: dir.path().to_path_buf()
            }
        );
        let mountinfo = line(30, dir.path(), "cgroup2", "");
        let error = Hierarchy::find(mountinfo.as_bytes(), Path::new("/")).expect_err("no memory");
        assert_eq!(
            error,
            HierarchyError::NoMemoryController {
                path: dir.path().to_path_buf()
            }
        );
    }

    #[test]
    fn an_ordinary_directory_is_foreign_and_named() {
        let dir = unified("memory\n", "memory\n");
        let error = Hierarchy::at(dir.path(), false).expect_err("no cgroupfs");
        assert!(
            matches!(&error, HierarchyError::Foreign { path, .. } if path == dir.path()),
            "{error}"
        );
        // Mounted as cgroup2 by its line and something else by its magic: the magic wins.
        let mountinfo = line(30, dir.path(), "cgroup2", "");
        assert!(matches!(
            Hierarchy::find(mountinfo.as_bytes(), Path::new("/")),
            Err(HierarchyError::Foreign { .. })
        ));
    }

    #[test]
    fn a_foreign_mount_in_the_usual_place_is_named() {
        let mountinfo = line(30, Path::new("/sys/fs/cgroup"), "nfs4", "");
        let error = Hierarchy::find(mountinfo.as_bytes(), Path::new("/")).expect_err("foreign");
        assert_eq!(
            error,
            HierarchyError::Foreign {
                path: "/sys/fs/cgroup".into(),
                found: "nfs4".into()
            }
        );
    }

    #[test]
    fn what_is_mounted_is_told_by_the_last_mount_there() {
        let dir = unified("memory\n", "memory\n");
        let shown = dir.path().display();
        let line = |root: &str| format!("47 46 0:28 {root} {shown} rw - cgroup2 cgroup2 rw\n");
        let mut found = Hierarchy::at(dir.path(), true).expect("v2");
        assert_eq!(found.mount_root, b"/");
        // A container's own mount, and the machine's over it.
        found.learn_mount_root(format!("{}{}", line("/"), line("/../../a\\040b")).as_bytes());
        assert_eq!(found.mount_root, b"/../../a b");
        found.learn_mount_root(b"1 1 0:1 / /elsewhere rw - cgroup2 cgroup2 rw\n");
        assert_eq!(found.mount_root, b"/../../a b");
    }

    #[test]
    fn only_mounts_below_the_prefix_count() {
        let mountinfo = line(30, Path::new("/sys/fs/cgroup"), "cgroup2", "");
        let error = Hierarchy::find(mountinfo.as_bytes(), Path::new("/host")).expect_err("none there");
        assert_eq!(
            error,
            HierarchyError::NotMounted {
                prefix: "/host".into()
            }
        );
    }
}
