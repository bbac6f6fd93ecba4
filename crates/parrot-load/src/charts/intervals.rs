//! A chart of ratios with their intervals: a dot for each server, with whiskers, and a line at 1.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Area, Chart, INK, WIDTH, chart, failed, rule, text};

/// The height of a row and half the height of a whisker's ends.
const ROW: i32 = 30;
const END: i32 = 5;
/// The axis has about this many ticks at most.
const TICKS: f64 = 7.0;
/// The axis spans at least this far on both sides of 1, so that a percent never looks like much.
const AROUND: f64 = 0.05;

/// The dot of one server.
#[derive(Debug)]
pub struct Dot {
    /// The name of the server.
    pub name: String,
    /// Its colour.
    pub colour: RGBColor,
    /// The ratio.
    pub value: f64,
    /// The ends of its whiskers.
    pub interval: Option<(f64, f64)>,
    /// What stands beside it.
    pub label: String,
}

/// The horizontal axis, whose ticks are multiples of a round step.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ticks {
    step: f64,
    first: i64,
    last: i64,
}

impl Ticks {
    /// Ticks around 1 and all of `values` up to `most`.
    fn around(values: impl Iterator<Item = f64>, most: f64) -> Ticks {
        let wanted = values.filter(|value| *value <= most);
        let ends = (1.0 - AROUND, 1.0 + AROUND);
        let (least, most) = wanted.fold(ends, |(least, most), value| (least.min(value), most.max(value)));
        let steps = (-3..).flat_map(|decade| [1.0, 2.0, 5.0].map(|factor| factor * 10f64.powi(decade)));
        let step = steps.into_iter().find(|step| (most - least) / step <= TICKS).unwrap_or(1.0);
        Ticks { step, first: (least / step).floor() as i64, last: (most / step).ceil() as i64 }
    }

    fn values(self) -> impl Iterator<Item = f64> {
        (self.first..=self.last).map(move |tick| tick as f64 * self.step)
    }

    fn ends(self) -> (f64, f64) {
        (self.first as f64 * self.step, self.last as f64 * self.step)
    }

    fn contain(self, value: f64) -> bool {
        let (first, last) = self.ends();
        (first..=last).contains(&value)
    }

    /// The position of `value` between the ends, from 0 to 1.
    fn place(self, value: f64) -> f64 {
        let (first, last) = self.ends();
        ((value - first) / (last - first)).clamp(0.0, 1.0)
    }
}

/// A chart of ratios. A dot beyond `most` is not shown, and its label starts with ▸.
///
/// # Errors
///
/// None that is expected, because the chart is drawn to memory.
pub fn intervals(name: String, title: &str, axis: &str, dots: &[Dot], most: f64) -> Result<Chart> {
    let bottom = dots.len() as i32 * ROW + 12;
    let (left, right) = (118, WIDTH as i32 - 230);
    let ends = dots.iter().flat_map(|dot| dot.interval.map_or([dot.value; 2], |(low, high)| [low, high]));
    let ticks = Ticks::around(ends, most);
    let at = |value: f64| left + (f64::from(right - left) * ticks.place(value)).round() as i32;
    chart(name, title, (bottom + 46) as u32, &[], |area| {
        for value in ticks.values() {
            rule(area, (at(value), 8), (at(value), bottom))?;
            let label = if ticks.step < 0.01 { format!("{value:.3}") } else { format!("{value:.2}") };
            text(area, &label, (at(value), bottom + 6), 15, HPos::Center, VPos::Top)?;
        }
        line(area, (at(1.0), 8), (at(1.0), bottom), INK.mix(0.6).stroke_width(2))?;
        text(area, axis, (right, bottom + 44), 15, HPos::Right, VPos::Bottom)?;
        for (place, dot) in dots.iter().enumerate() {
            let middle = 8 + place as i32 * ROW + ROW / 2;
            text(area, &dot.name, (left - 14, middle), 15, HPos::Right, VPos::Center)?;
            let beyond = dot.value > most;
            let label = if beyond { format!("▸ {}", dot.label) } else { dot.label.clone() };
            text(area, &label, (right + 14, middle), 15, HPos::Left, VPos::Center)?;
            if beyond {
                continue;
            }
            if let Some((low, high)) = dot.interval {
                let style = dot.colour.stroke_width(2);
                line(area, (at(low), middle), (at(high), middle), style)?;
                // A whisker without an end goes on beyond the axis.
                for end in [low, high].into_iter().filter(|end| ticks.contain(*end)) {
                    line(area, (at(end), middle - END), (at(end), middle + END), style)?;
                }
            }
            area.draw(&Circle::new((at(dot.value), middle), 5, dot.colour.filled())).map_err(failed)?;
        }
        Ok(())
    })
}

fn line(area: &Area<'_>, from: (i32, i32), to: (i32, i32), style: ShapeStyle) -> Result<()> {
    area.draw(&PathElement::new([from, to], style)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(name: &str, value: f64) -> Dot {
        let interval = Some((value - 0.01, value + 0.01));
        Dot { name: name.into(), colour: RGBColor(9, 9, 9), value, interval, label: format!("{value}") }
    }

    #[test]
    fn the_axis_has_round_ticks_and_contains_what_is_near() {
        let ticks = |values: &[f64]| Ticks::around(values.iter().copied(), 1.5);
        assert_eq!(ticks(&[1.01, 0.99]), Ticks { step: 0.02, first: 47, last: 53 });
        assert_eq!(ticks(&[1.43, 9.0]), Ticks { step: 0.1, first: 9, last: 15 });
        let near = ticks(&[]);
        assert!(near.place(1.0) > 0.4 && near.place(1.0) < 0.6 && near.place(0.0) == 0.0 && near.place(9.0) == 1.0);
    }

    #[test]
    fn a_server_has_a_dot_and_whiskers_unless_it_is_far_away() {
        let drawn = |dots: &[Dot]| intervals(String::new(), "ratios", "", dots, 1.5).expect("a picture").element;
        let near = drawn(&[dot("plain", 1.02), dot("mio", 1.04)]);
        assert_eq!((near.matches("<circle").count(), near.contains('▸')), (2, false));
        let far = drawn(&[dot("plain", 1.02), dot("node", 1.9)]);
        assert_eq!((far.matches("<circle").count(), far.matches('▸').count()), (1, 1));
        let unsure = drawn(&[Dot { interval: None, ..dot("plain", 1.02) }]);
        assert!(unsure.contains("<circle") && unsure.len() < drawn(&[dot("plain", 1.02)]).len());
        let strokes =
            |interval| drawn(&[Dot { interval: Some(interval), ..dot("plain", 1.05) }]).matches("#090909").count();
        assert_eq!(strokes((1.0, 2.0)) + 1, strokes((1.0, 1.1)), "an end that is beyond the axis is left out");
    }
}
