//! What is the same in every sample: the departments, the employee numbers, and the nine people of the challenge; and,
//! drawn from the seed, who managed which department when.

use super::{day::Day, dice::Dice};

/// The nine departments of the employees database, by number.
pub const DEPARTMENTS: [(&str, &str); 9] = [
    ("d001", "Marketing"),
    ("d002", "Finance"),
    ("d003", "Human Resources"),
    ("d004", "Production"),
    ("d005", "Development"),
    ("d006", "Quality Management"),
    ("d007", "Sales"),
    ("d008", "Research"),
    ("d009", "Customer Service"),
];

/// How many managers each department has had: 24 in all.
const MANAGERS: [u16; 9] = [2, 2, 2, 4, 2, 4, 2, 2, 4];

/// The day on which the company, its departments and its first managers began.
pub(super) const FIRST_DAY: Day = Day::of(1985, 1, 1);

/// The last day on which somebody was hired.
pub(super) const LAST_HIRE: Day = Day::of(2000, 1, 28);

/// The day up to which the records reach: everything that ended did so before.
pub(super) const LAST_DAY: Day = Day::of(2002, 8, 1);

/// Employees born on this day are the last ones.
pub(super) const YOUNGEST: Day = Day::of(1965, 2, 1);

/// Employees born on this day are the first ones.
pub(super) const OLDEST: Day = Day::of(1952, 2, 1);

/// A day of the challenge: see [`is_of_challenge`].
const HIRED_AFTER: Day = Day::of(1990, 1, 1);

/// A family of careers: departments between which people move without learning another trade, each with its share of
/// the staff, and the titles that lead upwards.
pub(super) struct Trade {
    pub(super) departments: &'static [(u8, u16)],
    pub(super) ladder: &'static [&'static str],
    /// On which rung of the ladder people begin, and how many of them.
    pub(super) entries: &'static [(usize, u16)],
}

const OFFICE: Trade = Trade {
    departments: &[(0, 20), (1, 17), (2, 18), (6, 52), (8, 24)],
    ladder: &["Staff", "Senior Staff"],
    entries: &[(0, 4), (1, 1)],
};

const ENGINEERING: Trade = Trade {
    departments: &[(3, 73), (4, 85), (5, 20), (7, 21)],
    ladder: &["Assistant Engineer", "Engineer", "Senior Engineer", "Technique Leader"],
    entries: &[(0, 12), (1, 70), (2, 13), (3, 5)],
};

/// The trade of a department, by its index.
pub(super) fn trade_of(department: u8) -> &'static Trade {
    if OFFICE.departments.iter().any(|(office, _)| *office == department) { &OFFICE } else { &ENGINEERING }
}

/// The department that a new employee comes to.
pub(super) fn draw_department(dice: &mut Dice) -> u8 {
    let staff = |trade: &Trade| trade.departments.iter().map(|(_, share)| share).sum::<u16>();
    let trade = dice.weighted(&[(&OFFICE, staff(&OFFICE)), (&ENGINEERING, staff(&ENGINEERING))]);
    dice.weighted(trade.departments)
}

/// One of the nine people that the challenge asks for: men, born on 1965-02-01, hired after 1990-01-01.
pub(super) struct Known {
    pub(super) emp_no: u32,
    pub(super) first_name: &'static str,
    pub(super) last_name: &'static str,
    pub(super) hired: Day,
}

const fn known(emp_no: u32, first_name: &'static str, last_name: &'static str, hired: Day) -> Known {
    Known { emp_no, first_name, last_name, hired }
}

/// The people of the challenge, by number.
pub(super) const KNOWN: [Known; 9] = [
    known(74_344, "Hiroyasu", "Provine", Day::of(1994, 11, 25)),
    known(80_850, "Koldo", "Luit", Day::of(1993, 11, 19)),
    known(223_595, "Chiranjit", "Dredge", Day::of(1994, 11, 10)),
    known(235_729, "Henk", "Anger", Day::of(1993, 1, 19)),
    known(248_758, "Snehasis", "Muhlberg", Day::of(1991, 7, 16)),
    known(270_794, "Dannz", "Zhang", Day::of(1990, 10, 24)),
    known(284_045, "Fun", "Seiwald", Day::of(1994, 6, 24)),
    known(424_584, "Kagan", "Dredge", Day::of(1994, 2, 26)),
    known(433_260, "Make", "Olivero", Day::of(1991, 6, 1)),
];

