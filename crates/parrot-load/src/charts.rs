//! Charts as SVG, for parrot-load's own output and for parrot-bench. Lines and bars are here.
//!
//! Each chart is drawn twice. The one in the page takes the page's colours, light or dark, and leaves the legend to the
//! page. The one in a file of its own is on white and has its legend.

pub mod intervals;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A placeholder for the colour of text and rules. [`svg`] replaces it by one that suits the background.
const INK: RGBColor = RGBColor(1, 2, 3);
const FONT: &str = "system-ui, sans-serif";
const WIDTH: u32 = 860;
const BAR: i32 = 22;
/// The height of a row of the legend, the height of its letters, and the width of one letter.
const ROW: i32 = 22;
const LETTERS: u32 = 15;
const LETTER: i32 = 8;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A chart as SVG.
#[derive(Debug)]
pub struct Chart {
    /// The name of its file without the extension.
    pub name: String,
    /// The element in the page.
    pub element: String,
    /// The picture as a file of its own.
    pub file: String,
}

/// The line of one server, or of one percentile.
#[derive(Debug)]
pub struct Line {
    /// The name of the server.
    pub name: String,
    /// Its colour.
    pub colour: RGBColor,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// The bar of one server, possibly inside a longer and paler one.
#[derive(Debug)]
pub struct Bar {
    /// The name of the server.
    pub name: String,
    /// Its colour.
    pub colour: RGBColor,
    /// The length of the bar.
    pub value: f64,
    /// The value of the paler bar.
    pub beyond: Option<f64>,
    /// The least and the greatest value of the runs.
    pub range: Option<(f64, f64)>,
    /// What stands behind the bar.
    pub label: String,
}

/// The horizontal or the vertical axis of a chart.
#[derive(Debug)]
pub struct Axis {
    /// What the values are.
    pub title: &'static str,
    scale: Scale,
    /// Values that have a label.
    pub ticks: Vec<(f64, String)>,
    /// The least value.
    pub from: f64,
    /// The greatest value.
    pub to: f64,
}

/// How an axis places values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    Linear,
    Logarithmic,
    /// For percentiles. Each further nine takes the same width.
    Nines,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(f64::MIN_POSITIVE).log10(),
            Scale::Nines => -(1.0 - (value / 100.0).min(0.999_999)).log10(),
        }
    }
}

impl Axis {
    /// From 0 to a round number at or above `most`.
    #[must_use]
    pub fn from_zero(title: &'static str, most: f64, label: impl Fn(f64) -> String) -> Axis {
        let raw = (most / 5.0).max(f64::MIN_POSITIVE);
        let magnitude = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|factor| factor * magnitude).find(|step| *step >= raw);
        let step = step.unwrap_or(raw);
        let count = (most / step).ceil().max(1.0) as usize;
        let ticks = (0..=count).map(|tick| (tick as f64 * step, label(tick as f64 * step))).collect();
        Axis { title, scale: Scale::Linear, ticks, from: 0.0, to: count as f64 * step }
    }

    /// A logarithmic axis with ticks at 1, 2 and 5 in each decade of `values`.
    #[must_use]
    pub fn logarithmic(title: &'static str, values: impl Iterator<Item = f64>, label: impl Fn(f64) -> String) -> Axis {
        let values = values.filter(|value| *value > 0.0);
        let (least, most) =
            values.fold((f64::MAX, f64::MIN_POSITIVE), |(least, most), value| (least.min(value), most.max(value)));
        let decades = (least.log10().floor() as i32)..=(most.log10().floor() as i32);
        let places = decades.flat_map(|decade| [1.0, 2.0, 5.0, 10.0].map(|factor| factor * 10f64.powi(decade)));
        let mut places: Vec<f64> = places.collect();
        places.dedup_by(|left, right| (*left / *right - 1.0).abs() < 1e-9);
        let from = places.iter().copied().rfind(|place| *place <= least).unwrap_or(least);
        let to = places.iter().copied().find(|place| *place >= most).unwrap_or(most);
        places.retain(|place| (from..=to).contains(place));
        let ticks = places.into_iter().map(|place| (place, label(place))).collect();
        Axis { title, scale: Scale::Logarithmic, ticks, from, to }
    }

    /// A logarithmic axis with a tick at each of `values`.
    #[must_use]
    pub fn at(title: &'static str, values: &[f64], label: impl Fn(f64) -> String) -> Axis {
        let ticks = values.iter().map(|value| (*value, label(*value))).collect();
        let ends = (values.first().copied().unwrap_or(1.0), values.last().copied().unwrap_or(10.0));
        Axis { title, scale: Scale::Logarithmic, ticks, from: ends.0, to: ends.1 }
    }

    /// Percentiles up to four nines.
    #[must_use]
    pub fn percentiles() -> Axis {
        let ticks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99].map(|percentile| (percentile, format!("{percentile} %")));
        Axis { title: "percentile", scale: Scale::Nines, ticks: ticks.into(), from: 0.0, to: 99.99 }
    }

    /// The position of `value` between the ends, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let (from, to) = (self.scale.place(self.from), self.scale.place(self.to));
        if to > from { ((self.scale.place(value) - from) / (to - from)).clamp(0.0, 1.0) } else { 0.5 }
    }
}

