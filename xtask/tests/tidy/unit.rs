//! Rules about the systemd unit: what it closes, and when it starts, must leave the agent's ledger of kills what it reads.

use crate::tree::{Breach, Tree};
use crate::{holds, is_broken_by, is_kept_by};

const UNIT: &str = "deploy/systemd/forestall.service";

/// What keeps a service from the kernel's log whatever else stands in its unit (systemd.exec(5)): the first takes `CAP_SYSLOG` and the
/// device away, the second shows a `/dev` without it, the third makes tracefs read-only.
const FORBIDDEN: [&str; 3] = ["ProtectKernelLogs", "PrivateDevices", "ProtectKernelTunables"];

/// What mounts tracefs: as early as this unit, and in no order with it by itself (systemd's `units/sys-kernel-tracing.mount`).
const TRACEFS: &str = "sys-kernel-tracing.mount";

/// The values of a setting, each line of it by itself; comments are none.
fn values<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .filter(move |(setting, _)| *setting == name)
        .map(|(_, value)| value.trim())
}

fn breaks_the_ledger(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.files.iter().filter(|file| file.path == UNIT) {
        let mut fail = |what: String| {
            breaches.push(Breach {
                path: file.path.clone(),
                line: 0,
                what,
            });
        };
        let has = |name: &str, word: &str| {
            values(&file.text, name).any(|value| value.split_whitespace().any(|found| found == word))
        };
        let is_closed = values(&file.text, "DevicePolicy").any(|policy| policy != "auto");
        if is_closed && !values(&file.text, "DeviceAllow").any(|value| value == "/dev/kmsg r") {
            fail("devices are closed, the kernel's log among them: add DeviceAllow=/dev/kmsg r".to_owned());
        }
        let is_bounded = values(&file.text, "CapabilityBoundingSet").next().is_some();
        if is_bounded && !has("CapabilityBoundingSet", "CAP_SYSLOG") {
            fail(
                "with kernel.dmesg_restrict=1 /dev/kmsg takes CAP_SYSLOG: add it to the bounding set"
                    .to_owned(),
            );
        }
        if has("WantedBy", "sysinit.target") && !has("After", TRACEFS) {
            fail(format!(
                "it is started early, and looks for tracefs once: add After={TRACEFS}"
            ));
        }
        for name in FORBIDDEN {
            if values(&file.text, name).any(|value| value != "no") {
                fail(format!("{name} takes the ledger's sources away: leave it out"));
            }
        }
    }
    breaches
}

#[test]
fn the_unit_leaves_the_ledger_its_sources() {
    holds(breaks_the_ledger);
    assert!(
        Tree::of_project().files.iter().any(|file| file.path == UNIT),
        "{UNIT} is gone"
    );
}

#[test]
fn a_unit_without_the_kernels_log_is_found() {
    for text in [
        "DevicePolicy=closed\nCapabilityBoundingSet=CAP_KILL CAP_SYSLOG\n",
        "DevicePolicy=closed\n# DeviceAllow=/dev/kmsg r\nCapabilityBoundingSet=CAP_SYSLOG\n",
        "DeviceAllow=/dev/kmsg r\nCapabilityBoundingSet=CAP_KILL\n",
        "ProtectKernelLogs=yes\n",
        "PrivateDevices=yes\n",
        "After=local-fs.target\nWantedBy=sysinit.target\n",
    ] {
        is_broken_by(breaks_the_ledger, &[(UNIT, text)], UNIT);
    }
    let sound = "After=local-fs.target sys-kernel-tracing.mount\nDevicePolicy=closed\nDeviceAllow=/dev/kmsg r\nCapabilityBoundingSet=CAP_SYSLOG\nWantedBy=sysinit.target\n";
    is_kept_by(breaks_the_ledger, &[(UNIT, sound)]);
}
