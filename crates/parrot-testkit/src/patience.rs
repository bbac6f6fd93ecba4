//! Waiting for a condition, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything may take that should happen soon, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The time between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until `look` finds something.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            bail!("waited for {PATIENCE:?} in vain: {what}");
        }
        thread::sleep(PAUSE);
    }
}

/// Waits until the condition holds, and panics if it does not within [`PATIENCE`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = wait_for(what, || Ok(condition().then_some(())));
    assert!(waited.is_ok(), "waited for {PATIENCE:?} in vain: {what}");
}
