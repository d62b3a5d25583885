//! `/metrics`: OpenMetrics text of the last look and the counters. Names and labels are the ones the design fixes;
//! the number of series is bounded by the number of walls a snapshot holds.

mod api;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use forestall_decide::{Bytes, NodeSample, Span};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::agent::has_hand;
use crate::agent::shared::{
    ActionOutcome, AlarmStage, BUCKET_BOUNDS, Board, Desk, Histogram, IgnoredKind, MODES, RUNGS, Row,
    Snapshot, WALLS,
};
use crate::log::{escape, words};

/// What a scraper must be told it gets (OpenMetrics 1.0, "Content type").
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Renders the page.
pub(super) fn render(board: &Arc<Board>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    let source = Source {
        board: Arc::clone(board),
        seen: Mutex::new(Board::empty_snapshot()),
    };
    registry.register_collector(Box::new(source));
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Source {
    board: Arc<Board>,
    seen: Mutex<Snapshot>,
}

impl Collector for Source {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.board.read_snapshot(&mut seen);
        let mut out = Page(&mut out);
        out.gauge("forestall_build_info", "The version of this agent", |series| {
            series.int(&[("version", env!("CARGO_PKG_VERSION"))], 1)
        })?;
        if seen.at.is_some() {
            out.gauge(
                "forestall_mode",
                "1 for the mode the guard is in, 0 for the others",
                |series| {
                    for mode in MODES {
                        series.int(&[("mode", words::mode(mode))], i64::from(self.board.is_in(mode)))?;
                    }
                    Ok(())
                },
            )?;
            // What cannot be is left out: forestall_inputs_ignored_total and the log say so.
            if seen.impossible.is_none() {
                encode_node(&mut out, &seen.node)?;
            }
            out.counter(
                "forestall_kernel_oom_kills",
                "Processes that the kernel's OOM killer has killed since boot, by its own count",
                |series| series.count(&NO_LABELS, seen.node.oom_kills),
            )?;
            encode_walls(&mut out, &seen)?;
        }
        let counted = seen.at.map(|_| seen.node.oom_kills);
        encode_ledger(&mut out, &self.board.kills, counted)?;
        if let Some(api) = self.board.api() {
            api::encode(&mut out, &api)?;
        }
        encode_counters(&mut out, &self.board)
    }
}

/// What is kept of kills. Nothing where nobody listens: no series says less than a wrong one.
fn encode_ledger(out: &mut Page<'_, '_>, desk: &Desk, counted: Option<u64>) -> fmt::Result {
    let Some(heard) = desk.heard() else {
        return Ok(());
    };
    out.counter(
        "forestall_oom_kills",
        "Processes the kernel's OOM killer has killed, as the ledger keeps them over restarts and boots",
        |series| {
            desk.each_total(|whom, kills| {
                let labels = [
                    ("level", whom.level.as_str()),
                    ("namespace", &whom.namespace),
                    ("pod", &whom.pod),
                    ("container", &whom.container),
                    ("unit", &whom.unit),
                ];
                series.count(&labels, kills)
            })
        },
    )?;
    // A kernel that does not count shows 0, and then nothing is missing.
    let gap = counted.map_or(0, |counted| counted.saturating_sub(heard.told));
    out.gauge(
        "forestall_ledger_gap",
        "Kills of this boot that the kernel has counted and that no line of its log told of",
        |series| series.int(&NO_LABELS, i64::try_from(gap).unwrap_or(i64::MAX)),
    )?;
    out.gauge(
        "forestall_ledger_unattributed_kills",
        "Kills of this boot of which nothing told but the cgroups' counters, by whose limit it was",
        |series| {
            heard.untold.iter().try_for_each(|(level, kills)| {
                series.int(
                    &[("level", level.label())],
                    i64::try_from(kills).unwrap_or(i64::MAX),
                )
            })
        },
    )?;
    out.gauge(
        "forestall_ledger_doubles",
        "Kills of this boot that were told of twice, at least: they hide as many that nothing told of",
        |series| series.int(&NO_LABELS, i64::try_from(heard.doubles).unwrap_or(i64::MAX)),
    )?;
    out.counter(
        "forestall_ledger_missed_records",
        "What tracing told of kills and signals of this boot and nobody heard",
        |series| {
            let mut each = heard.missed.each().into_iter();
            each.try_for_each(|(what, count)| series.count(&[("what", what)], count))
        },
    )?;
    out.counter(
        "forestall_ledger_lost_records",
        "Records of the kernel's log of this boot that were overwritten before they were read",
        |series| series.count(&NO_LABELS, heard.lost),
    )
}

