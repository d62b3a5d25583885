//! Which pod, where the culprit is not enough of an answer: ranked, with a reason for everybody who is passed over.
//!
//! Usage comes from the sample, everything else from what Kubernetes says. It refuses to count memory that would not come
//! back: page cache is not, and of a killed container neither is shared memory.

use core::cmp::Reverse;
use std::collections::BTreeMap;

use crate::decision::WhyNot;
use crate::flight::Flights;
use crate::input::{GroupId, GroupKind, GroupSample, Protection, Sample};
use crate::pods::{Elsewhere, Owner, Pod, Pods};
use crate::policy::Victims;
use crate::roster::Roster;
use crate::rule::{Rule, holds};
use crate::rung::Rung;
use crate::tree::{children, is_within, lineage};
use crate::units::{Bytes, Moment, Span};
use crate::{Target, pods};

/// Pods older than this are no knowledge (rule 6).
pub(crate) const FRESH: Span = Span::secs(60);
/// A terminating pod is thought to go within its grace period and this; later its memory is on nobody's way.
const CLEANUP: Span = Span::secs(10);

/// A pod that is seen in the sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) group: &'a GroupSample,
    index: usize,
}

impl<'a> Candidate<'a> {
    /// The pod as an action's target.
    pub(crate) const fn target(&self) -> Target {
        Target::Group(self.group.id)
    }

    /// What its eviction gives back: everything it holds that is not page cache; its memory-backed volumes go with it.
    pub(crate) fn freed_by_eviction(&self) -> Bytes {
        self.group.anon + self.group.shmem
    }

    /// What it holds is what Kubernetes has promised it, as the kubelet counts both.
    fn is_within_request(&self) -> bool {
        self.group.working_set() <= self.pod.request
    }

    /// How far it may still grow by what Kubernetes has promised it; nothing where it holds more than that already.
    pub(crate) fn left_of_request(&self) -> Option<Bytes> {
        let used = self.group.working_set();
        self.is_within_request().then(|| self.pod.request - used)
    }

    /// Whether the wall is beyond what Kubernetes has promised it: it keeps within its request, and growing up to that leads no further
    /// than there.
    pub(crate) fn has_room_within_request(&self, distance: Bytes) -> bool {
        self.left_of_request().is_some_and(|left| left <= distance)
    }

    /// The container that a kill would end: of those who `grow`, or else of all, the one that holds most.
    pub(crate) fn largest_container(
        &self,
        sample: &'a Sample,
        grows: impl Fn(GroupId) -> bool,
    ) -> Option<&'a GroupSample> {
        children(sample, self.index)
            .filter(|group| group.leaf && group.populated)
            .filter(|group| group.protection.is_none() || !holds(Rule::Protected))
            .max_by_key(|group| (grows(group.id), group.unreclaimable(), Reverse(group.id)))
    }

    /// Smaller goes first. The kubelet's comparator (k/k `pkg/kubelet/eviction/helpers.go`, `rankMemoryPressure`), behind
    /// what the operator prefers.
    fn order(&self, victims: Victims) -> Order {
        let used = self.group.working_set();
        let within = i64::from(self.is_within_request());
        let excess = signed(used).saturating_sub(signed(self.pod.request));
        let priority = i64::from(self.pod.priority);
        let weight = Reverse(self.pod.standing.weight);
        match victims {
            Victims::Culprit | Victims::Kubelet => (weight, within, priority, Reverse(excess), self.pod.uid),
            Victims::Priority => (weight, priority, within, Reverse(signed(used)), self.pod.uid),
        }
    }
}

/// What pods are ranked by.
type Order = (Reverse<i32>, i64, i64, Reverse<i64>, pods::PodUid);

/// The part of it by which one pod matters more than another, whatever they hold.
pub(crate) type Class = (Reverse<i32>, i64, i64);

/// A pod's rank, reckoned once, and its place in `pods.list`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranked {
    order: Order,
    pub(crate) place: u32,
}

impl Ranked {
    /// Among equals of this it does not matter who goes first.
    pub(crate) const fn class(self) -> Class {
        (self.order.0, self.order.1, self.order.2)
    }
}

fn signed(bytes: Bytes) -> i64 {
    i64::try_from(bytes.0).unwrap_or(i64::MAX)
}

