//! How many evictions a cluster may have at once, as typed, checked, and written again.

use std::collections::BTreeMap;

use forestall_decide::Span;

use super::Invalid;
use super::percent::{parse_percent, write_percent};
use super::quantity::write_time;
use super::raw::{FromText, RawBudget, Typed};
use super::render::quoted;
use super::switch::is_on;

/// Each token is an object of the API server's, and all of them are read for each eviction.
const TOKENS_MAX: u32 = 1_000;
/// A namespace is a DNS label; a priority class may be longer, and its name is a part of its tokens'.
const NAME_BYTES_MAX: usize = 200;

/// The bounds. An eviction falls under each of them that is about its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Of the whole cluster; none where there is no bound.
    pub(crate) evictions: Option<Tokens>,
    /// Of pods of these namespaces.
    pub(crate) namespaces: BTreeMap<String, u32>,
    /// Of pods of these priority classes.
    pub(crate) priority_classes: BTreeMap<String, u32>,
    /// From an eviction on its token is spent for so long.
    pub(crate) cooldown: Span,
    /// Of pods of one controller; none where there is no bound.
    pub(crate) controllers: Option<u32>,
    /// The same of that.
    pub(crate) controller_cooldown: Span,
    /// Nobody is evicted for whom no other node has room.
    pub(crate) room: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            evictions: None,
            namespaces: BTreeMap::new(),
            priority_classes: BTreeMap::new(),
            cooldown: Span::secs(300),
            controllers: None,
            controller_cooldown: Span::secs(3_600),
            room: false,
        }
    }
}

/// So many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tokens {
    Count(u32),
    /// Of the cluster's nodes: one at the least, unless it is nothing.
    Permille(u64),
}

impl Budget {
    /// The error names the field, what is wrong with it, and what to write.
    pub(super) fn check(raw: &RawBudget) -> Result<Self, Invalid> {
        let evictions = raw.evictions.and_then(|Typed(Bound(tokens))| tokens);
        // What an eviction has freed is seen within seconds; what it has moved elsewhere within minutes, and of a slow leak within hours.
        let cooldown = |field: &str, raw: Option<Typed<Span>>, default: Span| match raw {
            Some(Typed(span)) if span < Span::secs(10) || span > Span::secs(86_400) => {
                let why = format!("budget.{field}: {}; 10s to 24h", write_time(span));
                Err(Invalid::new(why))
            }
            raw => Ok(raw.map_or(default, |Typed(span)| span)),
        };
        let default = Self::default();
        Ok(Self {
            evictions,
            namespaces: check_all("namespaces", &raw.namespaces)?,
            priority_classes: check_all("priorityClasses", &raw.priority_classes)?,
            cooldown: cooldown("cooldown", raw.cooldown, default.cooldown)?,
            controllers: raw.controllers.and_then(|Typed(Each(count))| count),
            controller_cooldown: cooldown(
                "controllerCooldown",
                raw.controller_cooldown,
                default.controller_cooldown,
            )?,
            room: raw.room.is_some_and(is_on),
        })
    }

    /// The number of evictions has no bound.
    pub(crate) fn is_unbounded(&self) -> bool {
        self.evictions.is_none()
            && self.controllers.is_none()
            && self.namespaces.is_empty()
            && self.priority_classes.is_empty()
    }

    /// As it is typed.
    pub(super) fn write_evictions(&self) -> String {
        match self.evictions {
            None => "none".to_owned(),
            Some(Tokens::Count(count)) => count.to_string(),
            Some(Tokens::Permille(permille)) => quoted(&format!("{}%", write_percent(permille))),
        }
    }
}

/// As it is typed.
pub(super) fn write_each(count: Option<u32>) -> String {
    count.map_or_else(|| "none".to_owned(), |count| count.to_string())
}

/// On one line of YAML.
pub(super) fn write_all(all: &BTreeMap<String, u32>) -> String {
    let each: Vec<String> = all
        .iter()
        .map(|(name, count)| format!("{}: {count}", quoted(name)))
        .collect();
    if each.is_empty() {
        "{}".to_owned()
    } else {
        format!("{{ {} }}", each.join(", "))
    }
}

