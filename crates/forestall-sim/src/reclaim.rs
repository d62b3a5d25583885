//! Reclaim: page cache is taken from whoever is in its scope, by shares, as far as nothing keeps it.
//!
//! It refuses to choose between reclaim and a kill; that is the kernel's part.

use forestall_decide::{Bytes, Lru, Moment, Span};

use crate::cast::State;
use crate::keep::Hold;
use crate::kernel::Scope;
use crate::memory::Part;
use crate::node::{HOST, Node};

/// `memory.reclaim` and reclaim at a limit look at so many pages of the active list for each one that is asked for.
const SCAN_PER_PAGE: u64 = 32;

/// What must be left of everybody, by pods and containers.
pub(crate) type Kept = [Vec<Bytes>];

pub(crate) fn kept_of(kept: &Kept, at: usize, index: usize) -> Bytes {
    let of_pod = kept.get(at).and_then(|pod| pod.get(index));
    of_pod.copied().unwrap_or_default()
}

/// Takes whichever is more.
fn raise(kept: &mut Kept, other: &Kept) {
    for (own, other) in kept.iter_mut().flatten().zip(other.iter().flatten()) {
        *own = (*own).max(*other);
    }
}

impl Node {
    /// Takes cache where it lies, cold first, from each by its share. Says how much it was.
    pub(crate) fn reclaim(&mut self, scope: Scope, want: Bytes, now: Moment) -> Bytes {
        let mut freed = Bytes::ZERO;
        // What is kept loosely goes once there is nothing else.
        for hold in [Hold::Low, Hold::Min] {
            let mut kept = self.kept(scope, hold, now);
            if hold == Hold::Low {
                raise(&mut kept, &self.kept(scope, Hold::Min, now));
            }
            for part in [Part::Inactive, Part::Active] {
                freed += self.reclaim_part(scope, part, &kept, want - freed, now);
            }
            if !self.spec.reserves_requests {
                break;
            }
        }
        freed
    }

    fn reclaim_part(&mut self, scope: Scope, part: Part, kept: &Kept, want: Bytes, now: Moment) -> Bytes {
        let places = self.places(scope);
        let mut freed = Bytes::ZERO;
        let there: Bytes = places
            .iter()
            .map(|(at, index)| self.cache_of(*at, *index, part, kept, now))
            .sum();
        if want == Bytes::ZERO || there == Bytes::ZERO {
            return freed;
        }
        for (at, index) in places {
            let own = self.cache_of(at, index, part, kept, now);
            let share = u128::from(want.0) * u128::from(own.0) / u128::from(there.0);
            let share = Bytes(u64::try_from(share).unwrap_or(u64::MAX)) + Bytes(1);
            if own > Bytes::ZERO && freed < want {
                let most = share.min(own).min(want - freed);
                freed += self.take_cache(at, index, part, most, now);
            }
        }
        freed
    }

    /// The cache that reclaim in this scope can get.
    pub(crate) fn takable(&self, scope: Scope, now: Moment) -> Bytes {
        let kept = self.kept(scope, Hold::Min, now);
        let one = |(at, index): (usize, usize)| {
            let memory = &self.pods[at].containers[index].memory;
            let cache = memory.sum(&Part::CACHE, now);
            cache.min(memory.sum(&Part::ALL, now) - kept_of(&kept, at, index))
        };
        self.places(scope).into_iter().map(one).sum()
    }

    pub(crate) fn places(&self, scope: Scope) -> Vec<(usize, usize)> {
        let of_pod =
            |(at, pod): (usize, &crate::cast::Pod)| (0..pod.containers.len()).map(move |index| (at, index));
        self.pods
            .iter()
            .enumerate()
            .flat_map(of_pod)
            .filter(|(at, index)| self.is_in(scope, *at, *index))
            .collect()
    }

    fn is_in(&self, scope: Scope, at: usize, index: usize) -> bool {
        match scope {
            Scope::Machine => true,
            Scope::Pods => at != HOST,
            Scope::Level(level) => at != HOST && self.pods[at].qos == level,
            Scope::Pod(pod) => at == pod,
            Scope::Container(pod, container) => (at, index) == (pod, container),
        }
    }

    fn cache_of(&self, at: usize, index: usize, part: Part, kept: &Kept, now: Moment) -> Bytes {
        let memory = &self.pods[at].containers[index].memory;
        let cache = memory.bytes(part, now);
        if kept.is_empty() {
            return cache;
        }
        cache.min(memory.sum(&Part::ALL, now) - kept_of(kept, at, index))
    }

    fn take_cache(&mut self, at: usize, index: usize, part: Part, bytes: Bytes, now: Moment) -> Bytes {
        let (taken, turn, stood) = self.change(at, index, now, |container| {
            let taken = container.memory.take(part, bytes);
            if container.is_paused() || container.is_above_high() || container.state != State::Running {
                return (taken, crate::load::Turn::Next(None), Span(0));
            }
            // Its load reckons at full pace.
            let stood = container.hasten(now);
            let turn = container.running.lose_cache(&mut container.memory, now);
            (taken, container.expect(turn), stood)
        });
        self.kernel.stall_for(stood);
        debug_assert!(turn != crate::load::Turn::Exits, "no load ends for lost cache");
        taken
    }

    /// What a written `memory.reclaim` does to one container: on the classic LRU pages are deactivated while the active list
    /// is the longer one (mm/vmscan.c, `inactive_is_low`), many more than are freed; then cold ones are freed.
    pub(crate) fn reclaim_written(&mut self, at: usize, index: usize, want: Bytes, now: Moment) -> Bytes {
        if self.spec.lru == Lru::Classic {
            self.change(at, index, now, |container| {
                let active = container.memory.bytes(Part::Active, now);
                let inactive = container.memory.bytes(Part::Inactive, now);
                let gibi = (active + inactive).0 >> 30;
                let ratio = if gibi == 0 {
                    1
                } else {
                    gibi.saturating_mul(10).isqrt()
                };
                let even = Bytes((active + inactive).0 / (ratio + 1));
                let scanned = Bytes(want.0.saturating_mul(SCAN_PER_PAGE));
                container
                    .memory
                    .shift(Part::Active, Part::Inactive, (even - inactive).min(scanned));
            });
        }
        self.reclaim(Scope::Container(at, index), want, now)
    }

    /// The cache that reclaim of the machine or of all pods cannot get.
    pub(crate) fn kept_cache(&self, scope: Scope, now: Moment) -> Bytes {
        if !self.spec.reserves_requests {
            return Bytes::ZERO;
        }
        let cache_of =
            |(at, index): (usize, usize)| self.pods[at].containers[index].memory.sum(&Part::CACHE, now);
        let cache: Bytes = self.places(scope).into_iter().map(cache_of).sum();
        cache - self.takable(scope, now)
    }
}
