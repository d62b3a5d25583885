//! The kernels: stock Debian packages, fetched through an apt root of the lab's own and unpacked into the cache.
//!
//! The machine's own apt is not touched, and no mirror is named here: its address is read from the machine's own sources.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::shell;
use crate::tools;

/// A kernel that the lab knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Its version, as the command line names it.
    pub(crate) name: &'static str,
    /// The Debian suites that have it, the first that answers wins.
    suites: &'static [&'static str],
    /// Whether it is built with the memory controller of cgroup v1.
    pub(crate) has_v1: bool,
}

/// Every kernel, oldest first.
pub(crate) const ALL: [Kernel; 4] = [
    Kernel {
        name: "5.10",
        suites: &["bullseye"],
        has_v1: true,
    },
    Kernel {
        name: "6.1",
        suites: &["bookworm"],
        has_v1: true,
    },
    Kernel {
        name: "6.12",
        suites: &["trixie", "bookworm-backports"],
        has_v1: false,
    },
    Kernel {
        name: "7",
        suites: &["trixie-backports", "sid"],
        has_v1: false,
    },
];

const META_PACKAGE: &str = "linux-image-cloud-amd64";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The modules behind a guest's disk. What a kernel has built in is not among its modules, and is skipped.
const DISK_MODULES: [&str; 2] = ["virtio_pci", "virtio_blk"];
/// What a compressed swap device needs on top. Kernels before 6.12 ask for their compressor by name when it is used, so
/// that no module depends on it.
const ZRAM_MODULES: [&str; 2] = ["lzo-rle", "zram"];

/// A kernel that is ready to boot.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) kernel: Kernel,
    /// The package's version.
    pub(crate) version: String,
    pub(crate) vmlinuz: PathBuf,
    unpacked: PathBuf,
}

impl Kernel {
    /// The kernel of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|kernel| kernel.name == name)
    }

    /// Finds it in the cache, or fetches it.
    pub(crate) fn fetch(self) -> Result<Image> {
        let home = tools::cache()?.join("lab").join(self.name);
        if let Some(image) = self.cached(&home) {
            return Ok(image);
        }
        let mut last = None;
        for suite in self.suites {
            match self.fetch_from(suite, &home) {
                Ok(()) => return self.cached(&home).context("the packages hold no kernel"),
                Err(error) => last = Some(error.context(format!("kernel {} from {suite}", self.name))),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("kernel {} has no suite", self.name)))
    }

    fn cached(self, home: &Path) -> Option<Image> {
        let version = fs::read_to_string(home.join("version")).ok()?.trim().to_owned();
        let unpacked = home.join("unpacked");
        let vmlinuz = find(&unpacked, &|name| name.starts_with("vmlinuz"))?;
        Some(Image {
            kernel: self,
            version,
            vmlinuz,
            unpacked,
        })
    }

    fn fetch_from(self, suite: &str, home: &Path) -> Result<()> {
        eprintln!("lab: fetching kernel {} from {suite}", self.name);
        if home.exists() {
            fs::remove_dir_all(home).with_context(|| format!("clearing {}", home.display()))?;
        }
        let apt = Apt::new(suite, &home.join("apt"))?;
        let show = apt.output("apt-cache", &["show", "--no-all-versions", META_PACKAGE])?;
        let version = value_of(&show, "Version").with_context(|| format!("{suite} has no {META_PACKAGE}"))?;
        let mut packages =
            vec![kernel_package(&show).with_context(|| format!("{META_PACKAGE} depends on no kernel"))?];
        // From 7.x on the image, its modules and its binary are packages of their own.
        let image = apt.output(
            "apt-cache",
            &[
                "show",
                "--no-all-versions",
                packages.first().map_or("", String::as_str),
            ],
        )?;
        packages.extend(parts_of(&image));
        let unpacked = home.join("unpacked");
        fs::create_dir_all(&unpacked)?;
        for package in &packages {
            apt.download(package, home)?;
        }
        for entry in fs::read_dir(home)?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                shell::run(Command::new("dpkg").arg("-x").arg(&path).arg(&unpacked))?;
                fs::remove_file(&path)?;
            }
        }
        fs::remove_dir_all(home.join("apt"))?;
        // Written last: an interrupted fetch is none.
        fs::write(home.join("version"), format!("{version}\n"))?;
        Ok(())
    }
}

