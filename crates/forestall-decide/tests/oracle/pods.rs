//! Requests and the order of eviction.

use forestall_decide::kubelet::{
    Candidate, InitRequest, Nanobytes, PodLevel, Quantity, Requests, Standing, first_victims,
};
use forestall_decide::{Bytes, CRITICAL_PRIORITY, PodUid, Span};

use super::{field, number, same, unescape};

/// A quantity that the oracle's API server accepted; `-` is none.
pub(super) fn request(text: &str) -> Result<Nanobytes, String> {
    if text == "-" {
        return Ok(Nanobytes::default());
    }
    let text = unescape(text)?;
    let quantity = Quantity::parse(&text).map_err(|error| format!("refused here: {error}"))?;
    Ok(quantity.exact)
}

fn candidate(uid: usize, text: &str) -> Result<Candidate, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let [priority, origin, working_set, containers, init, overhead, level] = parts[..] else {
        return Err(format!("\"{text}\" is no pod"));
    };
    let priority = if priority == "-" { 0 } else { number(priority)? };
    let containers: Vec<Nanobytes> = containers.split('+').map(request).collect::<Result<_, _>>()?;
    let init: Vec<InitRequest> = init
        .split('+')
        .filter(|text| !text.is_empty())
        .map(|text| {
            Ok(InitRequest {
                request: request(text.get(1..).unwrap_or_default())?,
                sidecar: text.starts_with('s'),
            })
        })
        .collect::<Result<_, String>>()?;
    let requests = Requests {
        containers: &containers,
        init: &init,
        overhead: request(overhead)?,
        pod_level: match level {
            "-" => PodLevel::Unset,
            "without" => PodLevel::WithoutRequest,
            text => PodLevel::Request(request(text)?),
        },
    };
    Ok(Candidate {
        uid: PodUid(uid as u128),
        priority,
        request: requests.total(),
        working_set: match working_set {
            "-" => None,
            text => Some(Bytes(number(text)?)),
        },
        critical: origin != "api" || priority >= CRITICAL_PRIORITY,
        grace: Span::secs(30),
    })
}

pub(super) fn check_rank(fields: &[&str]) -> Result<(), String> {
    let texts = field(fields, 0)?.split(',').enumerate();
    let pods: Vec<Candidate> = texts
        .map(|(uid, text)| candidate(uid, text))
        .collect::<Result<_, _>>()?;
    let asked = field(fields, 1)?.split(',').map(number::<i128>);
    let asked: Vec<i128> = asked.collect::<Result<_, _>>()?;
    let ours: Vec<i128> = pods.iter().map(|pod| pod.request.0).collect();
    same("requests in nanobytes", &ours, &asked)?;
    check_order(&pods, field(fields, 2)?)?;

    let mut first = Vec::new();
    first_victims(&pods, &mut first);
    let victim = field(fields, 3)?;
    if victim == "-" {
        return same("victims", &first, &Vec::new());
    }
    let victim: usize = number(victim)?;
    if first.contains(&victim) {
        return Ok(());
    }
    Err(format!("victim: one of {first:?} here, {victim} there"))
}

/// Along the oracle's order each pod is less than the next, or its equal.
fn check_order(pods: &[Candidate], order: &str) -> Result<(), String> {
    let mut before: Option<(usize, Standing)> = None;
    let mut rest = order;
    let mut sign = '<';
    while !rest.is_empty() {
        let end = rest.find(['<', '=']).unwrap_or(rest.len());
        let (place, after) = rest.split_at(end);
        let place: usize = number(place)?;
        let standing = pods
            .get(place)
            .ok_or_else(|| format!("there is no pod {place}"))?
            .standing();
        if let Some((left, less)) = before {
            let ours = match less.cmp(&standing) {
                core::cmp::Ordering::Less => '<',
                core::cmp::Ordering::Equal => '=',
                core::cmp::Ordering::Greater => '>',
            };
            same(&format!("pods {left} and {place}"), &ours, &sign)?;
        }
        before = Some((place, standing));
        sign = after.chars().next().unwrap_or('<');
        rest = after.get(1..).unwrap_or_default();
    }
    Ok(())
}
