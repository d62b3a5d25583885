//! `cargo xtask dist`: what is handed out, in cargo's target directory (`dist`): the static binary, the container image as one file, and the sums of
//! both.
//!
//! No container engine is needed, and the same commit gives the same bytes: times are the commit's, and no path of this machine is in them.
//! It refuses to publish anything: whoever wants the image elsewhere loads or copies the file.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::{binary, shell};

pub(crate) mod image;
mod provenance;

use image::{Entry, Image};
use provenance::Provenance;

pub(crate) const USAGE: &str = "\
usage: cargo xtask dist

  the static binary and a container image of it, made without a container engine, in target/dist. `ctr images import`,
  `docker load -i` and `podman load -i` take the image; `cargo xtask e2e deployed` tries it on a real node.";

/// What manifests call the image.
pub(crate) const IMAGE: &str = concat!("ghcr.io/forestall/forestall:", env!("CARGO_PKG_VERSION"));

/// The image may not be larger than this: every node fetches it, perhaps while it is short of everything.
const IMAGE_BYTES_MAX: u64 = 12_000_000;

/// Whom it runs as unless the pod says otherwise: nobody whom a node knows.
const USER: u64 = 65532;

/// Makes everything, and says where it is.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    if !arguments.is_empty() {
        bail!("{USAGE}");
    }
    let folder = shell::target_directory()?.join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let built = binary::build("forestall")?;
    let program = folder.join("forestall");
    fs::copy(&built, &program).with_context(|| format!("cannot copy {}", built.display()))?;
    let archive = folder.join(file_name());
    let digest = write_image(&program, &archive)?;
    let mut sums = String::new();
    for path in [&program, &archive] {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().display();
        // Writing to a String cannot fail.
        let _ = writeln!(sums, "{}  {name}", image::sum(&bytes));
        println!("{:>9} bytes  {}", bytes.len(), path.display());
    }
    fs::write(folder.join("SHA256SUMS"), sums).context("cannot write SHA256SUMS")?;
    println!("image {IMAGE}\n  sha256:{digest}");
    Ok(ExitCode::SUCCESS)
}

/// The image's file.
pub(crate) fn file_name() -> String {
    format!("forestall-{}-linux-amd64.tar", env!("CARGO_PKG_VERSION"))
}

/// Writes the image of this binary to `archive`; the digest by which registries and nodes know it.
pub(crate) fn write_image(program: &Path, archive: &Path) -> Result<String> {
    let provenance = Provenance::of_clone()?;
    let digest = of_agent(program, &shell::root(), &provenance).write(archive)?;
    let bytes = fs::metadata(archive)?.len();
    if bytes > IMAGE_BYTES_MAX {
        bail!(
            "{} has {bytes} bytes, more than the {IMAGE_BYTES_MAX} that are promised; `cargo tree -p forestall` shows what came in",
            archive.display()
        );
    }
    Ok(digest)
}

/// Nothing but the program, its licence, and the directory that it keeps its history in, which belongs to the user that it runs as, so that a
/// volume mounted there for the first time does, too. Certificates of authorities are not needed: a cluster mounts its own.
fn of_agent(program: &Path, root: &Path, provenance: &Provenance) -> Image {
    let mut labels = vec![
        ("title", "forestall".to_owned()),
        ("description", "Guards a node against memory kills".to_owned()),
        ("licenses", "Apache-2.0".to_owned()),
        ("source", env!("CARGO_PKG_REPOSITORY").to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("created", provenance.created()),
    ];
    labels.extend(provenance.revision.clone().map(|revision| ("revision", revision)));
    let labels = labels
        .into_iter()
        .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value));
    Image {
        name: IMAGE.to_owned(),
        entries: vec![
            Entry::program("forestall", program),
            Entry::file("LICENSE", &root.join("LICENSE")),
            Entry::folder("var", 0),
            Entry::folder("var/lib", 0),
            Entry::folder("var/lib/forestall", USER),
        ],
        program: vec!["/forestall".to_owned()],
        words: vec!["agent".to_owned()],
        user: Some(format!("{USER}:{USER}")),
        labels: labels.collect(),
        created: provenance.created(),
    }
}

/// The image in which the pods of e2e work, as `name`.
pub(crate) fn write_work_image(name: &str, worker: &Path, busybox: &Path, archive: &Path) -> Result<()> {
    let image = Image {
        name: name.to_owned(),
        entries: vec![
            Entry::program("work", worker),
            Entry::program("bin/busybox", busybox),
        ],
        program: ["/work", "work"].map(str::to_owned).to_vec(),
        words: vec!["\"pause\"".to_owned()],
        ..Image::default()
    };
    image.write(archive).map(drop)
}
