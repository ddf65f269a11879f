//! How many are paid how much: bars over the range of salaries, with the percentiles as marks above them.

use super::{
    Anchor, Chart, Drawing, LINE, MIDDLE, Row, Scale, Screen, Table, group_digits, pack, round_step, text_width,
};
use crate::db::statistics::{Band, Percentiles};

/// The distribution of a group's salaries.
pub fn distribution(id: &'static str, title: String, bands: &[Band], salaries: &Percentiles) -> Chart {
    let table = widen(bands, 70);
    Chart {
        id,
        key: None,
        description: format!(
            "{} people are paid {} to {}. Half of them get {} or less, the middle half from {} to {}.",
            group_digits(salaries.employees),
            group_digits(salaries.min),
            group_digits(salaries.max),
            group_digits(salaries.median),
            group_digits(salaries.p25),
            group_digits(salaries.p75)
        ),
        wide: draw(Screen::Wide, &table, salaries),
        narrow: draw(Screen::Narrow, &widen(bands, 30), salaries),
        table: Some(self::table(&table)),
        title,
    }
}

/// At most about `most` bands: neighbours are put together into wider ones that begin at round salaries.
fn widen(bands: &[Band], most: u32) -> Vec<Band> {
    let (Some(first), Some(last)) = (bands.first(), bands.last()) else { return Vec::new() };
    let width = (first.below - first.from).max(1);
    let step = (round_step((last.below - first.from) as f64 / width as f64, most) as i64).saturating_mul(width).max(1);
    let mut wide: Vec<Band> = Vec::new();
    for band in bands {
        let from = band.from.div_euclid(step) * step;
        match wide.last_mut() {
            Some(last) if last.from == from => last.employees += band.employees,
            _ => wide.push(Band { from, below: from + step, employees: band.employees }),
        }
    }
    wide
}

/// The percentiles and their names.
pub(super) fn marks(salaries: &Percentiles) -> [(&'static str, i64); 5] {
    [
        ("10 %", salaries.p10),
        ("25 %", salaries.p25),
        ("median", salaries.median),
        ("75 %", salaries.p75),
        ("90 %", salaries.p90),
    ]
}

fn draw(screen: Screen, bands: &[Band], salaries: &Percentiles) -> Drawing {
    let (left, right) = (56.0, screen.width() - 12.0);
    let range = match (bands.first(), bands.last()) {
        (Some(first), Some(last)) => (first.from as f64, last.below as f64),
        _ => (0.0, 1.0),
    };
    let across = Scale::new(range, (left, right));
    // The marks' names get as many rows as they need to stand apart.
    let labels =
        marks(salaries).map(|(name, salary)| (across.at(salary as f64), format!("{name} {}", group_digits(salary))));
    let rows = pack(labels.iter().map(|(x, label)| (x - text_width(label) / 2.0, x + text_width(label) / 2.0 + 8.0)));
    let top = 13.0 + LINE * rows.iter().max().map_or(0.0, |&row| row as f64 + 1.0);
    let bottom = top + screen.pick(230.0, 190.0);
    let mut drawing = Drawing::new(screen, bottom + 28.0);
    let highest = bands.iter().map(|band| band.employees).max().unwrap_or_default();
    let (scale, ticks) = Scale::from_zero(highest, 5, (bottom, top));
    drawing.rows(scale, &ticks, (left, right));
    for band in bands {
        let hint = format!(
            "{} to {}: {} people",
            group_digits(band.from),
            group_digits(band.below - 1),
            group_digits(band.employees)
        );
        let (from, below) = (across.at(band.from as f64), across.at(band.below as f64));
        let gap = ((below - from) / 8.0).min(1.0);
        drawing.rect("came", (from + gap, scale.at(0.0)), (below - gap, scale.at(band.employees as f64)), hint);
    }
    let marked = || labels.iter().zip(&rows).map(|((x, label), &row)| (*x, 13.0 + LINE * row as f64, label));
    for (x, y, _) in marked() {
        drawing.line("mark", [(x, y + MIDDLE), (x, bottom)]);
    }
    // Above the lines, which pass the names in the rows below their own.
    for (x, y, label) in marked() {
        drawing.text("label mark-label", (x, y), Anchor::Middle, label);
    }
    for (x, tick) in across.columns() {
        drawing.text("tick", (x, bottom + 20.0), Anchor::Middle, &tick);
    }
    drawing
}

fn table(bands: &[Band]) -> Table {
    let rows = bands.iter().map(|band| Row {
        name: group_digits(band.from),
        link: None,
        figures: [band.below - 1, band.employees].map(group_digits).to_vec(),
    });
    Table { head: ["Salary from", "to", "Employees"].map(str::to_owned).to_vec(), rows: rows.collect() }
}
