//! Sends cells to the terminal, for ratatui.

use std::io::{self, Write as _};
use std::sync::Arc;

use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::Cell;
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier};

use super::terminal::Terminal;

/// Collects a frame and writes it in one call, so that the terminal never shows half of it.
#[derive(Debug)]
pub(super) struct Cells {
    terminal: Arc<Terminal>,
    colours: bool,
    frame: Vec<u8>,
    cursor: Position,
}

impl Cells {
    pub(super) fn new(terminal: Arc<Terminal>, colours: bool) -> Cells {
        Cells { terminal, colours, frame: Vec::new(), cursor: Position::ORIGIN }
    }
}

impl Backend for Cells {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        // A terminal places letters one after the other, so only a gap needs a movement.
        let (mut next, mut style) = (None, String::new());
        for (column, row, cell) in content {
            if next != Some((column, row)) {
                write!(self.frame, "\x1b[{};{}H", row + 1, column + 1)?;
            }
            let wanted = attributes(cell, self.colours);
            if wanted != style {
                write!(self.frame, "\x1b[0{wanted}m")?;
                style = wanted;
            }
            self.frame.extend_from_slice(cell.symbol().as_bytes());
            next = Some((column + 1, row));
        }
        if !style.is_empty() {
            self.frame.extend_from_slice(b"\x1b[0m");
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        Ok(()) // it is hidden as long as the screen is on the terminal
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.cursor)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.cursor = position.into();
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, _region: ClearType) -> io::Result<()> {
        // A screen that fills the terminal never clears a part of it.
        self.frame.extend_from_slice(b"\x1b[2J");
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        let (width, height) = self.terminal.size();
        Ok(Size { width, height })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::default() })
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.terminal.write(&self.frame);
        self.frame.clear();
        written
    }
}

/// The parameters of SGR (ECMA-48) for a cell, each after a semicolon.
fn attributes(cell: &Cell, colours: bool) -> String {
    let mut text = String::new();
    for (modifier, parameter) in [(Modifier::BOLD, ";1"), (Modifier::DIM, ";2"), (Modifier::REVERSED, ";7")] {
        if cell.modifier.contains(modifier) {
            text.push_str(parameter);
        }
    }
    text.push_str(match cell.fg {
        _ if !colours => "",
        Color::Red => ";31",
        Color::Green => ";32",
        Color::Yellow => ";33",
        Color::Cyan => ";36",
        _ => "",
    });
    text
}

/// Whether the terminal is to show colours: not if `NO_COLOR` says so (no-color.org), and not if its name says that it
/// has none.
pub(super) fn has_colours(no_color: Option<&str>, term: Option<&str>) -> bool {
    let wanted = no_color.is_none_or(str::is_empty);
    let able = |term: &str| !(term == "dumb" || term.starts_with("vt") || term.contains("mono"));
    wanted && term.is_some_and(able)
}

#[cfg(test)]
mod tests {
    use ratatui_core::style::Style;

    use super::*;

    #[test]
    fn a_cell_without_colours_keeps_its_weight() {
        let mut cell = Cell::new("x");
        cell.set_style(Style::new().fg(Color::Red).add_modifier(Modifier::BOLD));
        assert_eq!([attributes(&cell, true), attributes(&cell, false)], [";1;31", ";1"]);
    }

    #[test]
    fn colours_depend_on_the_user_and_the_terminal() {
        for (no_color, term, colours) in [
            (None, Some("xterm-256color"), true),
            (Some(""), Some("tmux"), true),
            (Some("1"), Some("xterm-256color"), false),
            (None, Some("dumb"), false),
            (None, Some("vt220"), false),
            (None, Some("xterm-mono"), false),
            (None, None, false),
        ] {
            assert_eq!(has_colours(no_color, term), colours, "{no_color:?} {term:?}");
        }
    }
}
