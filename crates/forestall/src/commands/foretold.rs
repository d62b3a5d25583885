//! What the shadow kubelet foretold and what came of it, in words and for programs: for `simulate`, which knows everything, and
//! for `replay`, which knows what was recorded.

use forestall_decide::Span;
use forestall_decide::kubelet::{Bounds, Unmended};
use serde_json::{Map, Value};

/// So many names of those who may be evicted are told.
const NAMES_MAX: usize = 3;

/// An eviction that was foretold. Names are as they are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Foretold {
    /// When it was said.
    pub(super) at_micros: u64,
    pub(super) wall: &'static str,
    pub(super) acts: Bounds,
    /// Whom it may hit.
    pub(super) names: Vec<String>,
    pub(super) unmended: Vec<Unmended>,
    /// The agent acted before anything came.
    pub(super) acted: bool,
    pub(super) came: Option<Came>,
}

/// What followed first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Came {
    pub(super) after: Span,
    /// Whom it hit; nobody where that is not known.
    pub(super) whom: Vec<String>,
    /// The kernel killed before the kubelet evicted.
    pub(super) by_kernel: bool,
    /// Whoever was evicted had been named; `None`: it is not known.
    pub(super) right_pod: Option<bool>,
}

/// What an eviction leaves as it is: the word for programs, and for people.
const fn words(unmended: Unmended) -> (&'static str, &'static str) {
    match unmended {
        Unmended::Silent => ("silent", "it is silent"),
        Unmended::KernelFirst => ("kernel-first", "the kernel runs out before"),
        Unmended::KubepodsFirst => ("kubepods-first", "kubepods reaches its limit before"),
        Unmended::HostGrows => ("host-grows", "what grows is outside of the pods"),
        Unmended::BlindGrows => ("blind-grows", "what grows is not seen by it"),
        Unmended::NotTheGrower => ("not-the-grower", "the pod that grows is not among them"),
        Unmended::PerhapsNotTheGrower => ("perhaps-not-the-grower", "only one of them is the pod that grows"),
        Unmended::CacheAlone => ("cache-alone", "it is for page cache alone"),
        Unmended::VictimUnknown => ("victim-unknown", "nobody has told who the pods are"),
        Unmended::Nobody => ("nobody", "there is nobody that it may evict"),
        Unmended::TooLittle => ("too-little", "one of them is not enough"),
        Unmended::BlocksHard => ("blocks-hard", "meanwhile it looks at no hard threshold"),
    }
}

impl Foretold {
    /// It was said that the kernel may be first.
    pub(super) fn warns_of_kernel(&self) -> bool {
        let first = |unmended: &Unmended| matches!(unmended, Unmended::KernelFirst | Unmended::KubepodsFirst);
        self.unmended.iter().any(first)
    }

    /// The eviction that followed.
    pub(super) fn evicted(&self) -> Option<&Came> {
        self.came.as_ref().filter(|came| !came.by_kernel)
    }

    /// The kernel was first.
    pub(super) fn killed(&self) -> Option<&Came> {
        self.came.as_ref().filter(|came| came.by_kernel)
    }

    /// It came within the bounds.
    pub(super) fn is_in_time(&self, came: &Came) -> bool {
        self.acts.earliest <= came.after && came.after <= self.acts.latest
    }

    /// By how many microseconds it came later than was likely; negative: sooner.
    pub(super) fn error_micros(&self, came: &Came) -> i64 {
        let signed = |span: Span| i64::try_from(span.0).unwrap_or(i64::MAX);
        signed(came.after).saturating_sub(signed(self.acts.middle))
    }

    /// What was said: whom, where and when; then what that does not mend.
    pub(super) fn said(&self) -> String {
        let told: Vec<&str> = self.names.iter().take(NAMES_MAX).map(String::as_str).collect();
        let whom = match (told.as_slice(), self.names.len().saturating_sub(NAMES_MAX)) {
            ([], _) => "somebody".to_owned(),
            ([one], _) => (*one).to_owned(),
            (_, 0) => ["one of ", &told.join(", ")].concat(),
            (_, more) => format!("one of {} and {more} more", told.join(", ")),
        };
        let mut said = format!(
            "the kubelet will evict {whom} at {} in {} to {}, likely in {}",
            self.wall, self.acts.earliest, self.acts.latest, self.acts.middle
        );
        for (index, unmended) in self.unmended.iter().enumerate() {
            said.push_str(if index == 0 { "; but " } else { ", and " });
            said.push_str(words(*unmended).1);
        }
        said
    }

    /// What came of it.
    pub(super) fn outcome(&self) -> String {
        let Some(came) = &self.came else {
            return if self.acted {
                "It evicted nobody; the agent had acted.".to_owned()
            } else {
                "It evicted nobody that is known.".to_owned()
            };
        };
        let whom = if came.whom.is_empty() {
            "somebody".to_owned()
        } else {
            came.whom.join(", ")
        };
        if came.by_kernel {
            let said = if self.warns_of_kernel() {
                "as was said"
            } else {
                "which was not said"
            };
            return format!(
                "The kernel was first: it killed {whom} after {}, {said}.",
                came.after
            );
        }
        let pod = match came.right_pod {
            Some(true) => ", one that was named",
            Some(false) => ", nobody who was named",
            None => "",
        };
        let in_time = if self.is_in_time(came) { "within" } else { "out of" };
        let acted = if self.acted {
            " The agent had acted before."
        } else {
            ""
        };
        format!(
            "It evicted {whom} after {}{pod}, {} than likely, {in_time} the bounds.{acted}",
            came.after,
            error(self.error_micros(came))
        )
    }

    /// For programs, its time since then. It is a value and no structure of its own, because the binary has a budget.
    pub(super) fn value(&self, begins: u64) -> Map<String, Value> {
        let texts = |texts: &[String]| -> Value { texts.iter().map(String::as_str).collect() };
        let came = |came: Option<&Came>| {
            came.map_or(Value::Null, |came| {
                object([
                    ("after_micros", came.after.0.into()),
                    ("whom", texts(&came.whom)),
                    ("right_pod", came.right_pod.into()),
                    ("within_bounds", self.is_in_time(came).into()),
                    ("error_micros", self.error_micros(came).into()),
                ])
                .into()
            })
        };
        let words = self.unmended.iter().map(|unmended| words(*unmended).0);
        object([
            ("at_micros", self.at_micros.saturating_sub(begins).into()),
            ("wall", self.wall.into()),
            ("acts_earliest_micros", self.acts.earliest.0.into()),
            ("acts_middle_micros", self.acts.middle.0.into()),
            ("acts_latest_micros", self.acts.latest.0.into()),
            ("possible_victims", texts(&self.names)),
            ("unmended", words.collect()),
            ("kernel_first_said", self.warns_of_kernel().into()),
            ("acted", self.acted.into()),
            ("evicted", came(self.evicted())),
            ("killed_first", came(self.killed())),
        ])
    }
}

/// An error in words.
pub(super) fn error(micros: i64) -> String {
    let sooner = if micros < 0 { "sooner" } else { "later" };
    format!("{} {sooner}", Span(micros.unsigned_abs()))
}

/// Named values.
pub(crate) fn object<const N: usize>(mut fields: [(&str, Value); N]) -> Map<String, Value> {
    put_all(&mut fields)
}

/// Once for all numbers of them: each would have a copy of its own in the binary.
fn put_all(fields: &mut [(&str, Value)]) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, value) in fields {
        map.insert((*name).to_owned(), std::mem::take(value));
    }
    map
}