impl Image {
    /// Whether the kernel's packages hold this module.
    pub(crate) fn has_module(&self, name: &str) -> bool {
        self.module(name).is_some()
    }

    fn module(&self, name: &str) -> Option<PathBuf> {
        let wanted = |file: &str| {
            file.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(".ko"))
        };
        find(&self.unpacked, &wanted)
    }

    /// The modules that a guest needs, uncompressed, each after those that it depends on.
    pub(crate) fn modules(&self, zram: bool) -> Result<Vec<(String, Vec<u8>)>> {
        let extra = if zram { &ZRAM_MODULES[..] } else { &[] };
        self.modules_named(&[&DISK_MODULES, extra].concat())
    }

    /// The same for modules of these names.
    pub(crate) fn modules_named(&self, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut modules = Vec::new();
        for name in names {
            self.add(name, &mut modules)?;
        }
        Ok(modules)
    }

    fn add(&self, name: &str, modules: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
        let Some(path) = self.module(name) else {
            return Ok(());
        };
        if modules.iter().any(|(known, _)| same(known, name)) {
            return Ok(());
        }
        let content = content(&path)?;
        for dependency in depends_on(&content) {
            self.add(&dependency, modules)?;
        }
        modules.push((name.to_owned(), content));
        Ok(())
    }
}

/// Whether two names are of one module: in names, the kernel takes `-` for `_`.
fn same(one: &str, other: &str) -> bool {
    one.replace('-', "_") == other.replace('-', "_")
}

/// What a module says that it depends on: `depends=a,b` among the NUL-terminated strings of its `.modinfo` section.
fn depends_on(module: &[u8]) -> Vec<String> {
    module
        .split(|&byte| byte == 0)
        .find_map(|text| text.strip_prefix(b"depends="))
        .map(|names| {
            String::from_utf8_lossy(names)
                .split(',')
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .unwrap_or_default()
        .into_iter()
        .filter(|name| !name.is_empty())
        .collect()
}

/// A module's bytes; newer kernels ship them compressed.
fn content(path: &Path) -> Result<Vec<u8>> {
    let tool = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).with_context(|| format!("reading {}", path.display())),
    };
    let output = Command::new(tool)
        .arg("-dc")
        .arg(path)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| {
            format!(
                "`{tool}` is wanted to read {}; install the package of that tool",
                path.display()
            )
        })?;
    if !output.status.success() {
        bail!("`{tool} -dc {}` failed: {}", path.display(), output.status);
    }
    Ok(output.stdout)
}

/// The first file below `folder` whose name is `wanted`.
fn find(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).ok()?.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if let Some(found) = find(&path, wanted) {
                return Some(found);
            }
        } else if entry.file_name().to_str().is_some_and(wanted) {
            return Some(path);
        }
    }
    None
}

