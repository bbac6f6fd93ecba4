//! Curves over time as an SVG picture, with one panel for each curve.

use std::fmt::Write as _;

/// A curve of the picture.
#[derive(Debug)]
pub(crate) struct Curve {
    /// The value that is plotted, with its unit.
    pub(crate) name: &'static str,
    /// Seconds and values.
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 800.0;
const PANEL: f64 = 160.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;
/// Between the bottom of a panel and the top of the next.
const GAP: f64 = 34.0;
const COLOURS: [&str; 3] = ["#1b6ca8", "#b8561b", "#3a7d44"];

/// Draws these curves over one span of time.
pub(crate) fn plot(title: &str, curves: &[Curve]) -> String {
    let height = TOP + curves.len() as f64 * (PANEL + GAP) + 10.0;
    let end = curves.iter().flat_map(|curve| &curve.points).map(|(x, _)| *x).fold(1e-9, f64::max);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{title}</text>\n"
    );
    for ((index, curve), colour) in curves.iter().enumerate().zip(COLOURS.iter().cycle()) {
        panel(&mut svg, curve, TOP + index as f64 * (PANEL + GAP), end, colour);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, curve: &Curve, top: f64, end: f64, colour: &str) {
    let most = curve.points.iter().map(|(_, y)| *y).fold(0.0, f64::max);
    let scale = round_up(most);
    let (ground, right) = (top + PANEL, WIDTH - 20.0);
    let mut line = |text: String| svg.push_str(&(text + "\n"));
    line(format!("<text x=\"{LEFT}\" y=\"{}\" fill=\"{colour}\">{}</text>", top - 4.0, curve.name));
    for part in [0.0, 0.5, 1.0] {
        let y = ground - part * PANEL;
        line(format!("<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ccc\"/>"));
        line(format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", LEFT - 6.0, y + 4.0, scale * part));
    }
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let x = LEFT + part * (right - LEFT);
        line(format!(
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0} s</text>",
            ground + 15.0,
            end * part
        ));
    }
    let mut points = String::new();
    for (x, y) in &curve.points {
        let (x, y) = (LEFT + x / end * (right - LEFT), ground - y / scale * PANEL);
        let _ = write!(points, "{x:.1},{y:.1} ");
    }
    line(format!("<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"/>", points.trim_end()));
}

/// The next of 1, 2, 5, 10, 20, … that is not below `value`.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0].map(|step| step * power).into_iter().find(|step| *step >= value).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_on_round_numbers() {
        for (value, scale) in [(0.7, 1.0), (1.0, 1.0), (3.1, 5.0), (42.0, 50.0), (51.0, 100.0), (190.0, 200.0)] {
            assert!((round_up(value) - scale).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn every_curve_is_in_the_picture() {
        let curve = |name| Curve { name, points: vec![(0.0, 1.0), (5.0, 7.0), (10.0, 3.0)] };
        let svg = plot("title", &[curve("first"), curve("second")]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains(">first<") && svg.contains(">second<") && svg.contains(">10 s<"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
