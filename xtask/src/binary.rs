//! The static binaries, built as they are shipped: what is tested, measured and put into the image is one and the same file.
//!
//! The same commit and toolchain give the same bytes wherever the clone and cargo's folders lie: no path of the machine that built it is
//! left in them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{shell, tools};

/// Nothing is linked at run time, so one file serves every node.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-musl";

/// ring is partly C. Of the C library it needs headers alone, so that the machine's own compiler does.
const COMPILER: (&str, &str) = ("CC_x86_64_unknown_linux_musl", "cc");

/// Builds a package's binary and returns its path.
pub(crate) fn build(package: &str) -> Result<PathBuf> {
    tools::rust_target(TARGET)?;
    let target = shell::target_directory()?;
    let arguments = [
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--target",
        TARGET,
        "--package",
        package,
    ];
    let mut cargo = shell::cargo(&arguments);
    // Only the target's code is built with these: build scripts and macros are not shipped.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(&target)?);
    if std::env::var_os(COMPILER.0).is_none() {
        cargo.env(COMPILER.0, COMPILER.1);
    }
    shell::run(&mut cargo)?;
    Ok(target.join(TARGET).join("release").join(package))
}

/// What the messages of a panic call files, whose paths would say who built it where.
fn flags(target: &Path) -> Result<String> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?)
            .join(".cargo"),
    };
    let sysroot = shell::output(&mut shell::program("rustc", &["--print", "sysroot"]))?;
    // The last that fits holds, and one of these folders may be within another. The clone's own is none of them: cargo names files of the
    // workspace from its root, and flags that differ from clone to clone would have everything built anew in each.
    let places = [
        (target.to_owned(), "/target"),
        (home, "/cargo"),
        (PathBuf::from(sysroot.trim()), "/rust"),
    ];
    Ok(remap(&places))
}

/// The flags, as cargo wants them in one variable.
fn remap(places: &[(PathBuf, &str)]) -> String {
    let flags = places
        .iter()
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    flags.collect::<Vec<_>>().join("\u{1f}")
}

#[cfg(test)]
mod tests {
    use super::*;

    // https://doc.rust-lang.org/cargo/reference/environment-variables.html: CARGO_ENCODED_RUSTFLAGS is separated by 0x1f.
    #[test]
    fn paths_with_spaces_stay_whole() {
        let flags = remap(&[("/a b".into(), "/x"), ("/c".into(), "/y")]);
        assert_eq!(
            flags,
            "--remap-path-prefix=/a b=/x\u{1f}--remap-path-prefix=/c=/y"
        );
    }
}
