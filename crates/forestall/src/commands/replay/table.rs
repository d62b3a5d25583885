//! A replay for people: what both policies do, side by side, and what to make of it.

use std::fmt::Write as _;

use forestall_decide::Span;

use crate::commands::why_not;

use super::report::{ActionReport, Counts, KillReport, Lead, PolicyReport, Report, Side, Summary};

/// So many of what was not done stand here.
const NOT_DONE_MAX: usize = 10;

/// The report as text.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = lines(&mut text, report);
    text
}

fn lines(text: &mut String, report: &Report) -> std::fmt::Result {
    let trace = &report.trace;
    let or_dash = |when: &Option<String>| when.clone().unwrap_or_else(|| "-".to_owned());
    writeln!(
        text,
        "trace    {}, {} to {} ({}), {} looks, mode {}",
        trace.node,
        or_dash(&trace.begins),
        or_dash(&trace.ends),
        Span(trace.lasts_micros),
        trace.samples,
        trace.mode
    )?;
    for (what, policy) in [("policy ", &report.policy), ("against", &report.against)] {
        writeln!(text, "{what}  {}", describe(policy))?;
    }
    if !report.actions.is_empty() {
        writeln!(text)?;
        writeln!(text, "{:<8}  {:<44}  {:<44}", "", "policy", "against")?;
    }
    for action in &report.actions {
        writeln!(text, "{}", describe_action(action))?;
        writeln!(text, "          {} {}", action.rung, action.target)?;
        describe_passed(text, action)?;
    }
    if !report.kernel_kills.is_empty() {
        writeln!(text)?;
    }
    for kill in &report.kernel_kills {
        describe_kill(text, kill)?;
    }
    not_done(text, report)?;
    writeln!(text)?;
    summary(text, &report.summary, trace.kubelet_evictions);
    for line in &report.shadow {
        writeln!(text, "shadow   {line}")?;
    }
    notes(text, &report.notes);
    Ok(())
}

/// The comparison in numbers.
pub(super) fn summary(text: &mut String, summary: &Summary, kubelet_evictions: u64) {
    let leads = match (
        summary.lead_micros_min,
        summary.lead_micros_median,
        summary.lead_micros_max,
    ) {
        (Some(min), Some(median), Some(max)) => format!(
            " (earlier by {} to {}, median {})",
            signed(min),
            signed(max),
            signed(median)
        ),
        _ => String::new(),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "kills    {} the same, {} added, {} avoided, {} moved{leads}",
        summary.same, summary.added, summary.avoided, summary.moved
    );
    let _ = writeln!(
        text,
        "kernel   {} kills; before {} the policy decides to end somebody ({} against), before {} it alarms ({} against)",
        summary.kernel_kills,
        summary.kernel_kills_forestalled,
        summary.kernel_kills_forestalled_against,
        summary.kernel_kills_alarmed,
        summary.kernel_kills_alarmed_against
    );
    if kubelet_evictions > 0 {
        let _ = writeln!(text, "kubelet  {kubelet_evictions} evictions");
    }
}

/// What has to be known to read the figures rightly.
pub(super) fn notes(text: &mut String, notes: &[String]) {
    for note in notes {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "note     {note}");
    }
}

fn describe(policy: &PolicyReport) -> String {
    let diverges = policy.diverges.as_ref().map_or_else(
        || "never leaves the recording".to_owned(),
        |at| format!("leaves the recording at {at}"),
    );
    format!(
        "{}: {}; conditional: {}; {} refusals; {diverges}",
        policy.name,
        count(&policy.sound),
        count(&policy.conditional),
        policy.refusals
    )
}

fn count(counts: &Counts) -> String {
    let alarms = (counts.alarms > 0).then(|| format!("{} alarms", counts.alarms));
    let rungs = counts.rungs.iter().map(|(rung, count)| format!("{count} {rung}"));
    let all: Vec<String> = alarms.into_iter().chain(rungs).collect();
    if all.is_empty() {
        "nothing".to_owned()
    } else {
        all.join(", ")
    }
}

