//! Whether the server is alive, and whether it is ready for connections.

use std::time::{Duration, Instant};

use parrot_server::Stage;

use crate::watch::Watch;

/// How soon a loop that is asked has to make a turn.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The first time between two looks at the number of turns. Each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// An answer, and the reason for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) good: bool,
    pub(crate) reason: &'static str,
}

/// Whether the loop makes a turn within a second. It is woken for that, so an idle loop is healthy too, and a stuck one
/// is not.
pub(crate) async fn health(watch: &Watch) -> Verdict {
    if watch.server.stage() == Stage::Ended {
        return Verdict { good: false, reason: "ended: the server has ended" };
    }
    let turns = || watch.server.statistics().turns;
    let (asked, before) = (Instant::now(), turns());
    let mut pause = FIRST_PAUSE;
    loop {
        watch.wake();
        tokio::time::sleep(pause.min(PATIENCE.saturating_sub(asked.elapsed()))).await;
        if turns() != before {
            return Verdict { good: true, reason: "healthy: the loop has made a turn" };
        }
        if asked.elapsed() >= PATIENCE {
            return Verdict { good: false, reason: "stuck: the loop has made no turn within a second of being asked" };
        }
        pause *= 2;
    }
}

/// Whether the server should get connections. Every stage but one says no, so that clients are sent elsewhere before a
/// server closes its listeners.
pub(crate) fn readiness(stage: Stage) -> Verdict {
    match stage {
        Stage::Serving => Verdict { good: true, reason: "ready: the server listens" },
        Stage::Bound => Verdict { good: false, reason: "not ready: the server is not running yet" },
        Stage::Leaving => Verdict { good: false, reason: "not ready: the server serves on, and drains soon" },
        Stage::Draining => Verdict { good: false, reason: "not ready: the server drains" },
        Stage::Ended => Verdict { good: false, reason: "not ready: the server has ended" },
        _ => Verdict { good: false, reason: "not ready: the server is about to end" },
    }
}
