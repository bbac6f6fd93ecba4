//! How and when a connection with faults ends.

use std::time::Duration;

use super::kind::{After, Fault};
use crate::connection::CloseReason;

/// How long a peer may take to end its stream after Parrot has ended its own. This is how long nginx waits for more of
/// its input (`lingering_timeout`).
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// The next step in the end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Discard what is pending and shut the write side down, which sends a FIN. From then on discard what is received
    /// until the peer ends its stream. A close with unread input would send an RST instead (RFC 1122, 4.2.2.13).
    Finish,
    /// Close now. The peer has not ended its stream in time.
    Close,
    /// Close with an RST (`SO_LINGER` with zero seconds, socket(7)). The system then discards what it has not
    /// delivered.
    Reset,
}

/// What there is to decide an end by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// The bytes that are pending.
    pub(super) pending: usize,
    /// The bytes sent so far.
    pub(super) sent: u64,
    /// Whether the peer has ended its stream, and that is a reason to end.
    pub(super) input_ended: bool,
}

/// The ends that a connection can come to.
#[derive(Debug, Default)]
pub(super) struct Ends {
    finish_after_bytes: Option<u64>,
    /// When the orderly end is due whatever flows, and the fault that says so.
    finish_after_time: Option<(Duration, CloseReason)>,
    reset: Option<After>,
    slow_close: Duration,
    half_close_first: bool,
    /// When the orderly end was first due, without the delay of a slow close.
    due_since: Option<Duration>,
    /// What has made an end due.
    cause: Option<CloseReason>,
    /// When the write side was shut down.
    finished: Option<Duration>,
}

impl Ends {
    /// Adds what this fault says about the end.
    pub(super) fn add(&mut self, fault: &Fault) {
        match *fault {
            Fault::LimitData(bytes) => self.finish_after_bytes = Some(bytes),
            Fault::Timeout(Some(time)) => self.finish_after(time, CloseReason::TimeoutFault),
            Fault::Lifetime(time) => self.finish_after(time, CloseReason::LifetimeFault),
            Fault::Reset(after) => self.reset = Some(after),
            Fault::SlowClose(time) => self.slow_close = time,
            Fault::HalfCloseFirst => self.half_close_first = true,
            _ => {}
        }
    }

    /// The earlier of two times holds.
    fn finish_after(&mut self, time: Duration, cause: CloseReason) {
        if self.finish_after_time.is_none_or(|(earlier, _)| time < earlier) {
            self.finish_after_time = Some((time, cause));
        }
    }

    /// How many bytes may leave before the end.
    pub(super) fn bytes_left(&self, sent: u64) -> u64 {
        let reset = match self.reset {
            Some(After::Bytes(bytes)) => bytes,
            _ => u64::MAX,
        };
        self.finish_after_bytes.unwrap_or(u64::MAX).min(reset).saturating_sub(sent)
    }

    /// The next step that is due, if one is.
    pub(super) fn due(&mut self, progress: Progress, now: Duration) -> Option<Ending> {
        let is_reset = match self.reset {
            Some(After::Bytes(bytes)) => bytes <= progress.sent,
            Some(After::Time(time)) => time <= now,
            None => false,
        };
        if is_reset {
            self.cause = Some(CloseReason::ResetFault);
            return Some(Ending::Reset);
        }
        if let Some(finished) = self.finished {
            return self.close_time(finished).filter(|time| *time <= now).map(|_| Ending::Close);
        }
        if self.due_since.is_none() {
            self.cause = self.finish_cause(progress, now);
            self.due_since = self.cause.map(|_| now);
        }
        let due = self.due_since?.saturating_add(self.slow_close);
        (due <= now).then_some(Ending::Finish)
    }

    /// Why the orderly end is due now, if it is.
    fn finish_cause(&self, progress: Progress, now: Duration) -> Option<CloseReason> {
        let all_sent = progress.pending == 0;
        if self.finish_after_bytes.is_some_and(|bytes| bytes <= progress.sent) {
            Some(CloseReason::LimitDataFault)
        } else if let Some((_, cause)) = self.finish_after_time.filter(|(time, _)| *time <= now) {
            Some(cause)
        } else if all_sent && progress.input_ended {
            Some(CloseReason::PeerFinished)
        } else if all_sent && self.half_close_first && progress.sent > 0 {
            Some(CloseReason::HalfCloseFault)
        } else {
            None
        }
    }

    /// What has made an end due, if one is.
    pub(super) fn cause(&self) -> Option<CloseReason> {
        self.cause
    }

    /// Whether the write side was shut down.
    pub(super) fn is_shut_down(&self) -> bool {
        self.finished.is_some()
    }

    /// Whether nothing is sent any more, because only the end is left.
    pub(super) fn are_near(&self) -> bool {
        self.due_since.is_some()
    }

    /// How long the peer may take to end its stream, which after a half-close is as long as it wants.
    fn close_time(&self, finished: Duration) -> Option<Duration> {
        let lingered = finished.saturating_add(LINGER);
        match self.half_close_first {
            true => self.finish_after_time.map(|(time, _)| time.max(lingered)),
            false => Some(lingered),
        }
    }

    /// When the next step is due, if that depends on the time alone.
    pub(super) fn next(&self) -> Option<Duration> {
        let reset = match self.reset {
            Some(After::Time(time)) => Some(time),
            _ => None,
        };
        let finish = match (self.finished, self.due_since) {
            (Some(finished), _) => self.close_time(finished),
            (None, Some(since)) => Some(since.saturating_add(self.slow_close)),
            (None, None) => self.finish_after_time.map(|(time, _)| time),
        };
        [reset, finish].into_iter().flatten().min()
    }

    /// Records that the write side is shut down.
    pub(super) fn finished(&mut self, now: Duration) {
        self.due_since.get_or_insert(now);
        self.finished.get_or_insert(now);
    }
}
