//! What happened on one node in one run: marks above its curves, and a table below them that says the same in words.
//!
//! Marks that would touch become one with their number in it. It refuses to leave anything out silently: what is not told
//! is counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use forestall_decide::{AlarmVerdict, GroupId, Mode, Moment, Rung, Span, WallKind};
use forestall_sim::{Event, What, is_minor};

use super::chart::{Instant, Stripe};
use super::markup::{html, text};
use super::scale::{Scale, WIDTH, part, percent};
use crate::commands::simulate::timeline::{passed_over_lines, seconds, sentence};

/// More rows than this nobody reads.
const ROWS_MAX: usize = 250;
/// Marks nearer than this, in units of the chart, would touch.
const TOUCH: u64 = 350;
/// Lines nearer than this are one.
const NEAR: u64 = 75;
/// So many facts stand in one mark's title.
const TITLES_MAX: usize = 5;

/// What kind of fact it is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Lost,
    Kernel,
    Kubelet,
    Agent,
    Itself,
    Order(Rung, bool),
    Alarm,
    Pressure,
    Fault,
    Other,
}

impl Kind {
    fn of(what: &What) -> Self {
        match what {
            What::NodeLost => Self::Lost,
            What::KernelKilled { .. } => Self::Kernel,
            What::Evicting { .. } => Self::Kubelet,
            What::AgentEvicted { .. } | What::ContainerEnded { by_agent: true, .. } => Self::Agent,
            What::ContainerEnded { .. } => Self::Itself,
            What::Ordered(order) => Self::Order(order.rung, order.mode == Mode::Enforce),
            What::Alarm { .. } => Self::Alarm,
            What::Pressure(_) => Self::Pressure,
            What::Fault { .. } => Self::Fault,
            _ => Self::Other,
        }
    }

    /// Its class in the style sheet.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Lost | Self::Kernel => "kernel",
            Self::Kubelet => "kubelet",
            Self::Agent => "agent",
            Self::Order(..) => "order",
            Self::Alarm => "alarm",
            Self::Itself | Self::Pressure | Self::Fault | Self::Other => "other",
        }
    }

    /// What stands in its mark.
    const fn letter(self) -> &'static str {
        match self {
            Self::Lost => "L",
            Self::Kernel => "K",
            Self::Kubelet => "E",
            Self::Agent => "A",
            Self::Itself => "X",
            Self::Order(Rung::Reclaim, _) => "r",
            Self::Order(Rung::Brake, _) => "b",
            Self::Order(Rung::Warn, _) => "w",
            Self::Order(Rung::Grow, _) => "g",
            Self::Order(Rung::Evict, _) => "e",
            Self::Order(Rung::Kill, _) => "k",
            Self::Order(Rung::Sysrq, _) => "s",
            Self::Alarm | Self::Pressure | Self::Fault | Self::Other => "",
        }
    }

    /// What its mark means.
    fn meaning(self) -> String {
        match self {
            Self::Lost => "nobody is left to kill".to_owned(),
            Self::Kernel => "the kernel kills".to_owned(),
            Self::Kubelet => "the kubelet evicts".to_owned(),
            Self::Agent => "the agent has ended somebody".to_owned(),
            Self::Itself => "ends by itself".to_owned(),
            Self::Order(rung, true) => format!("the agent orders {}", rung.label()),
            Self::Order(rung, false) => format!("the agent would order {}", rung.label()),
            Self::Alarm => "alarm".to_owned(),
            Self::Pressure => "the kubelet says that memory is short".to_owned(),
            Self::Fault => "fault".to_owned(),
            Self::Other => "fact".to_owned(),
        }
    }

    const fn is_death(self) -> bool {
        matches!(
            self,
            Self::Lost | Self::Kernel | Self::Kubelet | Self::Agent | Self::Itself
        )
    }
}

/// From when until when, its row, its class, what stands in it, and what it says in full.
type Bar = (Moment, Moment, Option<usize>, &'static str, &'static str, String);

/// One fact that is told.
struct Fact<'a> {
    kind: Kind,
    event: &'a Event,
    /// Its row in the table, if that goes so far.
    row: Option<usize>,
}

