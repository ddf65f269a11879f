//! Two bars for each year: those who came, filled, and those who went, hollow.

use super::{Anchor, Chart, Drawing, MIDDLE, Row, Scale, Screen, Table, group_digits};
use crate::db::statistics::Year;

/// Hires and leavers of each year, and what they are called: Hired and Left, or Came and Went.
pub fn hires_and_leavers(id: &'static str, title: String, names: [&'static str; 2], years: &[Year]) -> Chart {
    Chart {
        id,
        key: None,
        description: describe(names, years),
        wide: draw(Screen::Wide, names, years),
        narrow: draw(Screen::Narrow, names, years),
        table: Some(table(names, years)),
        title,
    }
}

fn describe([came, went]: [&str; 2], years: &[Year]) -> String {
    let most = |of: fn(&Year) -> i64| years.iter().max_by_key(|year| of(year)).map(|year| (year.year, of(year)));
    let (Some(first), Some(last)) = (years.first(), years.last()) else { return "There are no figures.".to_owned() };
    let (Some(hires), Some(leavers)) = (most(|year| year.hires), most(|year| year.leavers)) else {
        return String::new();
    };
    format!(
        "From {} to {}. Most {} in {}, {}, and most {} in {}, {}.",
        first.year,
        last.year,
        came.to_lowercase(),
        hires.0,
        group_digits(hires.1),
        went.to_lowercase(),
        leavers.0,
        group_digits(leavers.1)
    )
}

fn draw(screen: Screen, [came, went]: [&str; 2], years: &[Year]) -> Drawing {
    let bottom = screen.pick(240.0, 210.0);
    let mut drawing = Drawing::new(screen, bottom + 28.0);
    let (left, right) = (56.0, drawing.width - 8.0);
    let highest = years.iter().flat_map(|year| [year.hires, year.leavers]).max().unwrap_or_default();
    let (scale, ticks) = Scale::from_zero(highest, 5, (bottom, 34.0));
    drawing.rows(scale, &ticks, (left, right));
    for (x, class, name) in [(left, "came", came), (left + 80.0, "went", went)] {
        drawing.rect(class, (x + 1.0, 4.0), (x + 13.0, 16.0), String::new());
        drawing.text("label", (x + 20.0, 10.0 + MIDDLE), Anchor::Start, name);
    }
    let slot = (right - left) / years.len().max(1) as f64;
    let middle = |place: usize| left + (place as f64 + 0.5) * slot;
    let bar = slot * 0.38;
    for (place, year) in years.iter().enumerate() {
        for (class, from, value, did) in
            [("came", middle(place) - bar, year.hires, came), ("went", middle(place), year.leavers, went)]
        {
            let hint = format!("{}: {} {}", year.year, group_digits(value), did.to_lowercase());
            drawing.rect(class, (from, scale.at(0.0)), (from + bar, scale.at(value as f64)), hint);
        }
    }
    let names: Vec<i32> = years.iter().map(|year| year.year).collect();
    drawing.years(&names, middle, bottom + 20.0);
    drawing
}

fn table([came, went]: [&str; 2], years: &[Year]) -> Table {
    let rows = years.iter().map(|year| Row {
        name: year.year.to_string(),
        link: None,
        figures: [year.hires, year.leavers, year.headcount].map(group_digits).to_vec(),
    });
    let head = ["Year", came, went, "There at its end"];
    Table { head: head.map(str::to_owned).to_vec(), rows: rows.collect() }
}
