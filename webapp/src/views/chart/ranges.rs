//! Salaries of several groups beside each other: a thin line from the 10 % to the 90 % mark, a thick one for the middle
//! half, and a mark for the median.

use super::{Anchor, Chart, Drawing, MIDDLE, Row, Scale, Screen, Table, fit, group_digits};
use crate::db::statistics::Percentiles;

/// One group.
pub struct Range {
    /// Its name.
    pub name: String,
    /// Where its name leads in the table.
    pub link: Option<String>,
    /// What it is paid.
    pub salaries: Percentiles,
}

/// The most groups that are drawn. The table has the others too.
const MOST: usize = 20;

/// Groups by what `what` says, in their order.
pub fn ranges(id: &'static str, title: String, what: &'static str, ranges: &[Range]) -> Chart {
    let drawn = &ranges[..ranges.len().min(MOST)];
    let medians =
        drawn.iter().map(|range| format!("{} {}", range.name, group_digits(range.salaries.median))).collect::<Vec<_>>();
    Chart {
        id,
        key: Some(
            "The line goes from the 10 % to the 90 % mark, the bar is the middle half, and the mark in it the median.",
        ),
        description: if medians.is_empty() {
            "There is nobody.".to_owned()
        } else {
            format!("Median salaries: {}.", medians.join(", "))
        },
        wide: draw(Screen::Wide, drawn),
        narrow: draw(Screen::Narrow, drawn),
        table: Some(table(what, ranges)),
        title,
    }
}

fn draw(screen: Screen, ranges: &[Range]) -> Drawing {
    // On a phone the names stand above their lines.
    let (left, height) = screen.pick((190.0, 28.0), (8.0, 44.0));
    let bottom = 6.0 + height * ranges.len() as f64;
    let mut drawing = Drawing::new(screen, bottom + 26.0);
    let right = drawing.width - 70.0;
    let low = ranges.iter().map(|range| range.salaries.p10).min().unwrap_or_default();
    let high = ranges.iter().map(|range| range.salaries.p90).max().unwrap_or_default().max(low);
    let margin = ((high - low) as f64 * 0.03).max(1.0);
    let scale = Scale::new((low as f64 - margin, high as f64 + margin), (left, right));
    for (x, tick) in scale.columns() {
        drawing.line("grid", [(x, 4.0), (x, bottom)]);
        drawing.text("tick", (x, bottom + 18.0), Anchor::Middle, &tick);
    }
    for (place, Range { name, salaries, .. }) in ranges.iter().enumerate() {
        let top = 6.0 + height * place as f64;
        let y = top + screen.pick(height / 2.0, 30.0);
        let (at, room) = screen.pick(((left - 12.0, y + MIDDLE), left - 16.0), ((left, top + 14.0), right));
        if let Some(name) = fit(name, room) {
            drawing.text("label", at, screen.pick(Anchor::End, Anchor::Start), &name);
        }
        let x = |salary: i64| scale.at(salary as f64);
        drawing.line("whisker", [(x(salaries.p10), y), (x(salaries.p90), y)]);
        let hint =
            format!("{name}: half of them from {} to {}", group_digits(salaries.p25), group_digits(salaries.p75));
        drawing.rect("half", (x(salaries.p25), y - 7.0), (x(salaries.p75), y + 7.0), hint);
        drawing.line("median", [(x(salaries.median), y - 9.0), (x(salaries.median), y + 9.0)]);
        drawing.text("label", (right + 12.0, y + MIDDLE), Anchor::Start, &group_digits(salaries.median));
    }
    drawing
}

fn table(what: &'static str, ranges: &[Range]) -> Table {
    let head = [what, "Employees", "Lowest", "10 %", "25 %", "Median", "75 %", "90 %", "Highest", "Average"];
    let rows = ranges.iter().map(|Range { name, link, salaries }| {
        let &Percentiles { employees, min, p10, p25, median, p75, p90, max, mean } = salaries;
        let figures = [employees, min, p10, p25, median, p75, p90, max, mean.round() as i64];
        Row { name: name.clone(), link: link.clone(), figures: figures.map(group_digits).to_vec() }
    });
    Table { head: head.map(str::to_owned).to_vec(), rows: rows.collect() }
}
