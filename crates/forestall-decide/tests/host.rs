//! Whom of the host's own, where the processes of a service do not show its growth.

mod world;

use forestall_decide::{
    ActionId, Bytes, Engine, GroupId, Input, Moment, Outcome, OutcomeKind, ProcessId, ProcessSample,
    Protection, Refusal, RefusalReason, Rung, Span, Target,
};
use world::{MIB, SERVICE, World, enforcing};

/// A service whose processes each hold as much as they are said to, whatever is charged to their cgroup.
struct Daemon {
    world: World,
    engine: Engine,
    members: Vec<ProcessSample>,
    is_populated: bool,
    protection: Option<Protection>,
}

const fn process(pid: u32, start_ticks: u64) -> ProcessId {
    ProcessId { pid, start_ticks }
}

fn member(id: ProcessId, bytes: u64) -> ProcessSample {
    ProcessSample {
        id,
        group: Some(SERVICE),
        unreclaimable: Bytes(bytes),
        read_at: Moment(0),
        protection: None,
    }
}

impl Daemon {
    fn new(world: World, members: &[ProcessId]) -> Self {
        Self {
            world,
            engine: enforcing(),
            members: members.iter().map(|id| member(*id, MIB)).collect(),
            is_populated: true,
            protection: None,
        }
    }

    /// One look, and growth until the next.
    fn look(&mut self) {
        let now = self.world.now;
        let mut sample = self.world.sample();
        sample.processes.clone_from(&self.members);
        for process in &mut sample.processes {
            process.read_at = now;
        }
        for group in sample.groups.iter_mut().filter(|group| group.id == SERVICE) {
            (group.populated, group.protection) = (self.is_populated, self.protection);
        }
        let decision = self.engine.step(now, Input::Sample(&sample));
        let ordered = decision.actions.iter().map(|action| (now, *action));
        self.world.ordered.extend(ordered);
        self.world.refused.extend_from_slice(decision.refusals);
        let wake = decision.wake_in;
        self.world.grow(wake);
    }

    fn look_until(&mut self, span: Span, mut is_over: impl FnMut(&mut Self) -> bool) {
        let end = self.world.now + span;
        while self.world.now < end && !is_over(self) {
            self.look();
        }
    }

    fn last_order(&self) -> Option<ActionId> {
        self.world.ordered.last().map(|(_, action)| action.id)
    }

    /// The last order has done what it should.
    fn report(&mut self) {
        let outcome = Outcome {
            action: self.last_order().expect("an order"),
            rung: Rung::Kill,
            kind: OutcomeKind::Done,
            freed: Bytes::mebi(1),
            took: Span::millis(50),
            rest: Span(0),
        };
        self.engine.step(self.world.now, Input::Outcome(&outcome));
    }
}

fn names_the_service(refusal: &Refusal) -> bool {
    let culprit = refusal.evidence.reading.culprit;
    culprit.is_some_and(|culprit| culprit.target == Target::Group(SERVICE))
}

fn growing(rate_mebi: u64) -> World {
    let mut world = World::new(1024, 760);
    world.container(1, 200);
    world.host_rate = rate_mebi * MIB;
    world
}

#[test]
fn a_service_whose_growth_no_process_shows_is_ended_by_its_oldest_process() {
    let members = [process(300, 9), process(302, 5), process(301, 7)];
    let mut daemon = Daemon::new(growing(60), &members);
    daemon.look_until(Span::secs(60), |daemon| !daemon.world.ordered.is_empty());
    assert_eq!(daemon.world.killed(), [Target::Process(process(302, 5))]);
}

#[test]
fn of_children_that_come_one_after_another_their_parent_is_ended() {
    const EACH: u64 = 4 * MIB;
    let mut daemon = Daemon::new(growing(40), &[process(300, 5)]);
    daemon.look_until(Span::secs(60), |daemon| {
        let children = u32::try_from(daemon.world.host_anon / EACH).expect("few");
        while daemon.members.len() <= children as usize {
            let number = u32::try_from(daemon.members.len()).expect("few");
            // Numbers have begun anew: the parent's is the largest.
            let id = process(100 + number, 100 + u64::from(number));
            daemon.members.push(member(id, EACH));
        }
        !daemon.world.ordered.is_empty()
    });
    assert_eq!(daemon.world.killed(), [Target::Process(process(300, 5))]);
}

