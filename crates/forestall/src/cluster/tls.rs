//! Whom we believe: the cluster's own authority, as its file says now, and what it means where a server cannot be believed.
//!
//! What it refuses to do: believe a certificate without that authority, there is no switch for it, and say no more than that it did not work.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};

use super::error::Trouble;
use crate::log::escape;
use crate::log::time::rfc3339;

/// Names that a certificate has; of more than these it says how many.
const NAMES_SHOWN: usize = 8;

/// No name that is shown is longer (RFC 1035, 2.3.4).
const NAME_CHARS_MAX: usize = 253;

/// Whose certificates are believed, as the file says now, and what is to be spoken.
pub(super) fn config(authority_file: &Path, protocol: &[u8]) -> Result<Arc<ClientConfig>, Trouble> {
    let bad = |why: String| {
        Trouble::Setup(format!(
            "{}: {why}; without the cluster's certificate authority nobody is believed",
            authority_file.display()
        ))
    };
    let pem = fs::read(authority_file).map_err(|error| bad(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let mut odd = None;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        // One that cannot be read vouches for nobody, and costs none of the others.
        if let Err(error) = roots.add(certificate) {
            odd = Some(error);
        }
    }
    if roots.is_empty() {
        return Err(bad(odd.map_or_else(
            || "there is no certificate in it".to_owned(),
            |odd| odd.to_string(),
        )));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

/// Why there was no handshake, and what to do.
pub(super) fn explain(error: &io::Error, host: &str, authority_file: &Path, is_kubelet: bool) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(why)) => format!(
            "its certificate is not believed: {}",
            distrust(why, host, authority_file, is_kubelet)
        ),
        Some(Error::InvalidMessage(_)) => {
            "what answers there speaks no TLS; see that address and port are the API server's own".to_owned()
        }
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) if !is_kubelet => {
            SPEAKS_NO_HTTP2.to_owned()
        }
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it ended the connection instead of a TLS handshake; see that address and port are the API server's own, and what stands between".to_owned()
        }
        _ => format!("no TLS handshake: {}", shown(&error.to_string())),
    }
}

/// It has TLS, but not what is needed over it.
pub(super) const SPEAKS_NO_HTTP2: &str =
    "it speaks no HTTP/2; reach the API server itself, or a proxy that does";

fn distrust(why: &CertificateError, host: &str, authority_file: &Path, is_kubelet: bool) -> String {
    let advice = if is_kubelet {
        "have the kubelet get one that is (serverTLSBootstrap: true), or do without"
    } else {
        "somebody else answers there, or the authority is another one by now; compare it with the ConfigMap kube-root-ca.crt"
    };
    let clock = "if this machine's clock is wrong, set it";
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "it is not signed by the authority in {}: {advice}",
            authority_file.display()
        ),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "it was valid until {}, and here it is {}; {clock}, else renew the server's certificate",
            date(*not_after),
            date(*time)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "it is valid from {} on, and here it is {}; {clock}, else see the server's",
            date(*not_before),
            date(*time)
        ),
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "it does not name {}, but {}; reach the server by a name of these, or have its certificate name this one",
            shown(host),
            names(presented)
        ),
        _ => shown(&why.to_string()),
    }
}

fn names(presented: &[String]) -> String {
    let mut names: Vec<String> = presented
        .iter()
        .take(NAMES_SHOWN)
        .map(|name| {
            // `DnsName("api.example")`, as rustls-webpki has them.
            let mut parts = name.rsplit(['(', ')', '"']);
            shown(parts.find(|part| !part.is_empty()).unwrap_or_default())
        })
        .collect();
    if presented.is_empty() {
        names.push("nobody".to_owned());
    }
    if let Some(more @ 1..) = presented.len().checked_sub(NAMES_SHOWN) {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

/// What is said by others, escaped and cut.
fn shown(text: &str) -> String {
    let text: String = text.chars().take(NAME_CHARS_MAX).collect();
    escape::bytes(text.as_bytes())
}

fn date(time: UnixTime) -> String {
    // Whoever wrote the certificate may have named any year.
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    at.map_or_else(|| "a time beyond all".to_owned(), rfc3339)
}
