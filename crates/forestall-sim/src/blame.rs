//! Who is to blame for what a node lacks, in the world's own eyes: whoever takes more and more, or much at once, beyond what it
//! requests, and who follows it.
//!
//! What a pod requests is promised to it. Who never holds more than that is innocent however fast it grows up to it, and whoever
//! takes no more than its base by itself is innocent whatever it holds. It refuses to look at what really happens: blame is settled when a pod comes.

use forestall_decide::Bytes;

use crate::cast::Container;
use crate::spec::{Load, PodSpec};

impl Load {
    /// It takes more and more, or all at once.
    const fn grows(&self) -> bool {
        matches!(self, Self::Leak { .. } | Self::Steps { .. } | Self::Burst { .. })
    }

    /// The most that it holds beside its base of what reclaim cannot free; `None` where there is no such bound. What outlives a
    /// restart (`volume`) is filled again beside what was there.
    pub(crate) fn most(&self, volume: bool) -> Option<Bytes> {
        match *self {
            Self::Steady | Self::Reader { .. } => Some(Bytes::ZERO),
            Self::Leak { total, .. } => total.filter(|_| !volume),
            // The last block is taken whole.
            Self::Steps { block, total, .. } => {
                total.map(|total| Bytes(total.0.div_ceil(block.0.max(1)).saturating_mul(block.0)))
            }
            Self::Burst { size, .. } | Self::Periodic { size, .. } => Some(size),
            Self::Heap { plateau, .. } => Some(plateau),
            Self::Follow { .. } => None,
        }
    }
}

/// What a container may come to by itself, before anybody follows anybody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    grows: bool,
    most: Option<Bytes>,
}

impl Reach {
    /// Of a load with its own random part.
    pub(crate) fn of(load: &Load, base: Bytes, volume: bool) -> Self {
        Self {
            grows: load.grows(),
            most: load.most(volume).map(|most| base + most),
        }
    }
}

/// Settles the blame of all containers of a pod, or of a host, in whatever order they stand.
pub(crate) fn settle(containers: &mut [Container], spec: &PodSpec) {
    let leaders: Vec<(usize, Option<Bytes>)> = (0..containers.len())
        .map(|index| lead(containers, index))
        .collect();
    let whole = leaders.iter().map(|(_, most)| *most).sum::<Option<Bytes>>();
    let fits_pod = whole.is_some_and(|whole| whole <= spec.requested());
    let is_guilty = |leader: usize| {
        let reach = containers.get(leader).map(|container| container.reach);
        let request = spec.containers.get(leader).map_or(Bytes::ZERO, |own| own.request);
        reach.is_some_and(|reach| reach.grows && !fits_pod && reach.most.is_none_or(|most| most > request))
    };
    let guilty: Vec<bool> = leaders.iter().map(|(leader, _)| is_guilty(*leader)).collect();
    for (container, guilty) in containers.iter_mut().zip(guilty) {
        container.is_culprit = guilty;
    }
}

/// Whom a container follows in the end, or itself, and the most that it then holds.
fn lead(containers: &[Container], index: usize) -> (usize, Option<Bytes>) {
    let (mut at, mut shares) = (index, Vec::new());
    // No circle is ever run; without this bound one would hang here.
    for _ in 0..containers.len() {
        let Some((of, permille)) = containers.get(at).and_then(|container| container.follows) else {
            break;
        };
        shares.push(permille);
        at = of;
    }
    let most = containers.get(at).and_then(|container| container.reach.most);
    let followed = |most: Bytes, permille: &u64| most.permille(*permille);
    (at, most.map(|most| shares.iter().rev().fold(most, followed)))
}
