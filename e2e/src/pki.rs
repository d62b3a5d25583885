//! Certificates of one cluster: a root of its own, made anew for each run, and whom it vouches for.
//!
//! It refuses to be used for longer than a day: whatever is left of a run is worth nothing two days later.
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};

/// The nodes there can be: each has a number, a name and an address.
pub(crate) const NODES: std::ops::RangeInclusive<u8> = 1..=3;

/// The address that every node, and whoever is on it, has for the API server.
pub(crate) const SERVICE: &str = "10.96.0.1";

/// How long a certificate holds from now on, and how far a clock may be behind.
const VALIDITY: Duration = Duration::from_hours(24);
const SKEW_MAX: Duration = Duration::from_hours(1);

/// Where certificates and configurations of clients are.
#[derive(Debug)]
pub(crate) struct Pki {
    folder: PathBuf,
}

/// Somebody with a certificate.
struct Subject {
    file: String,
    name: String,
    group: Option<&'static str>,
    usage: ExtendedKeyUsagePurpose,
    addresses: Vec<String>,
}

impl Pki {
    /// Makes everything in `folder`.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let pki = Self {
            folder: folder.to_owned(),
        };
        let root = root()?;
        pki.write("ca.crt", &root.pem())?;
        for subject in subjects() {
            pki.issue(&root, &subject)?;
        }
        // Tokens of service accounts are signed by a key without a certificate.
        let key = KeyPair::generate()?;
        pki.write("accounts.key", &key.serialize_pem())?;
        pki.write("accounts.pub", &key.public_key_pem())?;
        let local = "https://127.0.0.1:6443".to_owned();
        let nodes = NODES.map(|node| (format!("n{node}"), format!("https://10.0.1{node}.2:6443")));
        let control =
            ["admin", "controller-manager", "scheduler"].map(|name| (name.to_owned(), local.clone()));
        for (name, server) in control.into_iter().chain(nodes) {
            pki.write(&format!("{name}.kubeconfig"), &kubeconfig(&name, &server))?;
        }
        Ok(pki)
    }

    /// One of its files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        let open = File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&path);
        open.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("writing {}", path.display()))
    }

    fn issue(&self, root: &CertifiedIssuer<'_, KeyPair>, subject: &Subject) -> Result<()> {
        let mut params = params(&subject.name, subject.addresses.clone())?;
        if let Some(group) = subject.group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![subject.usage.clone()];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, root)?;
        self.write(&format!("{}.crt", subject.file), &certificate.pem())?;
        self.write(&format!("{}.key", subject.file), &key.serialize_pem())
    }
}

fn root() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = params("forestall-e2e", Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// What every certificate says: a name, addresses, and until when.
fn params(name: &str, addresses: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(addresses)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    params.not_before = (now - SKEW_MAX).into();
    params.not_after = (now + VALIDITY).into();
    Ok(params)
}

/// Everybody. Names and groups are those that Kubernetes' own rules go by (<https://kubernetes.io/docs/setup/best-practices/certificates/>).
fn subjects() -> Vec<Subject> {
    let client = |file: &str, name: &str, group| Subject {
        file: file.to_owned(),
        name: name.to_owned(),
        group,
        usage: ExtendedKeyUsagePurpose::ClientAuth,
        addresses: Vec::new(),
    };
    let mut own = vec!["localhost".to_owned(), "kubernetes.default.svc".to_owned()];
    own.extend(["127.0.0.1", SERVICE].map(str::to_owned));
    own.extend(NODES.map(|node| format!("10.0.1{node}.2")));
    let mut all = vec![
        Subject {
            addresses: own,
            usage: ExtendedKeyUsagePurpose::ServerAuth,
            ..client("apiserver", "kube-apiserver", None)
        },
        client(
            "kubelet-client",
            "kube-apiserver-kubelet-client",
            Some("system:masters"),
        ),
        client("admin", "admin", Some("system:masters")),
        client("controller-manager", "system:kube-controller-manager", None),
        client("scheduler", "system:kube-scheduler", None),
    ];
    for node in NODES {
        let name = format!("system:node:n{node}");
        all.push(client(&format!("n{node}"), &name, Some("system:nodes")));
        all.push(Subject {
            usage: ExtendedKeyUsagePurpose::ServerAuth,
            addresses: vec![
                format!("n{node}"),
                "127.0.0.1".to_owned(),
                format!("10.0.1{node}.15"),
            ],
            ..client(&format!("n{node}-serving"), &name, Some("system:nodes"))
        });
    }
    all
}

/// A client's configuration; the files that it names are beside it, wherever it is taken.
fn kubeconfig(name: &str, server: &str) -> String {
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "e2e", "cluster": {"server": server, "certificate-authority": "ca.crt"}}],
        "users": [{"name": name, "user": {
            "client-certificate": format!("{name}.crt"),
            "client-key": format!("{name}.key"),
        }}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}],
        "current-context": "e2e",
    });
    config.to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn everybody_has_what_his_configuration_names_and_keys_are_his_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let pki = Pki::make(folder.path()).expect("certificates");
        for name in ["admin", "controller-manager", "scheduler", "n1", "n2", "n3"] {
            let config = fs::read(pki.path(&format!("{name}.kubeconfig"))).expect(name);
            let config: serde_json::Value = serde_json::from_slice(&config).expect(name);
            let user = &config["users"][0]["user"];
            let cluster = &config["clusters"][0]["cluster"];
            for file in [
                &user["client-certificate"],
                &user["client-key"],
                &cluster["certificate-authority"],
            ] {
                let path = pki.path(file.as_str().expect("a file's name"));
                let mode = fs::metadata(&path).expect("a file").permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{}", path.display());
            }
        }
    }

    // The node authorizer knows a node by this name and group, and nobody else
    // (https://kubernetes.io/docs/reference/access-authn-authz/node/).
    #[test]
    fn only_nodes_are_in_the_group_of_nodes() {
        for subject in subjects() {
            let is_node = subject.name.starts_with("system:node:n");
            assert_eq!(subject.group == Some("system:nodes"), is_node, "{}", subject.name);
            assert_eq!(
                subject.group == Some("system:masters"),
                ["admin", "kubelet-client"].contains(&&*subject.file)
            );
        }
    }

    #[test]
    fn what_is_left_of_a_run_is_worth_nothing_two_days_later() {
        let params = params("somebody", Vec::new()).expect("a name");
        let now = SystemTime::now();
        assert!(params.not_before < now && params.not_after > now);
        assert!(params.not_after < now + Duration::from_hours(48));
    }
}
