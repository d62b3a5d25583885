//! Somebody with a token or a certificate who asks the API server, request by request, and what exactly it answers: `kubectl` hides the code, and asks
//! for more than it is told to.
//!
//! `kubectl proxy` speaks TLS and brings what proves who asks; what is asked, and as whom, is written here.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::child::{self, Running};
use crate::kubectl::Kubectl;
use crate::wait::wait_for;

/// Somebody. Dropped, he asks no more.
#[derive(Debug)]
pub(crate) struct Caller {
    _proxy: Running,
    address: String,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// Whom it is asked as, if as somebody else.
    pub(crate) impersonated: Option<&'static str>,
    pub(crate) body: Value,
}

/// What is answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) text: String,
}

impl Caller {
    /// Whoever has this token; `name` tells him from others.
    pub(crate) fn new(kubectl: &Kubectl, name: &str, token: &str) -> Result<Self> {
        Self::with(kubectl, name, &json!({"token": token}))
    }

    /// A node's kubelet, by its certificate.
    pub(crate) fn kubelet(kubectl: &Kubectl, node: &str) -> Result<Self> {
        let [certificate, key] = ["crt", "key"].map(|kind| format!("{node}.{kind}"));
        let proof = json!({"client-certificate": certificate, "client-key": key});
        Self::with(kubectl, &format!("kubelet-of-{node}"), &proof)
    }

    fn with(kubectl: &Kubectl, name: &str, proof: &Value) -> Result<Self> {
        let config = kubectl.config().with_file_name(format!("{name}.kubeconfig"));
        std::fs::write(&config, kubeconfig(proof))
            .with_context(|| format!("writing {}", config.display()))?;
        Self::by(kubectl, name, &config)
    }

    /// Whoever may do everything.
    pub(crate) fn of(kubectl: &Kubectl, name: &str) -> Result<Self> {
        Self::by(kubectl, name, kubectl.config())
    }

    fn by(kubectl: &Kubectl, name: &str, config: &Path) -> Result<Self> {
        let folder = config.parent().context("a folder for his log")?;
        let mut command = child::command(kubectl.program());
        command
            .arg("--kubeconfig")
            .arg(config)
            .args(["proxy", "--port=0"]);
        let mut proxy = Running::start(name, &mut command, folder)?;
        let log: PathBuf = folder.join(format!("{name}.log"));
        let mut address = None;
        wait_for(&format!("the address of {name}"), || {
            proxy.check()?;
            address = read_address(&log);
            Ok(address.is_some())
        })?;
        Ok(Self {
            _proxy: proxy,
            address: address.context("an address")?,
        })
    }

    /// Asks once.
    pub(crate) fn ask(&self, request: &Request) -> Result<Answer> {
        let mut stream = TcpStream::connect(&self.address).context("kubectl proxy")?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        stream.write_all(request.text().as_bytes())?;
        let mut said = Vec::new();
        stream.read_to_end(&mut said).context("reading an answer")?;
        let text = String::from_utf8_lossy(&said).into_owned();
        Answer::read(&text).with_context(|| format!("no answer of HTTP: {text:?}"))
    }
}

fn kubeconfig(proof: &Value) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "e2e", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority": "ca.crt"}}],
        "users": [{"name": "caller", "user": proof}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "caller"}}],
        "current-context": "e2e",
    });
    config.to_string()
}

/// `Starting to serve on 127.0.0.1:45123`.
fn read_address(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    let (_, address) = text.split_once("Starting to serve on ")?;
    let (address, _) = address.split_once('\n')?;
    Some(address.trim().to_owned())
}

impl Request {
    fn text(&self) -> String {
        let body = if self.body.is_null() {
            String::new()
        } else {
            self.body.to_string()
        };
        let kind = match self.method {
            "PATCH" if self.path.contains("fieldManager=") => "application/apply-patch+yaml",
            "PATCH" => "application/strategic-merge-patch+json",
            _ => "application/json",
        };
        let impersonated = self
            .impersonated
            .map_or(String::new(), |name| format!("Impersonate-User: {name}\r\n"));
        format!(
            "{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: application/json\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n{impersonated}\r\n{body}",
            self.method,
            self.path,
            body.len()
        )
    }
}

impl Answer {
    /// `HTTP/1.1 403 Forbidden`, heads, an empty line, and the rest.
    fn read(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut words = head.lines().next()?.split(' ');
        words.next().filter(|version| version.starts_with("HTTP/1."))?;
        Some(Self {
            code: words.next()?.parse().ok()?,
            text: body.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 9112, section 2.1: a start line, heads, an empty line, a body.
    #[test]
    fn a_request_says_as_whom_it_is_made() {
        let request = Request {
            method: "PATCH",
            path: "/api/v1/nodes/n1/status".to_owned(),
            impersonated: Some("system:node:n1"),
            body: json!({"status": {}}),
        };
        let text = request.text();
        let (head, body) = text.split_once("\r\n\r\n").expect("an empty line");
        assert!(head.starts_with("PATCH /api/v1/nodes/n1/status HTTP/1.1\r\n"));
        let lines = ["Impersonate-User: system:node:n1", "Content-Length: 13"];
        assert!(
            lines.iter().all(|line| head.lines().any(|found| found == *line)),
            "{head}"
        );
        assert_eq!(body, r#"{"status":{}}"#);
        let bare = Request {
            method: "GET",
            impersonated: None,
            body: Value::Null,
            ..request
        };
        assert!(bare.text().ends_with("Content-Length: 0\r\n\r\n"));
        assert!(!bare.text().contains("Impersonate"));
    }

    #[test]
    fn an_answer_is_its_code_and_its_words() {
        let answer = Answer::read("HTTP/1.1 403 Forbidden\r\nA: b\r\n\r\n{\"no\":1}").expect("an answer");
        assert_eq!((answer.code, &*answer.text), (403, "{\"no\":1}"));
        for odd in ["", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 many\r\n\r\n"] {
            assert!(Answer::read(odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn the_address_is_read_once_its_line_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        assert_eq!(read_address(&log), None);
        std::fs::write(&log, "Starting to serve on 127.0.0.1:45").expect("a file");
        assert_eq!(read_address(&log), None);
        std::fs::write(&log, "Starting to serve on 127.0.0.1:45123\n").expect("a file");
        assert_eq!(read_address(&log).as_deref(), Some("127.0.0.1:45123"));
    }
}