/// All facts of one node in one run.
pub(super) struct Story<'a> {
    id: String,
    facts: Vec<Fact<'a>>,
    /// Reclaims, starts and refusals, and others, that have no row.
    left_out: (usize, usize),
    end: Moment,
}

impl<'a> Story<'a> {
    /// Of `node`, out of a run's facts. `id` is unique on the page.
    pub(super) fn new(id: String, node: u32, events: &'a [Event], end: Moment) -> Self {
        let mut facts: Vec<Fact<'a>> = Vec::new();
        let mut left_out = (0, 0);
        for event in events.iter().filter(|event| event.node == node) {
            let kind = Kind::of(&event.what);
            // How a node was filled at first is in the scenario already; who comes after somebody died is news.
            let is_start = matches!(event.what, What::PodStarted { .. });
            if is_start && !facts.iter().any(|fact| fact.kind.is_death()) {
                continue;
            }
            facts.push(Fact {
                kind,
                event,
                row: None,
            });
        }
        // Reclaims, starts and refusals have the rows that the others leave.
        let minor = facts.iter().filter(|fact| is_minor(&fact.event.what)).count();
        let mut room_for_minor = ROWS_MAX.saturating_sub(facts.len() - minor);
        let mut told = 0;
        for fact in &mut facts {
            let is_minor = is_minor(&fact.event.what);
            if told < ROWS_MAX && (!is_minor || room_for_minor > 0) {
                room_for_minor -= usize::from(is_minor);
                fact.row = Some(told);
                told += 1;
            } else if is_minor {
                left_out.0 += 1;
            } else {
                left_out.1 += 1;
            }
        }
        Self {
            id,
            facts,
            left_out,
            end,
        }
    }

    /// Upright lines through the chart: whoever dies.
    pub(super) fn deaths(&self, scale: &Scale) -> Vec<Instant> {
        let mut instants: Vec<Instant> = Vec::new();
        for fact in self.facts.iter().filter(|fact| fact.kind.is_death()) {
            let (at, class) = (fact.event.at, fact.kind.class());
            // Lines side by side would be a wall in front of the curve; the marks above have them all.
            let is_near = instants.last().is_some_and(|former| {
                former.class == class && scale.x(at).saturating_sub(scale.x(former.at)) < NEAR
            });
            if !is_near {
                instants.push(Instant {
                    at,
                    class,
                    name: title(fact.event),
                });
            }
        }
        instants
    }

    /// Times of faults.
    pub(super) fn faults(&self) -> Vec<Stripe> {
        self.spans(|what| match what {
            What::Fault { name, begins } => Some(((*name).to_owned(), *begins)),
            _ => None,
        })
        .into_iter()
        .map(|(name, from, to, _)| Stripe {
            from,
            to,
            name: format!("fault: {name}"),
        })
        .collect()
    }

    /// From each beginning of something to its end, with the row of its beginning.
    fn spans<K: Ord + Clone>(
        &self,
        turn: impl Fn(&What) -> Option<(K, bool)>,
    ) -> Vec<(K, Moment, Moment, Option<usize>)> {
        let mut open: BTreeMap<K, (Moment, Option<usize>)> = BTreeMap::new();
        let mut spans = Vec::new();
        for fact in &self.facts {
            match turn(&fact.event.what) {
                Some((key, true)) => {
                    open.entry(key).or_insert((fact.event.at, fact.row));
                }
                Some((key, false)) => {
                    if let Some((from, row)) = open.remove(&key) {
                        spans.push((key, from, fact.event.at, row));
                    }
                }
                None => {}
            }
        }
        let rest = open
            .into_iter()
            .map(|(key, (from, row))| (key, from, self.end, row));
        spans.extend(rest);
        spans.sort_by_key(|(_, from, to, _)| (*from, *to));
        spans
    }

