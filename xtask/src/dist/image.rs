//! A container image as one file, made without an engine: an OCI image layout with one layer
//! (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>), and beside it the `manifest.json` by which those know it that read
//! Docker's archives alone. Both name the same blobs.
//!
//! The same files make the same bytes: nothing of the machine is in it, no name, no owner and no time.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Who fetches it reads it more often than we write it.
const LEVEL: Compression = Compression::best();

/// An image.
#[derive(Debug, Default)]
pub(crate) struct Image {
    /// With its tag, as pods name it.
    pub(crate) name: String,
    pub(crate) entries: Vec<Entry>,
    /// What it starts; a container's own words stand in for `words`, and follow `program`.
    pub(crate) program: Vec<String>,
    pub(crate) words: Vec<String>,
    /// `UID:GID`; root where it is not said.
    pub(crate) user: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
    /// RFC 3339, or nothing.
    pub(crate) created: String,
}

/// A file or folder of it.
#[derive(Debug)]
pub(crate) struct Entry {
    place: String,
    /// The file of this machine that it is a copy of; a folder has none.
    source: Option<PathBuf>,
    mode: u32,
    owner: u64,
}

impl Entry {
    /// Root's, and everybody may run it.
    pub(crate) fn program(place: &str, source: &Path) -> Self {
        Self::new(place, Some(source), 0o755, 0)
    }

    /// Root's, and everybody may read it.
    pub(crate) fn file(place: &str, source: &Path) -> Self {
        Self::new(place, Some(source), 0o644, 0)
    }

    /// Somebody's, by his number.
    pub(crate) fn folder(place: &str, owner: u64) -> Self {
        Self::new(place, None, 0o755, owner)
    }

    fn new(place: &str, source: Option<&Path>, mode: u32, owner: u64) -> Self {
        Self {
            place: place.to_owned(),
            source: source.map(Path::to_owned),
            mode,
            owner,
        }
    }

    fn append(&self, archive: &mut tar::Builder<impl Write>) -> Result<()> {
        let Some(path) = &self.source else {
            // Its name ends like this in archives, and some who read them tell it by that.
            let place = format!("{}/", self.place);
            return append(
                archive,
                tar::EntryType::Directory,
                &place,
                self.mode,
                self.owner,
                &[],
            );
        };
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        append(
            archive,
            tar::EntryType::Regular,
            &self.place,
            self.mode,
            self.owner,
            &bytes,
        )
    }
}

/// What is named by its sum.
struct Blob {
    media_type: &'static str,
    sum: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            media_type,
            sum: sum(&bytes),
            bytes,
        }
    }

    fn json(media_type: &'static str, value: &Value) -> Self {
        Self::new(media_type, value.to_string().into_bytes())
    }

    fn place(&self) -> String {
        format!("blobs/sha256/{}", self.sum)
    }

    fn descriptor(&self) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": format!("sha256:{}", self.sum),
            "size": self.bytes.len(),
        })
    }
}

/// SHA-256 as `sha256sum` writes it.
pub(crate) fn sum(bytes: &[u8]) -> String {
    let digits = b"0123456789abcdef";
    let sum = digest(&SHA256, bytes);
    let halves = sum.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves
        .map(|digit| char::from(digits[usize::from(digit)]))
        .collect()
}

impl Image {
    /// Writes it; the sum of its manifest, which is what a registry calls its digest.
    pub(crate) fn write(&self, path: &Path) -> Result<String> {
        let plain = self.layer()?;
        let layer = Blob::new(LAYER, compress(&plain)?);
        let config = Blob::json(CONFIG, &self.config(&sum(&plain)));
        let manifest = Blob::json(
            MANIFEST,
            &json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config.descriptor(),
                "layers": [layer.descriptor()],
            }),
        );
        let docker = json!([{
            "Config": config.place(),
            "RepoTags": [self.name],
            "Layers": [layer.place()],
        }]);
        let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        let mut archive = tar::Builder::new(file);
        let texts = [
            ("oci-layout", json!({"imageLayoutVersion": "1.0.0"})),
            ("index.json", self.index(&manifest)),
            ("manifest.json", docker),
        ];
        for (place, text) in texts {
            append_file(&mut archive, place, text.to_string().as_bytes())?;
        }
        for blob in [&manifest, &config, &layer] {
            append_file(&mut archive, &blob.place(), &blob.bytes)?;
        }
        archive
            .into_inner()
            .and_then(|mut file| file.flush())
            .with_context(|| format!("cannot end {}", path.display()))?;
        Ok(manifest.sum)
    }

    /// What the archive holds: containerd reads the whole name, others the tag.
    fn index(&self, manifest: &Blob) -> Value {
        let tag = self.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let mut entry = manifest.descriptor();
        entry["platform"] = json!({"architecture": "amd64", "os": "linux"});
        entry["annotations"] = json!({
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": tag,
        });
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
    }

    /// How it is started (<https://github.com/opencontainers/image-spec/blob/main/config.md>).
    fn config(&self, plain_sum: &str) -> Value {
        let labels = self.labels.iter();
        let labels: Map<String, Value> = labels.map(|(key, value)| (key.clone(), json!(value))).collect();
        let mut how =
            json!({"Entrypoint": self.program, "Cmd": self.words, "Labels": labels, "WorkingDir": "/"});
        if let Some(user) = &self.user {
            how["User"] = json!(user);
        }
        let mut config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": how,
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{plain_sum}")]},
        });
        if !self.created.is_empty() {
            config["created"] = json!(self.created);
        }
        config
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for entry in &self.entries {
            entry.append(&mut archive)?;
        }
        archive.into_inner().context("cannot end the layer")
    }
}

/// Without the time and the name of a file, which gzip has places for.
fn compress(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), LEVEL);
    gzip.write_all(bytes)
        .and_then(|()| gzip.finish())
        .context("cannot compress the layer")
}

fn append_file(archive: &mut tar::Builder<impl Write>, place: &str, bytes: &[u8]) -> Result<()> {
    append(archive, tar::EntryType::Regular, place, 0o644, 0, bytes)
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    kind: tar::EntryType,
    place: &str,
    mode: u32,
    owner: u64,
    bytes: &[u8],
) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_mtime(0);
    header.set_uid(owner);
    header.set_gid(owner);
    archive
        .append_data(&mut header, place, bytes)
        .with_context(|| format!("cannot archive {place}"))
}

#[cfg(test)]
mod tests;
