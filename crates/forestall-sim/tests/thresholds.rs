//! What the agent makes of the kubelet's soft thresholds, and of walls that lie behind a grower's own limit. Expected values
//! follow from the worlds by hand.

use forestall_decide::{AlarmVerdict, Mode, Policy, WallKind};
use forestall_sim::{Report, RunOptions, What, parse_scenario};

/// The world with and without the agent.
fn run(text: &str, policy: impl Into<Option<Policy>>) -> Report {
    let mut scenario = parse_scenario(text).expect(text);
    scenario.world.policy = policy.into();
    let options = RunOptions {
        keep: 10_000,
        ..RunOptions::default()
    };
    scenario
        .world
        .run_and_watch(options, &[], &mut |_| ())
        .expect("a sound world")
}

fn in_mode(mode: Mode) -> Policy {
    Policy {
        mode,
        ..Policy::default()
    }
}

fn scored(report: &Report, verdict: AlarmVerdict) -> u64 {
    report.tally.verdicts.get(&verdict).copied().unwrap_or(0)
}

fn soft(pods: &str) -> String {
    format!(
        "title: soft\nduration: 12m\nnodes: [{{ name: w, memory: 4Gi, kubelet: {{ evictionSoft: 1Gi, evictionSoftGrace: 30s, \
         evictionMaxPodGrace: 20s, evictionHard: 100Mi, pressureTransition: 1m }} }}]\npods:\n{pods}"
    )
}

#[test]
fn page_cache_is_taken_before_a_soft_threshold_evicts_for_it() {
    // 900 MiB and a file of 2,500: 696 of 4,096 MiB are left, less than 1 GiB, and 3,196 without the file.
    let text = soft(
        "  - { name: reader, node: 0, containers: [{ name: a, base: 100Mi, load: { reader: { file: 2500Mi, rate: 64Mi/s } } }] }\n  \
         - { name: calm, node: 0, containers: [{ name: a, base: 800Mi, request: 100Mi }] }\n",
    );
    assert!(run(&text, None).tally.evictions_for_cache > 0);
    let with = run(&text, in_mode(Mode::Enforce)).tally;
    assert_eq!(
        (with.evictions, with.agent_evictions, with.agent_kills),
        (0, 0, 0)
    );
    assert!(with.reclaims > 0);
}

#[test]
fn page_cache_is_not_taken_for_a_soft_threshold_that_it_cannot_mend_or_long_before_it_acts() {
    // 3.2 GiB of who is never evicted, and 400 MiB of cache: 896 MiB would be left without it. And 2.6 GiB, with 2 h to go.
    for base in ["3200Mi", "2600Mi"] {
        let grace = if base == "3200Mi" { "1m" } else { "2h" };
        let pods = format!(
            "  - {{ name: calm, node: 0, static: true, containers: [{{ name: a, base: {base}, request: {base} }}] }}\n  \
             - {{ name: reader, node: 0, owner: nobody, containers: [{{ name: a, request: 500Mi, base: 100Mi, load: {{ reader: {{ file: 400Mi, \
             rate: 64Mi/s }} }} }}] }}\n"
        );
        let text = soft(&pods).replace("evictionSoftGrace: 30s", &format!("evictionSoftGrace: {grace}"));
        assert_eq!(run(&text, in_mode(Mode::Enforce)).tally.reclaims, 0, "{base}");
    }
}

#[test]
fn a_soft_threshold_that_is_met_makes_no_alarm_of_one_second_of_growth() {
    // The calm one is over the threshold after 20 s, so that the agent has seen it being met.
    let pods = "  - { name: burst, node: 0, containers: [{ name: a, request: 64Mi, load: { leak: { rate: 200Mi/s, total: 200Mi, delay: 60s } } }] }\n  \
                - { name: calm, node: 0, static: true, containers: [{ name: a, base: 3000Mi, request: 3100Mi, load: { leak: { rate: 4Mi/s, total: 100Mi } } }] }\n";
    let text = soft(pods).replace("evictionSoftGrace: 30s", "evictionSoftGrace: 2h");
    assert_eq!(run(&text, in_mode(Mode::Shadow)).tally.alarms, 0);
}

#[test]
fn an_eviction_by_a_soft_threshold_has_its_alarm() {
    // 8 MiB/s until 3,200 MiB: 796 of 4,096 MiB are left in the end, less than the 1 GiB and more than the 100 MiB.
    let text = soft(
        "  - { name: leak, node: 0, owner: nobody, containers: [{ name: a, load: { leak: { rate: 8Mi/s, total: 3200Mi } } }] }\n  \
         - { name: calm, node: 0, containers: [{ name: a, base: 100Mi, request: 100Mi }] }\n",
    );
    let report = run(&text, in_mode(Mode::Shadow));
    assert!(report.tally.evictions > 0);
    assert_eq!(
        (report.tally.missed, scored(&report, AlarmVerdict::Missed)),
        (0, 0)
    );
    assert_eq!(scored(&report, AlarmVerdict::False), 0);
    assert!(scored(&report, AlarmVerdict::True) > 0);
}

/// With five minutes of grace, and an agent that is started anew 200 s into the world.
fn restarted(pods: &str) -> String {
    let text = soft(pods).replace("evictionSoftGrace: 30s", "evictionSoftGrace: 5m");
    format!("{text}faults: [{{ kind: agent-restart, from: 200s, for: 1s }}]\n")
}

