//! Days as small numbers, from 1948 to 2099, and the one that stands for "until now".

/// A day, in two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(u16);

/// The first year: a leap year, as every fourth one is until 2100.
const EPOCH: u16 = 1948;
const FOUR_YEARS: u16 = 4 * 365 + 1;
const DAYS_BEFORE_MONTH: [u16; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

impl Day {
    /// 9999-01-01, the end of what has not ended: later than every other day.
    pub(super) const FOREVER: Self = Self(u16::MAX);

    pub(super) const fn of(year: u16, month: u8, day: u8) -> Self {
        let years = year - EPOCH;
        let mut number = years * 365 + years.div_ceil(4) + DAYS_BEFORE_MONTH[month as usize - 1] + day as u16 - 1;
        if years.is_multiple_of(4) && month > 2 {
            number += 1;
        }
        Self(number)
    }

    pub(super) const fn plus(self, days: u16) -> Self {
        Self(self.0 + days)
    }

    /// The days since an earlier one.
    pub(super) const fn since(self, earlier: Self) -> u16 {
        self.0 - earlier.0
    }

    /// The date as MySQL writes it.
    pub(super) fn text(self) -> [u8; 10] {
        if self == Self::FOREVER {
            return *b"9999-01-01";
        }
        let (fours, day) = (self.0 / FOUR_YEARS, self.0 % FOUR_YEARS);
        // The first of four years has a day more.
        let year = day.saturating_sub(1) / 365;
        let mut day = if year == 0 { day } else { day - 365 * year - 1 };
        let mut leap_day = 0;
        if year == 0 && day >= 59 {
            // The 29th of February is the day before "the first of March", and all later days are one further.
            leap_day = u16::from(day == 59);
            day -= 1;
        }
        let month = DAYS_BEFORE_MONTH.partition_point(|before| *before <= day);
        let day = day - DAYS_BEFORE_MONTH[month - 1] + 1 + leap_day;
        let year = EPOCH + 4 * fours + year;
        let [y3, y2, y1, y0] = [year / 1000, year / 100, year / 10, year].map(digit);
        let month = u16::try_from(month).unwrap_or_default();
        [y3, y2, y1, y0, b'-', digit(month / 10), digit(month), b'-', digit(day / 10), digit(day)]
    }
}

/// The last digit of a number.
fn digit(number: u16) -> u8 {
    b"0123456789"[usize::from(number % 10)]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(1948, 1, 1, 0, "1948-01-01")]
    #[case(1948, 2, 28, 58, "1948-02-28")]
    #[case(1948, 2, 29, 59, "1948-02-29")]
    #[case(1948, 3, 1, 60, "1948-03-01")]
    #[case(1948, 12, 31, 365, "1948-12-31")]
    #[case(1949, 1, 1, 366, "1949-01-01")]
    #[case(1951, 12, 31, 1460, "1951-12-31")]
    #[case(1952, 1, 1, 1461, "1952-01-01")]
    #[case(1965, 2, 1, 6241, "1965-02-01")]
    #[case(2000, 2, 29, 19052, "2000-02-29")]
    #[case(2002, 8, 1, 19936, "2002-08-01")]
    fn a_day_has_a_number_and_a_date(
        #[case] year: u16,
        #[case] month: u8,
        #[case] day: u8,
        #[case] number: u16,
        #[case] text: &str,
    ) {
        assert_eq!(Day::of(year, month, day), Day(number));
        assert_eq!(Day(number).text(), text.as_bytes());
    }

    #[test]
    fn each_day_has_a_later_date_than_the_one_before() {
        let last = Day::of(2099, 12, 31);
        for number in 0..last.0 {
            assert!(Day(number).text() < Day(number + 1).text(), "day {number}");
        }
        assert_eq!(last.text(), *b"2099-12-31");
        assert_eq!(Day::FOREVER.text(), *b"9999-01-01");
        assert!(last < Day::FOREVER);
    }
}