#[test]
fn a_file_that_outlives_its_writer_on_the_host_costs_nobody_else() {
    let mut daemon = Daemon::new(growing(60), &[process(300, 5)]);
    daemon.world.container(2, 20);
    daemon.look_until(Span::secs(60), |daemon| !daemon.world.ordered.is_empty());
    assert_eq!(daemon.world.killed(), [Target::Process(process(300, 5))]);
    daemon.members.clear();
    (daemon.is_populated, daemon.world.host_rate) = (false, 0);
    daemon.report();
    daemon.world.refused.clear();
    // Somebody else takes what is left.
    daemon.world.of(2).rate = MIB;
    daemon.look_until(Span::secs(60), |daemon| {
        daemon.world.sample().node.free == Bytes::ZERO
    });
    assert_eq!(daemon.world.killed().len(), 1);
    let refused = &daemon.world.refused;
    let named =
        |refusal: &&Refusal| refusal.reason == RefusalReason::NothingToKill && names_the_service(refusal);
    assert!(
        refused.iter().any(|refusal| named(&refusal)),
        "{:?}",
        refused.last()
    );
}

#[test]
fn a_second_one_ends_for_its_service_only_when_the_effect_of_the_first_is_known() {
    let mut world = World::new(16_384, 12_000);
    world.container(1, 11_000);
    world.host_anon = 3_000 * MIB;
    world.host_rate = 60 * MIB;
    let mut daemon = Daemon::new(world, &[process(300, 5), process(301, 7), process(302, 9)]);
    daemon.look_until(Span::secs(120), |daemon| !daemon.world.ordered.is_empty());
    // It is gone, nobody has said so yet, and the growth goes on up to the wall.
    daemon.members.remove(0);
    daemon.look_until(Span::secs(20), |daemon| {
        daemon.world.sample().node.available == Bytes::ZERO
    });
    assert_eq!(daemon.world.killed(), [Target::Process(process(300, 5))]);
    daemon.report();
    daemon.world.host_anon -= 600 * MIB;
    daemon.look_until(Span::secs(60), |daemon| daemon.world.killed().len() > 1);
    let both = [process(300, 5), process(301, 7)].map(Target::Process);
    assert_eq!(daemon.world.killed(), both);
}

#[test]
fn nobody_stands_for_a_cgroup_in_which_unrelated_programs_live() {
    for name in ["session", "shared", "deserted"] {
        let mut daemon = Daemon::new(growing(60), &[process(300, 5), process(301, 7)]);
        match name {
            "session" => daemon.members[0].protection = Some(Protection::NodeAgent),
            "shared" => daemon.protection = Some(Protection::Shared),
            _ => daemon.is_populated = false,
        }
        daemon.look_until(Span::secs(60), |daemon| {
            daemon.world.sample().node.free == Bytes::ZERO
        });
        assert_eq!(daemon.world.killed(), [], "{name}");
        let refused = daemon.world.refused.last().expect("a refusal");
        assert!(names_the_service(refused), "{name}: {refused:?}");
    }
}

#[test]
fn whoever_stands_for_a_service_needs_four_fifths_of_the_growth_even_where_the_pods_are_known() {
    for (rate, expected) in [(45, vec![]), (5, vec![Target::Process(process(300, 5))])] {
        let mut daemon = Daemon::new(growing(60), &[process(300, 5)]);
        daemon.world.container(2, 20).rate = rate * MIB;
        daemon.world.pod(2).owner = forestall_decide::Owner::DaemonSet;
        daemon.world.pod(1).owner = forestall_decide::Owner::DaemonSet;
        daemon.look_until(Span::secs(60), |daemon| {
            daemon.world.tell_once(&mut daemon.engine);
            daemon.world.sample().node.free == Bytes::ZERO || !daemon.world.killed().is_empty()
        });
        assert_eq!(daemon.world.killed(), expected, "beside {rate} MiB/s");
        assert!(daemon.world.refused.iter().all(|refusal| {
            refusal
                .evidence
                .reading
                .culprit
                .is_none_or(|culprit| culprit.target != Target::Group(GroupId(2)))
        }));
    }
}

/// Services that grow alike, each of one process, beside two pods that hold still.
struct Crowd {
    world: World,
    engine: Engine,
    services: u64,
    protected: u64,
    /// No pod, and no place for one.
    is_plain: bool,
    /// The first one grows so many times as fast as each of the others.
    lead: u64,
}

impl Crowd {
    fn new(services: u64, protected: u64) -> Self {
        let mut world = growing(12);
        world.kubepods_limit = forestall_decide::Limit::Max;
        world.container(2, 150);
        for id in [1, 2] {
            world.pod(id);
        }
        Self {
            world,
            engine: enforcing(),
            services,
            protected,
            is_plain: false,
            lead: 1,
        }
    }

