//! What an operator prefers: which pods are never touched, and which go sooner or later than others.
//!
//! Text is compared here and nowhere else: preferences are weighed once, when pods or preferences come in, and the engine
//! sees the result. What they refuse to do: make anything touchable that another rule spares.

use crate::pods::{Pod, Pods};

/// One preference. Whatever it names must all be true of a pod; what it leaves out says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preference {
    /// One of these namespaces.
    pub namespaces: Vec<Box<str>>,
    /// All of these labels, by key and value.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// One of these priority classes.
    pub priority_classes: Vec<Box<str>>,
    /// What holds for such a pod.
    pub verdict: Preferred,
}

/// What a preference says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preferred {
    /// It is never touched.
    #[default]
    Never,
    /// Sooner (positive) or later (negative) than others, by so much.
    Weight(i32),
}

/// All preferences weighed for one pod, its own annotations included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It is never touched.
    pub vetoed: bool,
    /// Pods with more go first.
    pub weight: i32,
}

impl Preferred {
    /// What was written of it: `never`, or a weight, and not both. The error says what to write.
    pub fn read(never: Option<bool>, weight: Option<i32>) -> Result<Self, &'static str> {
        match (never, weight) {
            (Some(true), None) => Ok(Self::Never),
            (None, Some(weight)) => Ok(Self::Weight(weight)),
            _ => Err("a preference says either never: true or a weight, such as weight: 10"),
        }
    }
}

impl Preference {
    /// So many are enough for anybody, and are weighed for every pod.
    pub const COUNT_MAX: usize = 1000;

    /// Whether it speaks of this pod.
    pub fn covers(&self, pod: &Pod) -> bool {
        let one_of =
            |wanted: &[Box<str>], it: &str| wanted.is_empty() || wanted.iter().any(|want| **want == *it);
        one_of(&self.namespaces, &pod.namespace)
            && one_of(&self.priority_classes, &pod.priority_class)
            && self.labels.iter().all(|label| pod.labels.contains(label))
    }
}

/// Weighs `preferences` for one pod: one veto is enough, weights add up.
pub fn weigh(pod: &Pod, preferences: &[Preference]) -> Standing {
    let own = Standing {
        vetoed: pod.asks.opted_out,
        weight: pod.asks.preference,
    };
    let spoken = preferences.iter().filter(|preference| preference.covers(pod));
    spoken.fold(own, |standing, preference| match preference.verdict {
        Preferred::Never => Standing {
            vetoed: true,
            ..standing
        },
        Preferred::Weight(weight) => Standing {
            weight: standing.weight.saturating_add(weight),
            ..standing
        },
    })
}

impl Pods {
    /// Weighs `preferences` for every pod anew.
    pub fn weigh(&mut self, preferences: &[Preference]) {
        for pod in &mut self.list {
            pod.standing = weigh(pod, preferences);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        Pod {
            namespace: "shop".into(),
            labels: vec![("app".into(), "cart".into()), ("tier".into(), "batch".into())],
            priority_class: "low".into(),
            ..Pod::default()
        }
    }

    #[test]
    fn everything_that_is_named_must_be_true_and_what_is_not_named_says_nothing() {
        let batch = Preference {
            namespaces: vec!["bank".into(), "shop".into()],
            labels: vec![("tier".into(), "batch".into())],
            ..Preference::default()
        };
        assert!(batch.covers(&pod()));
        let elsewhere = Preference {
            namespaces: vec!["bank".into()],
            ..batch.clone()
        };
        assert!(!elsewhere.covers(&pod()));
        let other_value = Preference {
            labels: vec![("tier".into(), "web".into())],
            ..batch.clone()
        };
        assert!(!other_value.covers(&pod()));
        let class = Preference {
            priority_classes: vec!["high".into()],
            ..batch
        };
        assert!(!class.covers(&pod()));
        assert!(
            Preference::default().covers(&pod()),
            "it names nothing, so it speaks of all"
        );
    }

    #[test]
    fn one_veto_is_enough_and_weights_add_up() {
        let weight = |weight| Preference {
            verdict: Preferred::Weight(weight),
            ..Preference::default()
        };
        let mut own = pod();
        own.asks.preference = 3;
        let standing = weigh(&own, &[weight(10), weight(-4)]);
        assert_eq!(
            standing,
            Standing {
                vetoed: false,
                weight: 9
            }
        );
        assert!(weigh(&own, &[weight(10), Preference::default()]).vetoed);
        own.asks.opted_out = true;
        assert!(weigh(&own, &[]).vetoed);
    }
}
