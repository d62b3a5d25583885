//! Why nobody, or nobody else, was ended: in words, and for programs. `simulate` and `replay` say it alike.
//!
//! The words of the log stand in brackets, so that one can be found by the other.

use forestall_decide::{Mode, RefusalReason, Rung, WhyNot};
use serde::Serialize;

use crate::log::words;

/// So many names stand in one line.
const SHOWN_MAX: usize = 5;

/// Somebody who was passed over for one rung.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PassedOver {
    rung: &'static str,
    name: String,
    why: &'static str,
    #[serde(skip)]
    because: &'static str,
}

impl PassedOver {
    /// `name` is fit for a terminal.
    pub(crate) const fn new(rung: Rung, name: String, why: WhyNot) -> Self {
        Self {
            rung: rung.label(),
            name,
            why: words::why_not(why),
            because: because(why),
        }
    }
}

/// A line for each rung and reason with who that is, and how many out of `count` are not named.
pub(crate) fn lines(list: &[PassedOver], count: usize) -> Vec<String> {
    let mut groups: Vec<Vec<&PassedOver>> = Vec::new();
    for it in list {
        let same = |group: &&mut Vec<&PassedOver>| {
            group
                .first()
                .is_some_and(|first| (first.rung, first.why) == (it.rung, it.why))
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(it),
            None => groups.push(vec![it]),
        }
    }
    let line = |group: &Vec<&PassedOver>| {
        let first = group.first()?;
        let mut names: Vec<&str> = group.iter().map(|it| &*it.name).take(SHOWN_MAX).collect();
        let more = (group.len() > SHOWN_MAX).then(|| format!("{} more", group.len() - SHOWN_MAX));
        names.extend(more.as_deref());
        let names = names.join(", ");
        Some(format!(
            "no {} of {names}: {} ({})",
            first.rung, first.because, first.why
        ))
    };
    let mut lines: Vec<String> = groups.iter().filter_map(line).collect();
    if count > list.len() {
        lines.push(format!("and {} more were passed over", count - list.len()));
    }
    lines
}

/// Why nothing was done; `None`: everybody was passed over.
pub(crate) fn refusal(reason: Option<RefusalReason>, has_culprit: bool, mode: Mode) -> String {
    let Some(reason) = reason else {
        return "everybody was passed over".to_owned();
    };
    let said = words::reason_sentence(reason, has_culprit, mode);
    match reason {
        RefusalReason::Protected(why) => format!("{said} ({})", words::protection(why)),
        RefusalReason::Spared(why) => format!("{said}: {} ({})", because(why), words::why_not(why)),
        _ => said.to_owned(),
    }
}

/// What is finer about it than its word: of whom it is protected.
pub(crate) const fn detail(reason: RefusalReason) -> Option<&'static str> {
    match reason {
        RefusalReason::Protected(why) => Some(words::protection(why)),
        RefusalReason::Spared(why) => Some(words::why_not(why)),
        _ => None,
    }
}

const fn because(why: WhyNot) -> &'static str {
    match why {
        WhyNot::Protected(_) => "it may never be touched",
        WhyNot::Critical => "it is a static, mirror or critical pod",
        WhyNot::OptedOut => "it is opted out",
        WhyNot::DaemonSet => "its DaemonSet would bring it straight back",
        WhyNot::NobodyBringsItBack => "nobody would bring it back, and it has not agreed to that",
        WhyNot::Terminating => "it is on its way out already",
        WhyNot::GraceTooLong => "its grace period does not fit into the time left",
        WhyNot::FreesTooLittle => "its end would not give back enough",
        WhyNot::ComesBack => "it does not grow, and would come back with what it holds",
        WhyNot::WithinRequest => "it keeps within its request, and that fits",
        WhyNot::OwnLimitFirst => "it would reach a limit of its own first",
        WhyNot::OthersFirst => "others come before it",
        WhyNot::Tried => "it was tried lately, or is being tried",
        WhyNot::LeftAlone => {
            "it reads again at once what is taken of its cache, and is left alone for a while"
        }
        WhyNot::Blocked => "a disruption budget refused a moment ago",
        WhyNot::NoToken => "the cluster's budget has no token left for this node",
        WhyNot::NowhereToGo => "no other node has room for it",
        WhyNot::ApiAway => "the API server does not answer, or is too busy to decide",
        WhyNot::NotAsked => "it has not asked for that",
        WhyNot::AtItsMost => "its limit is as high already as it wants it",
        WhyNot::NoRoom => "the node has no room for that",
        WhyNot::Unseen => "no cgroup of it is known",
    }
}