/// A chart of lines. Points below the start of `y` are left out.
///
/// # Errors
///
/// None that is expected, because the chart is drawn to memory.
pub fn lines(name: String, title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> Result<Chart> {
    const HEIGHT: u32 = 400;
    let (left, right, top, bottom) = (82, WIDTH as i32 - 30, 34, HEIGHT as i32 - 54);
    let at_x = |value| left + (x.place(value) * f64::from(right - left)).round() as i32;
    let at_y = |value| bottom - (y.place(value) * f64::from(bottom - top)).round() as i32;
    let servers: Vec<(&str, RGBColor)> = lines.iter().map(|line| (line.name.as_str(), line.colour)).collect();
    chart(name, title, HEIGHT, &servers, |area| {
        for (value, label) in &y.ticks {
            rule(area, (left, at_y(*value)), (right, at_y(*value)))?;
            text(area, label, (left - 10, at_y(*value)), 15, HPos::Right, VPos::Center)?;
        }
        for (value, label) in &x.ticks {
            rule(area, (at_x(*value), top), (at_x(*value), bottom))?;
            text(area, label, (at_x(*value), bottom + 10), 15, HPos::Center, VPos::Top)?;
        }
        text(area, y.title, (left, 4), 15, HPos::Left, VPos::Top)?;
        text(area, x.title, (right, HEIGHT as i32 - 6), 15, HPos::Right, VPos::Bottom)?;
        // Parrot comes last, so that its line is on top.
        let (own, others): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(|line| line.name == "parrot");
        for line in others.into_iter().chain(own) {
            let colour = line.colour;
            let within =
                line.points.iter().filter(|(value, height)| (x.from..=x.to).contains(value) && *height >= y.from);
            let places: Vec<(i32, i32)> = within.map(|(value, height)| (at_x(*value), at_y(*height))).collect();
            let width = if line.name == "parrot" { 3 } else { 2 };
            area.draw(&PathElement::new(places.clone(), colour.stroke_width(width))).map_err(failed)?;
            if line.points.len() < 10 {
                for place in places {
                    area.draw(&Circle::new(place, 4, colour.filled())).map_err(failed)?;
                }
            }
        }
        Ok(())
    })
}

/// A chart of horizontal bars. A bar longer than `most` is cut, and its label starts with ▸.
///
/// # Errors
///
/// None that is expected, because the chart is drawn to memory.
pub fn bars(name: String, title: &str, bars: &[Bar], most: f64) -> Result<Chart> {
    let height = bars.len() as i32 * (BAR + 8) + 8;
    let (left, right) = (108, WIDTH as i32 - 220);
    let at = |value: f64| left + (f64::from(right - left) * (value / most).clamp(0.0, 1.0)).round() as i32;
    chart(name, title, height as u32, &[], |area| {
        for (place, bar) in bars.iter().enumerate() {
            let top = 8 + place as i32 * (BAR + 8);
            let (bottom, middle) = (top + BAR, top + BAR / 2);
            let colour = bar.colour;
            let longest = bar.beyond.unwrap_or(bar.value).max(bar.value);
            text(area, &bar.name, (left - 10, middle), 15, HPos::Right, VPos::Center)?;
            if let Some(beyond) = bar.beyond {
                let pale = Rectangle::new([(left, top), (at(beyond), bottom)], colour.mix(0.35).filled());
                area.draw(&pale).map_err(failed)?;
            }
            area.draw(&Rectangle::new([(left, top), (at(bar.value), bottom)], colour.filled())).map_err(failed)?;
            if let Some((least, greatest)) = bar.range {
                let style = INK.mix(0.75).stroke_width(2);
                area.draw(&PathElement::new([(at(least), middle), (at(greatest), middle)], style)).map_err(failed)?;
            }
            let end = at(longest);
            let label = if longest > most { format!("▸ {}", bar.label) } else { bar.label.clone() };
            text(area, &label, (end + 8, middle), 15, HPos::Left, VPos::Center)?;
        }
        Ok(())
    })
}

/// Colours for rivals from `--rival`.
const OTHERS: [RGBColor; 6] = [
    RGBColor(0xdb, 0x3d, 0x84),
    RGBColor(0x2f, 0x5f, 0xd0),
    RGBColor(0x8a, 0x9a, 0x1f),
    RGBColor(0xb0, 0x4f, 0xc4),
    RGBColor(0x10, 0x8a, 0x7d),
    RGBColor(0xf0, 0x6a, 0x2a),
];

/// The colour of the server `name` among `all` servers of a report, which is the same in every chart.
#[must_use]
pub fn colour<'a>(name: &str, all: impl IntoIterator<Item = &'a str>) -> RGBColor {
    let others = all.into_iter().filter(|name| known_colour(name).is_none());
    let own = others.zip(OTHERS.iter().cycle()).find(|(other, _)| *other == name).map(|(_, colour)| *colour);
    known_colour(name).or(own).unwrap_or(INK)
}

