//! One person's career along one line of time: departments, titles, the managers of these departments, and the salary.

use chrono::{Datelike, NaiveDate};

use super::{Anchor, CHARACTER, Chart, Drawing, LINE, MIDDLE, Scale, Screen, fit, group_digits, pack, text_width};
use crate::db::employees::{Career, Salary};

/// The height of a bar, and of a row of bars.
const BAR: f64 = 20.0;
const ROW: f64 = 25.0;
/// The height of the part that shows the salary.
const SALARY: f64 = 120.0;

/// A span of time that has a name; without an end it goes on.
struct Span {
    name: String,
    from: NaiveDate,
    to: Option<NaiveDate>,
}

/// What `career` says of somebody who was hired on `hired`.
pub fn timeline(id: &'static str, title: String, hired: NaiveDate, career: &Career) -> Chart {
    let lanes = lanes(career);
    let axis = Axis::of(hired, career);
    Chart {
        id,
        key: None,
        description: describe(hired, &lanes, career),
        wide: draw(Screen::Wide, &axis, &lanes, &career.salaries),
        narrow: draw(Screen::Narrow, &axis, &lanes, &career.salaries),
        table: None,
        title,
    }
}

/// The rows of bars with their headings and classes.
fn lanes(career: &Career) -> Vec<(&'static str, &'static str, Vec<Span>)> {
    let departments = career.departments.iter().filter(|one| !one.manager);
    let managed = career.departments.iter().filter(|one| one.manager);
    let mut lanes = vec![
        (
            "Departments",
            "department",
            departments.map(|one| Span { name: one.dept_name.clone(), from: one.from_date, to: one.to_date }).collect(),
        ),
        (
            "Manager of",
            "manager",
            managed.map(|one| Span { name: one.dept_name.clone(), from: one.from_date, to: one.to_date }).collect(),
        ),
        (
            "Titles",
            "title",
            career
                .titles
                .iter()
                .map(|one| Span { name: one.title.clone(), from: one.from_date, to: one.to_date })
                .collect(),
        ),
        (
            "Managers of the time",
            "superior",
            career
                .managers
                .iter()
                .map(|one| Span {
                    name: format!("{} {}", one.first_name, one.last_name),
                    from: one.from_date,
                    to: one.to_date,
                })
                .collect(),
        ),
    ];
    lanes.retain(|(_, _, spans): &(_, _, Vec<Span>)| !spans.is_empty());
    for (_, _, spans) in &mut lanes {
        spans.sort_by_key(|span| span.from);
    }
    lanes
}

/// From the first day to the last: to some time after it, where something goes on.
struct Axis {
    first: NaiveDate,
    last: NaiveDate,
    goes_on: bool,
}

impl Axis {
    fn of(hired: NaiveDate, career: &Career) -> Self {
        let departments = career.departments.iter().map(|one| (one.from_date, one.to_date));
        let titles = career.titles.iter().map(|one| (one.from_date, one.to_date));
        let salaries = career.salaries.iter().map(|one| (one.from_date, one.to_date));
        let spans: Vec<_> = departments.chain(titles).chain(salaries).collect();
        let days = || spans.iter().flat_map(|&(from, to)| [Some(from), to]).flatten().chain([hired]);
        let (first, last) = (days().min().unwrap_or(hired), days().max().unwrap_or(hired));
        let goes_on = spans.iter().any(|(_, to)| to.is_none());
        let later = if goes_on { (last - first).num_days() / 8 + 180 } else { 30 };
        let last = chrono::TimeDelta::try_days(later).and_then(|later| last.checked_add_signed(later)).unwrap_or(last);
        Self { first, last, goes_on }
    }

    /// Days since the axis begins.
    fn day(&self, date: NaiveDate) -> f64 {
        (date - self.first).num_days() as f64
    }
}

fn describe(hired: NaiveDate, lanes: &[(&str, &str, Vec<Span>)], career: &Career) -> String {
    let mut parts = vec![format!("Hired on {hired}.")];
    for (heading, _, spans) in lanes {
        let spans = spans.iter().map(|span| match span.to {
            Some(to) => format!("{} from {} to {to}", span.name, span.from),
            None => format!("{} since {}", span.name, span.from),
        });
        parts.push(format!("{heading}: {}.", spans.collect::<Vec<_>>().join(", ")));
    }
    // The newest comes first.
    if let (Some(newest), Some(oldest)) = (career.salaries.first(), career.salaries.last()) {
        let (first, last) = (group_digits(oldest.salary.into()), group_digits(newest.salary.into()));
        parts.push(format!("Salary: {first} at first, {last} at last."));
    }
    parts.join(" ")
}

