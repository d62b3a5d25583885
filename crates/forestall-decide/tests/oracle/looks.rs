//! The manager's looks: pressure, victims, grace and admissions.

use forestall_decide::kubelet::{
    Candidate, KubeletConfig, Manager, Observation, Reading, ThresholdTexts, Verdict,
};
use forestall_decide::{Bytes, CRITICAL_PRIORITY, Moment, PodUid, Qos, Span};

use super::pods::request;
use super::{field, number, same};

/// More places than a case has thresholds or pods.
const PLACES: usize = 4;

fn config(text: &str, capacity: u64, limit: u64) -> Result<KubeletConfig, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let [hard, soft, grace, reclaim, enforced, transition, longest] = parts[..] else {
        return Err(format!("\"{text}\" is no configuration"));
    };
    let given = |text| (text != "-").then_some(text);
    let mut config = KubeletConfig {
        capacity: Bytes(capacity),
        kube_reserved: Bytes(capacity - limit),
        enforces_pods: enforced == "pods",
        pressure_transition: Span::secs(number(transition)?),
        pod_grace_max: Span::secs(number(longest)?),
        ..KubeletConfig::default()
    };
    let texts = ThresholdTexts {
        hard: given(hard),
        soft: given(soft),
        soft_grace: Some(Span::secs(number(grace)?)),
        min_reclaim: given(reclaim),
    };
    config.set_thresholds(&texts).map_err(|error| error.to_string())?;
    Ok(config)
}

fn secs(text: &str) -> Result<Moment, String> {
    Ok(Moment(number::<u64>(text)?.saturating_mul(1_000_000)))
}

fn reading(working_set: &str, capacity: u64, at: Moment) -> Result<Option<Reading>, String> {
    if working_set == "-" {
        return Ok(None);
    }
    Ok(Some(Reading {
        available: Bytes(capacity) - Bytes(number(working_set)?),
        capacity: Bytes(capacity),
        at,
    }))
}

fn candidate(uid: usize, text: &str) -> Result<Candidate, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [priority, working_set, asked, grace] = parts[..] else {
        return Err(format!("\"{text}\" is no pod"));
    };
    let priority = number(priority)?;
    Ok(Candidate {
        uid: PodUid(uid as u128),
        priority,
        request: request(asked)?,
        working_set: Some(Bytes(number(working_set)?)),
        critical: priority >= CRITICAL_PRIORITY,
        grace: Span::secs(number(grace)?),
    })
}

pub(super) fn check_loop(fields: &[&str]) -> Result<(), String> {
    let (capacity, limit) = field(fields, 1)?.split_once('/').ok_or("no sizes")?;
    let (capacity, limit) = (number(capacity)?, number(limit)?);
    let mut manager = Manager::new(config(field(fields, 0)?, capacity, limit)?, Moment(0));
    for look in field(fields, 2)?.split(',') {
        check_look(&mut manager, look, capacity, limit).map_err(|what| format!("look {look}: {what}"))?;
    }
    Ok(())
}

fn check_look(manager: &mut Manager, look: &str, capacity: u64, limit: u64) -> Result<(), String> {
    let (given, answer) = look.split_once('>').ok_or("no answer")?;
    let given: Vec<&str> = given.split('/').collect();
    let [now, read_at, memory, allocatable, pods] = given[..] else {
        return Err("no look".to_owned());
    };
    let read_at = secs(read_at)?;
    let observed = Observation {
        memory: reading(memory, capacity, read_at)?,
        allocatable: reading(allocatable, limit, read_at)?,
    };
    let pods = pods.split(';').filter(|pod| !pod.is_empty()).enumerate();
    let pods: Vec<Candidate> = pods
        .map(|(uid, text)| candidate(uid, text))
        .collect::<Result<_, _>>()?;
    let answers: Vec<&str> = answer.split('/').collect();
    let [pressure, victim, grace, admits] = answers[..] else {
        return Err("no answer".to_owned());
    };

    // The kubelet leaves the threshold and equal pods to chance, so its answer has to be one that chance allows here.
    let before = manager.clone();
    let mut ours = Vec::new();
    for place in 0..PLACES * PLACES {
        *manager = before.clone();
        let mut places = [place % PLACES, place / PLACES].into_iter();
        let sync = manager.sync(secs(now)?, &observed, &pods, |equals| {
            places.next().unwrap_or(0).min(equals.len() - 1)
        });
        same("pressure", &sync.pressure, &(pressure == "true"))?;
        let outcome = match sync.verdict {
            Verdict::Evict(eviction) => {
                let hard = eviction.threshold.grace == Span(0);
                let asked = manager.config().pod_grace_max.min(pods[eviction.candidate].grace);
                let asked = if hard { Span::secs(1) } else { asked };
                (Some(eviction.candidate), asked.0 / 1_000_000)
            }
            _ => (None, 0),
        };
        if !ours.contains(&outcome) {
            ours.push(outcome);
        }
    }
    let theirs = match victim {
        "-" => (None, 0),
        victim => (Some(number(victim)?), number(grace)?),
    };
    if !ours.contains(&theirs) {
        return Err(format!(
            "victim and grace: one of {ours:?} here, {theirs:?} there"
        ));
    }
    let asked = [
        (Qos::BestEffort, false, false),
        (Qos::Burstable, false, false),
        (Qos::BestEffort, true, false),
        (Qos::BestEffort, false, true),
    ];
    let ours: String = asked
        .iter()
        .map(|(qos, critical, tolerates)| {
            if manager.admits(*qos, *critical, *tolerates) {
                'y'
            } else {
                'n'
            }
        })
        .collect();
    same("admissions", ours.as_str(), admits)
}