#[test]
fn an_agent_that_starts_within_a_grace_period_expects_the_eviction_at_any_moment() {
    // 896 of 4,096 MiB are left from the beginning, and 1,196 once the only one that may go is gone: about 300 s in.
    let text = restarted(
        "  - { name: calm, node: 0, static: true, containers: [{ name: a, base: 2900Mi, request: 2900Mi }] }\n  \
         - { name: other, node: 0, owner: nobody, containers: [{ name: a, base: 300Mi }] }\n",
    );
    let report = run(&text, in_mode(Mode::Shadow));
    assert_eq!(report.tally.evictions, 1);
    assert_eq!(
        (report.tally.missed, scored(&report, AlarmVerdict::Missed)),
        (0, 0)
    );
    assert_eq!(scored(&report, AlarmVerdict::True), 1);
    assert_eq!(scored(&report, AlarmVerdict::False), 0);
}

#[test]
fn an_agent_that_starts_within_a_grace_period_takes_the_page_cache_that_would_cost_a_pod() {
    let pods = "  - { name: reader, node: 0, containers: [{ name: a, base: 100Mi, load: { reader: { file: 2500Mi, rate: 64Mi/s } } }] }\n  \
                - { name: calm, node: 0, containers: [{ name: a, base: 800Mi, request: 100Mi }] }\n";
    let text = restarted(pods);
    assert!(run(&text, None).tally.evictions_for_cache > 0);
    let with = run(&text, in_mode(Mode::Enforce)).tally;
    assert_eq!(
        (with.evictions, with.agent_evictions, with.agent_kills),
        (0, 0, 0)
    );
}

#[test]
fn who_leaks_against_its_own_limit_puts_no_other_wall_in_sight() {
    // Every 32 s it reaches its 2 GiB, and is ended there; with the rest that leaves 1.7 of 4 GiB.
    let text = "title: own\nduration: 1h\nnodes: [{ name: w, memory: 4Gi, kubelet: {} }]\npods:\n  \
                - { name: leak, node: 0, containers: [{ name: a, request: 2Gi, limit: 2Gi, load: { leak: { rate: 64Mi/s } } }] }\n  \
                - { name: calm, node: 0, containers: [{ name: a, request: 256Mi, base: 256Mi }] }\n";
    let report = run(text, in_mode(Mode::Enforce));
    let killed = report.tally.kernel_kills.clone();
    assert!(killed.keys().all(|wall| *wall == WallKind::Container) && !killed.is_empty());
    let shared = |what: &What| {
        matches!(what, What::Alarm { wall, .. } if *wall < WallKind::Pod)
            || matches!(what, What::Foretold { .. })
    };
    let said: Vec<_> = report.events.iter().filter(|event| shared(&event.what)).collect();
    assert!(said.is_empty(), "{said:?}");
    assert!(scored(&report, AlarmVerdict::True) > 0);
}

#[test]
fn who_only_observes_claims_nothing_and_is_scored_for_nothing() {
    let text =
        soft("  - { name: leak, node: 0, containers: [{ name: a, load: { leak: { rate: 64Mi/s } } }] }\n");
    let report = run(&text, in_mode(Mode::Observe));
    assert_eq!((report.tally.alarms, report.tally.verdicts.len()), (0, 0));
    let ordered = report
        .events
        .iter()
        .any(|event| matches!(event.what, What::Ordered(_)));
    assert!(!ordered);
}

#[test]
fn the_limit_of_one_hides_no_wall_from_what_the_others_grow_by() {
    // 60 MiB/s against 9.5 GiB, and a hundred that grow by 3 MiB/s each: on 64 processors that is less than a counter is off by.
    let text = "title: many\nduration: 4m\nnodes: [{ name: w, memory: 64Gi, cpus: 64, kubelet: { evictionHard: 100Mi } }]\npods:\n  \
                - { name: leak, node: 0, grace: 5s, containers: [{ name: a, request: 64Mi, limit: 9500Mi, base: 64Mi, load: { leak: { rate: 60Mi/s } } }] }\n  \
                - { name: small, node: 0, count: 100, grace: 5s, containers: [{ name: a, request: 100Mi, load: { leak: { rate: 3100Ki/s } } }] }\n  \
                - { name: calm, node: 0, containers: [{ name: a, base: 10Gi, request: 30Gi }] }\n";
    let report = run(text, in_mode(Mode::Shadow));
    let first = |is: &dyn Fn(&What) -> bool| {
        report
            .events
            .iter()
            .find(|event| is(&event.what))
            .map(|event| event.at)
    };
    let at_machine = |wall: WallKind| wall == WallKind::Kernel;
    let killed = first(&|what| matches!(what, What::KernelKilled { wall, .. } if at_machine(*wall)));
    let alarmed = first(&|what| matches!(what, What::Alarm { wall, .. } if at_machine(*wall)));
    let lead = killed.zip(alarmed).map(|(killed, alarmed)| killed.since(alarmed));
    assert!(
        lead.is_some_and(|lead| lead >= forestall_decide::Span::secs(50)),
        "{lead:?}"
    );
}
