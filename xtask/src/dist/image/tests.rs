//! An image is read again by what other people made: the sums of `sha256sum`, the archives of GNU tar, and the words of the specification.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::Command;

use super::*;

/// An image of one small program and one folder, in a folder of its own.
fn written() -> (tempfile::TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let (program, path) = (folder.path().join("program"), folder.path().join("image.tar"));
    std::fs::write(&program, "hello\n").expect("a file");
    let image = Image {
        name: "example.test/one:1.2".to_owned(),
        entries: vec![Entry::program("bin/one", &program), Entry::folder("state", 65532)],
        program: vec!["/bin/one".to_owned()],
        words: vec!["quietly".to_owned()],
        user: Some("65532:65532".to_owned()),
        labels: vec![("org.opencontainers.image.title".to_owned(), "one".to_owned())],
        created: "2000-02-29T00:00:00Z".to_owned(),
    };
    let digest = image.write(&path).expect("an image");
    (folder, path, digest)
}

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

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

/// The chain that the image specification describes: the layout names the manifest, that names the rest, each by its sum.
#[test]
fn an_image_leads_from_its_name_to_its_files() {
    let (_folder, path, digest) = written();
    let files = unpack(File::open(&path).expect("an image"));
    assert_eq!(files["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
    let blob = |descriptor: &Value, media_type: &str| {
        assert_eq!(descriptor["mediaType"], media_type);
        let sum_named = descriptor["digest"]
            .as_str()
            .expect("a sum")
            .replace("sha256:", "");
        let bytes = &files[&format!("blobs/sha256/{sum_named}")];
        assert_eq!(descriptor["size"], bytes.len());
        assert_eq!(sum(bytes), sum_named);
        bytes
    };
    let index = json_of(&files["index.json"]);
    let entry = &index["manifests"][0];
    assert_eq!(entry["digest"], format!("sha256:{digest}"));
    let names = &entry["annotations"];
    assert_eq!(names["io.containerd.image.name"], "example.test/one:1.2");
    assert_eq!(names["org.opencontainers.image.ref.name"], "1.2");
    let manifest = json_of(blob(entry, "application/vnd.oci.image.manifest.v1+json"));
    let config = json_of(blob(
        &manifest["config"],
        "application/vnd.oci.image.config.v1+json",
    ));
    let expected = json!({
        "User": "65532:65532",
        "Entrypoint": ["/bin/one"],
        "Cmd": ["quietly"],
        "WorkingDir": "/",
        "Labels": {"org.opencontainers.image.title": "one"},
    });
    assert_eq!(config["config"], expected);
    assert_eq!(config["created"], "2000-02-29T00:00:00Z");
    let packed = blob(
        &manifest["layers"][0],
        "application/vnd.oci.image.layer.v1.tar+gzip",
    );
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_end(&mut plain)
        .expect("gzip");
    // A layer is named by its sum as it is and in the configuration as it was before it was compressed.
    assert_eq!(
        config["rootfs"]["diff_ids"],
        json!([format!("sha256:{}", sum(&plain))])
    );
    assert_eq!(unpack(plain.as_slice())["bin/one"], b"hello\n");
}

/// `docker load` reads nothing but `manifest.json` and what it names (`image/tarexport/load.go` in moby).
#[test]
fn who_reads_dockers_archives_finds_the_same_blobs() {
    let (_folder, path, _) = written();
    let files = unpack(File::open(&path).expect("an image"));
    let list = json_of(&files["manifest.json"]);
    let of = |value: &Value| files[value.as_str().expect("a place")].clone();
    assert_eq!(list[0]["RepoTags"], json!(["example.test/one:1.2"]));
    assert_eq!(json_of(&of(&list[0]["Config"]))["os"], "linux");
    assert_eq!(of(&list[0]["Layers"][0])[..2], [0x1f, 0x8b]);
    assert_eq!(list.as_array().map(Vec::len), Some(1));
}

/// By GNU tar, gzip and sha256sum, which know nothing of this code.
#[test]
fn other_programs_read_it_and_find_no_time_and_no_owner_but_ours() {
    let (folder, path, digest) = written();
    let run = |line: &str| {
        let output = Command::new("sh")
            .args(["-c", line])
            .current_dir(folder.path())
            .output();
        let output = output.expect("a shell");
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    run(&format!("tar -xf {}", path.display()));
    let sums = run("cd blobs/sha256 && sha256sum *");
    for line in sums.lines() {
        let (found, name) = line.split_once("  ").expect("a sum and a name");
        assert_eq!(found, name);
    }
    let manifest: Value = json_of(run(&format!("cat blobs/sha256/{digest}")).as_bytes());
    let layer = manifest["layers"][0]["digest"]
        .as_str()
        .expect("a sum")
        .replace("sha256:", "");
    let listed = run(&format!(
        "gzip -dc blobs/sha256/{layer} | TZ=UTC tar -tvf - --numeric-owner | tr -s ' '"
    ));
    let expected =
        "-rwxr-xr-x 0/0 6 1970-01-01 00:00 bin/one\ndrwxr-xr-x 65532/65532 0 1970-01-01 00:00 state/\n";
    assert_eq!(listed, expected);
}

#[test]
fn the_same_files_make_the_same_bytes() {
    let ((_one, first, _), (_two, second, _)) = (written(), written());
    let [first, second] = [first, second].map(|path| std::fs::read(path).expect("an image"));
    assert!(first == second);
}

// `printf abc | sha256sum`
#[test]
fn a_sum_is_that_of_sha256sum() {
    assert_eq!(
        sum(b"abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}
