//! A container image as one file: an OCI image layout with one layer, made without any daemon
//! (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>).
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

/// What an image holds: files of this machine, by their place in it, and what it starts: a container's own words
/// stand in for `words`, and follow `program`.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    pub(crate) name: &'a str,
    pub(crate) files: &'a [(&'a str, PathBuf)],
    pub(crate) program: &'a [&'a str],
    pub(crate) words: &'a [&'a str],
}

struct Blob {
    media_type: &'static str,
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        let digest = hex(digest(&SHA256, &bytes).as_ref());
        Self {
            media_type,
            digest,
            bytes,
        }
    }

    fn json(media_type: &'static str, value: &Value) -> Self {
        Self::new(media_type, value.to_string().into_bytes())
    }

    fn descriptor(&self) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": format!("sha256:{}", self.digest),
            "size": self.bytes.len(),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = b"0123456789abcdef";
    let pairs = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    pairs
        .map(|digit| char::from(digits[usize::from(digit)]))
        .collect()
}

impl Image<'_> {
    /// Writes it; the same files make the same bytes.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let layer = Blob::new("application/vnd.oci.image.layer.v1.tar", self.layer()?);
        let config = Blob::json(
            "application/vnd.oci.image.config.v1+json",
            &json!({
                "architecture": "amd64",
                "os": "linux",
                "config": {"Entrypoint": self.program, "Cmd": self.words},
                "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", layer.digest)]},
            }),
        );
        let manifest_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = Blob::json(
            manifest_type,
            &json!({
                "schemaVersion": 2,
                "mediaType": manifest_type,
                "config": config.descriptor(),
                "layers": [layer.descriptor()],
            }),
        );
        let mut entry = manifest.descriptor();
        entry["annotations"] = json!({"io.containerd.image.name": self.name});
        entry["platform"] = json!({"architecture": "amd64", "os": "linux"});
        let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
        let mut archive = tar::Builder::new(file);
        append(
            &mut archive,
            "oci-layout",
            0o644,
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        append(&mut archive, "index.json", 0o644, index.as_bytes())?;
        for blob in [&layer, &config, &manifest] {
            append(
                &mut archive,
                &format!("blobs/sha256/{}", blob.digest),
                0o644,
                &blob.bytes,
            )?;
        }
        archive.into_inner().context("ending the archive")?.flush()?;
        Ok(())
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for (place, path) in self.files {
            let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            append(&mut archive, place, 0o755, &bytes)?;
        }
        archive.into_inner().context("ending the layer")
    }
}

fn append(archive: &mut tar::Builder<impl Write>, place: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    archive
        .append_data(&mut header, place, bytes)
        .with_context(|| format!("archiving {place}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn unpack(archive: impl Read) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().expect("an archive");
        let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
            let mut entry = entry.expect("an entry");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("its bytes");
            (entry.path().expect("a path").display().to_string(), bytes)
        };
        entries.map(read).collect()
    }

    // The chain that the image specification describes: the layout names the manifest, that names the rest, each by its sum.
    #[test]
    fn an_image_leads_from_its_name_to_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let (program, path) = (folder.path().join("program"), folder.path().join("image.tar"));
        std::fs::write(&program, "hello").expect("a file");
        let image = Image {
            name: "example.test/one:1",
            files: &[("bin/one", program)],
            program: &["/bin/one"],
            words: &["quietly"],
        };
        image.write(&path).expect("an image");
        let files = unpack(File::open(&path).expect("an image"));
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"]
                .as_str()
                .expect("a sum")
                .replace("sha256:", "");
            let bytes = &files[&format!("blobs/sha256/{digest}")];
            assert_eq!(descriptor["size"], bytes.len());
            assert_eq!(Blob::new("", bytes.clone()).digest, digest);
            bytes
        };
        let json = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).expect("JSON") };
        let index = json(&files["index.json"]);
        let entry = &index["manifests"][0];
        assert_eq!(
            entry["annotations"]["io.containerd.image.name"],
            "example.test/one:1"
        );
        let manifest = json(blob(entry));
        let config = json(blob(&manifest["config"]));
        assert_eq!(
            config["config"],
            json!({"Entrypoint": ["/bin/one"], "Cmd": ["quietly"]})
        );
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        let layer = unpack(blob(&manifest["layers"][0]).as_slice());
        assert_eq!(layer["bin/one"], b"hello");
    }

    // `printf abc | sha256sum`
    #[test]
    fn a_sum_is_that_of_sha256sum() {
        let digest = Blob::new("", b"abc".to_vec()).digest;
        assert_eq!(
            digest,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
