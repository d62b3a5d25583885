//! `forestall trace dump`: every input as one line of JSON, version 1. Fields may be added, none changes its meaning.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use forestall_decide::Input;
use forestall_trace::{Begin, Cause, Item, Reader, Version};
use serde_json::{Value, json};

use super::date::write_date;
use super::source::{Source, newer_than_known};
use super::words;
use crate::exit::Exit;
use crate::log::escape;

/// Prints a trace.
pub(super) fn run(path: &Path) -> anyhow::Result<Exit> {
    let source = Source::load(path)?;
    let mut reader = source.reader()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut exit = if source.notes.is_empty() {
        Exit::Clean
    } else {
        Exit::Stale
    };
    let mut newest = reader.version();
    while reader.advance() {
        newest = newest.max(reader.version());
        let Some(item) = reader.item() else { break };
        if matches!(
            item,
            Item::Damaged { .. } | Item::Torn { .. } | Item::Unknown(_) | Item::Lost(_)
        ) {
            exit = Exit::Stale;
        }
        let mut line = describe(&reader, item).to_string();
        line.push('\n');
        out.write_all(line.as_bytes()).context("cannot write to stdout")?;
    }
    out.flush().context("cannot write to stdout")?;
    if let Some(note) = newer_than_known(newest) {
        exit = Exit::Stale;
        // Nothing is left to tell it to if stderr is gone as well.
        let _ = writeln!(
            io::stderr(),
            "forestall: {}: {note}",
            escape::text(&path.display().to_string())
        );
    }
    Ok(exit)
}

fn describe(reader: &Reader<'_>, item: Item<'_>) -> Value {
    match item {
        Item::Begin(begin) => describe_begin(reader, begin),
        Item::Input(at, recorded) => {
            let (kind, body) = match recorded {
                Input::Sample(sample) => ("sample", words::sample(sample, reader.names())),
                Input::Outcome(outcome) => ("outcome", words::outcome(outcome)),
                Input::Policy(policy) => ("policy", words::policy(policy)),
                Input::Pods(pods) => ("pods", words::pods(pods)),
                Input::KubeletConfig(config) => ("kubelet-config", words::kubelet(config)),
            };
            json!({
                "v": 1,
                "kind": kind,
                "at_micros": at.0,
                "time": write_date(reader.unix_micros(at)),
                kind: body,
            })
        }
        Item::End => json!({ "v": 1, "kind": "end" }),
        Item::Lost(count) => json!({ "v": 1, "kind": "lost", "inputs": count }),
        Item::Unknown(kind) => json!({ "v": 1, "kind": "unknown", "frame": kind }),
        Item::Damaged { offset, bytes, newer } => describe_left_out("damaged", offset, bytes, newer),
        Item::Torn { offset, bytes, newer } => describe_left_out("torn", offset, bytes, newer),
    }
}

/// `newer_format` is what only a newer program reads, where that is why.
fn describe_left_out(kind: &str, offset: usize, bytes: usize, newer: Option<Version>) -> Value {
    let newer = newer.map(|version| format!("{}.{}", version.major, version.minor));
    json!({ "v": 1, "kind": kind, "offset": offset, "bytes": bytes, "newer_format": newer })
}

fn describe_begin(reader: &Reader<'_>, begin: Begin<'_>) -> Value {
    let origin = reader.origin();
    let version = reader.version();
    json!({
        "v": 1,
        "kind": "begin",
        "cause": cause(begin.cause),
        "at_micros": begin.at.0,
        "time": write_date(reader.unix_micros(begin.at)),
        "format": format!("{}.{}", version.major, version.minor),
        "run": origin.run,
        "node": escape::text(&origin.node),
        "kernel": escape::text(&origin.kernel),
        "program": escape::text(&origin.program),
        "boot": escape::text(&origin.boot),
        "policy": words::policy(begin.policy),
        "kubelet-config": begin.kubelet.map(words::kubelet),
        "pods": begin.pods.map(words::pods),
    })
}

/// Why a fresh engine begins, as a word.
pub(crate) const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Opening => "opening",
        Cause::Run => "run",
        Cause::Gap => "gap",
    }
}
