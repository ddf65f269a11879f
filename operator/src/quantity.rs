//! Kubernetes' quantities, as far as they have to be compared here: the API server has checked how they are written.

/// A quantity in thousandths, rounded up as Kubernetes does; `None` for what is none, or too large to be counted.
pub fn quantity(text: &str) -> Option<u128> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (factor, power): (u128, i32) = match suffix {
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        // Alone it is a suffix, and begins an exponent otherwise: `1E` is `1E18`.
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => (1, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let power = power.checked_add(3)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let all: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (all, scale) = (all.checked_mul(factor)?, 10u128.checked_pow(power.unsigned_abs())?);
    if power < 0 { Some(all.div_ceil(scale)) } else { all.checked_mul(scale) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("1", "1000m")]
    #[case("1.5", "1500m")]
    #[case("1Gi", "1024Mi")]
    #[case("0.5Gi", "512Mi")]
    #[case("1G", "1000M")]
    #[case("20e9", "20G")]
    #[case("20E9", "20G")]
    #[case("2E+1", "20")]
    #[case("1500e-3", "1.5")]
    #[case("1E", "1000P")]
    #[case("1E3", "1k")]
    #[case("1Ei", "1024Pi")]
    #[case("1000000n", "1000u")]
    #[case("1000u", "1m")]
    #[case("1n", "1m")]
    #[case("+5.", "5")]
    #[case(".5", "500m")]
    fn spellings_of_one_quantity_are_the_same(#[case] one: &str, #[case] other: &str) {
        assert_eq!(quantity(one), quantity(other));
        assert!(quantity(one).is_some());
    }

    #[rstest]
    #[case("")]
    #[case("tandem/web")]
    #[case("1.2.3")]
    #[case("-1")]
    #[case("E")]
    #[case("e3")]
    #[case("1e")]
    #[case("1e3Gi")]
    #[case("1Eii")]
    #[case("1e99")]
    #[case(".")]
    fn other_texts_are_no_quantities(#[case] text: &str) {
        assert_eq!(quantity(text), None);
    }

    proptest! {
        #[test]
        fn every_form_says_the_same_number(number in 0..1_000_000_u32, power in 0..7_usize) {
            let suffix = ["", "k", "M", "G", "T", "P", "E"][power];
            let exponent = power * 3;
            let said = u128::from(number) * 1000 * 10u128.pow(u32::try_from(exponent).unwrap());
            prop_assert_eq!(quantity(&format!("{number}{suffix}")), Some(said));
            prop_assert_eq!(quantity(&format!("{number}e{exponent}")), Some(said));
            prop_assert_eq!(quantity(&format!("{number}E+{exponent}")), Some(said));
            prop_assert_eq!(quantity(&format!("{number}000e{}", i32::try_from(exponent).unwrap() - 3)), Some(said));
            prop_assert_eq!(quantity(&format!("{number}.0{suffix}")), Some(said));
            let binary = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power];
            prop_assert_eq!(quantity(&format!("{number}{binary}")), Some((u128::from(number) * 1000) << (10 * power)));
        }

        #[test]
        fn no_text_is_too_much(text in "[+-]?[0-9.]{0,50}[eEinumkKMGTP]{0,2}[+-]?[0-9]{0,12}") {
            quantity(&text);
        }
    }
}
