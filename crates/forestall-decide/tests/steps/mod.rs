//! Any bytes as a story for the engine: a machine whose figures they change, looks at it, pods, outcomes, policies, and a clock that
//! goes to and fro. A test of this crate and the fuzzer tell it; each of its answers is checked.
//!
//! It refuses to be likely: nothing here ties the machine's figures to those of its cgroups, as nothing does in a broken kernel.

mod story;

use forestall_decide::{Decision, Engine, Ignored, Input, Mode, Moment, Pods, Policy, Sample, Target};

use self::story::{Story, Told};

/// Steps of one story; more of the same finds nothing new.
const STEPS_MAX: usize = 400;

/// Tells an engine the story that these bytes are, and panics where an answer breaks a rule.
pub(crate) fn tell(bytes: &[u8]) {
    let mut story = Story::new(bytes);
    let policy = story.policy();
    let mut engine = Engine::new(policy);
    let (mut now, mut sample) = (Moment(1_000_000_000), Story::sample());
    for _ in 0..STEPS_MAX {
        let Some(told) = story.next(&mut sample, &mut now) else {
            return;
        };
        match told {
            Told::Look => look(&mut engine, now, &sample),
            Told::Growth {
                group,
                by,
                every,
                looks,
            } => {
                for _ in 0..looks {
                    now = now + every;
                    grow(&mut sample, group, by);
                    look(&mut engine, now, &sample);
                }
            }
            Told::Pods(pods) => is_quiet(engine.step(now, Input::Pods(&Pods { told_at: now, ..pods }))),
            Told::Kubelet(config) => is_quiet(engine.step(now, Input::KubeletConfig(&config))),
            Told::Outcome(outcome) => is_quiet(engine.step(now, Input::Outcome(&outcome))),
            Told::Policy(policy) => is_quiet(engine.step(now, Input::Policy(&policy))),
        }
    }
}

/// One cgroup takes memory, and the machine has as much less.
fn grow(sample: &mut Sample, group: usize, by: forestall_decide::Bytes) {
    if let Some(group) = sample.groups.get_mut(group) {
        (group.current, group.anon) = (group.current + by, group.anon + by);
    }
    let node = &mut sample.node;
    (node.free, node.available, node.anon) = (node.free - by, node.available - by, node.anon + by);
}

/// Whatever is told besides samples is an answer to nobody: nothing is done for it.
fn is_quiet(decision: Decision<'_>) {
    assert!(decision.actions.is_empty() && decision.readings.is_empty());
}

fn look(engine: &mut Engine, now: Moment, sample: &Sample) {
    let policy = *engine.policy();
    let decision = engine.step(now, Input::Sample(sample));
    for reading in decision.readings {
        let runway = reading.runway;
        assert!(runway.p10 <= runway.p50 && runway.p50 <= runway.p90, "{runway:?}");
    }
    judge(&decision, &policy);
    // Once more at the same moment it is no news.
    let again = engine.step(now, Input::Sample(sample));
    assert!(again.actions.is_empty(), "acted twice upon one look");
}

/// Nothing is done in `observe`, nothing that is switched off, and nothing to whom the same answer says it does not believe.
fn judge(decision: &Decision<'_>, policy: &Policy) {
    let is_whole = |what: &Ignored| {
        matches!(
            what,
            Ignored::SameMoment | Ignored::NoMachine | Ignored::ImpossibleMachine(_)
        )
    };
    let believed = !decision.ignored.iter().any(is_whole);
    assert!(
        believed || decision.actions.is_empty(),
        "acted upon what was ignored"
    );
    assert!(
        policy.mode != Mode::Observe || decision.actions.is_empty(),
        "acted in observe"
    );
    for action in decision.actions {
        assert!(policy.rungs.has(action.rung), "{:?} is switched off", action.rung);
        let of_it = |what: &Ignored| match (what, action.target) {
            (Ignored::TooLarge(group), Target::Group(target)) => *group == target,
            (Ignored::ProcessTooLarge(process), Target::Process(target)) => *process == target,
            _ => false,
        };
        assert!(
            !decision.ignored.iter().any(of_it),
            "{action:?} for figures that cannot be"
        );
    }
}
