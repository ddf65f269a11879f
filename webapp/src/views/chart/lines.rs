//! Lines over the years: one for each name, which stands at the line's end, or below the plot on a phone.

use super::{Anchor, Chart, Drawing, LINE, MIDDLE, Row, Scale, Screen, Table, fit, group_digits, spread};
use crate::db::statistics::Year;

/// The most lines that can be told apart. The table has the others too.
const MOST: usize = 9;

/// One line.
pub struct Series {
    /// Whose.
    pub name: String,
    /// One for each year.
    pub values: Vec<i64>,
}

/// Lines over `years`, in the order in which they are given; only the highest at the end are drawn if there are many.
pub fn lines(id: &'static str, title: String, years: &[i32], series: &[Series]) -> Chart {
    let mut drawn: Vec<&Series> = series.iter().filter(|one| one.values.len() == years.len()).collect();
    drawn.sort_by_key(|one| std::cmp::Reverse(one.values.last().copied()));
    drawn.truncate(MOST);
    Chart {
        id,
        key: None,
        description: describe(years, &drawn),
        wide: draw(Screen::Wide, years, &drawn),
        narrow: draw(Screen::Narrow, years, &drawn),
        table: Some(table(years, series)),
        title,
    }
}

/// The headcounts of `years` as one line.
pub fn headcounts(id: &'static str, title: String, name: &str, years: &[Year]) -> Chart {
    let series = Series { name: name.to_owned(), values: years.iter().map(|year| year.headcount).collect() };
    lines(id, title, &years.iter().map(|year| year.year).collect::<Vec<_>>(), &[series])
}

fn describe(years: &[i32], drawn: &[&Series]) -> String {
    let (Some(first), Some(last)) = (years.first(), years.last()) else { return "There are no figures.".to_owned() };
    let ends = drawn.iter().map(|one| {
        let value = |value: Option<&i64>| group_digits(value.copied().unwrap_or_default());
        format!("{} from {} to {}", one.name, value(one.values.first()), value(one.values.last()))
    });
    format!("From {first} to {last}: {}.", ends.collect::<Vec<_>>().join(", "))
}

fn draw(screen: Screen, years: &[i32], series: &[&Series]) -> Drawing {
    let legend = screen == Screen::Narrow && series.len() > 1;
    let legend_rows = if legend { series.len().div_ceil(2) } else { 0 };
    let bottom = screen.pick(330.0, 240.0);
    let mut drawing = Drawing::new(screen, bottom + 28.0 + legend_rows as f64 * 22.0);
    let left = 56.0;
    let right = drawing.width - if screen == Screen::Narrow { 20.0 } else { 230.0 };
    let highest = series.iter().flat_map(|one| &one.values).copied().max().unwrap_or_default();
    let (scale, ticks) = Scale::from_zero(highest, 6, (bottom, 12.0));
    drawing.rows(scale, &ticks, (left, right));
    let across = Scale::new((0.0, years.len().saturating_sub(1) as f64), (left, right));
    drawing.years(years, |place| across.at(place as f64), bottom + 20.0);
    for (place, one) in series.iter().enumerate() {
        let points =
            one.values.iter().enumerate().map(|(year, &value)| (across.at(year as f64), scale.at(value as f64)));
        drawing.line(format!("series s{place}"), points.collect::<Vec<_>>());
    }
    if legend {
        below(&mut drawing, series, bottom + 44.0);
    } else if screen == Screen::Wide {
        beside(&mut drawing, series, scale, right);
    }
    drawing
}

/// Names and last values at the lines' ends, apart from each other.
fn beside(drawing: &mut Drawing, series: &[&Series], scale: Scale, right: f64) {
    let ends: Vec<f64> =
        series.iter().map(|one| scale.at(one.values.last().copied().unwrap_or_default() as f64)).collect();
    let mut places = ends.clone();
    let (bottom, top) = scale.places;
    spread(&mut places, LINE, (top, bottom));
    for (place, ((one, end), y)) in series.iter().zip(ends).zip(places).enumerate() {
        let value = group_digits(one.values.last().copied().unwrap_or_default());
        drawing.line(format!("series lead s{place}"), [(right, end), (right + 10.0, y), (right + 22.0, y)]);
        let room = drawing.width - right - 28.0;
        if let Some(label) = fit(&format!("{} {value}", one.name), room) {
            drawing.text("label", (right + 28.0, y + MIDDLE), Anchor::Start, &label);
        }
    }
}

/// A sample of each line with its name, in two columns.
fn below(drawing: &mut Drawing, series: &[&Series], top: f64) {
    let column = drawing.width / 2.0;
    for (place, one) in series.iter().enumerate() {
        let (x, y) = (column * (place % 2) as f64, top + 20.0 * (place / 2) as f64);
        drawing.line(format!("series s{place}"), [(x + 2.0, y), (x + 28.0, y)]);
        if let Some(label) = fit(&one.name, column - 36.0) {
            drawing.text("label", (x + 34.0, y + MIDDLE), Anchor::Start, &label);
        }
    }
}

fn table(years: &[i32], series: &[Series]) -> Table {
    // A row for each name, and a column for each year, would be wider than any screen.
    let rows = years.iter().enumerate().map(|(place, year)| Row {
        name: year.to_string(),
        link: None,
        figures: series.iter().map(|one| group_digits(one.values.get(place).copied().unwrap_or_default())).collect(),
    });
    let names = series.iter().map(|one| one.name.clone());
    Table { head: std::iter::once("Year".to_owned()).chain(names).collect(), rows: rows.collect() }
}
