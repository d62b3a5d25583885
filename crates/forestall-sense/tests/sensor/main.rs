//! Machines made of files, and what the sensor says of them.

mod changes;
mod figures;
#[path = "../fixture/mod.rs"]
mod fixture;
mod glances;
mod namespace;
mod opening;
mod processes;
mod protection;
mod pulse;
mod rights;
mod suspects;

use forestall_decide::Bytes;

fn kib(count: u64) -> Bytes {
    Bytes(count * 1024)
}

fn container(uid: &str, cid: &str) -> String {
    format!("/kubepods/burstable/pod{uid}/{cid}")
}
