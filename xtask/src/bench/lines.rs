//! A node's log that is mostly about other things, the same on every machine: lines of the kernel, of a firewall, of the kubelet and of
//! containers, a few of which have a word of kills in them. Shared by the benchmark in memory and the one of the whole program.

use std::io::Write;

/// Once in so many lines a process is killed.
const LINES_PER_KILL: usize = 20_000;

/// At least so many bytes of it, and how many kills it tells of.
pub(crate) fn of_a_node(bytes: usize) -> (Vec<u8>, usize) {
    let mut log = Vec::with_capacity(bytes + (1 << 10));
    let (mut number, mut kills) = (0_usize, 0);
    while log.len() < bytes {
        number += 1;
        let (minute, second, micros) = (number / 3600 % 60, number / 60 % 60, number * 7919 % 1_000_000);
        let begin = format!("Feb 20 08:{minute:02}:{second:02} node-1 ");
        let stamp = format!("[{:7}.{micros:06}]", 1000 + number / 60);
        let line = match number % LINES_PER_KILL {
            0 => {
                kills += 1;
                format!(
                    "kernel: {stamp} Out of memory: Killed process {number} (java) total-vm:2032kB, anon-rss:1000kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:40kB oom_score_adj:0"
                )
            }
            at if at % 997 == 0 => format!(
                "kernel: {stamp} audit: type=1400 apparmor=\"ALLOWED\" name=\"/proc/{number}/oom_score_adj\" pid={number}"
            ),
            at if at % 499 == 0 => format!(
                "containerd[812]: level=info msg=\"the queue was filled with {number} events in room 7\""
            ),
            at => match at % 5 {
                0 => format!(
                    "kernel: {stamp} IN=eth0 OUT= MAC=02:42:ac:11:00:02 SRC=10.0.{}.{} DST=10.0.0.9 LEN=60 TTL=64 ID={number} PROTO=TCP SPT=443 DPT=51234 WINDOW=65160 SYN",
                    at % 256,
                    at % 199
                ),
                1 => format!(
                    "kubelet[790]: I0220 08:{minute:02}:{second:02}.{micros:06}     790 reconciler_common.go:245] \"operationExecutor.VerifyControllerAttachedVolume started\" pod=\"shop/cart-{number}\""
                ),
                2 => format!("kernel: {stamp} device veth{number:x} entered promiscuous mode"),
                3 => format!(
                    "app[{number}]: {{\"level\":\"info\",\"path\":\"/api/v1/cart/{number}\",\"status\":200,\"took_ms\":{}}}",
                    at % 90
                ),
                _ => format!("systemd[1]: Started run-containerd-runc-k8s.io-{number:016x}.mount."),
            },
        };
        writeln!(log, "{begin}{line}").expect("vectors grow");
    }
    (log, kills)
}