/// The machine as both keepers count it.
fn encode_node(out: &mut Page<'_, '_>, node: &NodeSample) -> fmt::Result {
    out.gauge(
        "forestall_node_memory_bytes",
        "The same memory as the kernel and as the kubelet count it",
        |series| {
            for (part, bytes) in [
                ("total", node.total),
                ("free", node.free),
                ("available", node.available),
                ("anon", node.anon),
                ("shmem", node.shmem),
                ("cached", node.cached),
                ("buffers", node.buffers),
                ("active_file", node.active_file),
                ("inactive_file", node.inactive_file),
                ("slab_reclaimable", node.slab_reclaimable),
                ("slab_unreclaimable", node.slab_unreclaimable),
                ("kernel_stack", node.kernel_stack),
                ("page_tables", node.page_tables),
                ("percpu", node.percpu),
                ("hugetlb", node.hugetlb),
                ("swap_total", node.swap_total),
                ("swap_free", node.swap_free),
                ("unreclaimable", node.unreclaimable()),
            ] {
                series.bytes(&[("view", "kernel"), ("part", part)], bytes)?;
            }
            let working_set = node.kubelet_working_set();
            for (part, bytes) in [
                ("working_set", working_set),
                ("available", node.total - working_set),
            ] {
                series.bytes(&[("view", "kubelet"), ("part", part)], bytes)?;
            }
            Ok(())
        },
    )?;
    out.gauge(
        "forestall_blind_bytes",
        "Memory the kernel cannot give away and the kubelet does not see",
        |series| series.bytes(&NO_LABELS, node.blind()),
    )?;
    out.gauge(
        "node_memory_actual_usage_percent",
        "Total less free less page cache, in percent of total",
        |series| {
            let actual = node.actual();
            #[expect(
                clippy::cast_precision_loss,
                reason = "a percentage needs no more than 53 bits"
            )]
            let percent = if node.total == Bytes::ZERO {
                0.0
            } else {
                actual.0 as f64 * 100.0 / node.total.0 as f64
            };
            series.float(&NO_LABELS, percent)
        },
    )
}

fn encode_walls(out: &mut Page<'_, '_>, seen: &Snapshot) -> fmt::Result {
    let rows: Vec<(Row<'_>, String)> = seen.rows().map(|row| (row, scope_label(&row))).collect();
    out.gauge(
        "forestall_wall_distance_bytes",
        "Bytes left to a wall, as its own keeper counts them",
        |series| {
            for (row, scope) in &rows {
                series.bytes(
                    &[("wall", row.reading.wall.label()), ("scope", scope)],
                    row.reading.distance,
                )?;
            }
            Ok(())
        },
    )?;
    // A wall that is not in sight has no runway: +Inf, so that a comparison with a threshold still works.
    out.gauge(
        "forestall_wall_runway_seconds",
        "Time left to a wall at its present growth; +Inf: not in sight",
        |series| {
            for (row, scope) in &rows {
                let runway = row.reading.runway;
                for (bound, span) in [("p10", runway.p10), ("p50", runway.p50), ("p90", runway.p90)] {
                    let labels = [
                        ("wall", row.reading.wall.label()),
                        ("scope", scope.as_str()),
                        ("bound", bound),
                    ];
                    series.float(&labels, seconds(span))?;
                }
            }
            Ok(())
        },
    )?;
    out.gauge(
        "forestall_walls_left_out",
        "Walls for which this page had no room",
        |series| series.int(&NO_LABELS, i64::try_from(seen.rows_left_out).unwrap_or(i64::MAX)),
    )
}

fn encode_counters(out: &mut Page<'_, '_>, board: &Board) -> fmt::Result {
    out.counter(
        "forestall_actions",
        "Actions by how they ended; not-tried: decided in shadow, which does not act",
        |series| {
            // Only what can come to count: a rung without a hand is in no policy of an agent.
            for rung in RUNGS.into_iter().filter(|rung| has_hand(*rung)) {
                for outcome in ActionOutcome::ALL
                    .into_iter()
                    .filter(|outcome| outcome.is_of(rung))
                {
                    let labels = [
                        ("rung", rung.label()),
                        ("outcome", outcome.label()),
                        ("mode", words::mode(outcome.mode())),
                    ];
                    series.count(&labels, board.actions(rung, outcome))?;
                }
            }
            Ok(())
        },
    )?;
    out.counter(
        "forestall_reclaimed_bytes",
        "What reclaims gained, as the wall's keeper counts it, what they took, and what of that was read again",
        |series| {
            for (part, bytes) in ["gained", "taken", "refaulted"].into_iter().zip(board.reclaimed()) {
                series.count(&[("part", part)], bytes)?;
            }
            Ok(())
        },
    )?;
    out.counter(
        "forestall_alarms",
        "Alarms raised, and how they were resolved",
        |series| {
            for wall in WALLS {
                for stage in AlarmStage::ALL {
                    series.count(
                        &[("wall", wall.label()), ("verdict", stage.label())],
                        board.alarms(wall, stage),
                    )?;
                }
            }
            Ok(())
        },
    )?;
    out.counter(
        "forestall_refusals",
        "Times nothing was done where something might have been expected",
        |series| {
            for wall in WALLS {
                series.count(&[("wall", wall.label())], board.refusals(wall))?;
            }
            Ok(())
        },
    )?;
    out.counter(
        "forestall_inputs_ignored",
        "Inputs, or parts of them, that could not be true and were not believed",
        |series| {
            for kind in IgnoredKind::ALL {
                series.count(&[("kind", kind.label())], board.ignored(kind))?;
            }
            Ok(())
        },
    )?;
    out.gauge(
        "forestall_cgroups",
        "Cgroups that are followed, and those that are not because there are too many",
        |series| {
            let (followed, left_out) = board.cgroups();
            for (state, count) in [("followed", followed), ("left-out", left_out)] {
                series.int(&[("state", state)], i64::try_from(count).unwrap_or(i64::MAX))?;
            }
            Ok(())
        },
    )?;
    out.counter("forestall_ticks", "Looks of the guard", |series| {
        series.count(&NO_LABELS, board.ticks_total())
    })?;
    out.histogram(
        "forestall_tick_seconds",
        "What a look took: sensing and deciding",
        &board.ticks,
    )?;
    out.histogram(
        "forestall_reaction_seconds",
        "From the order to the effect of actions that worked",
        &board.reactions,
    )?;
    out.gauge(
        "forestall_tick_gap_seconds_max",
        "The longest time between two looks",
        |series| series.float(&NO_LABELS, seconds(board.tick_gap_max())),
    )?;
    out.counter(
        "forestall_log_events_dropped",
        "Events that did not reach the log",
        |series| series.count(&NO_LABELS, board.events_dropped()),
    )?;
    out.counter("forestall_troubles", "Things the guard tried in vain", |series| {
        series.count(&NO_LABELS, board.troubles())
    })?;
    out.counter(
        "forestall_notifications",
        "Events that a program or an address was to be told of",
        |series| {
            for (way, outcome, count) in board.told.all() {
                series.count(&[("way", way), ("outcome", outcome)], count)?;
            }
            Ok(())
        },
    )?;
    out.gauge(
        "forestall_recording",
        "1 while the flight recorder keeps what the guard sees; 0: off, or it cannot (then it is degraded)",
        |series| series.int(&NO_LABELS, i64::from(board.is_recording())),
    )?;
    out.gauge("forestall_degraded", "What the agent cannot do here", |series| {
        for degraded in board.degraded() {
            series.int(&[("what", escape::text(&degraded.what))], 1)?;
        }
        Ok(())
    })
}

/// Unique within a snapshot: the path, or the inode where there was no room for the path.
fn scope_label(row: &Row<'_>) -> String {
    match row.reading.scope {
        None => "node".to_owned(),
        Some(id) if row.scope.is_empty() => format!("inode:{}", id.0),
        Some(_) => escape::bytes(row.scope),
    }
}

fn seconds(span: Span) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "beyond 2^53 microseconds, 285 years, nobody counts"
    )]
    let seconds = span.0 as f64 / 1e6;
    if span == Span::FOREVER {
        f64::INFINITY
    } else {
        seconds
    }
}

