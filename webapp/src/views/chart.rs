//! Charts: pure functions from figures to shapes, and a template that writes the shapes as inline SVG.
//!
//! Each chart is drawn twice, for wide screens and for phones, since text in an SVG shrinks with it; the style sheet
//! shows one of the two. Whatever the figures, every shape and every text lies inside its drawing. No colour means
//! anything alone: lines have dashes and names at their ends, bars are filled or hollow. The figures themselves stand
//! in a table behind each chart.

pub mod bars;
pub mod histogram;
pub mod lines;
pub mod ranges;
pub mod timeline;

use askama::Template;

use super::filters;

/// How wide a character is drawn, in units of a drawing: the average of a wide font at the style sheet's size.
const CHARACTER: f64 = 7.5;
/// The height of a line of text.
const LINE: f64 = 15.0;
/// From a text's baseline up to the middle of its letters.
const MIDDLE: f64 = 4.0;

/// A chart with its two drawings and the table behind it.
#[derive(Template)]
#[template(path = "chart.html")]
pub struct Chart {
    id: &'static str,
    title: String,
    /// What it shows, for who does not see it.
    description: String,
    /// How its signs are read, where that is not plain.
    key: Option<&'static str>,
    wide: Drawing,
    narrow: Drawing,
    /// `None` where the page has the figures anyway.
    table: Option<Table>,
}

impl Chart {
    fn drawings(&self) -> [(&'static str, &Drawing); 2] {
        [("broad", &self.wide), ("narrow", &self.narrow)]
    }
}

/// The figures of a chart.
pub struct Table {
    /// What the columns hold.
    head: Vec<String>,
    /// What the rows hold.
    rows: Vec<Row>,
}

/// One row of figures.
pub struct Row {
    name: String,
    link: Option<String>,
    figures: Vec<String>,
}

/// For which screens something is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Screen {
    Wide,
    Narrow,
}

impl Screen {
    /// One of two measures.
    fn pick<T>(self, wide: T, narrow: T) -> T {
        match self {
            Self::Wide => wide,
            Self::Narrow => narrow,
        }
    }

    fn width(self) -> f64 {
        self.pick(960.0, 360.0)
    }
}

/// A point, in units of its drawing, from the upper left corner.
type Point = (f64, f64);

/// On which side of its point a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    fn word(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// One element of a drawing. Classes are those of the style sheet.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Line { class: String, points: Vec<Point> },
    Rect { class: String, corner: Point, size: Point, hint: String },
    Text { class: String, at: Point, anchor: Anchor, text: String },
}

/// Shapes in a frame.
#[derive(Clone, Debug, PartialEq)]
struct Drawing {
    width: f64,
    height: f64,
    shapes: Vec<Shape>,
}

impl Drawing {
    fn new(screen: Screen, height: f64) -> Self {
        Self { width: screen.width(), height, shapes: Vec::new() }
    }

    fn line(&mut self, class: impl Into<String>, points: impl Into<Vec<Point>>) {
        self.shapes.push(Shape::Line { class: class.into(), points: points.into() });
    }

    /// A rectangle between two heights or widths in any order; pointing at it shows `hint`.
    fn rect(&mut self, class: impl Into<String>, one: Point, other: Point, hint: String) {
        self.shapes.push(Shape::Rect {
            class: class.into(),
            corner: (one.0.min(other.0), one.1.min(other.1)),
            size: ((one.0 - other.0).abs(), (one.1 - other.1).abs()),
            hint,
        });
    }

    /// A text, pushed into the drawing where it would hang over its edge, and shortened where it is too long for it.
    fn text(&mut self, class: &str, (x, y): Point, anchor: Anchor, text: &str) {
        let text = fit(text, self.width).unwrap_or_default();
        let width = text_width(&text);
        let (before, after) = match anchor {
            Anchor::Start => (0.0, width),
            Anchor::Middle => (width / 2.0, width / 2.0),
            Anchor::End => (width, 0.0),
        };
        let at = (x.min(self.width - after).max(before), y);
        self.shapes.push(Shape::Text { class: class.to_owned(), at, anchor, text });
    }

    /// Horizontal lines across the plot with their figures at the left.
    fn rows(&mut self, scale: Scale, ticks: &[i64], (left, right): (f64, f64)) {
        for &tick in ticks {
            let y = scale.at(tick as f64);
            self.line(if tick == 0 { "axis" } else { "grid" }, [(left, y), (right, y)]);
            self.text("tick", (left - 6.0, y + MIDDLE), Anchor::End, &group_digits(tick));
        }
    }

