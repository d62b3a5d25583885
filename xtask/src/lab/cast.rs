//! Who appears in a run: the node, the bystanders that every scenario has, and the pod that a scenario is about.
use forestall_lab_init::plan::{Agent, Class, Hierarchy, Lru, Naming, Plan, Pod, Role, Service, Share, Work};

use super::draw::Dice;

/// A node with its bystanders and daemons, and nothing wrong with it.
pub(super) fn node(dice: &mut Dice, scenario: &str, seed: u64) -> Plan {
    let naming = if dice.coin() {
        Naming::Systemd
    } else {
        Naming::Cgroupfs
    };
    let agent = Agent {
        args: ["agent", "--mode", "enforce"].map(str::to_owned).to_vec(),
        // A DaemonSet's pod three times out of four, a service of the host otherwise.
        as_pod: dice.between(0, 3) > 0,
        full_caps: false,
    };
    let pods = [
        ("batch", Class::BestEffort, dice.between(30, 60)),
        ("db", Class::Guaranteed, dice.between(35, 55)),
        ("web", Class::Burstable, dice.between(15, 35)),
    ];
    let pods = pods.map(|(name, class, held)| bystander(dice, name, class, held));
    let daemon = |name: &str, held| Service {
        name: name.to_owned(),
        role: Role::Innocent,
        work: Work::Hold { hold: Share(held) },
        oom_score_adj: -900,
        in_root: false,
        container: None,
    };
    Plan {
        scenario: scenario.to_owned(),
        seed,
        naming,
        hierarchy: Hierarchy::V2,
        // At the limit a tenth of the machine is still available, as on a node with usual reservations: the kernel, the
        // initramfs and the daemons take about 120.
        kubepods_limit: Some(Share(dice.between(740, 790))),
        lru: Lru::AsBooted,
        zram: None,
        swap_forbidden: false,
        disk: false,
        kubelet_evicts: false,
        trial: None,
        reactions: None,
        plain: false,
        pods: pods.to_vec(),
        services: vec![daemon("sshd", 3), daemon("systemd-journal", 6)],
        agent: Some(agent),
        recorded: false,
        agent_late_millis: None,
        calm_millis: u64::from(dice.between(3000, 6000)),
        deadline_millis: 60_000,
        aftermath_millis: 6_000,
    }
}

fn bystander(dice: &mut Dice, name: &str, class: Class, held: u32) -> Pod {
    let mut pod = pod(
        dice,
        name,
        class,
        Role::Innocent,
        Work::Hold { hold: Share(held) },
    );
    fit(&mut pod, held);
    pod
}

/// A pod that holds so much, with the request and limit that its class implies.
fn fit(pod: &mut Pod, held: u32) {
    pod.work = Work::Hold { hold: Share(held) };
    match pod.class {
        Class::BestEffort => {}
        Class::Burstable => pod.request = Share(held + 20),
        Class::Guaranteed => {
            pod.request = Share(held + 40);
            pod.limit = Some(pod.request);
        }
    }
}

/// Sets what the three bystanders hold, in their order.
pub(super) fn hold(plan: &mut Plan, held: [u32; 3]) {
    for (pod, held) in plan.pods.iter_mut().zip(held) {
        fit(pod, held);
    }
}

pub(super) fn leak(dice: &mut Dice, slow: u32, fast: u32) -> Work {
    Work::Grow {
        rate: Share(dice.between(slow, fast)),
        total: None,
        start: Share(dice.between(10, 80)),
    }
}

/// The pod that the scenario is about: best-effort or burstable, never with a limit of its own unless it is given one.
pub(super) fn culprit(dice: &mut Dice, name: &str, work: Work) -> Pod {
    let class = if dice.coin() {
        Class::Burstable
    } else {
        Class::BestEffort
    };
    let mut pod = pod(dice, name, class, Role::Culprit, work);
    if class == Class::Burstable {
        pod.request = Share(dice.between(20, 200));
    }
    pod
}

fn pod(dice: &mut Dice, name: &str, class: Class, role: Role, work: Work) -> Pod {
    Pod {
        name: name.to_owned(),
        uid: dice.pod_uid(),
        class,
        role,
        request: Share(0),
        limit: None,
        container: dice.container_id(),
        pause: dice.container_id(),
        pid_namespace: dice.coin(),
        work,
        nested: false,
        sidecar: None,
    }
}
