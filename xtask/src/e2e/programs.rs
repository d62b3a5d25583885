//! The programs of a cluster, built from Go modules whose versions and sums are pinned in `e2e/modules`.
//!
//! A build is kept by all that goes into it: who changes a module or a flag builds that one again, and nobody else does. It refuses
//! to take programs from the machine: what is tested is what is pinned.
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{shell, tools};

/// One module, and how its tools are built.
#[derive(Clone, Copy, Hash)]
struct Module {
    name: &'static str,
    /// Programs are called by the last part of their package's name.
    packages: &'static [&'static str],
    /// But for one whose package is called otherwise.
    program: Option<&'static str>,
    tags: &'static str,
    /// Values set at link time; each program asks for its own version.
    link: &'static str,
    /// Needs a C compiler and libseccomp: a runtime without seccomp refuses every sandbox of a kubelet.
    is_c: bool,
}

const MODULES: [Module; 4] = [
    Module {
        name: "kubernetes",
        packages: &[
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kubectl",
            "k8s.io/kubernetes/cmd/kubelet",
        ],
        program: None,
        tags: "",
        link: "-X k8s.io/component-base/version.gitVersion=v1.37.1 -X k8s.io/component-base/version.gitMajor=1 \
               -X k8s.io/component-base/version.gitMinor=37 -X k8s.io/client-go/pkg/version.gitVersion=v1.37.1",
        is_c: false,
    },
    Module {
        name: "etcd",
        packages: &["go.etcd.io/etcd/server/v3"],
        program: Some("etcd"),
        tags: "",
        link: "",
        is_c: false,
    },
    Module {
        name: "containerd",
        packages: &[
            "github.com/containerd/containerd/v2/cmd/containerd",
            "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            "github.com/containerd/containerd/v2/cmd/ctr",
        ],
        program: None,
        tags: "no_btrfs no_zfs no_devmapper",
        link: "-X github.com/containerd/containerd/v2/version.Version=v2.4.2",
        is_c: false,
    },
    Module {
        name: "runc",
        packages: &["github.com/opencontainers/runc"],
        program: None,
        tags: "netgo osusergo seccomp",
        link: "-X main.version=1.5.2 -extldflags -static",
        is_c: true,
    },
];

/// Finds all in `cache`, or builds them there from the modules below `modules`; the folders that hold them.
pub(super) fn build(modules: &Path, cache: &Path) -> Result<Vec<PathBuf>> {
    let go = shell::output(&mut go(&["version"])?).context("Go 1.26.6 or later is needed")?;
    let folders = MODULES
        .iter()
        .map(|module| module.build(&modules.join(module.name), cache, &go));
    folders.collect()
}

/// Go with the caches that `cargo xtask oracle` has, too, and nobody's settings.
fn go(arguments: &[&str]) -> Result<Command> {
    let home = tools::cache()?.join("go");
    let mut command = shell::program("go", arguments);
    command
        .env("GOMODCACHE", home.join("mod"))
        .env("GOCACHE", home.join("build"))
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "");
    Ok(command)
}

impl Module {
    fn build(self, source: &Path, cache: &Path, go_version: &str) -> Result<PathBuf> {
        let done = cache.join(self.folder(source, go_version)?);
        if done.is_dir() {
            return Ok(done);
        }
        eprintln!("e2e: building {}; it is kept", self.name);
        let seccomp = if self.is_c { Some(prepare_for_c()?) } else { None };
        let partly = done.with_extension("part");
        fs::create_dir_all(&partly).with_context(|| format!("making {}", partly.display()))?;
        // All at once: while one is linked, the next one compiles. Where `-o` is a folder, each keeps its name.
        let mut command = go(&["build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-tags"])?;
        command
            .current_dir(source)
            .args([self.tags, "-ldflags", &format!("-s -w {}", self.link), "-o"])
            .arg(partly.join(self.program.unwrap_or_default()))
            .args(self.packages)
            .env("CGO_ENABLED", if self.is_c { "1" } else { "0" });
        if let Some(folder) = &seccomp {
            command
                .env("PKG_CONFIG", source.join("pkg-config"))
                .env("SECCOMP", folder);
        }
        shell::run(&mut command)?;
        fs::rename(&partly, &done).with_context(|| format!("keeping {}", done.display()))?;
        Ok(done)
    }

    /// A name that tells apart all that goes into its programs.
    fn folder(self, source: &Path, go_version: &str) -> Result<String> {
        let mut hash = DefaultHasher::new();
        (self, go_version).hash(&mut hash);
        for name in ["go.mod", "go.sum"] {
            let path = source.join(name);
            fs::read(&path)
                .with_context(|| format!("reading {}", path.display()))?
                .hash(&mut hash);
        }
        Ok(format!("{}-{:016x}", self.name, hash.finish()))
    }
}

/// Looks for a C compiler, and fetches libseccomp with its headers: the folder that it is unpacked in.
fn prepare_for_c() -> Result<PathBuf> {
    if !shell::succeeds(&mut shell::program("gcc", &["--version"])) {
        bail!("runc is partly C, and gcc cannot be run; `apt-get install gcc libc6-dev` brings it");
    }
    let library = "usr/lib/x86_64-linux-gnu/libseccomp.a";
    let path = tools::unpack_debian("libseccomp-dev", library)?;
    let folder = path.ancestors().nth(4).context("a path of four parts")?;
    Ok(folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_goes_into_a_build_changes_its_name() {
        let source = shell::root().join("e2e/modules/etcd");
        let module = MODULES[1];
        let name = module.folder(&source, "go1.26.8").expect("a module");
        assert!(name.starts_with("etcd-"), "{name}");
        let again = module.folder(&source, "go1.26.8").expect("a module");
        assert_eq!(name, again);
        let tagged = Module { tags: "x", ..module };
        let others = [
            module.folder(&source, "go1.26.9"),
            tagged.folder(&source, "go1.26.8"),
            module.folder(&source.with_file_name("runc"), "go1.26.8"),
        ];
        for other in others {
            assert_ne!(other.expect("a module"), name);
        }
    }

    // Each program carries its version twice: in what is built, and in what it says of itself.
    #[test]
    fn programs_call_themselves_by_the_version_that_is_pinned() {
        let pins = [
            ("kubernetes", "k8s.io/kubernetes", "v1.37.1"),
            ("containerd", "github.com/containerd/containerd/v2", "v2.4.2"),
            ("runc", "github.com/opencontainers/runc", "v1.5.2"),
        ];
        for (name, path, version) in pins {
            let module = MODULES.iter().find(|module| module.name == name).expect(name);
            let manifest = shell::root().join(format!("e2e/modules/{name}/go.mod"));
            let manifest = fs::read_to_string(manifest).expect("a manifest");
            assert!(manifest.contains(&format!("{path} {version}")), "{path}");
            assert!(module.link.contains(version.trim_start_matches('v')), "{path}");
        }
    }
}
