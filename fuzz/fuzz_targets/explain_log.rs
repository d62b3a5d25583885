//! Any bytes as a log for `explain` and `kills`: as they are, and where they have records of `/dev/kmsg` as one of the programs that keep the
//! kernel's log writes those. What has to hold stands beside the command, whose test asks it of changed captures. Seeds are those:
//! `cargo +nightly fuzz run explain_log fuzz/corpus/explain_log crates/forestall-kernel/tests/oom -- -max_len=16384`.

#![no_main]

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

use forestall_kernel::kmsg::{Record, unescape_into};
use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};

macro_rules! parts_of_the_binary {
    ($($name:ident $path:literal)*) => {
        $(#[allow(dead_code, unused_imports, reason = "a part of the binary, as the binary has it")]
        #[path = $path]
        mod $name;)*
    };
}

parts_of_the_binary! {
    agent "../../crates/forestall/src/agent/mod.rs"
    cli "../../crates/forestall/src/cli.rs"
    commands "../../crates/forestall/src/commands/mod.rs"
    config "../../crates/forestall/src/config/mod.rs"
    exit "../../crates/forestall/src/exit.rs"
    forensics "../../crates/forestall/src/forensics/mod.rs"
    input "../../crates/forestall/src/input/mod.rs"
    ledger "../../crates/forestall/src/ledger/mod.rs"
    log "../../crates/forestall/src/log/mod.rs"
    notify "../../crates/forestall/src/notify/mod.rs"
    supervise "../../crates/forestall/src/supervise.rs"
    systemd "../../crates/forestall/src/systemd.rs"
    talk "../../crates/forestall/src/talk/mod.rs"
}

fn is_broken_pipe(_: &anyhow::Error) -> bool {
    false
}

fn judge(content: &[u8]) {
    let memory = memfd_create(c"log", MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = File::from(memory);
    file.write_all(content).expect("it takes some bytes");
    commands::explain::any_log::judge(content, Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())));
}

/// The records in a form that is chosen by how long the log is; nothing where it has none.
fn dressed(log: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in log.split(|byte| *byte == b'\n').filter_map(Record::parse) {
        let mut buffer = vec![0; record.text.len()];
        let text = unescape_into(record.text, &mut buffer);
        let (level, seconds, micros) = (record.level, record.micros / 1_000_000, record.micros % 1_000_000);
        let stamp = format!("[{seconds:5}.{micros:06}] ");
        let prefix = match log.len() % 8 {
            0 => stamp,
            1 => format!("<{level}>{stamp}"),
            2 => format!("kern  :warn  : {stamp}"),
            3 => "Feb 20 08:18:28 node-1 kernel: ".to_owned(),
            4 => format!(
                "2024-05-01T12:00:{:02}.{micros:06}+02:00 node-1 kernel: ",
                seconds % 60
            ),
            5 => "12s Warning OOMKilling node/a kernel-monitor ".to_owned(),
            6 => format!("\x1b[32m{stamp}\x1b[0m\x1b[33m"),
            _ => {
                let message = serde_json::Value::from(text.to_vec());
                let source = record.micros;
                let facility = record.facility;
                writeln!(
                    out,
                    "{{\"__REALTIME_TIMESTAMP\":\"1768249651913975\",\"_TRANSPORT\":\"kernel\",\"SYSLOG_FACILITY\":\"{facility}\",\"_SOURCE_MONOTONIC_TIMESTAMP\":\"{source}\",\"MESSAGE\":{message}}}"
                )
                .expect("vectors grow");
                continue;
            }
        };
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(text);
        out.push(b'\n');
    }
    out
}

fuzz_target!(|content: &[u8]| {
    judge(content);
    let other = dressed(content);
    if !other.is_empty() {
        judge(&other);
    }
});
