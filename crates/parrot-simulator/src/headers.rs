//! PROXY headers: what peers send, how much of it has arrived, and the checks of how the loop receives it.

mod calls;
mod checks;
mod plan;
mod state;

pub(crate) use plan::{Fate, HeaderPlan};
pub(crate) use state::Header;
