//! Whatever the figures: everything lies inside of its drawing, and can be written down.

use chrono::{Days, NaiveDate};
use proptest::prelude::*;
use rstest::rstest;

use super::lines::Series;
use super::ranges::Range;
use super::*;
use crate::db::employees::{Assignment, Career, Salary, Superior, Title};
use crate::db::statistics::{Band, Percentiles, Year};

/// Fails where a shape leaves its drawing, or is at no place at all.
fn check(chart: &Chart) -> Result<(), TestCaseError> {
    for (screen, drawing) in chart.drawings() {
        let inside = |(x, y): Point| {
            let good = (0.0..=drawing.width + 0.01).contains(&x) && (0.0..=drawing.height + 0.01).contains(&y);
            prop_assert!(good, "{screen}: ({x}, {y}) in {} × {}", drawing.width, drawing.height);
            Ok(())
        };
        for shape in &drawing.shapes {
            match shape {
                Shape::Line { points, .. } => points.iter().try_for_each(|&point| inside(point))?,
                Shape::Rect { corner, size, .. } => {
                    prop_assert!(size.0 >= 0.0 && size.1 >= 0.0);
                    inside(*corner)?;
                    inside((corner.0 + size.0, corner.1 + size.1))?;
                }
                Shape::Text { at, anchor, text, .. } => {
                    let width = text_width(text);
                    let left = match anchor {
                        Anchor::Start => at.0,
                        Anchor::Middle => at.0 - width / 2.0,
                        Anchor::End => at.0 - width,
                    };
                    inside((left + 0.01, at.1))?;
                    inside((left + width, at.1 - 8.0))?;
                }
            }
        }
    }
    let html = chart.render().map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert!(!html.contains("NaN") && !html.contains("inf\"") && !html.contains("style="));
    Ok(())
}

/// What somebody or something may be called. Not NaN, which is looked for in what is drawn.
fn name(pattern: &'static str) -> impl Strategy<Value = String> {
    pattern.prop_filter("it is called NaN", |name| !name.contains("NaN"))
}

fn figure() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), 0..100_i64, 0..100_000_i64, 0..i64::from(i32::MAX)]
}

fn years() -> impl Strategy<Value = Vec<Year>> {
    let figures = proptest::collection::vec((figure(), figure(), figure()), 0..100);
    (0..9000_i32, figures).prop_map(|(first, figures)| {
        let years = figures.into_iter().zip(first..);
        years.map(|((headcount, hires, leavers), year)| Year { year, headcount, hires, leavers }).collect()
    })
}

fn percentiles() -> impl Strategy<Value = Percentiles> {
    (proptest::array::uniform7(i64::from(i32::MIN)..=i64::from(i32::MAX)), 1..1_000_000_i64).prop_map(
        |(mut sorted, employees)| {
            sorted.sort_unstable();
            let [min, p10, p25, median, p75, p90, max] = sorted;
            Percentiles { employees, min, p10, p25, median, p75, p90, max, mean: median as f64 }
        },
    )
}

fn day() -> impl Strategy<Value = NaiveDate> {
    // What a DATE column holds.
    (0..3_600_000_u64).prop_map(|days| NaiveDate::from_ymd_opt(100, 1, 1).unwrap() + Days::new(days))
}

fn span() -> impl Strategy<Value = (String, NaiveDate, Option<NaiveDate>)> {
    (name("[\\PC]{0,40}"), day(), proptest::option::of(day()))
}

fn career() -> impl Strategy<Value = Career> {
    let spans = || proptest::collection::vec(span(), 0..5);
    (spans(), spans(), spans(), proptest::collection::vec((0..=i32::MAX, day(), proptest::option::of(day())), 0..20))
        .prop_map(|(departments, managers, titles, salaries)| Career {
            departments: departments
                .into_iter()
                .enumerate()
                .map(|(place, (dept_name, from_date, to_date))| Assignment {
                    dept_no: "d001".to_owned(),
                    dept_name,
                    from_date,
                    to_date,
                    manager: place == 2,
                })
                .collect(),
            managers: managers
                .into_iter()
                .map(|(last_name, from_date, to_date)| Superior {
                    dept_no: "d001".to_owned(),
                    dept_name: "Marketing".to_owned(),
                    emp_no: 1,
                    first_name: "Ada".to_owned(),
                    last_name,
                    from_date,
                    to_date,
                })
                .collect(),
            titles: titles.into_iter().map(|(title, from_date, to_date)| Title { title, from_date, to_date }).collect(),
            salaries: salaries
                .into_iter()
                .map(|(salary, from_date, to_date)| Salary { salary, from_date, to_date })
                .collect(),
        })
}

