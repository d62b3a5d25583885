//! A node's kubelet: what it saw at each look of its eviction manager, by its own log, and the threshold that it runs with.
use anyhow::Result;

use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::wait::wait_for;

/// What it counted as available at each look so far, in MiB: its signal `allocatableMemory.available`.
pub(crate) fn looks(node: &Node) -> Result<Vec<u64>> {
    let said =
        node.run("grep 'log=\"observations\" signal=\"allocatableMemory.available\"' /var/log/kubelet.log")?;
    Ok(said.lines().filter_map(available_mib).collect())
}

/// Has it run with another hard threshold for memory, which takes a new start. Its log goes on.
pub(crate) fn set_threshold(kubectl: &Kubectl, node: &Node, mib: u32) -> Result<()> {
    let threshold = format!("{mib}Mi");
    let file = "/etc/kubernetes/kubelet.yaml";
    node.run(&format!(
        "sed -i 's/memory.available: [0-9]*Mi/memory.available: {threshold}/' {file}; killall kubelet"
    ))?;
    let path = format!("/api/v1/nodes/{}/proxy/configz", node.spec.name());
    wait_for(&format!("a kubelet with a threshold of {threshold}"), || {
        // While it starts nobody answers.
        let said = kubectl.run(&["get", "--raw", &path]).unwrap_or_default();
        Ok(said.contains(&format!("\"memory.available\":\"{threshold}\"")))
    })?;
    let looks_before = looks(node)?.len();
    wait_for("its first look", || Ok(looks(node)?.len() > looks_before))?;
    Ok(())
}

/// The figure of a line of `debugLogObservations` (`pkg/kubelet/eviction/helpers.go`), which has it as a Kubernetes quantity.
fn available_mib(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once(" available=\"")?;
    let (quantity, _) = rest.split_once('"')?;
    // Where more is used than there may be.
    if quantity.starts_with('-') {
        return Some(0);
    }
    quantity_mib(quantity)
}

fn quantity_mib(quantity: &str) -> Option<u64> {
    let digits = quantity.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let number: u64 = digits.parse().ok()?;
    match quantity.strip_prefix(digits)? {
        "" => Some(number >> 20),
        "Ki" => Some(number >> 10),
        "Mi" => Some(number),
        "Gi" => Some(number << 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_read_from_the_kubelets_line() {
        let line = |available: &str| {
            format!(
                "I1123 03:12:27.4 137 helpers.go:977] \"Eviction manager:\" log=\"observations\" signal=\"allocatableMemory.available\" \
                 resourceName=\"memory\" available=\"{available}\" capacity=\"995328Ki\" time=\"2026-11-23 03:12:27 +0000 UTC\""
            )
        };
        let read = |available| available_mib(&line(available));
        assert_eq!(read("127540Ki"), Some(124));
        assert_eq!(read("1019215872"), Some(972));
        assert_eq!(read("150Mi"), Some(150));
        assert_eq!(read("-12Ki"), Some(0));
        assert_eq!(read("much"), None);
    }
}
