//! What a step needs beside the Rust toolchain: it is looked for, installed where that is possible, else named with the
//! command that would install it. Versions are pinned here.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Dependency checks.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// Where tools and builds are kept between runs, outside of the clone: `FORESTALL_CACHE`, else `~/.cache/forestall`.
pub(crate) fn cache() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("FORESTALL_CACHE") {
        return Ok(PathBuf::from(folder));
    }
    let home =
        std::env::var_os("HOME").context("neither FORESTALL_CACHE nor HOME is set; set one of them")?;
    Ok(PathBuf::from(home).join(".cache/forestall"))
}

/// Whether this process is root: its own entry in /proc belongs to uid 0.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Unpacks a Debian package into the cache and returns the path of `program` in it. It is not installed: a daemon's package
/// would start the daemon on this machine.
pub(crate) fn unpack_debian(package: &str, program: &str) -> Result<PathBuf> {
    let folder = cache()?.join(format!("debian/{package}"));
    let path = folder.join(program);
    if path.is_file() {
        return Ok(path);
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let download =
        || shell::run(shell::program("apt-get", &["download", "-q", package]).current_dir(&folder));
    // Without lists of packages the first try fails; only root can fetch them.
    if download().is_err() {
        if !is_root() {
            bail!("`apt-get download {package}` failed; as root, run `apt-get update` first");
        }
        shell::run(&mut shell::program("apt-get", &["update", "-q"]))?;
        download()?;
    }
    for entry in std::fs::read_dir(&folder)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            shell::run(shell::program("dpkg", &["-x"]).arg(&file).arg(&folder))?;
        }
    }
    if !path.is_file() {
        bail!("the Debian package {package} brings no {program}");
    }
    Ok(path)
}

/// Finds a program on the path, or installs the Debian packages that bring it where that is allowed.
pub(crate) fn installed(program: &str, packages: &[&str]) -> Result<PathBuf> {
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|folder| folder.join(program))
            .find(|file| file.is_file())
    };
    if let Some(found) = on_path() {
        return Ok(found);
    }
    let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
    let line = format!("apt-get {}", install.join(" "));
    eprintln!("{program} is missing; trying `{line}`");
    let install = || shell::run(shell::program("apt-get", &install).env("DEBIAN_FRONTEND", "noninteractive"));
    // Without lists of packages the first try fails.
    if install().is_err() && shell::run(&mut shell::program("apt-get", &["update", "-q"])).is_ok() {
        install().with_context(|| format!("{program} is missing; as root, `{line}` installs it"))?;
    }
    on_path().with_context(|| format!("{program} is missing; as root, `{line}` installs it"))
}

/// Sees to it that the toolchain can build for `target`.
pub(crate) fn rust_target(target: &str) -> Result<()> {
    let library = shell::output(&mut shell::program(
        "rustc",
        &["--print", "target-libdir", "--target", target],
    ))?;
    if Path::new(library.trim()).is_dir() {
        return Ok(());
    }
    shell::run(&mut shell::program("rustup", &["target", "add", target])).with_context(|| {
        format!("the standard library for {target} is missing; `rustup target add {target}` brings it")
    })
}

/// Finds cargo-deny in the cache, or builds it there.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    let folder = cache()?.join(format!("tools/cargo-deny-{CARGO_DENY_VERSION}"));
    let program = folder.join("bin/cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    let package = format!("cargo-deny@{CARGO_DENY_VERSION}");
    println!("cargo-deny {CARGO_DENY_VERSION} is not in the cache: building it there (minutes)");
    // The dev profile: it builds in half the time, and the check itself takes a second either way.
    let mut install = shell::cargo(&[
        "install",
        "--locked",
        "--quiet",
        "--profile",
        "dev",
        &package,
        "--root",
    ]);
    install.arg(&folder);
    // Its own build folder goes away afterwards; the workspace's would keep hundreds of megabytes for nothing.
    install.env_remove("CARGO_TARGET_DIR");
    shell::run(&mut install)?;
    Ok(program)
}
