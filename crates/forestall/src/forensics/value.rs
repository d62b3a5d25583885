//! A report for programs: named values, bytes where they are amounts. Versions: fields may be added, none changes its meaning.

use forestall_kernel::kmsg::{Behind, When};
use forestall_kernel::oom::{CgroupPath, Charge, Piece, Reap, Report, Row, Seen, Task, Victim};
use serde_json::{Map, Value};

use super::evidence::{self, Basis, Confidence};
use super::place::Place;
use super::share::{self, Share};
use super::{advice, time};
use crate::commands::foretold::object;
use crate::ledger::{Home, Sender};
use crate::log::escape;

/// Version of what is written.
pub(crate) const VERSION: u32 = 1;

/// A report.
pub(crate) fn of(report: &Report, zero_micros: Option<i64>) -> Map<String, Value> {
    let share = Share::of(report);
    let kinds = share.as_ref().map(|share| {
        let parts = share
            .parts
            .iter()
            .map(|(kind, bytes)| (kind.label().to_owned() + "_bytes", Value::from(*bytes)));
        let total = ("total_bytes".to_owned(), share.total.into());
        Value::Object(parts.chain([total]).collect())
    });
    let text = |bytes: &Option<Box<[u8]>>| bytes.as_deref().map(escape::bytes);
    object([
        ("when", when(&report.when, zero_micros)),
        ("level", report.level.label().into()),
        ("limit", report.limit.as_ref().map(cgroup).into()),
        ("limit_bytes", share::limit(report).into()),
        ("constraint", text(&report.constraint).into()),
        ("is_global", report.is_global.into()),
        ("is_sysrq", report.is_sysrq().into()),
        ("is_panic", report.is_panic().into()),
        ("nodemask", text(&report.nodemask).into()),
        ("cpuset", text(&report.cpuset).into()),
        ("mems_allowed", text(&report.mems_allowed).into()),
        ("trigger", trigger(report)),
        (
            "victims",
            report
                .victims
                .iter()
                .map(|it| victim(report, it, zero_micros))
                .collect(),
        ),
        ("group", report.group.as_ref().map(cgroup).into()),
        ("sacrificed_for", report.sacrificed_for.as_ref().map(task).into()),
        ("exiting", report.exiting.iter().map(task).collect()),
        ("no_killable", report.no_killable.into()),
        ("suppressed_lines", report.suppressed.into()),
        ("has_gap", report.has_gap.into()),
        ("memory", report.domain.memory.map(charge).into()),
        (
            "swap",
            report
                .domain
                .swap
                .or(report.domain.memory_and_swap)
                .map(charge)
                .into(),
        ),
        ("kinds", kinds.into()),
        ("processes", processes(report)),
        ("advice", advice::of(report).into()),
        ("evidence", evidence_of(report)),
    ])
}

/// The same with what a ledger knows of its victims besides.
pub(crate) fn with_homes(report: &Report, zero_micros: Option<i64>, homes: &[Home]) -> Map<String, Value> {
    let mut value = of(report, zero_micros);
    let values = value.get_mut("victims").and_then(Value::as_array_mut);
    let values = values.into_iter().flatten().filter_map(Value::as_object_mut);
    for (value, victim) in values.zip(&report.victims) {
        let known = homes.iter().find(|home| home.pid == victim.pid);
        value.extend(home(known, victim, report.behind));
    }
    value
}

/// Where a victim lived, who sent the signal, and who says so.
fn home(home: Option<&Home>, victim: &Victim, behind: Behind) -> Map<String, Value> {
    let known = |name: fn(&Home) -> &str| {
        let name = home.map(name).filter(|name| !name.is_empty());
        Value::from(name.map(escape::text))
    };
    let has_names = home.is_some_and(|home| home.words().is_some());
    let names = has_names.then_some(Basis {
        source: "kubelet's log directories",
        confidence: Confidence::High,
    });
    let sender = home.and_then(|home| home.sender.as_ref());
    let traced = sender.map(|_| Basis {
        source: "tracing",
        confidence: Confidence::High,
    });
    let evidence = object([
        ("kill", shown(Some(evidence::of_victim(victim.seen, behind)))),
        ("cgroup", shown(evidence::of_cgroup(victim, home, behind))),
        ("names", shown(names)),
        ("sender", shown(traced)),
    ]);
    object([
        ("namespace", known(|home| &home.namespace)),
        ("pod", known(|home| &home.pod)),
        ("container", known(|home| &home.container)),
        ("cgroup_source", home.map_or("log", Home::cgroup_source).into()),
        ("sender", sender.map(self::sender).into()),
        ("evidence", evidence.into()),
    ])
}

