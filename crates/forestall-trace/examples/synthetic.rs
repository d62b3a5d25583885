//! Writes a made-up trace, for measuring: `synthetic FILE PODS SECONDS`. One look a second at pods of one container each, of
//! which a few read files, some allocate and free, and one leaks a little; the same arguments give the same bytes.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use forestall_decide::{
    Bytes, GroupId, GroupKind, GroupSample, Input, Limit, Moment, NodeSample, Policy, Qos, Sample, Span,
    Stall,
};
use forestall_trace::{Encoder, Names, Origin};

const GIB: u64 = 1 << 30;
const PAGE: u64 = 4096;

/// Xorshift (Marsaglia 2003): enough to make figures move.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(pods), Some(seconds)) = (
        arguments.next(),
        arguments.next().and_then(|pods| pods.parse().ok()),
        arguments.next().and_then(|seconds| seconds.parse().ok()),
    ) else {
        return Err(io::Error::other("usage: synthetic FILE PODS SECONDS"));
    };
    let mut file = BufWriter::new(File::create(path)?);
    write_trace(pods, seconds, &mut file)?;
    file.flush()
}

fn write_trace(pods: u64, seconds: u64, file: &mut impl Write) -> io::Result<()> {
    let origin = Origin {
        run: 1,
        node: "synthetic".into(),
        ..Origin::default()
    };
    let mut encoder = Encoder::new(origin, Policy::default());
    let mut out = Vec::new();
    let mut sample = begin(pods);
    encoder.name(&name(&sample));
    encoder.open_segment(Moment(0), 1_795_255_200_000_000, &mut out);
    let mut random = Random(1);
    for second in 1..=seconds {
        move_on(&mut sample, &mut random);
        // A timer is late by some tens of microseconds.
        let at = Moment(second * 1_000_000 + random.below(80));
        encoder.input(at, Input::Sample(&sample), &mut out);
        file.write_all(&out)?;
        out.clear();
    }
    Ok(())
}

fn begin(pods: u64) -> Sample {
    let group = |id, parent, kind| GroupSample {
        id: GroupId(id),
        parent,
        kind,
        leaf: matches!(kind, GroupKind::Container(_)),
        populated: true,
        stall: Some(Stall::default()),
        ..GroupSample::default()
    };
    let mut groups = vec![
        group(1, None, GroupKind::Kubepods),
        group(2, Some(0), GroupKind::Qos(Qos::Burstable)),
    ];
    for pod in 0..pods {
        let parent = u32::try_from(groups.len()).unwrap_or(u32::MAX);
        groups.push(group(100 + 2 * pod, Some(1), GroupKind::Pod(Qos::Burstable)));
        let mut container = group(101 + 2 * pod, Some(parent), GroupKind::Container(Qos::Burstable));
        container.limit = Limit::Bytes(Bytes::mebi(512));
        container.anon = Bytes::mebi(100);
        container.active_file = Bytes::mebi(50);
        groups.push(container);
    }
    Sample {
        node: NodeSample {
            total: Bytes(64 * GIB),
            cpus: 16,
            stall: Some(Stall::default()),
            kubelet_present: true,
            ..NodeSample::default()
        },
        groups,
        processes: Vec::new(),
    }
}

fn name(sample: &Sample) -> Names {
    let mut names = Names::default();
    for group in &sample.groups {
        names.name_group(
            group.id,
            format!("/kubepods.slice/{:064x}", group.id.0).as_bytes(),
        );
    }
    names
}

/// One second: most containers move by some pages, one in ten by more.
fn move_on(sample: &mut Sample, random: &mut Random) {
    let mut all = Bytes::ZERO;
    let mut anon = Bytes::ZERO;
    for group in sample.groups.iter_mut().filter(|group| group.leaf) {
        let step = Bytes(random.below(20) * PAGE);
        match random.below(10) {
            0..=3 => {}
            4..=6 => group.anon += step,
            7 => group.anon = group.anon - step - step - step,
            8 => group.inactive_file += step,
            _ => {
                group.active_file += step;
                group.inactive_file = group.inactive_file - step;
                if let Some(stall) = &mut group.stall {
                    stall.some_micros += random.below(500);
                }
            }
        }
        group.slab_reclaimable = Bytes(2_000_000 + random.below(50) * 200);
        group.current = group.anon + group.active_file + group.inactive_file + group.slab_reclaimable;
        all += group.current;
        anon += group.anon;
    }
    // A pod's figures are those of its one container; what lies above has the sum.
    for index in 2..sample.groups.len() {
        let Some(parent) = sample.groups.get(index).filter(|group| group.leaf).copied() else {
            continue;
        };
        if let Some(pod) = index.checked_sub(1).and_then(|at| sample.groups.get_mut(at)) {
            let (id, kind, above) = (pod.id, pod.kind, pod.parent);
            *pod = GroupSample {
                id,
                kind,
                parent: above,
                leaf: false,
                limit: Limit::Max,
                ..parent
            };
        }
    }
    for group in sample.groups.iter_mut().take(2) {
        (group.current, group.anon) = (all, anon);
    }
    let node = &mut sample.node;
    node.anon = anon;
    node.cached = all - anon;
    node.free = node.total - all;
    node.available = node.free + node.cached;
    node.wake_late = Span(random.below(80));
    node.sample_cost = Span(700 + random.below(200));
    node.sample_processor = Some(Span(600 + random.below(100)));
}