fn known_colour(name: &str) -> Option<RGBColor> {
    Some(match name {
        "parrot" => RGBColor(0x16, 0xa3, 0x4a),
        "parrot-2" => RGBColor(0x0c, 0x6b, 0x31),
        "parrot-clf" => RGBColor(0x5c, 0xc2, 0x84),
        "parrot-json" => RGBColor(0x98, 0xd6, 0xae),
        "parrot-spin" => RGBColor(0x3a, 0xd0, 0x9a),
        "plain" => RGBColor(0x7a, 0x89, 0x9f),
        "plain-spin" => RGBColor(0xb4, 0xbf, 0xcd),
        "mio" => RGBColor(0xe0, 0x9b, 0x1a),
        "tokio-1" => RGBColor(0xdc, 0x3b, 0x3b),
        "tokio" => RGBColor(0xee, 0x90, 0x90),
        "compio" => RGBColor(0xc0, 0x36, 0xa8),
        "threads" => RGBColor(0x9c, 0x6b, 0x44),
        "go" => RGBColor(0x0c, 0x9c, 0xc0),
        "go-copy" => RGBColor(0x86, 0xd2, 0xe6),
        "node" => RGBColor(0x86, 0x4f, 0xe8),
        "socat" => RGBColor(0x6f, 0x7d, 0x1c),
        "xinetd" => RGBColor(0x3f, 0x4c, 0x7a),
        _ => return None,
    })
}

/// A colour in CSS.
#[must_use]
pub fn css(colour: RGBColor) -> String {
    format!("#{:02x}{:02x}{:02x}", colour.0, colour.1, colour.2)
}

fn chart(
    name: String,
    title: &str,
    height: u32,
    servers: &[(&str, RGBColor)],
    draw: impl Fn(&Area<'_>) -> Result<()>,
) -> Result<Chart> {
    let element = svg(title, height, "currentColor", &draw)?;
    let places = legend_places(servers.iter().map(|(server, _)| *server));
    let rows = places.last().map_or(0, |(_, row)| row + 1);
    let file = svg(title, height + (rows * ROW) as u32, "#1c2430", |area| {
        area.fill(&WHITE).map_err(failed)?;
        draw(area)?;
        for ((server, colour), (left, row)) in servers.iter().zip(&places) {
            let middle = height as i32 + row * ROW + ROW / 2 - 4;
            let patch = Rectangle::new([(*left, middle - 6), (left + 12, middle + 6)], colour.filled());
            area.draw(&patch).map_err(failed)?;
            text(area, server, (left + 18, middle), LETTERS, HPos::Left, VPos::Center)?;
        }
        Ok(())
    })?;
    Ok(Chart { name, element, file })
}

/// The distance from the left and the row of each entry of a legend.
fn legend_places<'a>(servers: impl Iterator<Item = &'a str>) -> Vec<(i32, i32)> {
    const LEFT: i32 = 82;
    let (mut left, mut row) = (LEFT, 0);
    let place = |server: &str| {
        let width = 42 + LETTER * server.chars().count() as i32;
        if left > LEFT && left + width > WIDTH as i32 {
            (left, row) = (LEFT, row + 1);
        }
        let here = (left, row);
        left += width;
        here
    };
    servers.map(place).collect()
}

/// Draws an SVG element that takes all the width it gets. Screen readers read `title` aloud.
fn svg(title: &str, height: u32, ink: &str, draw: impl Fn(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    let size = format!("width=\"{WIDTH}\" height=\"{height}\" ");
    let role = format!("role=\"img\" aria-label=\"{}\" ", escape(title));
    Ok(svg.trim_start().replacen(&size, &role, 1).replace("#010203", ink))
}

/// The beginning of a page up to the start of its `main`, with the looks of all elements, light and dark.
#[must_use]
pub fn head(title: &str) -> String {
    include_str!("charts/head.html").replacen("TITLE", &escape(title), 1)
}

/// The element of a chart, which scrolls on narrow screens instead of shrinking.
#[must_use]
pub fn wide(chart: &Chart) -> String {
    format!("<div class=\"wide\">\n{}\n</div>\n", chart.element.trim_end())
}

/// A list of names with their colours.
#[must_use]
pub fn legend<'a>(entries: impl IntoIterator<Item = (&'a str, RGBColor)>) -> String {
    let entry = |(name, colour)| format!("<li><i style=\"background:{}\"></i>{}</li>", css(colour), escape(name));
    format!("<ul class=\"legend\">{}</ul>\n", entries.into_iter().map(entry).collect::<String>())
}

