//! The faults of one stream connection: what it may send and receive now, and how it ends.

use std::time::Duration;

use super::bandwidth::Bandwidth;
use super::ends::{Ending, Ends, Progress};
use super::kind::{Fault, FaultKind};
use super::latency::{Delays, Latency};
use super::random::Random;
use super::slices::Slices;
use super::stall::{Stall, Stalled};
use crate::connection::CloseReason;

/// What a connection does with its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Receive and echo it.
    Echo,
    /// Receive it and echo nothing of it.
    Discard,
    /// Leave it in the socket.
    Wait,
}

/// What a connection with faults may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    /// How many of the pending bytes one send call may take.
    pub send: usize,
    /// What to do with input.
    pub input: Input,
    /// The next step in the end of the connection, to be made now.
    pub ending: Option<Ending>,
    /// When to ask again even if nothing happens. This is always later than now.
    pub again: Option<Duration>,
}

/// The faults of one stream connection.
///
/// A [`FaultPlan`](super::FaultPlan) chooses them. All times are since the connection was accepted. They must not go
/// back.
///
/// The caller asks for a [`permit`](Faults::permit) before it receives or sends, after each call that moved something,
/// and at the time [`again`](Permit::again). It reports what it did with [`received`](Faults::received),
/// [`sent`](Faults::sent), [`received_end`](Faults::received_end) and [`shut_down`](Faults::shut_down).
///
/// ```
/// use std::time::Duration;
/// use parrot_conn::fault::{Chances, Fault, FaultPlan};
///
/// let ms = Duration::from_millis;
/// let latency = Fault::Latency { delay: Chances::always(ms(50)), jitter: ms(0) };
/// let plan = FaultPlan::new(1512, [latency.into()])?;
/// let mut faults = plan.connection(1).ok_or("it has a fault")?;
///
/// faults.received(5, ms(20)); // a message of five bytes
/// let permit = faults.permit(5, ms(20));
/// assert_eq!((permit.send, permit.again), (0, Some(ms(70))));
/// assert_eq!(faults.permit(5, ms(70)).send, 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What is promised
///
/// - **Bytes.** A permit only holds bytes back. It never changes, reorders or adds any.
/// - **Memory.** The bytes stay in the connection's own buffer. A full buffer stops the input, and so do 256 late
///   messages. The faults of a connection take at most 8 KiB.
/// - **Time.** A permit costs a few comparisons. With no event, the caller has nothing to do before `again`.
/// - **Choice.** What is drawn depends on the plan's seed, the connection's number and how often it was drawn before.
#[derive(Debug)]
pub struct Faults {
    kinds: Vec<FaultKind>,
    latency: Option<Latency>,
    bandwidth: Option<Bandwidth>,
    slices: Option<Slices>,
    stall: Option<Stall>,
    /// There is no answer at all.
    is_silent: bool,
    ends: Ends,
    sent: u64,
    input_ended: bool,
}

// With the late messages, this is what `Faults` promises.
const _: () = assert!(size_of::<Faults>() <= 1024);

