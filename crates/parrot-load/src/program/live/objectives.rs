//! What a search for a rate has found so far, in words.

use ratatui_core::style::Style;

use super::state::State;
use super::view::{TITLE, Words};
use crate::Objective;
use crate::units::{microseconds, thousands};

/// The step and the range that the limit lies in, then each objective. Nothing if there is no search.
pub(super) fn lines(state: &State) -> Vec<Words> {
    let Some(search) = &state.search else { return Vec::new() };
    let rate = |rate: Option<f64>| rate.map_or("nothing".into(), |rate| format!("{}/s", thousands(rate)));
    let (held, failed) = search.bracket;
    let (held, failed) = (rate(held), rate(failed));
    let step = format!("step {} at {}; so far {held} held, {failed} failed", search.steps.len() + 1, rate(state.rate));
    let mut lines = vec![vec![("search      ".to_owned(), TITLE), (step, Style::new())]];
    for objective in &search.objectives {
        let (holds, value) = so_far(objective, state);
        let verdict = if holds { "holds so far" } else { "FAILS so far" };
        let weight = if holds { Style::new() } else { TITLE };
        lines.push(vec![
            ("objective   ".to_owned(), TITLE),
            (format!("{objective}: {value}, "), Style::new()),
            (verdict.to_owned(), weight),
        ]);
    }
    lines
}

/// Whether an objective holds by what the step has measured so far, and the value of that.
fn so_far(objective: &Objective, state: &State) -> (bool, String) {
    match *objective {
        Objective::Percentile { percentile, at_most } => match state.window.percentile(percentile) {
            Some(value) => (value <= at_most.as_secs_f64() * 1e6, microseconds(value)),
            None => (true, "not measured yet".into()),
        },
        Objective::Errors(at_most) => {
            let errors = state.errors();
            (errors <= at_most, format!("{:.3} %", errors * 100.0))
        }
    }
}