/// Escapes `text` for markup.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn rule(area: &Area<'_>, from: (i32, i32), to: (i32, i32)) -> Result<()> {
    area.draw(&PathElement::new([from, to], INK.mix(0.14))).map_err(failed)
}

fn text(area: &Area<'_>, words: &str, at: (i32, i32), size: u32, across: HPos, down: VPos) -> Result<()> {
    let style = TextStyle::from((FONT, size).into_font()).color(&INK).pos(Pos::new(across, down));
    area.draw(&Text::new(words.to_string(), at, style)).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw a chart: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn an_axis_from_zero_ends_at_a_round_number() {
        let axis = Axis::from_zero("", 237_000.0, |value| format!("{value}"));
        assert_eq!(labels(&axis), ["0", "50000", "100000", "150000", "200000", "250000"]);
        assert!(Axis::from_zero("", 0.0, |value| format!("{value}")).to > 0.0);
    }

    #[test]
    fn a_logarithmic_axis_encloses_its_values() {
        let axis = Axis::logarithmic("", [37.0, 1800.0].into_iter(), |value| format!("{value}"));
        assert_eq!(labels(&axis), ["20", "50", "100", "200", "500", "1000", "2000"]);
        assert_eq!((axis.place(20.0), axis.place(2000.0)), (0.0, 1.0));
    }

    #[test]
    fn every_nine_takes_the_same_width() {
        let axis = Axis::percentiles();
        let (first, second) = (axis.place(90.0) - axis.place(0.0), axis.place(99.0) - axis.place(90.0));
        assert!((first - second).abs() < 1e-9);
    }

    #[test]
    fn a_chart_is_one_svg_element_in_the_colour_of_its_page() {
        let bar = Bar { name: "a <b>".into(), colour: INK, value: 3.0, beyond: None, range: None, label: "3".into() };
        let chart = bars(String::new(), "a \"chart\"", &[bar], 2.0).expect("a picture");
        for svg in [&chart.element, &chart.file] {
            assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
            assert!(svg.contains("a &lt;b&gt;"), "names are escaped: {svg}");
            assert!(svg.contains("role=\"img\" aria-label=\"a &quot;chart&quot;\""), "{svg}");
        }
        assert!(chart.element.contains("currentColor") && !chart.element.contains("#010203"), "{chart:?}");
    }

    #[test]
    fn added_rivals_get_different_colours() {
        let all = ["parrot", "mine", "yours", "theirs"];
        let colours = all.map(|name| colour(name, all));
        assert!(colours.iter().enumerate().all(|(place, colour)| !colours[..place].contains(colour)), "{colours:?}");
    }

    #[test]
    fn points_below_an_axis_are_left_out() {
        let line = |points| [Line { name: String::new(), colour: INK, points }];
        let y = Axis::logarithmic("", [20.0, 100.0].into_iter(), |value| format!("{value}"));
        let drawn =
            |points| lines(String::new(), "", &Axis::percentiles(), &y, &line(points)).expect("a picture").element;
        assert_eq!(drawn(vec![(0.0, 3.0), (50.0, 20.0), (99.0, 80.0)]), drawn(vec![(50.0, 20.0), (99.0, 80.0)]));
    }

    #[test]
    fn a_file_has_a_legend_and_its_own_colours() {
        let names = ["parrot", "plain", "mio", "tokio-1", "tokio", "threads", "go", "go-copy", "node", "parrot-clf"];
        let line = |name: &&str| Line { name: (*name).into(), colour: INK, points: vec![(1.0, 1.0), (2.0, 2.0)] };
        let axis = Axis::from_zero("", 2.0, |value| format!("{value}"));
        let lines_of_all: Vec<Line> = names.iter().map(line).collect();
        let chart = lines(String::new(), "", &axis, &axis, &lines_of_all).expect("a picture");
        assert!(names.iter().all(|name| chart.file.contains(&format!(">\n{name}\n<"))), "{}", chart.file);
        assert!(!chart.element.contains("tokio") && !chart.file.contains("currentColor"));
        let places = legend_places(names.into_iter());
        assert_eq!(
            (places.first(), places.last()),
            (Some(&(82, 0)), Some(&(82, 1))),
            "the last entry is in a second row"
        );
    }
}
