//! Amounts of memory as Kubernetes and its tools write them, so that figures can be pasted: `7120616Ki`, `1638Mi`,
//! `128974848`, `memory.available<750Mi`, `cpu=100m,memory=1638Mi`, `5%`.
//!
//! Unlike the sizes of forestall's own configuration, a number without a unit is allowed here: in Kubernetes it counts
//! bytes. Arithmetic is exact; a fraction of a byte rounds up, as `resource.Quantity.Value` does.

/// Suffixes of `k8s.io/apimachinery/pkg/api/resource`: name, multiplier, divisor; and the spelling with a `B` behind it.
const SUFFIXES: [(&str, u64, u64); 24] = [
    ("", 1, 1),
    ("B", 1, 1),
    ("Ki", 1 << 10, 1),
    ("Mi", 1 << 20, 1),
    ("Gi", 1 << 30, 1),
    ("Ti", 1 << 40, 1),
    ("Pi", 1 << 50, 1),
    ("Ei", 1 << 60, 1),
    ("KiB", 1 << 10, 1),
    ("MiB", 1 << 20, 1),
    ("GiB", 1 << 30, 1),
    ("TiB", 1 << 40, 1),
    ("n", 1, 1_000_000_000),
    ("u", 1, 1_000_000),
    ("m", 1, 1_000),
    ("k", 1_000, 1),
    ("M", 1_000_000, 1),
    ("G", 1_000_000_000, 1),
    ("T", 1_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000, 1),
    ("kB", 1_000, 1),
    ("MB", 1_000_000, 1),
    ("GB", 1_000_000_000, 1),
];

/// Most digits a number may have: enough for every `u64`, too few to overflow the wide product.
const DIGITS_MAX: usize = 20;

/// A quantity in bytes, rounded up.
pub(crate) fn parse_quantity(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let wrong = |why: &str| format!("{text:?} {why}; write an amount such as 7120616Ki, 1.5Gi or 134217728");
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return Err(wrong("does not start with a number"));
    }
    if whole.len() + fraction.len() > DIGITS_MAX {
        return Err(wrong("has too many digits"));
    }
    let digits: u128 = format!("{whole}{fraction}")
        .parse()
        .map_err(|_| wrong("is no number"))?;
    let (times, over) = scale(suffix.trim()).ok_or_else(|| wrong("has an unknown unit"))?;
    let places = u32::try_from(fraction.len()).unwrap_or(0);
    let wide = digits
        .checked_mul(u128::from(times))
        .ok_or_else(|| wrong("is too large"))?;
    let divisor = 10_u128
        .pow(places)
        .checked_mul(u128::from(over))
        .ok_or_else(|| wrong("is too small"))?;
    u64::try_from(wide.div_ceil(divisor)).map_err(|_| wrong("is too large"))
}

/// What a suffix multiplies and divides by; `e3` and `E3` are exponents of ten.
fn scale(suffix: &str) -> Option<(u64, u64)> {
    if let Some((_, times, over)) = SUFFIXES.iter().find(|(name, ..)| *name == suffix) {
        return Some((*times, *over));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_u64.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
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

/// Where a threshold lies: so many bytes, or a share of the node's capacity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Threshold {
    /// An amount.
    Bytes(u64),
    /// Percent of the capacity.
    Percent(f32),
}

impl Threshold {
    /// The kubelet's own when nothing is configured (`pkg/kubelet/apis/config/v1beta1/defaults_linux.go`).
    pub(crate) const KUBELET_DEFAULT: Self = Self::Bytes(100 << 20);

    /// The threshold in bytes.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the kubelet reckons a percentage in floating point and cuts the fraction off \
                  (pkg/kubelet/eviction/api/types.go, GetThresholdQuantity); to be right is to do the same"
    )]
    pub(crate) fn of_capacity(self, capacity: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (capacity as f64 * f64::from(percent / 100.0)) as u64,
        }
    }
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
    let Some(number) = value.trim().strip_suffix('%') else {
        return parse_quantity(value).map(Threshold::Bytes);
    };
    match number.trim().parse::<f32>() {
        Ok(percent) if (0.0..100.0).contains(&percent) => Ok(Threshold::Percent(percent)),
        _ => Err(format!("{value:?} is no percentage from 0% to below 100%")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_those_of_kubernetes() {
        let read = |text| parse_quantity(text).ok();
        assert_eq!(read("7120616Ki"), Some(7_291_510_784));
        assert_eq!(read("1638Mi"), Some(1_717_567_488));
        assert_eq!(read("128974848"), Some(128_974_848));
        assert_eq!(read("129e6"), Some(129_000_000));
        assert_eq!(read("129M"), Some(129_000_000));
        assert_eq!(read("1.5Gi"), Some(1_610_612_736));
        assert_eq!(read("128974848000m"), Some(128_974_848));
        // 256Mi raised by 15 % is 308700774.4 bytes; a quantity is never rounded down.
        assert_eq!(read("308700774400m"), Some(308_700_775));
        assert_eq!(read("1E"), Some(1_000_000_000_000_000_000));
        assert_eq!(read("1E3"), Some(1_000));
        assert_eq!(read("18446744073709551615"), Some(u64::MAX));
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_an_example() {
        for bad in [
            "",
            "Mi",
            "-1Mi",
            "1..5Gi",
            "1.2.3Gi",
            "1Qi",
            "1e99",
            "18446744073709551616",
            "999999Ei",
            "٣Mi",
            "99999999999999999999e19",
            "1e-20",
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
        assert_eq!(parse_threshold(flags), Ok(Threshold::Bytes(750 << 20)));
        assert!(parse_threshold("nodefs.available<10%").is_err());
        assert!(parse_threshold("100%").is_err());
        assert!(parse_threshold("NaN%").is_err());
    }

    #[test]
    fn a_percentage_is_of_the_capacity() {
        let half = parse_threshold("memory.available<50%").expect("a percentage");
        assert_eq!(half.of_capacity(7_291_510_784), 3_645_755_392);
        assert_eq!(Threshold::KUBELET_DEFAULT.of_capacity(1 << 40), 104_857_600);
    }
}
