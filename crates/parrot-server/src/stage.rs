//! How far a server is on its way from its start to its end, for threads that watch it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How far a server is on its way from its start to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// It listens, but nothing is accepted before it [runs](crate::Server::run).
    #[default]
    Bound,
    /// It accepts and serves.
    Serving,
    /// It still accepts and serves, but only until the [drain delay](crate::Limits::drain_delay) is over. Load balancers
    /// should send new connections elsewhere.
    Leaving,
    /// It accepts what is in the backlog, and every connection ends at its next pause.
    Draining,
    /// It has ended.
    Ended,
}

impl Stage {
    const ALL: [Stage; 5] = [Stage::Bound, Stage::Serving, Stage::Leaving, Stage::Draining, Stage::Ended];

    /// The stage as a lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Bound => "bound",
            Stage::Serving => "serving",
            Stage::Leaving => "leaving",
            Stage::Draining => "draining",
            Stage::Ended => "ended",
        }
    }
}

/// The beginning of a stage of the server's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageChange {
    /// The stage that begins, [`Leaving`](Stage::Leaving) or [`Draining`](Stage::Draining).
    pub stage: Stage,
    /// Connections that are open.
    pub connections: usize,
    /// How long it can take from here to the end of the server.
    pub at_most: Duration,
}

/// The stage that the loop is in, which any thread reads.
#[derive(Debug, Default)]
pub struct SharedStage(AtomicU8);

impl SharedStage {
    /// Enters a stage.
    pub(crate) fn enter(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Release);
    }

    pub(crate) fn get(&self) -> Stage {
        let stage = usize::from(self.0.load(Ordering::Acquire));
        Stage::ALL.get(stage).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_can_be_shared() {
        let shared = SharedStage::default();
        assert_eq!(shared.get(), Stage::default());
        for stage in Stage::ALL {
            shared.enter(stage);
            assert_eq!(shared.get(), stage, "{}", stage.as_str());
        }
    }
}