fn describe_action(action: &ActionReport) -> String {
    let lead = match action.lead_micros {
        Some(lead) if lead != 0 => format!("  {} earlier", signed(lead)),
        _ => String::new(),
    };
    let line = format!(
        "{:<8}  {:<44}  {:<44}{lead}",
        action.change.label(),
        side(action.policy.as_ref()),
        side(action.against.as_ref())
    );
    line.trim_end().to_owned()
}

fn side(side: Option<&Side>) -> String {
    side.map_or_else(
        || "-".to_owned(),
        |side| {
            let doubt = if side.sound { "" } else { ", conditional" };
            format!("{} {}, {}{doubt}", after(side.after_micros), side.wall, side.rule)
        },
    )
}

/// Who was passed over for it, once where both policies passed over the same.
fn describe_passed(text: &mut String, action: &ActionReport) -> std::fmt::Result {
    let lines = |side: Option<&Side>| {
        side.map_or_else(Vec::new, |side| {
            why_not::lines(&side.passed_over, side.passed_over_count)
        })
    };
    let (policy, against) = (lines(action.policy.as_ref()), lines(action.against.as_ref()));
    if policy == against {
        return write_lines(text, "", &policy);
    }
    write_lines(text, "policy: ", &policy)?;
    write_lines(text, "against: ", &against)
}

fn write_lines(text: &mut String, before: &str, lines: &[String]) -> std::fmt::Result {
    for line in lines {
        writeln!(text, "          {before}{line}")?;
    }
    Ok(())
}

/// Where something was due and nobody was ended, once where both policies are one.
fn not_done(text: &mut String, report: &Report) -> std::fmt::Result {
    let (policy, against) = (&report.policy, &report.against);
    let second = (policy.name != against.name).then_some(("against", against));
    for (what, policy) in [Some(("policy", policy)), second].into_iter().flatten() {
        if policy.not_done.is_empty() {
            continue;
        }
        writeln!(text, "\nnot done by {what} ({}):", policy.name)?;
        for it in policy.not_done.iter().take(NOT_DONE_MAX) {
            let again = if it.times > 1 {
                format!(", {} times in {}", it.times, Span(it.lasts_micros))
            } else {
                String::new()
            };
            let (at, wall) = (after(it.after_micros), it.wall);
            writeln!(text, "{at:>10} {wall}: {}{again}", it.said)?;
            write_lines(text, "", &why_not::lines(&it.passed_over, it.passed_over_count))?;
        }
        let more = policy.not_done.len().saturating_sub(NOT_DONE_MAX);
        if more > 0 || policy.not_done_left_out > 0 {
            writeln!(
                text,
                "          and {more} more; -o json has them, and {} looks with others",
                policy.not_done_left_out
            )?;
        }
    }
    Ok(())
}

fn describe_kill(text: &mut String, kill: &KillReport) -> std::fmt::Result {
    let whose = if kill.cgroups.is_empty() {
        "of unknown cgroups".to_owned()
    } else {
        format!("of {}", kill.cgroups.join(", "))
    };
    writeln!(
        text,
        "kernel    {} killed {} processes {whose}{}",
        after(kill.after_micros),
        kill.processes,
        if kill.own_limit.is_some() {
            ", at its own limit"
        } else {
            ""
        }
    )?;
    for (what, lead) in [("policy", &kill.policy), ("against", &kill.against)] {
        writeln!(text, "          {what}: {}", describe_lead(lead))?;
    }
    Ok(())
}

fn describe_lead(lead: &Lead) -> String {
    let alarm = match lead.alarm_micros {
        Some(micros) => format!("alarm {} before", Span(micros)),
        None if lead.alarm_scored => "no alarm".to_owned(),
        None => "at which limit is not known, so no alarm is scored".to_owned(),
    };
    match (lead.action_micros, lead.rung, &lead.target) {
        (Some(micros), Some(rung), Some(target)) => {
            format!(
                "{alarm}, {rung} decided {} before, of {target}: may have been avoided",
                Span(micros)
            )
        }
        _ => format!("{alarm}, nobody ended"),
    }
}

/// A time since the beginning, to the millisecond: leads are shorter than seconds.
fn after(micros: u64) -> String {
    format!("+{}.{:03}s", micros / 1_000_000, micros / 1000 % 1000)
}

fn signed(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let size = micros.unsigned_abs();
    format!("{sign}{}.{:03}s", size / 1_000_000, size / 1000 % 1000)
}