/// Whether the challenge asks for a man with these dates. Nobody but [`KNOWN`] may have them.
pub(super) fn is_of_challenge(birth: Day, hired: Day) -> bool {
    birth == YOUNGEST && hired > HIRED_AFTER
}

/// The numbers of so many employees (at least those of the managers and the nine), in order. The blocks are laid out
/// such that the nine numbers are in the middle of them at the full size.
pub(super) fn emp_numbers(employees: u32, posts: &[Post]) -> Vec<u32> {
    let fixed: Vec<_> = KNOWN.iter().map(|known| known.emp_no).chain(posts.iter().map(|post| post.emp_no)).collect();
    let others = usize::try_from(employees).unwrap_or(usize::MAX).saturating_sub(fixed.len());
    let blocks = (10_001..=110_000).chain(200_000..=299_999).chain(400_000..);
    let mut numbers: Vec<_> = blocks.filter(|number| !fixed.contains(number)).take(others).collect();
    numbers.extend(fixed);
    numbers.sort_unstable();
    numbers
}

/// A manager's time at the head of a department.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Post {
    pub(super) emp_no: u32,
    pub(super) department: u8,
    pub(super) from: Day,
    pub(super) to: Day,
}

/// The managers of all departments: each post begins when the one before it ends, the first on the company's first day,
/// and the last has not ended. The numbers are between the blocks of [`emp_numbers`].
pub(super) fn draw_posts(seed: u64) -> Vec<Post> {
    // Employees have the streams of their numbers, which begin far above 0.
    let mut dice = Dice::new(seed, 0);
    let mut posts = Vec::new();
    for (department, managers) in (0..).zip(MANAGERS) {
        let changes = managers - 1;
        let days_each = 3650 / changes;
        let mut from = FIRST_DAY;
        for change in 1..=managers {
            // The last quarter of each stretch stays free, so that no time in office is too short.
            let day = 3 * 365 + (change - 1) * days_each + dice.below(days_each / 4 * 3);
            let to = if change > changes { Day::FOREVER } else { FIRST_DAY.plus(day) };
            let emp_no = 110_100 + 50 * u32::try_from(posts.len()).unwrap_or_default();
            posts.push(Post { emp_no, department, from, to });
            from = to;
        }
    }
    posts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_department_has_one_manager_at_any_time(seed: u64) {
            let posts = draw_posts(seed);
            prop_assert_eq!(posts.len(), 24);
            for department in 0..9 {
                let posts: Vec<_> = posts.iter().filter(|post| post.department == department).collect();
                prop_assert_eq!(posts[0].from, FIRST_DAY);
                prop_assert_eq!(posts[posts.len() - 1].to, Day::FOREVER);
                for pair in posts.windows(2) {
                    prop_assert_eq!(pair[0].to, pair[1].from);
                    prop_assert!(pair[1].from.since(pair[0].from) > 300);
                }
            }
        }
    }

    #[test]
    fn the_full_size_fills_the_blocks_of_numbers_exactly() {
        let numbers = emp_numbers(300_024, &draw_posts(1));
        assert_eq!(numbers.len(), 300_024);
        assert_eq!((numbers[0], numbers[300_023]), (10_001, 499_999));
        assert!(numbers.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn every_size_has_the_nine_and_the_managers_and_the_numbers_from_10001() {
        let posts = draw_posts(1);
        for employees in [100, 1_000, 310_000] {
            let numbers = emp_numbers(employees, &posts);
            assert_eq!(numbers.len(), employees as usize);
            assert!(numbers.is_sorted_by(|one, next| one < next));
            assert_eq!(numbers[..60], (10_001..10_061).collect::<Vec<_>>());
            assert!(KNOWN.iter().all(|known| numbers.binary_search(&known.emp_no).is_ok()));
            assert!(posts.iter().all(|post| numbers.binary_search(&post.emp_no).is_ok()));
        }
    }

    #[test]
    fn each_department_belongs_to_exactly_one_trade() {
        let mut departments: Vec<_> =
            OFFICE.departments.iter().chain(ENGINEERING.departments).map(|(index, _)| *index).collect();
        departments.sort_unstable();
        assert_eq!(departments, (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn the_nine_are_those_of_the_challenge() {
        assert!(KNOWN.iter().all(|known| is_of_challenge(YOUNGEST, known.hired)));
    }
}
