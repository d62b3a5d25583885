//! How the API server is reached: its address, whose certificates are believed, and who this agent is.
//!
//! Within a pod that is what the kubelet has put there: `KUBERNETES_SERVICE_HOST` and the ServiceAccount's files, which are read again for each
//! connection and request, because the kubelet renews them. What a token says is the server's to know: here it is handed on, and told to nobody else.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::error::Trouble;
use super::proxy::Proxy;
use super::tls;

/// Where the kubelet puts a ServiceAccount's files (k/k `plugin/pkg/admission/serviceaccount`).
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where kubelets listen (`KubeletPort`, k/k `pkg/cluster/ports/ports.go`).
const KUBELET_PORT: u16 = 10_250;

/// A token is some kilobytes at most.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// Where the server is, and as whom it is spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// A name or an address, an IPv6 one without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    authority_file: PathBuf,
    token_file: PathBuf,
    /// What stands between.
    proxy: Option<Proxy>,
}

impl Access {
    /// Within a pod; `None` anywhere else.
    pub(crate) fn in_cluster() -> Option<Result<Self, Trouble>> {
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let host = read("KUBERNETES_SERVICE_HOST")?;
        let port = read("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".to_owned());
        let access = Self::of_service(&host, &port, Path::new(SERVICE_ACCOUNT)).and_then(|access| {
            let proxy = Proxy::find(read, &access.host, access.port)?;
            Ok(access.through(proxy))
        });
        Some(access)
    }

    pub(super) fn of_service(host: &str, port: &str, folder: &Path) -> Result<Self, Trouble> {
        let port = port.parse().map_err(|_| {
            Trouble::Setup(format!(
                "KUBERNETES_SERVICE_PORT is no port: {}; unset it, or correct it",
                crate::log::escape::bytes(port.as_bytes())
            ))
        })?;
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authority_file: folder.join("ca.crt"),
            token_file: folder.join("token"),
            proxy: None,
        })
    }

    /// The same, by way of somebody.
    pub(super) fn through(self, proxy: Option<Proxy>) -> Self {
        Self { proxy, ..self }
    }

    /// What stands between us and the server.
    pub(crate) const fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// The kubelet of this node, whose address the downward API gives (`status.hostIP`); `None` where it does not.
    pub(crate) fn of_kubelet(&self) -> Option<Self> {
        let host = std::env::var("HOST_IP").ok().filter(|host| !host.is_empty())?;
        Some(Self {
            host,
            port: KUBELET_PORT,
            // It is on this machine.
            proxy: None,
            ..self.clone()
        })
    }

    /// What a request is addressed to.
    pub(super) fn authority(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    /// Whom the server's certificate must name.
    pub(super) fn server_name(&self) -> Result<ServerName<'static>, Trouble> {
        ServerName::try_from(self.host.clone()).map_err(|_| {
            Trouble::Setup(format!(
                "{} is neither a name nor an address of a server",
                crate::log::escape::bytes(self.host.as_bytes())
            ))
        })
    }

    /// Whose certificates are believed, as the file says now, and what is to be spoken.
    pub(super) fn tls(&self, protocol: &[u8]) -> Result<Arc<ClientConfig>, Trouble> {
        tls::config(&self.authority_file, protocol)
    }

    /// Why a handshake came to nothing.
    pub(super) fn explain(&self, error: &io::Error, is_kubelet: bool) -> Trouble {
        let why = tls::explain(error, &self.host, &self.authority_file, is_kubelet);
        Trouble::Unreachable(format!("{}: {why}", self.authority()))
    }

    /// The namespace that this agent's pod is in.
    pub(super) fn namespace(&self) -> Result<String, Trouble> {
        let path = self.token_file.with_file_name("namespace");
        let read = fs::read_to_string(&path).map_err(|error| error.to_string());
        let read = read.map(|text| text.trim().to_owned());
        read.and_then(|name| {
            if name.is_empty() {
                Err("is empty".to_owned())
            } else {
                Ok(name)
            }
        })
        .map_err(|why| {
            Trouble::Setup(format!(
                "{}: {why}; mount the ServiceAccount's files (automountServiceAccountToken)",
                path.display()
            ))
        })
    }

    /// The token, as the file says now.
    pub(super) fn token(&self) -> Result<String, Trouble> {
        let path = &self.token_file;
        let bad = |why: String| {
            Trouble::Setup(format!(
                "{}: {why}; mount the ServiceAccount's token (automountServiceAccountToken)",
                path.display()
            ))
        };
        let text = fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        let token = text.trim();
        let is_sound = !token.is_empty() && token.len() <= TOKEN_BYTES_MAX;
        if !is_sound || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad("there is no token in it".to_owned()));
        }
        Ok(token.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_finds_its_server_at_any_kind_of_address() {
        let folder = Path::new("/nowhere");
        for (host, authority) in [
            ("10.96.0.1", "10.96.0.1:6443"),
            ("fd00::1", "[fd00::1]:6443"),
            ("[fd00::1]", "[fd00::1]:6443"),
            ("api.example", "api.example:6443"),
        ] {
            let access = Access::of_service(host, "6443", folder).expect("a port");
            assert_eq!(access.authority(), authority);
            assert!(access.server_name().is_ok(), "{host}");
        }
        for port in ["", "0x1", "70000", "-1"] {
            assert!(Access::of_service("h", port, folder).is_err(), "{port}");
        }
        let strange = Access::of_service("a b\u{1b}", "1", folder).expect("a port");
        let why = strange.server_name().expect_err("no name").to_string();
        assert!(!why.contains('\u{1b}'), "{why}");
    }

    #[test]
    fn files_that_are_missing_or_hold_something_else_are_named() {
        let folder = tempfile::tempdir().expect("a directory");
        let access = Access::of_service("h", "1", folder.path()).expect("a port");
        let said = |trouble: Trouble| trouble.to_string();
        assert!(said(access.token().expect_err("missing")).contains("token: No such file"));
        assert!(said(access.tls(b"h2").expect_err("missing")).contains("ca.crt: No such file"));
        for content in ["", "\n", "two words", "t\u{1b}[2J"] {
            fs::write(folder.path().join("token"), content).expect("room");
            fs::write(folder.path().join("ca.crt"), content).expect("room");
            assert!(access.token().is_err(), "{content:?}");
            assert!(access.tls(b"h2").is_err(), "{content:?}");
        }
        fs::write(folder.path().join("token"), "abc.def-1\n").expect("room");
        assert_eq!(access.token().expect("a token"), "abc.def-1");
    }
}
