//! Kubernetes' quantities, as far as they have to be compared here: the API server has checked how they are written.

/// A quantity in thousandths; `None` for what is none (and for exponents, which nobody writes).
pub fn quantity(text: &str) -> Option<u128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let factor: u128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        "Pi" => 1000 << 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = u32::try_from(fraction.len()).ok()?;
    let all: u128 = format!("{whole}{fraction}").parse().ok()?;
    all.checked_mul(factor)?.checked_div(10u128.checked_pow(digits)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("1", "1000m")]
    #[case("1.5", "1500m")]
    #[case("1Gi", "1024Mi")]
    #[case("0.5Gi", "512Mi")]
    #[case("1G", "1000M")]
    fn spellings_of_one_quantity_are_the_same(#[case] one: &str, #[case] other: &str) {
        assert_eq!(quantity(one), quantity(other));
        assert!(quantity(one).is_some());
    }

    #[rstest]
    #[case("")]
    #[case("tandem/web")]
    #[case("1.2.3")]
    #[case("-1")]
    fn other_texts_are_no_quantities(#[case] text: &str) {
        assert_eq!(quantity(text), None);
    }
}
