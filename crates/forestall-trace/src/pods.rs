//! What Kubernetes said of the pods, as a record.

use forestall_decide::{
    Asks, Bytes, Cluster, Elsewhere, GroupId, Limit, Moment, Pod, PodContainer, PodUid, Pods, Span, Standing,
};

use crate::code::Code;
use crate::record::{Value, Writer, read_fields};

/// More pods, labels and containers together nobody tells of a node: an empty one takes two bytes here and some hundred in memory.
const PARTS_MAX: u32 = 1 << 16;

/// Appends everything. A field that is added does not compile before it is recorded.
pub(crate) fn write(pods: &Pods, writer: &mut Writer<'_>) {
    let Pods {
        told_at,
        list,
        cluster,
        kubelet_evictions,
    } = pods;
    writer.number(1, told_at.0);
    writer.record(2, |writer| write_cluster(*cluster, writer));
    for pod in list {
        writer.record(3, |writer| write_pod(pod, writer));
    }
    writer.number(4, *kubelet_evictions);
}

fn write_cluster(cluster: Cluster, writer: &mut Writer<'_>) {
    let Cluster {
        api,
        eviction_tokens,
        elsewhere,
    } = cluster;
    writer.switch(1, api);
    if let Some(tokens) = eviction_tokens {
        writer.number(2, u64::from(tokens));
    }
    match elsewhere {
        Elsewhere::Unknown => {}
        Elsewhere::Room(bytes) => writer.number(3, bytes.0),
        Elsewhere::Nowhere => writer.switch(4, true),
    }
}

fn write_pod(pod: &Pod, writer: &mut Writer<'_>) {
    let Pod {
        uid,
        group,
        namespace,
        name,
        labels,
        qos,
        priority,
        priority_class,
        request,
        owner,
        origin,
        grace,
        terminating_since,
        memory_volumes,
        asks,
        standing: Standing { vetoed, weight },
        containers,
    } = pod;
    writer.bytes(1, &uid.0.to_be_bytes());
    if let Some(group) = group {
        writer.number(2, group.0);
    }
    writer.bytes(3, namespace.as_bytes());
    writer.bytes(4, name.as_bytes());
    for (key, value) in labels {
        writer.record(5, |writer| {
            writer.bytes(1, key.as_bytes());
            writer.bytes(2, value.as_bytes());
        });
    }
    writer.number(6, qos.code());
    writer.signed(7, i64::from(*priority));
    writer.bytes(8, priority_class.as_bytes());
    writer.number(9, request.0);
    writer.number(10, owner.code());
    writer.number(11, origin.code());
    writer.number(12, grace.0);
    if let Some(since) = terminating_since {
        writer.number(13, since.0);
    }
    writer.number(14, memory_volumes.0);
    writer.record(15, |writer| write_asks(*asks, writer));
    for container in containers {
        writer.record(16, |writer| write_container(*container, writer));
    }
    writer.switch(17, *vetoed);
    writer.signed(18, i64::from(*weight));
}

fn write_asks(asks: Asks, writer: &mut Writer<'_>) {
    let Asks {
        opted_out,
        final_eviction,
        warning,
        growth,
        preference,
    } = asks;
    writer.switch(1, opted_out);
    writer.switch(2, final_eviction);
    if let Some(warning) = warning {
        writer.number(3, warning.0);
    }
    writer.signed(5, i64::from(preference));
    if let Some(growth) = growth {
        writer.number(6, growth.0);
    }
}

fn write_container(container: PodContainer, writer: &mut Writer<'_>) {
    let PodContainer {
        group,
        request,
        limit,
        restarts,
    } = container;
    writer.number(1, group.0);
    writer.number(2, request.0);
    if let Some(limit) = limit.bytes() {
        writer.number(3, limit.0);
    }
    writer.number(4, u64::from(restarts));
}

/// Reads everything.
pub(crate) fn read(bytes: &[u8]) -> Option<Pods> {
    let (mut pods, mut left) = (Pods::default(), PARTS_MAX);
    read_fields(bytes, |tag, value| {
        match tag {
            1 => pods.told_at = Moment(value.number()?),
            2 => pods.cluster = read_cluster(value.bytes()?)?,
            3 => pods.list.push(read_pod(value.bytes()?, &mut left)?),
            4 => pods.kubelet_evictions = value.number()?,
            _ => {}
        }
        Some(())
    })?;
    Some(pods)
}

