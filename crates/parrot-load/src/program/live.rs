//! `--live`: a run on the whole terminal, drawn ten times a second on the thread that watches it.

mod bars;
mod cells;
mod objectives;
mod state;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ratatui_core::terminal::Terminal as Frames;

use self::cells::{Cells, has_colours};
use self::state::{Search, Stage, State};
pub(super) use self::terminal::Terminal;
use crate::{Load, Objective, Plan, Sample, Step, Stop, Watch};

/// How often the screen is drawn.
pub(super) const FRAME: Duration = Duration::from_millis(100);

/// A screen that shows a run, or all runs of a search. The terminal is given back with it.
#[derive(Debug)]
pub(super) struct Live {
    terminal: Arc<Terminal>,
    frames: Frames<Cells>,
    state: State,
    stop: Stop,
    /// Whether the terminal is gone.
    gone: bool,
}

impl Live {
    /// Takes the terminal over.
    ///
    /// # Errors
    ///
    /// If the terminal is gone.
    pub(super) fn start(terminal: Arc<Terminal>, plan: &Plan, stop: &Stop) -> io::Result<Live> {
        let variable = |name: &str| std::env::var(name).ok();
        let colours = has_colours(variable("NO_COLOR").as_deref(), variable("TERM").as_deref());
        let frames = Frames::new(Cells::new(Arc::clone(&terminal), colours))?;
        terminal.enter()?;
        let mut live = Live { terminal, frames, state: State::new(plan, None), stop: stop.clone(), gone: false };
        live.draw();
        Ok(live)
    }

    /// The same for a search, whose steps are runs.
    ///
    /// # Errors
    ///
    /// If the terminal is gone.
    pub(super) fn search(
        terminal: Arc<Terminal>,
        plan: &Plan,
        stop: &Stop,
        objectives: Vec<Objective>,
    ) -> io::Result<Live> {
        let mut live = Live::start(terminal, plan, stop)?;
        live.state.search = Some(Search { objectives, ..Search::default() });
        Ok(live)
    }

    /// Shows what a step of the search has found. The limit lies in the bracket.
    pub(super) fn stepped(&mut self, step: &Step, bracket: (Option<f64>, Option<f64>)) {
        if let Some(search) = &mut self.state.search {
            search.steps.push(step.clone());
            search.bracket = bracket;
        }
        self.draw();
    }

    fn draw(&mut self) {
        if self.gone {
            return;
        }
        self.state.stopping = self.stop.stopped();
        let stale = self.terminal.take_stale();
        let cleared = if stale { self.frames.clear() } else { Ok(()) };
        let drawn =
            cleared.and_then(|()| self.frames.draw(|frame| view::draw(&self.state, frame.buffer_mut())).map(|_| ()));
        // Without a terminal the run goes on, and its report is printed.
        self.gone = drawn.is_err();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.terminal.leave();
    }
}

impl Watch for Live {
    fn connecting(&mut self, elapsed: Duration) {
        self.state.stage = Stage::Connecting(elapsed);
        self.draw();
    }

    fn waiting(&mut self, left: Duration) {
        self.state.stage = Stage::Waiting(left);
        self.draw();
    }

    fn connected(&mut self, load: &Load, open: usize, _took: Duration) {
        self.state.connected(load, open);
        self.draw();
    }

    fn interval(&mut self, sample: &Sample<'_>) {
        self.state.add(sample);
        self.draw();
    }
}

/// A screen that a search uses in two ways: each run reports to it, and so does the search.
#[derive(Debug)]
pub(super) struct Lent<'a>(pub(super) &'a RefCell<Live>);

impl Watch for Lent<'_> {
    fn connecting(&mut self, elapsed: Duration) {
        self.0.borrow_mut().connecting(elapsed);
    }

    fn waiting(&mut self, left: Duration) {
        self.0.borrow_mut().waiting(left);
    }

    fn connected(&mut self, load: &Load, open: usize, took: Duration) {
        self.0.borrow_mut().connected(load, open, took);
    }

    fn interval(&mut self, sample: &Sample<'_>) {
        self.0.borrow_mut().interval(sample);
    }
}