impl Pods {
    /// Whether this was true lately enough to act upon.
    pub(crate) fn is_fresh(&self, now: Moment) -> bool {
        self.told_at <= now && now.since(self.told_at) <= FRESH && !self.list.is_empty()
    }

    /// They were told once, and nobody has said for a while whether that is still so.
    pub(crate) fn is_old(&self, now: Moment) -> bool {
        self.told_at > Moment(0) && (self.told_at > now || now.since(self.told_at) > FRESH)
    }

    /// The pod that a cgroup belongs to: its own or a container's.
    pub(crate) fn owning<'a>(&'a self, sample: &'a Sample, target: Target) -> Option<Candidate<'a>> {
        let Target::Group(id) = target else { return None };
        let index = position(sample, id)?;
        lineage(sample, index).find_map(|claimed| {
            let pod = self
                .list
                .iter()
                .find(|pod| pod.claims().any(|id| id == claimed.id))?;
            let is_pods = |group: &&GroupSample| matches!(group.kind, GroupKind::Pod(_));
            let seen = pod.group.filter(|id| position(sample, *id).is_some());
            // A pod whose own cgroup nobody has told yet is known by its containers'.
            let id = seen.or_else(|| Some(lineage(sample, position(sample, claimed.id)?).find(is_pods)?.id));
            let index = position(sample, id.unwrap_or(claimed.id))?;
            let group = sample.groups.get(index)?;
            Some(Candidate { pod, group, index })
        })
    }

    /// Of pods that claim the same cgroup nobody knows whose it is: if one of them may not be touched, none is. Returns how many
    /// claim what another one before them does.
    pub(crate) fn settle_claims(&mut self) -> u32 {
        let mut first = BTreeMap::new();
        let mut shared = Vec::new();
        for (at, pod) in self.list.iter().enumerate() {
            let owners = pod.claims().map(|id| *first.entry(id).or_insert(at));
            shared.extend(owners.filter(|owner| *owner != at).map(|owner| [owner, at]));
        }
        let spares = |list: &[Pod], at: usize| list.get(at).is_some_and(|pod| is_free(pod).is_err());
        let one_alone = |list: &[Pod], [one, other]: [usize; 2]| spares(list, one) != spares(list, other);
        while let Some(pair) = shared.iter().find(|pair| one_alone(&self.list, **pair)) {
            for at in pair {
                if let Some(pod) = self.list.get_mut(*at) {
                    pod.standing.vetoed = true;
                }
            }
        }
        shared.dedup_by_key(|[_, at]| *at);
        u32::try_from(shared.len()).unwrap_or(u32::MAX)
    }
}

fn position(sample: &Sample, id: GroupId) -> Option<usize> {
    sample.groups.iter().position(|group| group.id == id)
}

/// Fills `ranked` with all pods within `scope`, those that go first in front.
pub(crate) fn rank(
    sample: &Sample,
    roster: &Roster,
    pods: &Pods,
    scope: Option<GroupId>,
    victims: Victims,
    ranked: &mut Vec<Ranked>,
) {
    ranked.clear();
    let places = 0..u32::try_from(pods.list.len()).unwrap_or(u32::MAX);
    let seen = places.filter_map(|place| Some((candidate(sample, roster, pods, place)?, place)));
    let within = seen.filter(|(it, _)| is_within(sample, it.index, scope));
    ranked.extend(within.map(|(it, place)| Ranked {
        order: it.order(victims),
        place,
    }));
    ranked.sort_unstable_by_key(|ranked| ranked.order);
}

/// The pod at this place, if it is seen in the sample.
pub(crate) fn candidate<'a>(
    sample: &'a Sample,
    roster: &Roster,
    pods: &'a Pods,
    place: u32,
) -> Option<Candidate<'a>> {
    let pod = pods.list.get(place as usize)?;
    let index = roster.place(pod.group?)?;
    let group = sample.groups.get(index)?;
    Some(Candidate { pod, group, index })
}

/// Whether more than half of the pods beside it that may go at all would go sooner: by what the operator prefers, and then by their
/// priority.
pub(crate) fn matters_more(roster: &Roster, pods: &Pods, it: &Candidate<'_>) -> bool {
    let sooner = |pod: &Pod| (Reverse(pod.standing.weight), pod.priority);
    let is_seen = |pod: &&Pod| pod.group.and_then(|group| roster.place(group)).is_some();
    let beside = pods.list.iter().filter(is_seen);
    let beside = beside.filter(|pod| pod.uid != it.pod.uid && is_free(pod).is_ok());
    let (all, before) = beside.fold((0_usize, 0_usize), |(all, before), pod| {
        (all + 1, before + usize::from(sooner(pod) < sooner(it.pod)))
    });
    before * 2 > all
}

