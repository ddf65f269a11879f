//! How many rows each employee has, so that the tables come to the same sizes for every seed.
//!
//! In: the number of employees and the seed. Out: the counts of each life. They begin as what the employee would do,
//! and are then moved by one, evenly over all employees, until they add up to test_db's sizes or their share of them.
//! Lives are drawn a second time when they are written, so nothing but the counts is kept in memory.

use std::ops::RangeInclusive;

use super::{
    FULL_SIZE,
    career::{Counts, Person},
    company::{self, Post},
    dice::Dice,
};

/// The rows of test_db's other tables at its size.
const FULL_DEPT_EMP: u64 = 331_603;
const FULL_TITLES: u64 = 443_308;
const FULL_SALARIES: u64 = 2_844_047;

/// Everything about a sample but the lives themselves.
pub(super) struct Plan {
    seed: u64,
    pub(super) posts: Vec<Post>,
    /// In the order of the employees' numbers.
    pub(super) outlines: Vec<Outline>,
}

/// The counts of one employee, and how far they can be moved.
pub(super) struct Outline {
    pub(super) emp_no: u32,
    pub(super) counts: Counts,
    most_years: u8,
    rungs: u8,
    /// The counts of managers follow from their posts.
    fixed: bool,
}

impl Plan {
    pub(super) fn new(employees: u32, seed: u64) -> Self {
        let mut plan = Self { seed, posts: company::draw_posts(seed), outlines: Vec::new() };
        let numbers = company::emp_numbers(employees, &plan.posts);
        plan.outlines = numbers.into_iter().map(|emp_no| Outline::of(&plan.draw_person(emp_no).0)).collect();
        settle_all(&mut plan.outlines);
        plan
    }

    /// The employee with this number, and the dice for the rest of the life.
    pub(super) fn draw_person(&self, emp_no: u32) -> (Person, Dice) {
        let mut dice = Dice::new(self.seed, u64::from(emp_no));
        let post = self.posts.iter().find(|post| post.emp_no == emp_no).copied();
        (Person::draw(emp_no, post, &mut dice), dice)
    }
}

impl Outline {
    fn of(person: &Person) -> Self {
        let most_years = person.most_years();
        let wishes = &person.wishes;
        let counts = Counts {
            years: wishes.leave_after.unwrap_or(most_years),
            titles: if person.is_manager() { person.manager_titles().len() as u8 } else { 1 + wishes.promotions },
            departments: 1 + u8::from(wishes.moves),
            leaves: wishes.leave_after.is_some(),
        };
        Self { emp_no: person.emp_no, counts, most_years, rungs: person.rungs(), fixed: person.is_manager() }
    }

    fn years_of_leavers(&self) -> RangeInclusive<u8> {
        if self.counts.leaves { 1..=self.most_years } else { self.counts.years..=self.counts.years }
    }

    fn years(&self) -> RangeInclusive<u8> {
        if self.fixed { self.most_years..=self.most_years } else { 1..=self.most_years }
    }

    /// Each title is held for a year at least.
    fn titles(&self) -> RangeInclusive<u8> {
        if self.fixed { self.counts.titles..=self.counts.titles } else { 1..=self.rungs.min(self.counts.years) }
    }

    /// Nobody moves within the first half year.
    fn departments(&self) -> RangeInclusive<u8> {
        if self.fixed || self.counts.years == 1 { 1..=1 } else { 1..=2 }
    }
}

fn settle_all(people: &mut [Outline]) {
    let employees = people.len() as u64;
    let share = |rows: u64| (rows * employees + u64::from(FULL_SIZE) / 2) / u64::from(FULL_SIZE);
    // Those who leave do so earlier or later; only if that is not enough, others leave as well, or stay.
    settle(people, share(FULL_SALARIES), |counts| &mut counts.years, Outline::years_of_leavers);
    settle(people, share(FULL_SALARIES), |counts| &mut counts.years, Outline::years);
    for person in people.iter_mut() {
        person.counts.leaves |= person.counts.years < person.most_years;
    }
    settle(people, share(FULL_TITLES), |counts| &mut counts.titles, Outline::titles);
    settle(people, share(FULL_DEPT_EMP), |counts| &mut counts.departments, Outline::departments);
}

/// Brings one of the counts within its limits, and then moves it by one for as many people as it takes to add up to the
/// target: every second or every thousandth, but never the first few in a row. In a very small company the limits can
/// be in the way; the sum is then as close as they allow.
fn settle(
    people: &mut [Outline],
    target: u64,
    count: fn(&mut Counts) -> &mut u8,
    limits: fn(&Outline) -> RangeInclusive<u8>,
) {
    let mut sum = 0;
    for person in people.iter_mut() {
        let limits = limits(person);
        let count = count(&mut person.counts);
        *count = (*count).clamp(*limits.start(), *limits.end());
        sum += u64::from(*count);
    }
    while sum != target {
        let up = sum < target;
        let can_move = |person: &mut Outline| {
            let limits = limits(person);
            let limit = if up { limits.end() } else { limits.start() };
            *count(&mut person.counts) != *limit
        };
        let able = people.iter_mut().filter_map(|person| can_move(person).then_some(())).count() as u64;
        let wanted = sum.abs_diff(target).min(able);
        if wanted == 0 {
            return;
        }
        let able_people = people.iter_mut().filter_map(|person| can_move(person).then_some(person));
        for (index, person) in (0..).zip(able_people) {
            // Of `able` people, those at whose place the line of slope wanted/able passes a whole number.
            if (index + 1) * wanted / able > index * wanted / able {
                let count = count(&mut person.counts);
                *count = if up { *count + 1 } else { *count - 1 };
            }
        }
        sum = if up { sum + wanted } else { sum - wanted };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sums(plan: &Plan) -> [u64; 3] {
        let sum = |count: fn(&Counts) -> u8| plan.outlines.iter().map(|person| u64::from(count(&person.counts))).sum();
        [sum(|counts| counts.departments), sum(|counts| counts.titles), sum(|counts| counts.years)]
    }

    #[test]
    fn the_full_size_has_the_row_counts_of_test_db() {
        assert_eq!(sums(&Plan::new(FULL_SIZE, 1)), [FULL_DEPT_EMP, FULL_TITLES, FULL_SALARIES]);
    }

    #[test]
    fn so_many_rows_need_few_people_to_do_other_than_they_would() {
        let plan = Plan::new(10_000, 1);
        let moved = |change: fn(&Counts, &Counts) -> bool| {
            let people = plan.outlines.iter();
            people.filter(|one| change(&one.counts, &Outline::of(&plan.draw_person(one.emp_no).0).counts)).count()
        };
        assert!(moved(|settled, wish| settled.years != wish.years) < 500);
        assert!(moved(|settled, wish| settled.departments != wish.departments) < 500);
        assert!(moved(|settled, wish| settled.leaves != wish.leaves) == 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn other_sizes_have_their_share(employees in 1_000u32..3_000, seed: u64) {
            let share = |rows: u64| (rows as f64 * f64::from(employees) / f64::from(FULL_SIZE)).round() as u64;
            let expected = [FULL_DEPT_EMP, FULL_TITLES, FULL_SALARIES].map(share);
            prop_assert_eq!(sums(&Plan::new(employees, seed)), expected);
        }
    }
}