    /// The lanes of marks above a chart.
    pub(super) fn lanes(&self, scale: &Scale, out: &mut String) {
        out.push_str("<div class=\"lanes\">");
        let mut verdicts: BTreeMap<(WallKind, Option<GroupId>, Moment), (AlarmVerdict, Span)> =
            BTreeMap::new();
        let mut up: BTreeMap<(WallKind, Option<GroupId>), Moment> = BTreeMap::new();
        for fact in &self.facts {
            if let What::Alarm {
                wall,
                scope,
                verdict,
                age,
                ..
            } = &fact.event.what
            {
                let from = *up.entry((*wall, *scope)).or_insert(fact.event.at);
                if let Some(verdict) = verdict {
                    verdicts.insert((*wall, *scope, from), (*verdict, *age));
                    up.remove(&(*wall, *scope));
                }
            }
        }
        let alarms = self.spans(|what| match what {
            What::Alarm {
                wall, scope, verdict, ..
            } => Some(((*wall, *scope), verdict.is_none())),
            _ => None,
        });
        let mut walls: Vec<WallKind> = alarms.iter().map(|((wall, _), ..)| *wall).collect();
        walls.sort_unstable();
        walls.dedup();
        for wall in walls {
            let of_wall = alarms.iter().filter(|((other, _), ..)| *other == wall);
            let bars = of_wall.map(|((_, scope), from, to, row)| {
                let verdict = verdicts.get(&(wall, *scope, *from));
                let (class, name) = verdict.map_or(("alarm", "open"), |(verdict, _)| said(*verdict));
                let after = verdict.map_or_else(String::new, |(_, age)| format!(" after {age}"));
                let title = format!("{} s: alarm at {}, {name}{after}", seconds(*from), wall.label());
                (*from, *to, *row, class, name, title)
            });
            self.bars(out, scale, short(wall), bars);
        }
        self.marks(out, scale, "order", |kind| matches!(kind, Kind::Order(..)));
        self.marks(out, scale, "death", Kind::is_death);
        let pressure = self.spans(|what| match what {
            What::Pressure(on) => Some(((), *on)),
            _ => None,
        });
        let bars = pressure.into_iter().map(|((), from, to, row)| {
            let title = format!("{} s: the kubelet says that memory is short", seconds(from));
            (from, to, row, "other", "pressure", title)
        });
        self.bars(out, scale, "kubelet", bars);
        let faults = self.spans(|what| match what {
            What::Fault { name, begins } => Some((*name, *begins)),
            _ => None,
        });
        let bars = faults.into_iter().map(|(name, from, to, row)| {
            let title = format!("{} s: fault, {name}", seconds(from));
            (from, to, row, "fault", name, title)
        });
        self.bars(out, scale, "fault", bars);
        out.push_str("</div>\n");
    }

    fn href(&self, row: Option<usize>) -> String {
        row.map_or_else(|| format!("{}all", self.id), |row| format!("{}r{row}", self.id))
    }

    fn bars(&self, out: &mut String, scale: &Scale, lane: &str, bars: impl Iterator<Item = Bar>) {
        let mut bars = bars.peekable();
        if bars.peek().is_none() {
            return;
        }
        let _ = write!(out, "<div class=\"lane\"><span class=\"of\">{lane}</span>");
        for (from, to, row, class, name, title) in bars {
            let width = scale.x(to).saturating_sub(scale.x(from));
            // Part of a word says nothing; its title says all.
            let name = if width < TOUCH * 2 { "" } else { name };
            let _ = write!(
                out,
                "<a class=\"bar {class}\" style=\"left:{};width:{}\" href=\"#{}\" \
                 title=\"{title}\" aria-label=\"{title}\">{name}</a>",
                scale.left(from),
                percent(width, WIDTH),
                self.href(row),
                title = text(&title),
                name = text(name),
            );
        }
        out.push_str("</div>");
    }

    fn marks(&self, out: &mut String, scale: &Scale, lane: &str, belongs: impl Fn(Kind) -> bool) {
        let mut groups: Vec<Vec<&Fact<'_>>> = Vec::new();
        for fact in self.facts.iter().filter(|fact| belongs(fact.kind)) {
            match groups.last_mut() {
                Some(group) if touches(scale, group, fact) => group.push(fact),
                _ => groups.push(vec![fact]),
            }
        }
        if groups.is_empty() {
            return;
        }
        let _ = write!(out, "<div class=\"lane\"><span class=\"of\">{lane}</span>");
        for group in groups {
            let (Some(first), Some(worst)) = (group.first(), group.iter().map(|fact| fact.kind).min()) else {
                continue;
            };
            let mut told: Vec<String> = group
                .iter()
                .take(TITLES_MAX)
                .map(|fact| title(fact.event))
                .collect();
            if group.len() > TITLES_MAX {
                told.push(format!("and {} more", group.len() - TITLES_MAX));
            }
            let shown = if group.len() == 1 {
                worst.letter().to_owned()
            } else {
                group.len().to_string()
            };
            let _ = write!(
                out,
                "<a class=\"mark {}\" style=\"left:{}\" href=\"#{}\" title=\"{told}\" aria-label=\"{told}\">{shown}</a>",
                worst.class(),
                scale.left(first.event.at),
                self.href(first.row),
                told = html(&told.join("; ")),
            );
        }
        out.push_str("</div>");
    }

