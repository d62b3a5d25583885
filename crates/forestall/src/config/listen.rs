//! Where the agent answers HTTP, or that it does not.

use std::fmt;
use std::net::SocketAddr;

/// The value of `--listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// Not at all.
    Off,
    /// On this address.
    At(SocketAddr),
}

impl Default for Listen {
    /// Loopback only: what the pages tell is nobody else's business unless asked for.
    fn default() -> Self {
        Self::At(SocketAddr::from(([127, 0, 0, 1], 9090)))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => out.write_str("none"),
            Self::At(address) => address.fmt(out),
        }
    }
}

/// Reads `none`, `ADDR:PORT`, or `:PORT` for every address of the machine.
pub(crate) fn parse_listen(text: &str) -> Result<Listen, String> {
    if text == "none" {
        return Ok(Listen::Off);
    }
    let full = if text.starts_with(':') {
        format!("[::]{text}")
    } else {
        text.to_owned()
    };
    full.parse().map(Listen::At).map_err(|_| {
        format!("{text:?} is not an address and port; write 127.0.0.1:9090, [::1]:9090, :9090 or none")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_it() {
        for (text, meant) in [
            ("127.0.0.1:9090", "127.0.0.1:9090"),
            (":80", "[::]:80"),
            ("[::1]:1", "[::1]:1"),
            ("none", "none"),
        ] {
            assert_eq!(
                parse_listen(text).map(|listen| listen.to_string()),
                Ok(meant.to_owned())
            );
        }
        for bad in [
            "",
            "9090",
            "localhost:9090",
            "127.0.0.1",
            "127.0.0.1:70000",
            "None",
        ] {
            assert!(parse_listen(bad).is_err(), "{bad}");
        }
    }
}