/// An apt that keeps everything in a folder of its own.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(suite: &str, home: &Path) -> Result<Self> {
        fs::create_dir_all(home.join("lists/partial"))?;
        fs::create_dir_all(home.join("cache/archives/partial"))?;
        let mirror = mirror().context(
            "no Debian mirror in the machine's apt sources; on another system, put a kernel's packages into the cache by hand",
        )?;
        let sources = home.join("sources.list");
        fs::write(
            &sources,
            format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"),
        )?;
        let option = |name: &str, value: &Path| format!("-o{name}={}", value.display());
        let options = vec![
            option("Dir::Etc::sourcelist", &sources),
            option("Dir::Etc::sourceparts", Path::new("-")),
            option("Dir::State::lists", &home.join("lists")),
            option("Dir::Cache", &home.join("cache")),
            // The cache is the caller's own folder; there is no other user to become.
            "-oAPT::Sandbox::User=root".to_owned(),
        ];
        let apt = Self { options };
        apt.output("apt-get", &["--quiet=2", "update"])?;
        Ok(apt)
    }

    fn output(&self, tool: &str, arguments: &[&str]) -> Result<String> {
        shell::output(
            Command::new(tool)
                .args(&self.options)
                .args(arguments)
                .stdin(Stdio::null()),
        )
    }

    fn download(&self, package: &str, folder: &Path) -> Result<()> {
        let mut command = Command::new("apt-get");
        command
            .args(&self.options)
            .args(["--quiet=2", "download", package])
            .current_dir(folder);
        shell::output(command.stdin(Stdio::null())).map(drop)
    }
}

/// The address of the machine's own Debian mirror, the one for whole suites.
fn mirror() -> Option<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(parts) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(parts.flatten().map(|entry| entry.path()));
    }
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| mirror_in(&text))
}

/// An address whose path ends in `/debian`, in either format of sources.
fn mirror_in(text: &str) -> Option<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter(|line| line.starts_with("URIs:") || line.starts_with("deb "))
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.contains("://") && word.ends_with("/debian"))
        .map(str::to_owned)
}

/// The value of a field of a package's record.
fn value_of(record: &str, field: &str) -> Option<String> {
    record
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(": "))
        .map(|value| value.trim().to_owned())
}

/// The kernel's own package among what the meta package depends on.
fn kernel_package(record: &str) -> Option<String> {
    dependencies(record)
        .into_iter()
        .find(|name| name.starts_with("linux-image-"))
}

/// The packages that an image is split into, if it is.
fn parts_of(record: &str) -> Vec<String> {
    let is_part = |name: &String| name.starts_with("linux-binary-") || name.starts_with("linux-modules-");
    dependencies(record).into_iter().filter(is_part).collect()
}

fn dependencies(record: &str) -> Vec<String> {
    let depends = value_of(record, "Depends").unwrap_or_default();
    depends
        .split([',', '|'])
        .filter_map(|one| one.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_read_from_both_formats_of_sources() {
        let deb822 = "Types: deb\n# URIs: http://old.test/debian\nURIs: http://a.test/debian/\nSuites: x\n";
        assert_eq!(mirror_in(deb822).as_deref(), Some("http://a.test/debian"));
        let list = "deb [arch=amd64] http://b.test/debian x main\n";
        assert_eq!(mirror_in(list).as_deref(), Some("http://b.test/debian"));
        assert_eq!(mirror_in("URIs: http://c.test/debian-security\n"), None);
    }

    // As `modinfo -F depends zram.ko` prints it for a kernel whose compressors are modules.
    #[test]
    fn a_module_names_what_it_depends_on() {
        let module = b"\x7fELF\0license=GPL\0depends=zsmalloc,lz4_compress\0retpoline=Y\0";
        assert_eq!(depends_on(module), ["zsmalloc", "lz4_compress"]);
        assert!(depends_on(b"\x7fELF\0depends=\0").is_empty());
        assert!(same("lzo-rle", "lzo_rle"));
    }

    #[test]
    fn a_split_kernel_names_its_parts() {
        let record = "Package: linux-image-cloud-amd64\nVersion: 7.2-1\nDepends: linux-base (= 7), linux-image-7.2-cloud-amd64 (= 7.2-1)\n";
        assert_eq!(
            kernel_package(record).as_deref(),
            Some("linux-image-7.2-cloud-amd64")
        );
        let image =
            "Depends: dracut | initramfs-tools (>= 0.1), linux-binary-7.2 (= 1), linux-modules-7.2 (= 1)\n";
        assert_eq!(parts_of(image), ["linux-binary-7.2", "linux-modules-7.2"]);
    }
}