    /// What the marks mean.
    pub(super) fn legend(&self, out: &mut String) {
        let mut kinds: Vec<Kind> = self.facts.iter().map(|fact| fact.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let alarms = kinds.contains(&Kind::Alarm);
        kinds.retain(|kind| !kind.letter().is_empty());
        out.push_str("<ul class=\"legend marks\">");
        if alarms {
            out.push_str(
                "<li><span class=\"bar alarm\">alarm</span>at a wall, from when it is raised until it is judged</li>\
                 <li><span class=\"bar alarm unfounded\">false</span>nobody died there in its time</li>\
                 <li><span class=\"bar alarm\">overtaken</span>by an action, or by somebody's end at another wall</li>",
            );
        }
        for kind in &kinds {
            let _ = write!(
                out,
                "<li><span class=\"mark {}\">{}</span>{}</li>",
                kind.class(),
                kind.letter(),
                kind.meaning()
            );
        }
        if !kinds.is_empty() {
            out.push_str("<li>a number: so many at about the same time</li>");
        }
        out.push_str("</ul>\n");
    }

    /// The table below.
    pub(super) fn table(&self, out: &mut String) {
        let id = &self.id;
        if self.facts.is_empty() {
            let _ = writeln!(out, "<p class=\"faint\" id=\"{id}all\">Nothing happens here.</p>");
            return;
        }
        let _ = writeln!(
            out,
            "<details id=\"{id}all\" open><summary>What happened, {} {}</summary>\n<div class=\"wide\"><table>\
             <thead><tr><th scope=\"col\" class=\"number\">Second</th><th scope=\"col\">What</th></tr></thead>\n<tbody>",
            self.facts.len(),
            if self.facts.len() == 1 { "fact" } else { "facts" }
        );
        for fact in &self.facts {
            let Some(row) = fact.row else { continue };
            let _ = write!(
                out,
                "<tr id=\"{id}r{row}\"><td class=\"number\">{}</td><td class=\"{}\">{}",
                seconds(fact.event.at),
                fact.kind.class(),
                html(&sentence(fact.event))
            );
            for line in passed_over_lines(fact.event) {
                let _ = write!(out, "<div class=\"faint\">{}</div>", html(&line));
            }
            out.push_str("</td></tr>\n");
        }
        out.push_str("</tbody></table></div>\n");
        if self.left_out != (0, 0) {
            let (minor, others) = self.left_out;
            let _ = writeln!(
                out,
                "<p class=\"faint\">Without a row: {minor} reclaims, starts and refusals, {others} others.</p>"
            );
        }
        out.push_str("</details>\n");
    }
}

fn touches(scale: &Scale, group: &[&Fact<'_>], fact: &Fact<'_>) -> bool {
    let first = group.first().map_or(0, |first| scale.x(first.event.at));
    scale.x(fact.event.at).saturating_sub(first) < part(TOUCH, WIDTH, WIDTH)
}

fn title(event: &Event) -> String {
    format!("{} s: {}", seconds(event.at), sentence(event))
}

/// The class of an alarm with this verdict, and the word for it.
const fn said(verdict: AlarmVerdict) -> (&'static str, &'static str) {
    match verdict {
        AlarmVerdict::True => ("alarm", "true"),
        AlarmVerdict::False => ("alarm unfounded", "false"),
        AlarmVerdict::Intervened => ("alarm", "overtaken"),
        AlarmVerdict::Missed => ("alarm", "missed"),
    }
}

/// A wall's name where there is little room.
const fn short(wall: WallKind) -> &'static str {
    match wall {
        WallKind::KubeletNode => "node",
        WallKind::KubeletAllocatable => "allocatable",
        wall => wall.label(),
    }
}
