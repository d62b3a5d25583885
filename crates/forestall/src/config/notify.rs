//! Whom the agent tells of what happens, beside its log: a program, or an address.

use std::fmt;

use forestall_decide::Span;

use super::Invalid;
use super::raw::RawNotify;

/// What can be told: lines of the log by their `event`.
pub(crate) const EVENTS: [&str; 4] = ["killed", "alarm", "action", "outcome"];

/// No notifier may take longer: others wait behind it.
const TIMEOUT_MAX: Span = Span::secs(60);

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notify {
    /// A program and its arguments; empty for none.
    pub(crate) exec: Vec<String>,
    /// Where to POST to.
    pub(crate) webhook: Option<Webhook>,
    /// Which events.
    pub(crate) events: Vec<String>,
    /// How long one may take.
    pub(crate) timeout: Span,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            exec: Vec::new(),
            webhook: None,
            events: vec!["killed".to_owned()],
            timeout: Span::secs(10),
        }
    }
}

impl Notify {
    /// Somebody is told.
    pub(crate) fn is_on(&self) -> bool {
        !self.exec.is_empty() || self.webhook.is_some()
    }

    pub(super) fn check(raw: &RawNotify) -> Result<Self, Invalid> {
        let mut notify = Self::default();
        if let Some(exec) = &raw.exec {
            notify.exec.clone_from(exec);
        }
        if let Some(program) = notify.exec.first().filter(|program| !program.starts_with('/')) {
            return Err(Invalid::new(format!(
                "notify.exec: {program:?} is no path from the root on; write one such as [/usr/local/bin/page, --now], or [] for none"
            )));
        }
        if notify.exec.iter().any(|word| word.contains('\0')) {
            return Err(Invalid::new("notify.exec: no argument can hold a zero byte"));
        }
        if let Some(webhook) = raw.webhook.as_deref().filter(|webhook| *webhook != "none") {
            notify.webhook =
                Some(Webhook::parse(webhook).map_err(|why| Invalid::new(format!("notify.webhook: {why}")))?);
        }
        if let Some(events) = &raw.events {
            notify.events.clone_from(events);
        }
        if let Some(unknown) = notify
            .events
            .iter()
            .find(|event| !EVENTS.contains(&event.as_str()))
        {
            return Err(Invalid::new(format!(
                "notify.events: {unknown:?} is none of {}",
                EVENTS.join(", ")
            )));
        }
        if let Some(timeout) = raw.timeout {
            notify.timeout = timeout.0;
        }
        if notify.timeout > TIMEOUT_MAX || notify.timeout < Span::millis(100) {
            return Err(Invalid::new("notify.timeout: at least 100ms and at most 1m"));
        }
        Ok(notify)
    }
}

/// An address to POST to, without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Webhook {
    /// `HOST:PORT`, to connect to.
    pub(crate) address: String,
    /// As it stands in the address: what goes into the request's `Host`.
    pub(crate) host: String,
    /// Begins with a slash.
    pub(crate) path: String,
}

impl Webhook {
    fn parse(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "write http://127.0.0.1:8080/kills, or none";
        if text.starts_with("https://") {
            return Err(format!(
                "https is not spoken here; have notify.exec run a program that does, such as [/usr/bin/curl, --json, '@-', {text}]"
            ));
        }
        let rest = text
            .strip_prefix("http://")
            .ok_or_else(|| format!("{text:?} is no address; {EXAMPLE}"))?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "{text:?} has a space or a letter that no address has; {EXAMPLE}"
            ));
        }
        let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        if host.is_empty() || host.contains(['@', '?', '#', '"']) || path.contains('#') {
            return Err(format!("{text:?} is no address that can be used here; {EXAMPLE}"));
        }
        let port = host.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
        if port.is_some_and(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(format!("{text:?} has no port behind its colon; {EXAMPLE}"));
        }
        Ok(Self {
            address: if port.is_some() {
                host.to_owned()
            } else {
                format!("{host}:80")
            },
            host: host.to_owned(),
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for Webhook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "http://{}{}", self.host, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_or_refused_with_what_to_write() {
        for (text, address, path) in [
            ("http://127.0.0.1:8080/kills", "127.0.0.1:8080", "/kills"),
            ("http://pager", "pager:80", "/"),
            ("http://[::1]/a?b=c", "[::1]:80", "/a?b=c"),
            ("http://[::1]:9/", "[::1]:9", "/"),
        ] {
            let read = Webhook::parse(text).expect("an address");
            assert_eq!((&*read.address, &*read.path), (address, path), "{text}");
            assert_eq!(
                read.to_string(),
                if text == "http://pager" {
                    "http://pager/"
                } else {
                    text
                }
            );
        }
        for text in [
            "",
            "127.0.0.1:8080",
            "ftp://a/",
            "http://",
            "http:///a",
            "http://a b/",
            "http://a/\r\nX: y",
            "http://user@a/",
            "http://a:/",
            "http://a:99999/",
        ] {
            let said = Webhook::parse(text).expect_err("refused");
            assert!(
                said.contains("write http://127.0.0.1:8080/kills"),
                "{text}: {said}"
            );
        }
        let said = Webhook::parse("https://a/b").expect_err("refused");
        assert!(said.contains("curl") && said.contains("https://a/b"), "{said}");
    }
}