/// Whether a pod may be touched at all, however old the news of it are (rule 5).
pub(crate) fn may_touch(it: &Candidate<'_>) -> Result<(), WhyNot> {
    match it.group.protection.filter(|_| holds(Rule::Protected)) {
        Some(Protection::StaticPod) => return Err(WhyNot::Critical),
        Some(why) => return Err(WhyNot::Protected(why)),
        None => {}
    }
    is_free(it.pod)
}

/// Whether what is known of a pod lets it be touched.
fn is_free(pod: &Pod) -> Result<(), WhyNot> {
    if pod.standing.vetoed && holds(Rule::OptOut) {
        return Err(WhyNot::OptedOut);
    }
    if pod.is_critical() && holds(Rule::Critical) {
        return Err(WhyNot::Critical);
    }
    match pod.owner {
        Owner::DaemonSet if holds(Rule::DaemonSet) => Err(WhyNot::DaemonSet),
        Owner::Nobody if !pod.asks.final_eviction && holds(Rule::Naked) => Err(WhyNot::NobodyBringsItBack),
        Owner::Nobody | Owner::Controller | Owner::DaemonSet => Ok(()),
    }
}

/// Whether it may be evicted now, if the effect has to be there within `runway`.
pub(crate) fn may_evict(
    it: &Candidate<'_>,
    pods: &Pods,
    flights: &Flights,
    runway: Span,
    effect: Span,
) -> Result<(), WhyNot> {
    may_touch(it)?;
    let pod = it.pod;
    let cluster = &pods.cluster;
    if pod.terminating_since.is_some() && holds(Rule::Terminating) {
        return Err(WhyNot::Terminating);
    }
    if pod.group.is_none() {
        return Err(WhyNot::Unseen);
    }
    if (!cluster.api || flights.has_server_failed()) && holds(Rule::ApiAway) {
        return Err(WhyNot::ApiAway);
    }
    let target = it.target();
    if flights.is_blocked(target) && holds(Rule::Blocked) {
        return Err(WhyNot::Blocked);
    }
    if flights.concerns(Rung::Evict, target) && (holds(Rule::Blocked) || !flights.is_blocked(target)) {
        return Err(WhyNot::Tried);
    }
    let spent = if holds(Rule::OneAToken) {
        flights.evictions_since(pods.told_at)
    } else {
        0
    };
    if cluster
        .eviction_tokens
        .is_some_and(|tokens| spent >= tokens as usize)
        && holds(Rule::Token)
    {
        return Err(WhyNot::NoToken);
    }
    let has_place = match cluster.elsewhere {
        Elsewhere::Unknown => true,
        // It brings along what it holds, and not only what it asked for.
        Elsewhere::Room(bytes) => pod.request.max(it.group.working_set()) <= bytes,
        Elsewhere::Nowhere => false,
    };
    if !has_place && holds(Rule::PlaceToGo) {
        return Err(WhyNot::NowhereToGo);
    }
    if pod.grace + effect > runway && holds(Rule::GraceFits) {
        return Err(WhyNot::GraceTooLong);
    }
    Ok(())
}

/// Memory within `scope` that terminating pods give back by the end of their grace periods, as far as that comes `within` so long.
pub(crate) fn on_its_way(
    sample: &Sample,
    pods: &Pods,
    scope: Option<GroupId>,
    now: Moment,
    within: Span,
) -> Bytes {
    pods.list
        .iter()
        .filter(|pod| {
            // A deletion timestamp lies ahead by the grace period. What lies further ahead is another clock's, and says nothing.
            pod.terminating_since.is_some_and(|since| {
                let ends_at = if since > now { since } else { since + pod.grace };
                now <= ends_at + CLEANUP
                    && ends_at.since(now) <= within
                    && since.since(now) <= pod.grace + CLEANUP
            })
        })
        .filter_map(|pod| position(sample, pod.group?))
        .filter(|index| is_within(sample, *index, scope))
        .filter_map(|index| sample.groups.get(index))
        .map(|group| group.anon + group.shmem)
        .sum()
}