const NO_LABELS: [(&str, &str); 0] = [];

/// Metrics under their names, in as few words as possible.
struct Page<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Page<'_, '_> {
    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        fill: impl FnOnce(&mut Series<'_>) -> fmt::Result,
    ) -> fmt::Result {
        fill(&mut Series(self.0.encode_descriptor(
            name,
            help,
            None,
            MetricType::Gauge,
        )?))
    }

    /// `_total` is added to the name.
    fn counter(
        &mut self,
        name: &str,
        help: &str,
        fill: impl FnOnce(&mut Series<'_>) -> fmt::Result,
    ) -> fmt::Result {
        fill(&mut Series(self.0.encode_descriptor(
            name,
            help,
            None,
            MetricType::Counter,
        )?))
    }

    fn histogram(&mut self, name: &str, help: &str, times: &Histogram) -> fmt::Result {
        let mut encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        let (counts, sum_micros) = times.read();
        let bounds = BUCKET_BOUNDS
            .iter()
            .map(|bound| seconds(Span(*bound)))
            .chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        encoder.encode_histogram::<NoLabelSet>(seconds(Span(sum_micros)), counts.iter().sum(), &buckets, None)
    }
}

struct Series<'a>(MetricEncoder<'a>);

impl Series<'_> {
    fn int(&mut self, labels: &impl EncodeLabelSet, value: i64) -> fmt::Result {
        self.0.encode_family(labels)?.encode_gauge(&value)
    }

    fn bytes(&mut self, labels: &impl EncodeLabelSet, value: Bytes) -> fmt::Result {
        self.int(labels, i64::try_from(value.0).unwrap_or(i64::MAX))
    }

    fn float(&mut self, labels: &impl EncodeLabelSet, value: f64) -> fmt::Result {
        self.0.encode_family(labels)?.encode_gauge(&value)
    }

    fn count(&mut self, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
        self.0
            .encode_family(labels)?
            .encode_counter::<NoLabelSet, u64, u64>(&value, None)
    }
}