    /// On a machine without Kubernetes.
    fn plain(services: u64, protected: u64) -> Self {
        let mut crowd = Self::new(services, protected);
        crowd.world.containers.clear();
        crowd.world.pods.list.clear();
        Self {
            is_plain: true,
            ..crowd
        }
    }

    fn run(&mut self) {
        let end = self.world.now + Span::secs(300);
        while self.world.now < end
            && self.world.killed().is_empty()
            && self.world.sample().node.free > Bytes::ZERO
        {
            self.world.tell_in_time(&mut self.engine);
            let mut sample = self.world.sample();
            let service = sample.groups.pop().expect("the service stands last");
            let process = sample.processes.pop().expect("its process");
            if self.is_plain {
                sample.groups.clear();
            }
            for (number, pid) in (0..self.services).zip(500..) {
                let parts = if number == 0 { self.lead } else { 1 };
                let share = |bytes: Bytes| Bytes(bytes.0 * parts / (self.services - 1 + self.lead));
                let group = GroupId(100 + number);
                let protection = (number < self.protected).then_some(Protection::NodeAgent);
                sample.groups.push(forestall_decide::GroupSample {
                    id: group,
                    anon: share(service.anon),
                    current: share(service.current),
                    protection,
                    ..service
                });
                sample.processes.push(ProcessSample {
                    id: self::process(pid, 5),
                    group: Some(group),
                    unreclaimable: share(process.unreclaimable),
                    protection,
                    ..process
                });
            }
            let decision = self.engine.step(self.world.now, Input::Sample(&sample));
            let ordered = decision.actions.iter().map(|action| (self.world.now, *action));
            self.world.ordered.extend(ordered);
            self.world.refused.extend_from_slice(decision.refusals);
            let wake = decision.wake_in;
            self.world.grow(wake);
        }
    }
}

#[test]
fn of_several_services_that_leak_one_goes_and_no_pod() {
    for services in 3..=5 {
        let mut crowd = Crowd::new(services, 0);
        crowd.run();
        assert_eq!(
            crowd.world.killed(),
            [Target::Process(process(500, 5))],
            "{services}"
        );
        let mut crowd = Crowd::new(services, 2);
        crowd.run();
        assert_eq!(
            crowd.world.killed(),
            [Target::Process(process(502, 5))],
            "{services}"
        );
    }
}

#[test]
fn where_there_are_no_pods_one_of_several_services_goes_however_many_they_are() {
    for (services, protected) in [(3, 0), (3, 1), (5, 2), (12, 0), (12, 11)] {
        let mut crowd = Crowd::plain(services, protected);
        crowd.run();
        let first = u32::try_from(500 + protected).expect("few");
        assert_eq!(
            crowd.world.killed(),
            [Target::Process(process(first, 5))],
            "{services}, {protected} of them protected"
        );
    }
}

#[test]
fn where_there_are_no_pods_either_nobody_goes_for_services_that_may_not_be_touched() {
    let mut crowd = Crowd::plain(4, 4);
    crowd.run();
    assert_eq!(crowd.world.killed(), []);
    // Nor do those whose end would help little end for one that may not be touched.
    let mut crowd = Crowd::plain(4, 1);
    crowd.lead = 27;
    crowd.run();
    assert_eq!(crowd.world.killed(), []);
    // A kubelet that runs says that there are pods, whoever cannot see them.
    let mut crowd = Crowd::plain(4, 0);
    crowd.world.kubelet = true;
    crowd.run();
    assert_eq!(crowd.world.killed(), []);
}

#[test]
fn where_none_of_the_services_that_leak_may_be_touched_no_pod_pays() {
    for (services, protected) in [(4, 4), (12, 12)] {
        let mut crowd = Crowd::new(services, protected);
        crowd.run();
        let ends: Vec<_> = crowd.world.ordered.iter().map(|(_, it)| it.target).collect();
        assert_eq!(ends, [], "{services}");
        let names = |refusal: &Refusal| {
            let culprit = refusal.evidence.reading.culprit;
            culprit.is_some_and(|culprit| matches!(culprit.target, Target::Group(GroupId(100..112))))
        };
        assert!(crowd.world.refused.iter().any(names), "{services}");
    }
}

#[test]
fn of_several_services_nobody_goes_where_the_pods_are_not_known() {
    let mut crowd = Crowd::new(4, 0);
    crowd.world.pods.list.clear();
    crowd.run();
    assert_eq!(crowd.world.killed(), []);
}