fn draw(
    screen: Screen,
    axis: &Axis,
    lanes: &[(&'static str, &'static str, Vec<Span>)],
    salaries: &[Salary],
) -> Drawing {
    let (left, right) = (58.0, screen.width() - 10.0);
    let days = Scale::new((0.0, axis.day(axis.last)), (left, right));
    let at = |date: NaiveDate| days.at(axis.day(date));
    let until = |date: Option<NaiveDate>| date.map_or(right, at);
    let rows: Vec<Vec<usize>> =
        lanes.iter().map(|(_, _, spans)| pack(spans.iter().map(|span| (at(span.from), until(span.to))))).collect();
    let high = |rows: &[usize]| rows.iter().max().map_or(0.0, |&row| row as f64 + 1.0) * ROW;
    let lane_heights: f64 = rows.iter().map(|rows| LINE + 6.0 + high(rows) + 4.0).sum();
    let salary_height = if salaries.is_empty() { 0.0 } else { LINE + 14.0 + SALARY };
    let bottom = lane_heights + salary_height + 4.0;
    let mut drawing = Drawing::new(screen, bottom + 26.0);
    calendar(&mut drawing, axis, &days, bottom);
    let mut top = 0.0;
    for ((heading, class, spans), rows) in lanes.iter().zip(&rows) {
        drawing.text("heading", (0.0, top + LINE - 2.0), Anchor::Start, heading);
        top += LINE + 6.0;
        for (span, &row) in spans.iter().zip(rows) {
            let y = top + row as f64 * ROW;
            let (from, to) = (at(span.from), until(span.to));
            let end = span.to.map_or("today".to_owned(), |to| to.to_string());
            let hint = format!("{}, {} to {end}", span.name, span.from);
            let open = if span.to.is_none() { " open" } else { "" };
            drawing.rect(format!("span {class}{open}"), (from, y), ((to - 1.0).max(from), y + BAR), hint);
            if let Some(name) = fit(&span.name, to - from - CHARACTER * 2.0) {
                drawing.text("label", (from + CHARACTER, y + BAR / 2.0 + MIDDLE), Anchor::Start, &name);
            }
        }
        top += high(rows) + 4.0;
    }
    if !salaries.is_empty() {
        drawing.text("heading", (0.0, top + LINE - 2.0), Anchor::Start, "Salary");
        steps(&mut drawing, salaries, (top + LINE + 14.0, bottom - 4.0), (left, right), at, until);
    }
    drawing
}

/// The years, as many as there is room for.
fn calendar(drawing: &mut Drawing, axis: &Axis, days: &Scale, bottom: f64) {
    let (first, last) = (axis.first.year(), axis.last.year());
    let (left, right) = days.places;
    let room = ((right - left) / (6.0 * CHARACTER)) as u32;
    let years = Scale::new((f64::from(first), f64::from(last)), days.places).ticks(room);
    let edge = if axis.goes_on { right - text_width("today") - 3.0 * CHARACTER } else { right };
    for year in years {
        let Some(day) = i32::try_from(year).ok().and_then(|year| NaiveDate::from_ymd_opt(year, 1, 1)) else { continue };
        let x = days.at(axis.day(day));
        if day >= axis.first && x <= edge {
            drawing.line("grid", [(x, 4.0), (x, bottom)]);
            drawing.text("tick", (x, bottom + 18.0), Anchor::Middle, &year.to_string());
        }
    }
    if axis.goes_on {
        drawing.text("tick", (right, bottom + 18.0), Anchor::End, "today");
    }
}

/// The salary as a line in steps; where none was paid it is interrupted.
fn steps(
    drawing: &mut Drawing,
    salaries: &[Salary],
    (top, bottom): (f64, f64),
    (left, right): (f64, f64),
    at: impl Fn(NaiveDate) -> f64,
    until: impl Fn(Option<NaiveDate>) -> f64,
) {
    let highest = salaries.iter().map(|one| i64::from(one.salary)).max().unwrap_or_default();
    let (scale, ticks) = Scale::from_zero(highest, 4, (bottom, top));
    drawing.rows(scale, &ticks, (left, right));
    let mut oldest_first: Vec<&Salary> = salaries.iter().collect();
    oldest_first.sort_by_key(|one| one.from_date);
    for run in oldest_first.chunk_by(|one, next| one.to_date == Some(next.from_date)) {
        let points = run.iter().flat_map(|one| {
            let y = scale.at(f64::from(one.salary));
            [(at(one.from_date), y), (until(one.to_date), y)]
        });
        drawing.line("series salary", points.collect::<Vec<_>>());
    }
    if let (Some(first), Some(last)) = (oldest_first.first(), oldest_first.last()) {
        let (start, end) = (f64::from(first.salary), f64::from(last.salary));
        let (from, to) = (at(first.from_date), until(last.to_date));
        let (first, last) = (group_digits(first.salary.into()), group_digits(last.salary.into()));
        if to - from > text_width(&first) + text_width(&last) + 2.0 * CHARACTER {
            // Below the line, which mostly rises, where there is room.
            let below = scale.at(start) + LINE;
            let y = if below < bottom { below } else { scale.at(start) - 6.0 };
            drawing.text("label", (from + 4.0, y), Anchor::Start, &first);
        }
        drawing.text("label", (to, scale.at(end) - 6.0), Anchor::End, &last);
    }
}