fn read_cluster(bytes: &[u8]) -> Option<Cluster> {
    let mut cluster = Cluster::default();
    read_fields(bytes, |tag, value| {
        match tag {
            1 => cluster.api = value.switch()?,
            2 => cluster.eviction_tokens = Some(small(value)?),
            3 => cluster.elsewhere = Elsewhere::Room(Bytes(value.number()?)),
            4 => cluster.elsewhere = Elsewhere::Nowhere,
            _ => {}
        }
        Some(())
    })?;
    Some(cluster)
}

fn read_pod(bytes: &[u8], left: &mut u32) -> Option<Pod> {
    let mut pod = Pod::default();
    *left = left.checked_sub(1)?;
    read_fields(bytes, |tag, value| {
        if matches!(tag, 5 | 16) {
            *left = left.checked_sub(1)?;
        }
        match tag {
            1 => pod.uid = PodUid(u128::from_be_bytes(value.bytes()?.try_into().ok()?)),
            2 => pod.group = Some(GroupId(value.number()?)),
            3 => pod.namespace = value.text()?,
            4 => pod.name = value.text()?,
            5 => pod.labels.push(read_label(value.bytes()?)?),
            6 => pod.qos = Code::of(value.number()?)?,
            7 => pod.priority = signed(value)?,
            8 => pod.priority_class = value.text()?,
            9 => pod.request = Bytes(value.number()?),
            10 => pod.owner = Code::of(value.number()?)?,
            11 => pod.origin = Code::of(value.number()?)?,
            12 => pod.grace = Span(value.number()?),
            13 => pod.terminating_since = Some(Moment(value.number()?)),
            14 => pod.memory_volumes = Bytes(value.number()?),
            15 => pod.asks = read_asks(value.bytes()?)?,
            16 => pod.containers.push(read_container(value.bytes()?)?),
            17 => pod.standing.vetoed = value.switch()?,
            18 => pod.standing.weight = signed(value)?,
            _ => {}
        }
        Some(())
    })?;
    Some(pod)
}

fn read_label(bytes: &[u8]) -> Option<(Box<str>, Box<str>)> {
    let mut label: (Box<str>, Box<str>) = ("".into(), "".into());
    read_fields(bytes, |tag, value| {
        match tag {
            1 => label.0 = value.text()?,
            2 => label.1 = value.text()?,
            _ => {}
        }
        Some(())
    })?;
    Some(label)
}

fn read_asks(bytes: &[u8]) -> Option<Asks> {
    let mut asks = Asks::default();
    read_fields(bytes, |tag, value| {
        match tag {
            1 => asks.opted_out = value.switch()?,
            2 => asks.final_eviction = value.switch()?,
            3 => asks.warning = Some(Span(value.number()?)),
            // Recordings from before there was a bound say only that there is a wish.
            4 if value.switch()? => asks.growth = Some(Bytes(u64::MAX)),
            5 => asks.preference = signed(value)?,
            6 => asks.growth = Some(Bytes(value.number()?)),
            _ => {}
        }
        Some(())
    })?;
    Some(asks)
}

fn read_container(bytes: &[u8]) -> Option<PodContainer> {
    let mut container = PodContainer {
        group: GroupId(0),
        request: Bytes::ZERO,
        limit: Limit::Max,
        restarts: 0,
    };
    read_fields(bytes, |tag, value| {
        match tag {
            1 => container.group = GroupId(value.number()?),
            2 => container.request = Bytes(value.number()?),
            3 => container.limit = Limit::Bytes(Bytes(value.number()?)),
            4 => container.restarts = small(value)?,
            _ => {}
        }
        Some(())
    })?;
    Some(container)
}

fn small(value: Value<'_>) -> Option<u32> {
    u32::try_from(value.number()?).ok()
}

fn signed(value: Value<'_>) -> Option<i32> {
    i32::try_from(value.signed()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_empty_pods_labels_and_containers_no_more_are_read_than_a_node_has() {
        let written = |tag: u64, pods: u32, in_each: u32| {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out);
            for _ in 0..pods {
                writer.record(3, |pod| (0..in_each).for_each(|_| pod.record(tag, |_| ())));
            }
            read(&out).map(|pods| pods.list.len())
        };
        assert_eq!(written(5, PARTS_MAX, 0), Some(PARTS_MAX as usize));
        assert_eq!(written(5, PARTS_MAX + 1, 0), None);
        for tag in [5, 16] {
            assert_eq!(written(tag, 2, PARTS_MAX / 2 - 1), Some(2));
            assert_eq!(written(tag, 2, PARTS_MAX / 2), None);
        }
    }
}
