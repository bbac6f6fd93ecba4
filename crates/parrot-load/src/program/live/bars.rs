//! Bars that stand side by side, one in each column.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::Style;

/// Eighths of a cell, from the least to a whole one.
const EIGHTHS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Draws a bar for each value, from the left. The greatest one fills the height, and any that is more than 0 is seen.
pub(super) fn bars(values: &[Option<f64>], area: Rect, style: Style, buffer: &mut Buffer) {
    let area = area.intersection(buffer.area);
    let greatest = values.iter().copied().flatten().fold(0.0, f64::max);
    if greatest <= 0.0 {
        return;
    }
    let eighths = f64::from(area.height) * EIGHTHS.len() as f64;
    for (column, value) in (area.left()..area.right()).zip(values) {
        let Some(value) = value.filter(|value| *value > 0.0) else { continue };
        let mut left = ((value / greatest * eighths).round() as usize).max(1);
        for row in (area.top()..area.bottom()).rev() {
            let Some(symbol) = left.min(EIGHTHS.len()).checked_sub(1).and_then(|place| EIGHTHS.get(place)) else {
                break;
            };
            if let Some(cell) = buffer.cell_mut((column, row)) {
                cell.set_symbol(symbol).set_style(style);
            }
            left = left.saturating_sub(EIGHTHS.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_bar_fills_the_height_and_small_ones_are_seen() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 6, 2));
        let area = buffer.area;
        bars(&[Some(16.0), Some(9.0), Some(8.0), Some(0.01), Some(0.0), None], area, Style::new(), &mut buffer);
        assert_eq!(buffer, Buffer::with_lines(["█▁    ", "███▁  "]));
    }

    #[test]
    fn bars_stay_within_their_area() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 3, 1));
        bars(&[Some(1.0); 9], Rect::new(2, 0, 9, 9), Style::new(), &mut buffer);
        assert_eq!(buffer, Buffer::with_lines(["  █"]));
    }
}