    /// As many of the years below the plot as there is room for.
    fn years(&mut self, years: &[i32], at: impl Fn(usize) -> f64, y: f64) {
        let room = 5.0 * CHARACTER;
        let apart = if years.len() > 1 { at(1) - at(0) } else { room };
        let every = if apart > 0.0 { (room / apart).ceil().max(1.0) as usize } else { 1 };
        // Counted from the end: the latest year is the one that matters most.
        for (place, year) in years.iter().enumerate().rev().step_by(every) {
            self.text("tick", (at(place), y), Anchor::Middle, &year.to_string());
        }
    }
}

/// A straight way from values to places.
#[derive(Clone, Copy, Debug)]
struct Scale {
    values: (f64, f64),
    places: (f64, f64),
}

impl Scale {
    fn new(values: (f64, f64), places: (f64, f64)) -> Self {
        Self { values, places }
    }

    /// From 0 to `highest` over at most `most` steps of a round size, and the values that are marked.
    fn from_zero(highest: i64, most: u32, places: (f64, f64)) -> (Self, Vec<i64>) {
        let step = round_step(highest.max(1) as f64, most);
        let steps = (highest.max(1) as f64 / step).ceil();
        let ticks = (0..=steps as i64).map(|n| n * step as i64).collect();
        (Self::new((0.0, steps * step), places), ticks)
    }

    /// The round values inside of the scale, in at most `most` steps.
    fn ticks(&self, most: u32) -> Vec<i64> {
        let (low, high) = self.values;
        let step = round_step(high - low, most);
        let first = (low / step).ceil() as i64;
        let last = (high / step).floor() as i64;
        (first..=last).map(|n| n * step as i64).collect()
    }

    /// As many of the round values as there is room for beside each other: their places and their texts.
    fn columns(&self) -> Vec<(f64, String)> {
        let ((low, high), (left, right)) = (self.values, self.places);
        let widest = text_width(&group_digits(low as i64)).max(text_width(&group_digits(high as i64)));
        let most = ((right - left) / (widest + 2.0 * CHARACTER)) as u32;
        self.ticks(most).into_iter().map(|tick| (self.at(tick as f64), group_digits(tick))).collect()
    }

    /// The place of a value; a value outside of the scale has its end's.
    fn at(&self, value: f64) -> f64 {
        let ((low, high), (start, end)) = (self.values, self.places);
        let part = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 };
        start + part * (end - start)
    }
}

/// 1, 2 or 5 times a power of ten: the smallest such step, at least 1, that covers `span` in at most `most` steps.
fn round_step(span: f64, most: u32) -> f64 {
    let least = (span / f64::from(most.max(1))).max(1.0);
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|n| n * power).find(|&step| step >= least).unwrap_or(10.0 * power)
}

/// A number in groups of three digits.
fn group_digits(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", super::grouped(&number.unsigned_abs().to_string()))
}

/// About how wide a text is drawn.
fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

/// The text, or as much of it as `width` has room for; `None` where that says nothing.
fn fit(text: &str, width: f64) -> Option<String> {
    let room = (width / CHARACTER).floor().max(0.0) as usize;
    if text.chars().count() <= room {
        return Some(text.to_owned());
    }
    let cut: String = text.chars().take(room.saturating_sub(1)).collect();
    let cut = cut.trim_end();
    if cut.chars().count() < 3 { None } else { Some(format!("{cut}…")) }
}

/// Moves places apart that are closer than `gap`, as little as possible, within `low..=high` as far as there is room.
/// `places` are in order, and stay so.
fn spread(places: &mut [f64], gap: f64, (low, high): (f64, f64)) {
    let gap = if places.len() > 1 { gap.min((high - low) / (places.len() - 1) as f64) } else { gap };
    let mut least = low;
    for place in places.iter_mut() {
        *place = place.max(least);
        least = *place + gap;
    }
    let mut most = high;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - gap;
    }
}

/// Puts spans (in the order of their beginnings) into as few rows as possible so that none overlap: each one's row.
fn pack(spans: impl IntoIterator<Item = (f64, f64)>) -> Vec<usize> {
    let mut ends: Vec<f64> = Vec::new();
    spans
        .into_iter()
        .map(|(from, to)| match ends.iter().position(|&end| end <= from) {
            Some(row) => {
                ends[row] = to;
                row
            }
            None => {
                ends.push(to);
                ends.len() - 1
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
