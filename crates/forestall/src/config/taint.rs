//! Whether the Node is tainted while its memory runs low, as typed.

use super::raw::FromText;

/// What newcomers are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Taint {
    /// Nothing.
    #[default]
    None,
    /// The scheduler sends nobody here as long as there is another place.
    PreferNoSchedule,
    /// It sends nobody here.
    NoSchedule,
}

impl Taint {
    /// `v1.TaintEffect`; `None` where there is none.
    pub(crate) const fn effect(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::PreferNoSchedule => Some("PreferNoSchedule"),
            Self::NoSchedule => Some("NoSchedule"),
        }
    }

    /// As it is typed.
    pub(super) fn label(self) -> &'static str {
        self.effect().unwrap_or("none")
    }
}

impl FromText for Taint {
    fn from_text(text: &str) -> Result<Self, String> {
        let known = [Self::None, Self::PreferNoSchedule, Self::NoSchedule];
        let found = known.into_iter().find(|taint| taint.label() == text.trim());
        // NoExecute would end pods, which is for the ladder to decide.
        found.ok_or_else(|| format!("{text:?} is no taint of ours; none, PreferNoSchedule or NoSchedule"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::check;

    #[test]
    fn a_taint_keeps_newcomers_away_and_ends_nobody() {
        let of = |text: &str| check(text).map(|settings| settings.taint);
        assert_eq!(of("{}").ok(), Some(Taint::None));
        assert_eq!(of("taint: PreferNoSchedule").ok(), Some(Taint::PreferNoSchedule));
        assert_eq!(of("taint: NoSchedule").ok(), Some(Taint::NoSchedule));
        for wrong in ["taint: NoExecute", "taint: noschedule", "taint: true"] {
            let said = of(wrong).expect_err(wrong).message;
            assert!(said.contains("none, PreferNoSchedule or NoSchedule"), "{said}");
        }
    }
}
