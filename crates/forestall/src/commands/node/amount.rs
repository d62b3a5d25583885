//! Amounts as people type and paste them: a quantity of Kubernetes, also with a `B` behind it (`4MiB`), and the lists that
//! the kubelet's flags take, of which only what is about memory counts.
//!
//! What a quantity or a threshold means is the kubelet's business (`forestall_decide::kubelet`); here it is only refused
//! more often: what overflows, is negative or has no number in it is a slip of the hand on a command line.

use forestall_decide::Bytes;
use forestall_decide::kubelet::{self, Nanobytes, Quantity};

/// An amount in bytes; a fraction of a byte rounds up, as `Quantity.Value` does.
pub(crate) fn parse_quantity(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let wrong = |why: &str| format!("{text:?} {why}; write an amount such as 7120616Ki, 1.5Gi or 134217728");
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(wrong("does not start with a number"));
    }
    let bare = text.strip_suffix('B').unwrap_or(text);
    let quantity = Quantity::parse(bare.trim_end()).map_err(|_| wrong("is no amount"))?;
    if quantity.exact < Nanobytes(0) {
        return Err(wrong("is negative"));
    }
    // Kubernetes caps binary amounts there, and so tells no larger one from it.
    if quantity.exact >= Nanobytes::from(Bytes(i64::MAX.unsigned_abs())) {
        return Err(wrong("is too large"));
    }
    Ok(quantity.exact.round_up().0)
}

/// A reservation: an amount, or a list as `--kube-reserved` takes it, of which memory counts.
pub(crate) fn parse_reservation(text: &str) -> Result<u64, String> {
    if !text.contains('=') {
        return parse_quantity(text);
    }
    let memory = text
        .split(',')
        .find_map(|pair| pair.trim().strip_prefix("memory="));
    memory.map_or(Ok(0), parse_quantity)
}

/// A threshold as the kubelet reads it, in its own words: what it comes to depends on what its signal is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Threshold(String);

impl Threshold {
    /// None at all.
    pub(crate) fn off() -> Self {
        Self("0%".to_owned())
    }

    /// So many bytes.
    pub(crate) fn bytes(bytes: u64) -> Self {
        Self(bytes.to_string())
    }

    /// Takes what the kubelet would take, and refuses what would stop it from starting.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        refuse_nan(text)?;
        match kubelet::parse_threshold(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The words.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// A minimum reclaim as the kubelet reads it. More than there is can be asked for there, and never be had.
pub(crate) fn read_min_reclaim(text: &str) -> Result<String, String> {
    refuse_nan(text)?;
    kubelet::parse_min_reclaim(text).map_err(|error| error.to_string())?;
    if text.ends_with('%') {
        // The bounds are the same, but for nothing at all.
        kubelet::parse_threshold(text).map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

/// What a kubelet takes for a number and is none: whatever is left, it is neither less nor more than that.
fn refuse_nan(text: &str) -> Result<(), String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    if number.eq_ignore_ascii_case("nan") {
        return Err(format!("{text:?} is no number; write a percentage such as 5%"));
    }
    Ok(())
}

/// A threshold: `750Mi`, `5%`, or a list as `--eviction-hard` takes it, of which `memory.available` counts.
pub(crate) fn parse_threshold(text: &str) -> Result<Threshold, String> {
    let value = if text.contains('<') {
        let found = text
            .split(',')
            .find_map(|pair| pair.trim().strip_prefix("memory.available<"));
        found.ok_or_else(|| format!("{text:?} holds no memory.available<AMOUNT"))?
    } else {
        text
    };
    let value = value.trim();
    let value = value.strip_suffix('B').unwrap_or(value);
    Threshold::read(value).map_err(|error| format!("{error}; 0% switches a threshold off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        let threshold = parse_threshold(text).unwrap_or_else(|error| panic!("{error}"));
        threshold.text().to_owned()
    }

    #[test]
    fn quantities_are_those_of_kubernetes() {
        let read = |text| parse_quantity(text).ok();
        assert_eq!(read("7120616Ki"), Some(7_291_510_784));
        assert_eq!(read("1638Mi"), Some(1_717_567_488));
        assert_eq!(read("128974848"), Some(128_974_848));
        assert_eq!(read("129e6"), Some(129_000_000));
        assert_eq!(read("129M"), Some(129_000_000));
        assert_eq!(read("1.5Gi"), Some(1_610_612_736));
        // 256Mi raised by 15 % is 308700774.4 bytes; a quantity is never rounded down.
        assert_eq!(read("308700774400m"), Some(308_700_775));
        assert_eq!(read("1E3"), Some(1_000));
        assert_eq!(read("7Ei"), Some(7 << 60));
    }

    #[test]
    fn units_may_be_spelt_out() {
        let read = |text| parse_quantity(text).ok();
        assert_eq!(read("4MiB"), Some(4 << 20));
        assert_eq!(read("4MB"), Some(4_000_000));
        assert_eq!(read("512B"), Some(512));
        assert_eq!(read(" 10 B "), Some(10));
    }

    #[test]
    fn what_is_no_amount_is_refused_with_an_example() {
        for bad in [
            "",
            "Mi",
            "Ki",
            "-1Mi",
            "1..5Gi",
            "1.2.3Gi",
            "1Qi",
            "1e99",
            "18446744073709551616",
            "8Ei",
            "999999Ei",
            "٣Mi",
            "99999999999999999999e19",
            "1BB",
        ] {
            let error = parse_quantity(bad).expect_err(bad);
            assert!(error.contains("7120616Ki"), "{error}");
        }
    }

    #[test]
    fn flags_are_taken_as_they_stand_in_a_kubelets_command_line() {
        assert_eq!(
            parse_reservation("cpu=100m,memory=1638Mi,pid=1000"),
            Ok(1638 << 20)
        );
        assert_eq!(parse_reservation("1638Mi"), Ok(1638 << 20));
        assert_eq!(parse_reservation("cpu=100m"), Ok(0));
        let flags = "imagefs.available<15%,memory.available<750Mi,nodefs.available<10%";
        assert_eq!(text(flags), "750Mi");
        assert_eq!(text("memory.available<5%"), "5%");
        assert_eq!(text(" 750MiB "), "750Mi");
        assert_eq!((text("0%"), text("100%")), ("0%".to_owned(), "100%".to_owned()));
        for bad in ["nodefs.available<10%", "101%", "-1%", "inf%", "%", "0", "lots"] {
            assert!(parse_threshold(bad).is_err(), "{bad}");
        }
    }

    /// A kubelet starts with it, and nothing is ever below it or not.
    #[test]
    fn no_number_is_no_threshold() {
        for nan in ["NaN%", "nan%", "NAN%", "memory.available<NaN%"] {
            let error = parse_threshold(nan).expect_err(nan);
            assert!(
                error.contains("is no number; write a percentage such as 5%"),
                "{error}"
            );
        }
        for wrong in ["NaN%", "inf%", "+Infinity%", "101%", "1e30%"] {
            assert!(read_min_reclaim(wrong).is_err(), "{wrong}");
        }
        for right in ["5%", "100%", "0", "500Mi"] {
            assert_eq!(read_min_reclaim(right).as_deref(), Ok(right));
        }
    }
}
