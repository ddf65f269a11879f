//! One employee's life: who they are, and the intervals of their departments, titles and salaries.
//!
//! In: the dice of the employee's own stream, and the counts that the [`super::plan`] settled on. Out: rows in the
//! order of the tables' keys. Each history has no gaps: it begins on the day of hire and ends, for all three alike, on
//! the day of leaving or not at all.

use super::{
    company::{self, FIRST_DAY, KNOWN, LAST_DAY, LAST_HIRE, OLDEST, Post, YOUNGEST},
    day::Day,
    dice::Dice,
    names,
};

/// A year of work: salaries change after so many days.
const YEAR: u16 = 365;

/// An employee on the first day, and what they would do if nobody counted rows.
pub(super) struct Person {
    pub(super) emp_no: u32,
    pub(super) birth: Day,
    pub(super) first_name: &'static str,
    pub(super) last_name: &'static str,
    pub(super) gender: u8,
    pub(super) hired: Day,
    department: u8,
    rung: usize,
    post: Option<Post>,
    pub(super) wishes: Wishes,
}

/// What an employee would do, as far as it fits into the table sizes.
pub(super) struct Wishes {
    /// After how many begun years to leave.
    pub(super) leave_after: Option<u8>,
    pub(super) promotions: u8,
    pub(super) moves: bool,
}

/// How many rows of each kind a life fills, and whether it ends before the records do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) years: u8,
    pub(super) titles: u8,
    pub(super) departments: u8,
    pub(super) leaves: bool,
}

/// A row of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Interval<T> {
    pub(super) what: T,
    pub(super) from: Day,
    pub(super) to: Day,
}

/// The histories of an employee, each in the order of its table's key.
pub(super) struct Career {
    /// By the index of the department.
    pub(super) departments: Vec<Interval<u8>>,
    pub(super) titles: Vec<Interval<&'static str>>,
    pub(super) salaries: Vec<Interval<u32>>,
}

impl Person {
    /// Draws the employee with this number; the post is that of a manager.
    pub(super) fn draw(emp_no: u32, post: Option<Post>, dice: &mut Dice) -> Self {
        let known = KNOWN.iter().find(|known| known.emp_no == emp_no);
        let gender = if known.is_some() || dice.chance(600) { b'M' } else { b'F' };
        let mut birth = OLDEST.plus(dice.below(YOUNGEST.since(OLDEST) + 1));
        let mut first_name = names::draw_first(dice, gender);
        let mut last_name = names::draw_last(dice);
        let mut hired = FIRST_DAY.plus(dice.below(LAST_HIRE.since(FIRST_DAY) + 1));
        let mut department = company::draw_department(dice);
        match (known, post) {
            (Some(known), _) => {
                (birth, hired) = (YOUNGEST, known.hired);
                (first_name, last_name) = (known.first_name, known.last_name);
            }
            (None, Some(post)) => {
                department = post.department;
                // Later managers rise from the ranks, in which they were for a year at least.
                hired = match post.from.since(FIRST_DAY) {
                    0 => FIRST_DAY,
                    days => FIRST_DAY.plus(dice.below(days - YEAR)),
                };
                birth = OLDEST.plus(dice.below(6 * YEAR));
            }
            (None, None) => {}
        }
        if known.is_none() && company::is_of_challenge(birth, hired) {
            birth = OLDEST;
        }
        let rung = dice.weighted(company::trade_of(department).entries);
        let mut person =
            Self { emp_no, birth, first_name, last_name, gender, hired, department, rung, post, wishes: Wishes::NONE };
        person.wishes = Wishes::draw(&person, dice);
        person
    }

    /// Whether the career is that of a manager, whose number of rows follows from the post.
    pub(super) fn is_manager(&self) -> bool {
        self.post.is_some()
    }

    /// How many years of work the records can hold, counting the last one that began.
    pub(super) fn most_years(&self) -> u8 {
        // Who leaves does so after the year's first day and before the last day of the records.
        u8::try_from((LAST_DAY.since(self.hired) - 2) / YEAR + 1).unwrap_or(u8::MAX)
    }

    /// How many titles the ladder has from the first one on.
    pub(super) fn rungs(&self) -> u8 {
        let rungs = company::trade_of(self.department).ladder.len() - self.rung;
        u8::try_from(rungs).unwrap_or(u8::MAX)
    }

    /// The titles of a manager; none for anybody else.
    pub(super) fn manager_titles(&self) -> Vec<Interval<&'static str>> {
        let Some(post) = self.post else { return Vec::new() };
        let ladder = company::trade_of(self.department).ladder;
        [
            Interval { what: ladder[self.rung], from: self.hired, to: post.from },
            Interval { what: "Manager", from: post.from, to: post.to },
            Interval { what: ladder[ladder.len() - 1], from: post.to, to: Day::FOREVER },
        ]
        .into_iter()
        .filter(|title| title.from < title.to)
        .collect()
    }
}