proptest! {
    #[test]
    fn lines_stay_inside(years in years(), names in proptest::collection::vec(name("[\\PC]{0,60}"), 0..15), last in figure()) {
        let headcounts: Vec<i64> = years.iter().map(|year| year.headcount).collect();
        let series: Vec<Series> = names
            .into_iter()
            .enumerate()
            .map(|(place, name)| {
                let values = headcounts.iter().map(|value| (value + last) / (place as i64 + 1));
                Series { name, values: values.collect() }
            })
            .collect();
        let years: Vec<i32> = years.iter().map(|year| year.year).collect();
        check(&lines::lines("x", "X".to_owned(), &years, &series))?;
    }

    #[test]
    fn bars_stay_inside(years in years()) {
        check(&bars::hires_and_leavers("x", "X".to_owned(), ["Hired", "Left"], &years))?;
        check(&lines::headcounts("x", "X".to_owned(), "Everybody", &years))?;
    }

    #[test]
    fn a_distribution_stays_inside(
        first in -1_000_000..1_000_000_i64,
        width in 1..100_000_i64,
        employees in proptest::collection::vec(figure(), 0..1000),
        salaries in percentiles(),
    ) {
        let bands: Vec<Band> = employees
            .iter()
            .zip(0..)
            .map(|(&employees, place)| {
                let from = (first + place) * width;
                Band { from, below: from + width, employees }
            })
            .collect();
        let chart = histogram::distribution("x", "X".to_owned(), &bands, &salaries);
        check(&chart)?;
        let bars = chart.wide.shapes.iter().filter(|shape| matches!(shape, Shape::Rect { .. })).count();
        prop_assert!(bars <= 71, "{} bars", bars);
        prop_assert!(bars > 0 || bands.is_empty());
    }

    #[test]
    fn ranges_stay_inside(groups in proptest::collection::vec((name("[\\PC]{0,60}"), percentiles()), 0..30)) {
        let groups: Vec<Range> =
            groups.into_iter().map(|(name, salaries)| Range { name, link: None, salaries }).collect();
        check(&ranges::ranges("x", "X".to_owned(), "Group", &groups))?;
    }

    #[test]
    fn a_career_stays_inside(hired in day(), career in career()) {
        check(&timeline::timeline("x", "X".to_owned(), hired, &career))?;
    }

    #[test]
    fn places_that_are_spread_keep_their_order_and_their_distance(
        mut places in proptest::collection::vec(0.0..300.0_f64, 0..15),
    ) {
        places.sort_by(f64::total_cmp);
        spread(&mut places, 15.0, (0.0, 300.0));
        prop_assert!(places.windows(2).all(|two| two[1] - two[0] > 14.999), "{:?}", places);
        prop_assert!(places.iter().all(|place| (-0.001..=300.001).contains(place)), "{:?}", places);
    }

    #[test]
    fn spans_in_one_row_do_not_overlap(mut spans in proptest::collection::vec((0.0..100.0_f64, 0.0..50.0_f64), 0..30)) {
        spans.sort_by(|one, other| one.0.total_cmp(&other.0));
        let spans: Vec<_> = spans.into_iter().map(|(from, long)| (from, from + long)).collect();
        let rows = pack(spans.iter().copied());
        for (place, row) in rows.iter().enumerate() {
            let before = (0..place).rev().find(|&other| rows[other] == *row);
            prop_assert!(before.is_none_or(|other| spans[other].1 <= spans[place].0));
        }
    }
}

#[rstest]
#[case(58_679.0, 6, 10_000.0)]
#[case(65_054.0, 6, 20_000.0)]
#[case(1.0, 6, 1.0)]
#[case(0.0, 6, 1.0)]
#[case(20.0, 4, 5.0)]
#[case(100_001.0, 10, 20_000.0)]
fn steps_are_round(#[case] span: f64, #[case] most: u32, #[case] step: f64) {
    assert_eq!(round_step(span, most), step);
}

#[test]
fn a_scale_from_zero_ends_with_the_first_step_that_covers_the_highest_value() {
    let (scale, ticks) = Scale::from_zero(58_679, 6, (100.0, 0.0));
    assert_eq!(ticks, [0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]);
    assert_eq!((scale.at(0.0), scale.at(30_000.0), scale.at(60_000.0), scale.at(1e9)), (100.0, 50.0, 0.0, 0.0));
    assert_eq!(Scale::new((-10.0, 10.0), (0.0, 1.0)).ticks(4), [-10, -5, 0, 5, 10]);
}

#[rstest]
#[case("Development", 100.0, Some("Development"))]
#[case("Quality Management", 60.0, Some("Quality…"))]
#[case("Sales", 20.0, None)]
#[case("Sales", 0.0, None)]
fn a_text_that_is_too_long_is_cut_where_that_still_says_something(
    #[case] text: &str,
    #[case] width: f64,
    #[case] shown: Option<&str>,
) {
    assert_eq!(fit(text, width).as_deref(), shown);
}

#[rstest]
#[case(0, "0")]
#[case(-1_234, "-1,234")]
#[case(2_844_047, "2,844,047")]
fn figures_are_grouped(#[case] number: i64, #[case] written: &str) {
    assert_eq!(group_digits(number), written);
}

#[test]
fn bands_are_put_together_at_round_salaries_and_lose_nobody() {
    let bands: Vec<Band> = (38..159).map(|k| Band { from: k * 1000, below: (k + 1) * 1000, employees: k }).collect();
    let chart = histogram::distribution(
        "x",
        "X".to_owned(),
        &bands,
        &Percentiles {
            employees: 10,
            min: 38_000,
            p10: 40_000,
            p25: 50_000,
            median: 60_000,
            p75: 70_000,
            p90: 80_000,
            max: 158_000,
            mean: 61_000.0,
        },
    );
    let rows = chart.table.unwrap().rows;
    assert_eq!((rows[0].name.as_str(), rows[0].figures[0].as_str()), ("38,000", "39,999"));
    let shown: i64 = rows.iter().map(|row| row.figures[1].replace(',', "").parse::<i64>().unwrap()).sum();
    assert_eq!(shown, (38..159).sum::<i64>());
}