fn shown(basis: Option<Basis>) -> Value {
    let shown = |basis: Basis| {
        object([
            ("source", basis.source.into()),
            ("confidence", basis.confidence.label().into()),
        ])
    };
    basis.map(shown).into()
}

fn evidence_of(report: &Report) -> Value {
    let fields = object([
        ("confidence", evidence::overall(report).label().into()),
        ("kill", shown(evidence::of_kill(report))),
        ("level", shown(evidence::of_level(report))),
        ("memory", shown(evidence::of_memory(report))),
        ("missing", evidence::missing(report).into()),
        ("lines", report.pieces.iter().map(Piece::label).collect()),
    ]);
    fields.into()
}

fn when(when: &When, zero_micros: Option<i64>) -> Value {
    let fields = object([
        ("text", time::written(when, zero_micros).into()),
        ("unix_micros", time::unix_micros(when, zero_micros).into()),
        ("log_clock_micros", when.micros.into()),
        ("sequence", when.sequence.into()),
    ]);
    fields.into()
}

pub(crate) fn cgroup(path: &CgroupPath) -> Map<String, Value> {
    let place = Place::of(path);
    object([
        ("path", escape::bytes(&path.path).into()),
        ("is_cut", path.is_cut.into()),
        ("pod_uid", place.pod.into()),
        ("container_id", place.container.into()),
        ("qos", place.qos.into()),
        ("runtime", place.runtime.into()),
    ])
}

/// Who sent SIGKILL, as tracing tells it.
pub(crate) fn sender(sender: &Sender) -> Map<String, Value> {
    let comm = (!sender.comm.is_empty()).then(|| escape::bytes(&sender.comm));
    object([
        ("is_kernel", sender.is_kernel.into()),
        ("pid", sender.pid.into()),
        ("comm", comm.into()),
        ("uid", sender.uid.into()),
        ("is_on_node", sender.is_on_node.into()),
    ])
}

fn charge(charge: Charge) -> Map<String, Value> {
    object([
        ("usage_bytes", charge.usage.into()),
        ("limit_bytes", charge.limit.bytes().into()),
        ("failures", charge.failures.into()),
    ])
}

fn task(task: &Task) -> Value {
    object([
        ("pid", task.pid.into()),
        ("comm", escape::bytes(&task.comm).into()),
    ])
    .into()
}

fn trigger(report: &Report) -> Value {
    let shown = report.trigger.as_ref().map(|trigger| {
        object([
            ("pid", trigger.pid.into()),
            ("comm", escape::bytes(&trigger.comm).into()),
            ("gfp_mask", trigger.gfp_mask.into()),
            ("order", trigger.order.into()),
            ("oom_score_adj", trigger.adj.into()),
        ])
    });
    shown.into()
}

fn victim(report: &Report, victim: &Victim, zero_micros: Option<i64>) -> Value {
    let seen = match victim.seen {
        Seen::KillLine => "kill-line",
        Seen::SharesMemory => "shares-memory",
        Seen::Named => "named",
        Seen::ReaperOnly => "reaper",
        Seen::Marked => "marked",
    };
    let reaped = victim.reap.map(|reap| match reap {
        Reap::Reaped { .. } => "reaped",
        Reap::Failed => "failed",
    });
    let fields = object([
        ("pid", victim.pid.into()),
        ("comm", escape::bytes(&victim.comm).into()),
        ("when", when(&victim.when, zero_micros)),
        ("uid", victim.uid.into()),
        ("oom_score_adj", victim.adj.into()),
        ("held_bytes", share::held(report, victim.pid).into()),
        ("anon_bytes", victim.anon.into()),
        ("file_bytes", victim.file.into()),
        ("shmem_bytes", victim.shmem.into()),
        ("page_tables_bytes", victim.page_tables.into()),
        ("total_vm_bytes", victim.total_vm.into()),
        ("cgroup", victim.memcg.as_ref().map(cgroup).into()),
        ("seen", seen.into()),
        ("reaper", reaped.into()),
    ]);
    fields.into()
}

fn processes(report: &Report) -> Value {
    let row = |row: &Row| -> Value {
        let fields = object([
            ("pid", row.pid.into()),
            ("comm", escape::bytes(&row.comm).into()),
            ("rss_bytes", share::row_bytes(report, row).into()),
            ("oom_score_adj", row.adj.into()),
        ]);
        fields.into()
    };
    let fields = object([
        ("count", report.table.processes.into()),
        ("largest", report.table.largest.iter().map(row).collect()),
    ]);
    fields.into()
}
