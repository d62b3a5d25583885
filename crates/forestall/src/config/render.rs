//! Settings written as the YAML they could be read from: with a comment on every field for the documentation, without
//! for `check-config`. One function for both, so that neither can name a field the other does not.

use forestall_decide::Rung;
use std::fmt::Write;

use super::budget;
use super::checked::Settings;
use super::choice::{Mode, Preset, Victims, word};
use super::percent::write_percent;
use super::preference;
use super::quantity::{write_size, write_time};

/// One line: where it stands, its value, and what it means.
struct Field {
    section: &'static str,
    name: &'static str,
    value: String,
    doc: &'static str,
}

/// The settings as YAML.
pub(crate) fn render(settings: &Settings, documented: bool) -> String {
    let mut out = String::new();
    let mut section = "";
    for field in fields(settings) {
        if documented {
            out.push('\n');
        }
        if field.section != section {
            section = field.section;
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{section}:");
        }
        let indent = if section.is_empty() { "" } else { "  " };
        if documented {
            for line in field.doc.lines() {
                let _ = writeln!(out, "{indent}# {line}");
            }
        }
        let _ = writeln!(out, "{indent}{}: {}", field.name, field.value);
    }
    out
}

/// The documented example: every default, and what each of them means.
#[cfg(test)]
pub(crate) fn example() -> String {
    let head = "\
# Configuration of `forestall agent --config FILE`. Generated from the code; every value is the default.
# Flags win over this file. The file is read again on SIGHUP; one that is wrong then is reported and not used.
# Sizes: 350Mi, 1.5Gi, 2G. Times: 100ms, 2s, 1m. A number without a unit is refused, but for 0. No switch is in quotes.
";
    format!("{head}{}", render(&Settings::default(), true))
}

fn fields(settings: &Settings) -> Vec<Field> {
    let policy = &settings.policy;
    let mut all = Vec::new();
    let mut add = |section, name, value, doc| {
        all.push(Field {
            section,
            name,
            value,
            doc,
        });
    };
    let require: Vec<&str> = settings.require.iter().map(|rung| rung.label()).collect();

    add(
        "",
        "mode",
        word::<Mode>(policy.mode),
        "How far to go: observe (only watch), shadow (decide and record, change nothing), enforce (act).",
    );
    add("", "preset", word::<Preset>(policy.preset), PRESET);
    add(
        "",
        "victims",
        word::<Victims>(policy.victims),
        "Whom to choose: culprit (who explains the growth), kubelet (its own order), priority (the lowest first).",
    );
    add(
        "",
        "preferences",
        preference::write(&settings.preferences),
        PREFERENCES,
    );
    add(
        "",
        "beside",
        policy_word(settings.beside),
        "Enforce although another memory killer (systemd-oomd, earlyoom, …) runs on this machine.",
    );
    add("", "taint", settings.taint.label().to_owned(), TAINT);
    add(
        "",
        "require",
        format!("[{}]", require.join(", ")),
        "Rungs without which the agent refuses to start, instead of going on without them.",
    );
    add(
        "",
        "listen",
        quoted(&settings.listen.to_string()),
        "Where /metrics, /healthz and /readyz are served; none switches them off. Restart to change.",
    );
    add(
        "",
        "root",
        quoted(&settings.root.to_string_lossy()),
        "Where the host's /proc and /sys are found. Restart to change.",
    );
    add(
        "",
        "culpritSharePercent",
        write_percent(policy.culprit_share_permille),
        "The share of all growth that one cgroup must explain to be the culprit; 50 to 100.",
    );
    add(
        "",
        "kubeletEvictionHard",
        write_size(policy.kubelet_eviction_hard),
        "The kubelet's hard eviction threshold memory.available, where kubeletConfig does not tell what it is.",
    );
    add(
        "",
        "kubeletConfig",
        quoted(&settings.kubelet.to_string()),
        KUBELET,
    );

    add("", "forceEmpty", policy_word(settings.force_empty), FORCE_EMPTY);

    for rung in Rung::ALL {
        add(
            "rungs",
            rung.label(),
            policy_word(policy.rungs.has(rung)),
            what_it_does(rung),
        );
    }

    let budget = &settings.budget;
    add("budget", "evictions", budget.write_evictions(), BUDGET);
    add(
        "budget",
        "cooldown",
        write_time(budget.cooldown),
        "From an eviction on its token is spent for so long; 10s to 24h.",
    );
    add(
        "budget",
        "namespaces",
        budget::write_all(&budget.namespaces),
        "Namespaces whose pods have a bound of their own beside that, such as { shop: 1 }.",
    );
    add(
        "budget",
        "priorityClasses",
        budget::write_all(&budget.priority_classes),
        "The same of priority classes.",
    );
    add(
        "budget",
        "controllers",
        budget::write_each(budget.controllers),
        CONTROLLERS,
    );
    add(
        "budget",
        "controllerCooldown",
        write_time(budget.controller_cooldown),
        "From an eviction on its controller's token is spent for so long; 10s to 24h.",
    );
    add("budget", "room", budget.room.to_string(), ROOM);

    add("timing", "interval", write_time(policy.tick_calm), INTERVAL);
    add(
        "timing",
        "tickNear",
        write_time(policy.tick_near),
        "The time between two looks while a wall is near; at most 1s.",
    );
    add(
        "timing",
        "tickMin",
        write_time(policy.tick_min),
        "The shortest time between two looks, whatever happens; 1ms to 100ms.",
    );
    add(
        "timing",
        "termGrace",
        write_time(policy.term_grace),
        "How long a victim may take to end after TERM.",
    );
    add(
        "timing",
        "effectDeadline",
        write_time(policy.effect_deadline),
        "How long a kill may take to show its effect before it is judged to have none; at least 500ms.",
    );
    add(
        "timing",
        "killCooldown",
        write_time(policy.kill_cooldown),
        "No second kill for the same limit before this has passed since the first one's effect; at least 100ms.",
    );

    add(
        "recorder",
        "enabled",
        policy_word(settings.recorder.on),
        "Keep what the agent has seen, so that its decisions can be replayed. Restart to change.",
    );
    add(
        "recorder",
        "keep",
        write_time(settings.recorder.keep),
        "How long it is kept.",
    );
    add(
        "recorder",
        "sizeMax",
        write_size(settings.recorder.size_max),
        "The most it takes on disk, which wins over the time.",
    );

    add(
        "ledger",
        "enabled",
        policy_word(settings.ledger.on),
        "Follow the kernel's log, and keep and tell of each out-of-memory kill. Restart to change.",
    );
    add("ledger", "tracing", policy_word(settings.ledger.tracing), TRACING);

    let notify = &settings.notify;
    add(
        "notify",
        "exec",
        list(&notify.exec),
        "A program and its arguments, run for each event with the line of the log as JSON on its stdin; [] for none.",
    );
    add(
        "notify",
        "webhook",
        quoted(
            &notify
                .webhook
                .as_ref()
                .map_or("none".to_owned(), ToString::to_string),
        ),
        "Where the same is sent to by HTTP POST, such as http://127.0.0.1:8080/kills; no TLS; none for nowhere.",
    );
    add("notify", "events", list(&notify.events), EVENTS);
    add(
        "notify",
        "timeout",
        write_time(notify.timeout),
        "How long one of them may take; at most 1m.",
    );

    add(
        "warStoryA",
        "usedPercent",
        write_percent(policy.war_story_used_permille),
        "Preset war-story-a: act above this share of used memory.",
    );
    add(
        "warStoryA",
        "cachePercent",
        write_percent(policy.war_story_cache_permille),
        "Preset war-story-a: act above this share of page cache.",
    );
    add(
        "gist",
        "minAvailable",
        write_size(policy.gist_available_bytes_min),
        "Preset gist: act below this much available memory.",
    );
    all
}

