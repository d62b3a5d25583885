//! The kubelet's configuration as a record.

use forestall_decide::kubelet::{KubeletConfig, Signal, Threshold};
use forestall_decide::{Bytes, Span};

use crate::code::Code;
use crate::record::{Writer, read_fields};

/// More thresholds no kubelet has: there are five signals of memory and disks, hard and soft.
const THRESHOLDS_MAX: usize = 64;

/// Appends a configuration. A field that is added to it does not compile before it is recorded.
pub(crate) fn write(config: &KubeletConfig, writer: &mut Writer<'_>) {
    let KubeletConfig {
        source,
        capacity,
        kube_reserved,
        system_reserved,
        hugepages,
        enforces_pods,
        thresholds,
        pressure_transition,
        pod_grace_max,
        single_process_oom_kill,
        swap,
    } = config;
    writer.number(1, source.code());
    writer.number(2, capacity.0);
    writer.number(3, kube_reserved.0);
    writer.number(4, system_reserved.0);
    writer.number(5, hugepages.0);
    writer.switch(6, *enforces_pods);
    for threshold in thresholds {
        writer.record(7, |writer| write_threshold(*threshold, writer));
    }
    writer.number(8, pressure_transition.0);
    writer.number(9, pod_grace_max.0);
    writer.switch(10, *single_process_oom_kill);
    writer.number(11, swap.code());
}

fn write_threshold(threshold: Threshold, writer: &mut Writer<'_>) {
    let Threshold {
        signal,
        value,
        grace,
        min_reclaim,
    } = threshold;
    writer.number(1, signal.code());
    writer.number(2, value.0);
    writer.number(3, grace.0);
    writer.number(4, min_reclaim.0);
}

/// Reads a configuration; what it does not say is as it is by default, but for the thresholds, which are all said.
pub(crate) fn read(bytes: &[u8]) -> Option<KubeletConfig> {
    let mut config = KubeletConfig {
        thresholds: Vec::new(),
        ..KubeletConfig::default()
    };
    read_fields(bytes, |tag, value| {
        match tag {
            1 => config.source = Code::of(value.number()?)?,
            2 => config.capacity = Bytes(value.number()?),
            3 => config.kube_reserved = Bytes(value.number()?),
            4 => config.system_reserved = Bytes(value.number()?),
            5 => config.hugepages = Bytes(value.number()?),
            6 => config.enforces_pods = value.switch()?,
            7 if config.thresholds.len() == THRESHOLDS_MAX => return None,
            7 => config.thresholds.push(read_threshold(value.bytes()?)?),
            8 => config.pressure_transition = Span(value.number()?),
            9 => config.pod_grace_max = Span(value.number()?),
            10 => config.single_process_oom_kill = value.switch()?,
            11 => config.swap = Code::of(value.number()?)?,
            _ => {}
        }
        Some(())
    })?;
    Some(config)
}

fn read_threshold(bytes: &[u8]) -> Option<Threshold> {
    let mut threshold = Threshold {
        signal: Signal::MemoryAvailable,
        value: Bytes::ZERO,
        grace: Span(0),
        min_reclaim: Bytes::ZERO,
    };
    read_fields(bytes, |tag, value| {
        match tag {
            1 => threshold.signal = Code::of(value.number()?)?,
            2 => threshold.value = Bytes(value.number()?),
            3 => threshold.grace = Span(value.number()?),
            4 => threshold.min_reclaim = Bytes(value.number()?),
            _ => {}
        }
        Some(())
    })?;
    Some(threshold)
}
