//! A rule about what is applied to clusters: which image it is.

use crate::tree::{Breach, Tree};
use crate::{holds, is_broken_by, is_kept_by};

const FOLDER: &str = "deploy/kustomize/";

/// Its tag is the workspace's version, by which `cargo xtask dist` calls it.
fn manifests_name_the_image_of_this_version(tree: &Tree) -> Vec<Breach> {
    let version = tree.file("Cargo.toml").and_then(|manifest| {
        let mut lines = manifest.text.lines();
        let line = lines.find(|line| line.starts_with("version = "))?;
        line.split('"').nth(1)
    });
    let Some(version) = version else {
        return Vec::new();
    };
    let wanted = format!("image: ghcr.io/forestall/forestall:{version}");
    let mut breaches = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.starts_with(FOLDER)) {
        for (index, line) in file.text.lines().enumerate() {
            if line.trim().starts_with("image:") && line.trim() != wanted {
                breaches.push(file.breach(
                    index + 1,
                    format!("write `{wanted}`, as the image of this version is called"),
                ));
            }
        }
    }
    breaches
}

#[test]
fn manifests_name_the_image_of_this_version_here() {
    let rule = manifests_name_the_image_of_this_version;
    holds(rule);
    let path = "deploy/kustomize/a/daemonset.yaml";
    let manifest = ("Cargo.toml", "[workspace.package]\nversion = \"0.2.0\"\n");
    let old = (path, "          image: ghcr.io/forestall/forestall:0.1.0\n");
    let new = (path, "          image: ghcr.io/forestall/forestall:0.2.0\n");
    is_broken_by(rule, &[manifest, old], path);
    is_kept_by(rule, &[manifest, new]);
}