const EVENTS: &str = "\
Of what: killed (the kernel killed somebody for memory, which takes a ledger), alarm, action, outcome.";

const TAINT: &str = "\
The taint forestall.io/memory-runway-low of the Node, while its memory runs low and for five minutes of calm: none, NoSchedule
(the scheduler sends nobody here), or PreferNoSchedule (as long as there is another place). It takes mode enforce and the
component deploy/kustomize/components/taint.";

const CONTROLLERS: &str = "\
How many pods of one controller (a ReplicaSet, a StatefulSet, a Job) may be evicted within its cooldown, wherever they are, or
none for no bound: one that leaks wherever it lands is not sent from node to node.";

const ROOM: &str = "\
Evict only where another node has room for what the pod holds, by its NodeMemory; where no other node's figures are known,
evict all the same.";

const BUDGET: &str = "\
How many evictions the whole cluster may have at once: a number, a percentage of its nodes (one at the least), or none. Each
takes a token, which is a Lease in the agent's namespace, and is spent for the cooldown. Without a token nobody is evicted.";

const TRACING: &str = "\
Make an instance of the kernel's tracing (128 KiB a processor at most) for who sent SIGKILL and for kills that the log leaves
out, or all of them where it may not be read. Where nothing is said it is on in mode enforce alone, because it changes
something of the kernel. Restart to change.";

const KUBELET: &str = "\
Where to learn what the node's kubelet runs with: auto (its flags and files, below root), none, or the path of its
configuration as the agent sees it. Restart to change.";

const PREFERENCES: &str = "\
Whom to spare, and who goes sooner (a positive weight) or later (a negative one) than others, by namespaces, labels and
priorityClasses, which must all be true: [{ namespaces: [kube-system], never: true }, { labels: { tier: batch }, weight: 10 }].
Only simulate and replay know it yet.";

const PRESET: &str = "\
Whose rules: forestall (runway, stall and culprit); war-story-a (used or page cache above a percentage, lowest
priority first); gist (SysRq f whenever too little is available). The last two bring their own rungs and interval.";

const INTERVAL: &str = "\
The time between two looks while no wall is near. Where there is nothing to lose and pressure triggers would wake the
agent, it rests up to 10s. war-story-a: 2s; gist: 60s; they do not rest.";

const FORCE_EMPTY: &str = "\
On cgroup v1, reclaim by memory.force_empty: it takes all page cache of one cgroup at once, hot or cold, because it
cannot be told how much. Never where swap is on. Restart to change.";

const fn what_it_does(rung: Rung) -> &'static str {
    match rung {
        Rung::Reclaim => "Reclaim cold page cache where it lies.",
        Rung::Brake => {
            "Slow the culprit's container down by memory.high, for 20s at the most, on cgroup v2. Not where it may swap."
        }
        Rung::Warn => "Let a pod that asks for it save its state. Only simulate and replay know it yet.",
        Rung::Grow => "Raise the limit of a pod that asks for it. Only simulate and replay know it yet.",
        Rung::Evict => "Evict the pod through the API server, in a pod of a cluster.",
        Rung::Kill => "End the culprit: TERM, and KILL after timing.termGrace.",
        Rung::Sysrq => "Call the kernel's own OOM killer, which chooses for itself.",
    }
}

fn policy_word(on: bool) -> String {
    if on { "true" } else { "false" }.to_owned()
}

/// Texts in brackets.
fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// A YAML double-quoted scalar; JSON's string syntax is a subset of it.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