impl Wishes {
    const NONE: Self = Self { leave_after: None, promotions: 0, moves: false };

    fn draw(person: &Person, dice: &mut Dice) -> Self {
        let most_years = u16::from(person.most_years());
        let years = 1 + dice.below(most_years);
        let leave_after = dice.chance(224).then_some(u8::try_from(years).unwrap_or(u8::MAX));
        let promotions = match dice.below(1000) {
            0..80 => 2,
            80..500 => 1,
            _ => 0,
        };
        let moves = dice.chance(110);
        if person.is_manager() { Self::NONE } else { Self { leave_after, promotions, moves } }
    }
}

impl Career {
    /// Draws the career of a person with as many rows as the counts say.
    pub(super) fn draw(person: &Person, counts: Counts, dice: &mut Dice) -> Self {
        let last_raise = person.hired.plus(YEAR * u16::from(counts.years - 1));
        let latest = YEAR.min(LAST_DAY.since(last_raise) - 1);
        let left = counts.leaves.then(|| last_raise.plus(dice.within(1..=latest)));
        let end = left.unwrap_or(Day::FOREVER);

        let departments = draw_departments(person, counts, left, dice);
        let promotions = draw_promotions(counts, dice);
        let salaries = draw_salaries(person, counts.years, &promotions, end, dice);
        let mut titles = person.manager_titles();
        if titles.is_empty() {
            let ladder = &company::trade_of(person.department).ladder[person.rung..];
            let days = promotions.iter().map(|year| person.hired.plus(YEAR * u16::from(*year)));
            titles = intervals(ladder.iter().copied(), person.hired, days, end);
        }
        titles.sort_unstable();
        Self { departments, titles, salaries }
    }
}

fn draw_departments(person: &Person, counts: Counts, left: Option<Day>, dice: &mut Dice) -> Vec<Interval<u8>> {
    let end = left.unwrap_or(Day::FOREVER);
    let home = person.department;
    if counts.departments == 1 {
        return vec![Interval { what: home, from: person.hired, to: end }];
    }
    let others: Vec<_> =
        company::trade_of(home).departments.iter().filter(|(other, _)| *other != home).copied().collect();
    let other = dice.weighted(&others);
    let days = left.unwrap_or(LAST_DAY).since(person.hired);
    // Nobody moves within the first half year or the last three months.
    let day = person.hired.plus(dice.within(180..=days - 90));
    let mut history = intervals([home, other].into_iter(), person.hired, [day].into_iter(), end);
    history.sort_unstable();
    history
}

/// The years, counted from the hire, that begin with a new title: each as likely as any other.
fn draw_promotions(counts: Counts, dice: &mut Dice) -> Vec<u8> {
    let mut open = u16::from(counts.titles - 1);
    let mut promotions = Vec::new();
    for year in 1..counts.years {
        if dice.below(u16::from(counts.years - year)) < open {
            promotions.push(year);
            open -= 1;
        }
    }
    promotions
}

fn draw_salaries(person: &Person, years: u8, promotions: &[u8], end: Day, dice: &mut Dice) -> Vec<Interval<u32>> {
    const SALES: u8 = 6;
    let mut salary = 40_000 + u32::from(dice.below(9_000)) + u32::from(dice.below(9_000));
    salary += 5_000 * u32::try_from(person.rung).unwrap_or_default();
    salary += if person.department == SALES { 9_000 } else { 0 };
    salary += if person.is_manager() { 15_000 } else { 0 };
    let mut amounts = Vec::with_capacity(usize::from(years));
    for year in 0..years {
        if year > 0 {
            let permille = match dice.chance(120) {
                true => 985 + dice.below(15),
                false => 1000 + dice.below(65),
            };
            let reward = if promotions.contains(&year) { 30 + dice.below(50) } else { 0 };
            salary = salary * u32::from(permille + reward) / 1000;
        }
        amounts.push(salary);
    }
    let raises = (1..years).map(|year| person.hired.plus(YEAR * u16::from(year)));
    intervals(amounts.into_iter(), person.hired, raises, end)
}

/// A history without gaps: the next thing begins on each of the days.
fn intervals<T>(
    mut what: impl Iterator<Item = T>,
    from: Day,
    days: impl Iterator<Item = Day>,
    end: Day,
) -> Vec<Interval<T>> {
    let mut from = from;
    let mut history = Vec::new();
    for to in days.chain([end]) {
        history.extend(what.next().map(|what| Interval { what, from, to }));
        from = to;
    }
    history
}
