//! The world as the kernel's counters show it.

use forestall_decide::{
    Bytes, GroupId, GroupKind, GroupSample, Limit, NodeSample, ProcessId, ProcessSample, Sample, Span, Stall,
};

use super::{KUBEPODS, SERVICE, World};

impl World {
    pub(crate) fn sample(&self) -> Sample {
        let mut groups = Vec::new();
        let anon: u64 = self.containers.iter().map(|one| one.anon + one.left).sum();
        let file: u64 = self.containers.iter().map(|container| container.file).sum();
        let stall = Some(Stall {
            some_micros: self.stall_micros,
            full_micros: self.stall_micros,
        });
        groups.push(group(
            KUBEPODS,
            None,
            GroupKind::Kubepods,
            anon,
            file,
            self.kubepods_limit,
            stall,
        ));
        for container in &self.containers {
            let pod = GroupId(container.id.0 + 1000);
            let at = u32::try_from(groups.len()).expect("few");
            let (anon, file, qos) = (container.anon, container.file, container.qos);
            let mut whole = group(
                pod,
                Some(0),
                GroupKind::Pod(qos),
                anon + container.left,
                file,
                Limit::Max,
                None,
            );
            let mut leaf = group(
                container.id,
                Some(at),
                GroupKind::Container(qos),
                anon,
                file,
                container.limit,
                None,
            );
            leaf.leaf = true;
            leaf.populated = container.anon > 0;
            leaf.protection = container.protection;
            if container.in_volume {
                for group in [&mut whole, &mut leaf] {
                    group.shmem = core::mem::take(&mut group.anon);
                }
            }
            groups.extend([whole, leaf]);
        }
        let mut service = group(
            SERVICE,
            None,
            GroupKind::Host,
            self.host_anon,
            0,
            Limit::Max,
            None,
        );
        service.leaf = true;
        groups.push(service);
        let used = anon + self.host_anon;
        let free = self.total.saturating_sub(used + file);
        let node = NodeSample {
            total: Bytes(self.total),
            free: Bytes(free),
            available: Bytes((free + file).saturating_sub(self.total / 100)),
            anon: Bytes(used),
            cached: Bytes(file),
            active_file: Bytes(file),
            watermark_min: Bytes(self.total / 200),
            watermark_high: Bytes(self.total / 100),
            stall,
            oom_kills: self.kernel_kills,
            kubelet_present: self.kubelet,
            cpus: 2,
            wake_late: self.wake_late,
            sample_cost: Span(500),
            ..NodeSample::default()
        };
        let processes = if self.host_process {
            vec![ProcessSample {
                id: ProcessId {
                    pid: 77,
                    start_ticks: 5,
                },
                group: Some(SERVICE),
                unreclaimable: Bytes(self.host_anon),
                read_at: self.now,
                protection: None,
            }]
        } else {
            Vec::new()
        };
        Sample {
            node,
            groups,
            processes,
        }
    }
}

fn group(
    id: GroupId,
    parent: Option<u32>,
    kind: GroupKind,
    anon: u64,
    file: u64,
    limit: Limit,
    stall: Option<Stall>,
) -> GroupSample {
    GroupSample {
        id,
        parent,
        kind,
        leaf: false,
        populated: true,
        protection: None,
        limit,
        current: Bytes(anon + file),
        anon: Bytes(anon),
        active_file: Bytes(file),
        stall,
        ..GroupSample::default()
    }
}
