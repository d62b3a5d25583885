//! A network of the harness's own: nothing of a cluster is reachable from the machine's network, and nothing of it is left.
//!
//! `cargo xtask e2e` starts the harness in a network namespace (`unshare --net`), which ends with it, and whatever it starts is there, too. Each
//! node's address is on the loopback there, for QEMU to listen on; whoever calls a node comes from 127.0.0.1, since a guest that saw its own
//! address as its peer would answer itself.
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::pki::NODES;

/// What the kernel itself puts into a new network where it has these tunnels (`net.core.fb_tunnels_only_for_init_net`); they lead nowhere.
const FALLBACKS: [&str; 9] = [
    "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0",
];

/// Sets it up; an error where this is a network that somebody else uses.
pub(crate) fn set_up(busybox: &Path) -> Result<()> {
    let links = std::fs::read_to_string("/proc/self/net/dev").context("the links of this network")?;
    if let Some(link) = foreign_link(&links) {
        bail!("this network has {link}, so it is not the harness's own; start this by `cargo xtask e2e`");
    }
    ip(busybox, "link set lo up")?;
    for node in NODES {
        ip(busybox, &format!("addr add 10.0.1{node}.15/32 dev lo"))?;
        ip(
            busybox,
            &format!(
                "route change local 10.0.1{node}.15 dev lo table local proto kernel scope host src 127.0.0.1"
            ),
        )?;
    }
    Ok(())
}

/// A link that a new network does not have, in the words of `/proc/net/dev`: two lines of heads, then `NAME: FIGURES`.
fn foreign_link(links: &str) -> Option<&str> {
    let lines = links.lines().skip(2);
    let mut names = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim());
    names.find(|name| *name != "lo" && !FALLBACKS.contains(name))
}

fn ip(busybox: &Path, words: &str) -> Result<()> {
    let output = Command::new(busybox)
        .arg("ip")
        .args(words.split(' '))
        .output()
        .with_context(|| format!("starting {}", busybox.display()))?;
    if !output.status.success() {
        bail!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: &str = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";

    fn links(names: &[&str]) -> String {
        let line =
            |name: &&str| format!("{name:>6}:       0       0    0    0    0     0          0         0\n");
        HEADS.to_owned() + &names.iter().map(line).collect::<String>()
    }

    #[test]
    fn a_network_of_somebody_else_is_told_from_a_new_one() {
        assert_eq!(foreign_link(&links(&["lo"])), None);
        assert_eq!(foreign_link(&links(&["lo", "tunl0", "sit0"])), None);
        assert_eq!(foreign_link(&links(&["lo", "eth0"])), Some("eth0"));
        assert_eq!(foreign_link(&links(&["docker0", "lo"])), Some("docker0"));
    }
}
