//! A run of the lab, simulated: who ends first, and when.
use forestall_sim::{Event, Options, Running, What};

use super::measured::Measured;
use super::parameters::Parameters;
use super::world::{APP, Inexpressible, world};

/// Who ends first in the simulator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Predicted {
    pub(crate) millis: u64,
    pub(crate) name: String,
}

/// Runs it to its first end; nobody, where nobody ends.
pub(crate) fn predict(run: &Measured, parameters: &Parameters) -> Result<Option<Predicted>, Inexpressible> {
    let world = world(run, parameters)?;
    let mut first = None;
    let mut running = Running::start(&world, Options::default())
        .map_err(|_| Inexpressible("the simulator finds no sense in the plan's world"))?;
    while first.is_none() {
        let more = running.go_on(&mut |event| {
            if first.is_none() {
                first = ended(event);
            }
        });
        if !more {
            break;
        }
    }
    Ok(first)
}

fn ended(event: &Event) -> Option<Predicted> {
    let name = match &event.what {
        What::KernelKilled { victim, .. } | What::Evicting { victim, .. } => short(&victim.name),
        What::NodeLost => "nobody left to kill".to_owned(),
        _ => return None,
    };
    Some(Predicted {
        millis: event.at.0 / 1000,
        name,
    })
}

/// The simulator numbers a pod's copies and names its container; the lab names the pod.
fn short(name: &str) -> String {
    let (pod, _) = name.split_once('/').unwrap_or((name, APP));
    pod.strip_suffix("-0").unwrap_or(pod).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_lab() {
        assert_eq!(short("leaker-0/app"), "leaker");
        assert_eq!(short("systemd-journal"), "systemd-journal");
    }
}