fn check_all(field: &str, raw: &BTreeMap<String, Typed<Count>>) -> Result<BTreeMap<String, u32>, Invalid> {
    let one = |(name, Typed(Count(count))): (&String, &Typed<Count>)| {
        let is_name = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_of_a_name);
        if is_name {
            return Ok((name.clone(), *count));
        }
        Err(Invalid::new(format!(
            "budget.{field}: {} is no name; lower case letters, digits, - and ., {NAME_BYTES_MAX} at the most",
            quoted(name)
        )))
    };
    raw.iter().map(one).collect()
}

/// RFC 1123, as Kubernetes names its objects.
const fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
}

/// What bounds the whole cluster, as typed: a count, a share, or nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound(Option<Tokens>);

impl FromText for Bound {
    fn from_text(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "none" {
            Ok(Self(None))
        } else if text.ends_with('%') {
            parse_percent(text).map(|permille| Self(Some(Tokens::Permille(permille))))
        } else {
            Count::from_text(text).map(|Count(count)| Self(Some(Tokens::Count(count))))
        }
    }
}

/// What bounds each of many, as typed: a count, or nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Each(Option<u32>);

impl FromText for Each {
    fn from_text(text: &str) -> Result<Self, String> {
        if text.trim() == "none" {
            return Ok(Self(None));
        }
        Count::from_text(text).map(|Count(count)| Self(Some(count)))
    }
}

/// So many, as typed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count(u32);

impl FromText for Count {
    fn from_text(text: &str) -> Result<Self, String> {
        let count = text.trim().parse().ok().filter(|count| *count <= TOKENS_MAX);
        count.map(Self).ok_or_else(|| {
            format!("{text:?} is no number of evictions; 0 to {TOKENS_MAX}, for the whole cluster also a percentage of its nodes such as 10%, or none")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::config::raw::Raw;

    fn read(text: &str) -> Result<Budget, String> {
        let raw: Raw = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        Settings::check(&raw)
            .map(|settings| settings.budget)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_bounded_unless_somebody_says_so() {
        assert_eq!(read("{}"), Ok(Budget::default()));
        assert!(read("budget: {evictions: none}").unwrap().is_unbounded());
        assert!(!read("budget: {namespaces: {shop: 0}}").unwrap().is_unbounded());
        assert!(read("budget: {controllers: none}").unwrap().is_unbounded());
        assert!(!read("budget: {controllers: 0}").unwrap().is_unbounded());
    }

    #[test]
    fn a_bound_is_a_count_or_a_share_of_the_nodes() {
        let of = |text: &str| read(&format!("budget: {{evictions: {text}}}")).unwrap().evictions;
        assert_eq!(of("0"), Some(Tokens::Count(0)));
        assert_eq!(of("1000"), Some(Tokens::Count(1_000)));
        assert_eq!(of("2.5%"), Some(Tokens::Permille(25)));
        for (text, says) in [
            ("budget: {evictions: 1001}", "0 to 1000"),
            ("budget: {evictions: -1}", "0 to 1000"),
            ("budget: {evictions: many}", "or none"),
            ("budget: {evictions: 101%}", "percentage"),
            ("budget: {cooldown: 5s}", "10s to 24h"),
            ("budget: {cooldown: 25h}", "10s to 24h"),
            (
                "budget: {controllerCooldown: 9s}",
                "budget.controllerCooldown: 9s; 10s to 24h",
            ),
            ("budget: {controllers: 10%}", "0 to 1000"),
            ("budget: {namespaces: {shop: 10%}}", "0 to 1000"),
            ("budget: {namespaces: {\"../x\": 1}}", "is no name"),
            ("budget: {priorityClasses: {\"\": 1}}", "budget.priorityClasses"),
            ("budget: {zones: {a: 1}}", "zones"),
        ] {
            let said = read(text).expect_err(text);
            assert!(said.contains(says), "{text}: {said}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = "budget: {evictions: 12.5%, cooldown: 2m, namespaces: {shop: 1, web: 3}, priorityClasses: {batch: 5}, controllers: 2, controllerCooldown: 2h, room: true}";
        let budget = read(text).unwrap();
        let again = format!(
            "budget: {{evictions: {}, cooldown: {}, namespaces: {}, priorityClasses: {}, controllers: {}, controllerCooldown: {}, room: {}}}",
            budget.write_evictions(),
            write_time(budget.cooldown),
            write_all(&budget.namespaces),
            write_all(&budget.priority_classes),
            write_each(budget.controllers),
            write_time(budget.controller_cooldown),
            budget.room
        );
        assert_eq!(read(&again), Ok(budget));
    }
}
