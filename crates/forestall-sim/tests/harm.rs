//! What agents cost in worlds with crowds of small pods, beside the same worlds without them: no more innocents die.
//!
//! It is no rule of one world. An agent goes by a forecast, and what grows may stop a moment before the wall; and where nobody explains the growth, who goes first in the
//! kubelet's order may be innocent, while the kernel would have picked the largest, who is not. An eviction in time is milder than either. So a single world may have one more
//! innocent with an agent than without it. Over many of them there are no more, agents themselves end hardly any,
//! and none where nobody dies without them: that is asked here.

use forestall_sim::{RunOptions, Tally, World, swarm, swarm_policy};

/// From here on one world of three has a crowd.
const FROM: u64 = 840_000;
const WORLDS: usize = 24;
/// Agents end one innocent at the most for so many who would die without them: they did so with 3 for 839. Where an eviction need not give back what grows meanwhile there are 15,
/// where it need not give back anything 30, and where it need not wait for its moment 99, 18 of them in a world in which nobody dies.
const PART: u64 = 100;

fn run(world: &World) -> Tally {
    let options = RunOptions {
        keep: 0,
        ..RunOptions::default()
    };
    world.run(options, &mut |_| ()).expect("a sound world").tally
}

fn is_crowded(seed: u64) -> bool {
    swarm(seed, None).pods.iter().any(|pod| pod.count >= 5)
}

/// Without an agent and with one.
fn both(seed: u64) -> [Tally; 2] {
    [None, Some(swarm_policy(seed))].map(|policy| run(&swarm(seed, policy)))
}

#[test]
fn beside_crowds_of_small_pods_agents_cost_no_more_innocents_than_die_without_them() {
    let told = std::thread::scope(|scope| {
        let running: Vec<_> = (FROM..)
            .filter(|seed| is_crowded(*seed))
            .take(WORLDS)
            .map(|seed| scope.spawn(move || (seed, both(seed))))
            .collect();
        let done = running.into_iter().map(|one| one.join().expect("no panic"));
        done.collect::<Vec<_>>()
    });
    let (mut without_any, mut with_any, mut by_agents, mut evicted) = (0, 0, 0, 0);
    for (seed, [without, with]) in &told {
        without_any += without.innocent;
        with_any += with.innocent;
        by_agents += with.innocent_by_agent;
        evicted += with.agent_evictions;
        let for_nothing = without.deaths() == 0 && with.innocent_by_agent > 0;
        assert!(
            !for_nothing,
            "seed {seed}: {} innocents end where nobody dies",
            with.innocent_by_agent
        );
    }
    assert!(
        with_any <= without_any,
        "{with_any} innocents instead of {without_any}"
    );
    assert!(
        by_agents * PART <= without_any,
        "agents end {by_agents} innocents, where {without_any} would die"
    );
    assert!(evicted > 0, "nobody was in question");
}