impl Faults {
    /// These faults, which draw what they leave open from `random`. Those that are none of a stream do nothing.
    pub(super) fn new<'a>(faults: impl Iterator<Item = &'a Fault>, random: impl Fn(FaultKind) -> Random) -> Faults {
        let mut this = Faults {
            kinds: Vec::new(),
            latency: None,
            bandwidth: None,
            slices: None,
            stall: None,
            is_silent: false,
            ends: Ends::default(),
            sent: 0,
            input_ended: false,
        };
        for fault in faults {
            let kind = fault.kind();
            this.kinds.push(kind);
            match fault {
                Fault::Latency { delay, jitter } => {
                    this.latency = Some(Latency::new(Delays::new(delay, *jitter), random(kind)));
                }
                Fault::Bandwidth(rate) => this.bandwidth = Some(Bandwidth::new(*rate)),
                Fault::Slice { least, most, delay } => {
                    this.slices = Some(Slices::new(*least, *most, *delay, random(kind)));
                }
                Fault::Stall { after, length } => this.stall = Some(Stall::new(*after, *length)),
                Fault::Timeout(_) => this.is_silent = true,
                _ => {}
            }
            this.ends.add(fault);
        }
        this
    }

    /// The kinds of these faults, in the order of the plan.
    pub fn kinds(&self) -> &[FaultKind] {
        &self.kinds
    }

    /// What the connection may do now, when it has `pending` bytes to send.
    pub fn permit(&mut self, pending: usize, now: Duration) -> Permit {
        // A peer that has ended its stream still waits for an answer, so a timeout holds for it too.
        let input_ended = self.input_ended && !self.is_silent;
        let progress = Progress { pending, sent: self.sent, input_ended };
        let ending = self.ends.due(progress, now);
        let (send, input, blocked) =
            if self.ends.are_near() || ending.is_some() { (0, Input::Discard, None) } else { self.flow(pending, now) };
        let next_end = if ending.is_some() { None } else { self.ends.next() };
        let again = [blocked, next_end].into_iter().flatten().filter(|again| *again > now).min();
        Permit { send, input, ending, again }
    }

    /// How many bytes may leave, what happens to the input, and when more may leave if none may.
    fn flow(&mut self, pending: usize, now: Duration) -> (usize, Input, Option<Duration>) {
        if self.is_silent {
            return (0, Input::Discard, None);
        }
        let before_stall = match self.stall.as_ref().map(|stall| stall.at(self.sent, now)) {
            Some(Stalled::Until(end)) => return (0, Input::Wait, end),
            Some(Stalled::Before(bytes)) => bytes,
            Some(Stalled::Over) | None => u64::MAX,
        };
        let most = self.ends.bytes_left(self.sent).min(before_stall);
        let mut send = pending.min(usize::try_from(most).unwrap_or(usize::MAX));
        let (mut input, mut blocked) = (Input::Echo, None);
        if let Some(latency) = &mut self.latency {
            send = send.min(latency.due(pending, now));
            blocked = latency.next().filter(|_| send == 0);
            if !latency.has_room() {
                input = Input::Wait;
            }
        }
        if let Some(bandwidth) = &self.bandwidth {
            send = send.min(bandwidth.allows(now));
            blocked = blocked.max((send == 0).then(|| bandwidth.next()));
        }
        if let Some(slices) = &mut self.slices
            && send > 0
        {
            send = slices.allows(send, now);
            blocked = blocked.max((send == 0).then(|| slices.next()));
        }
        (send, input, blocked.filter(|_| send == 0 && pending > 0))
    }

    /// Records that a receive call brought `n` bytes to be echoed, which are one message. A prefix counts as a part of
    /// it, and a greeting as a message. Bytes that are discarded do not count.
    pub fn received(&mut self, n: usize, now: Duration) {
        if let Some(latency) = &mut self.latency {
            latency.received(n, now);
        }
    }

    /// Records that the peer has ended its stream.
    pub fn received_end(&mut self) {
        self.input_ended = true;
    }

    /// Records that a send call took `n` bytes.
    pub fn sent(&mut self, n: usize, now: Duration) {
        if n == 0 {
            return;
        }
        self.sent = self.sent.saturating_add(n as u64);
        if let Some(bandwidth) = &mut self.bandwidth {
            bandwidth.sent(n, now);
        }
        if let Some(slices) = &mut self.slices {
            slices.sent(n, now);
        }
        if let Some(stall) = &mut self.stall {
            stall.sent(self.sent, now);
        }
    }

    /// Why the connection ends, if an [`Ending`] was permitted: a fault, or that the peer has ended its stream.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.ends.cause()
    }

    /// Whether the write side [was shut down](Faults::shut_down).
    pub fn is_shut_down(&self) -> bool {
        self.ends.is_shut_down()
    }

    /// Records that the write side is shut down, so that only the peer's end is waited for.
    pub fn shut_down(&mut self, now: Duration) {
        self.ends.finished(now);
    }
}
