//! Crowds in random worlds: many small pods that matter less than all others, beside heaps that grow together and stop by themselves.
//!
//! There an agent is tempted to end one small pod after the other for growth that none of them explains, and that may come to nothing. It refuses
//! to be sparing with either: what a cluster has on a bad day a world has here from the start.

use forestall_decide::{Bytes, BytesPerSecond, Moment, Owner, Span};

use crate::memory::Part;
use crate::random::Random;
use crate::spec::{ContainerSpec, Load, NodeSpec, Place, PodSpec, World};

/// Worlds of smaller seeds are what they were when they showed something.
const FROM: u64 = 840_000;
/// So many of the other pods stay.
const OTHERS: usize = 3;
/// How long somebody may take for his end.
const GRACES: [u64; 4] = [0, 5, 30, 300];

/// Puts a crowd into one world of three.
pub(crate) fn fill(world: &mut World, random: &mut Random) {
    if world.seed < FROM || random.below(3) != 0 {
        return;
    }
    let memory = world.nodes.first().map(|node| node.memory).unwrap_or_default();
    for node in world.nodes.iter_mut().take(1) {
        stand_back(node, random);
    }
    world.nodes.push(NodeSpec {
        agent: false,
        ..NodeSpec::plain("spare", Bytes(memory.0.saturating_mul(2)))
    });
    world.pods.truncate(OTHERS);
    for index in 0..=random.below(2) {
        world.pods.push(small(index, random, memory));
    }
    let count = 2 + random.below(5);
    world.pods.push(heaps(count, random, memory));
}

/// Leaves it to the agent: no budget, room elsewhere, and in two worlds of three a kubelet that evicts in the last hundredth.
fn stand_back(node: &mut NodeSpec, random: &mut Random) {
    node.eviction_tokens = None;
    let late = node.memory.permille(10);
    let thresholds = node
        .kubelet
        .iter_mut()
        .flat_map(|kubelet| &mut kubelet.thresholds);
    if random.below(3) > 0 {
        thresholds.for_each(|threshold| threshold.value = late);
    }
}

/// Five to forty small pods, each with up to a hundredth of the machine.
fn small(index: u64, random: &mut Random, memory: Bytes) -> PodSpec {
    let base = memory.permille(1 + random.below(10));
    let grace = grace(random);
    let container = ContainerSpec {
        base,
        request: if random.below(2) == 0 { Bytes::ZERO } else { base },
        ..ContainerSpec::plain("app")
    };
    PodSpec {
        count: u32::try_from(5 + random.below(36)).unwrap_or(5),
        priority: -100,
        // Some end at once, and some take all the time they have.
        term: Span::millis(random.below(1 + grace.as_millis())),
        grace,
        ..pod(&format!("small{index}"), container)
    }
}

/// A few heaps that fill a third of the machine to all of it together, and then stop.
fn heaps(count: u64, random: &mut Random, memory: Bytes) -> PodSpec {
    let total = Bytes(memory.permille(300 + random.below(800)).0 / count);
    let secs = 60 + random.below(400);
    let load = Load::Leak {
        part: Part::Anon,
        rate: BytesPerSecond(total.0 / secs),
        total: Some(total),
        delay: Span::secs(random.below(60)),
    };
    let container = ContainerSpec {
        load,
        // In half of them no more than was promised, so that nobody is to blame.
        request: if random.below(2) == 0 { total } else { Bytes::ZERO },
        jitter_permille: random.below(100),
        ..ContainerSpec::plain("app")
    };
    PodSpec {
        count: u32::try_from(count).unwrap_or(2),
        priority: 100,
        grace: grace(random),
        start: Moment(random.below(60_000_000)),
        ..pod("heap", container)
    }
}

fn pod(name: &str, container: ContainerSpec) -> PodSpec {
    PodSpec {
        place: Place::Node(0),
        owner: Owner::Controller,
        ..PodSpec::plain(name, vec![container])
    }
}

fn grace(random: &mut Random) -> Span {
    let nth = usize::try_from(random.below(4)).unwrap_or(0);
    Span::secs(GRACES.get(nth).copied().unwrap_or(30))
}
