//! Messages whose bytes leave later, in order.

use std::collections::VecDeque;
use std::time::Duration;

use super::random::Random;
use super::share::Chances;

/// How many messages can be late at the same time. While there are as many, nothing more is received, so that what
/// arrives meanwhile waits in the socket and becomes one message.
pub(super) const MOST_MESSAGES: usize = 256;

const _: () = assert!(MOST_MESSAGES * size_of::<Message>() <= 6 * 1024, "`Faults` promises this bound");

/// How much later something leaves.
#[derive(Debug, Clone)]
pub(super) struct Delays {
    delay: Chances<Duration>,
    jitter: Duration,
}

impl Delays {
    pub(super) fn new(delay: &Chances<Duration>, jitter: Duration) -> Delays {
        Delays { delay: delay.clone(), jitter }
    }

    /// The delay of the next message or datagram. What gets none by the shares has no jitter either.
    pub(super) fn draw(&self, random: &mut Random) -> Duration {
        let Some(delay) = self.delay.draw(random) else { return Duration::ZERO };
        let jitter = u64::try_from(self.jitter.as_nanos()).unwrap_or(u64::MAX);
        let width = jitter.saturating_mul(2).saturating_add(1);
        let offset = Duration::from_nanos(random.below(width));
        delay.saturating_add(offset).saturating_sub(Duration::from_nanos(jitter))
    }
}

/// The messages of a connection that are not due yet.
#[derive(Debug)]
pub(super) struct Latency {
    delays: Delays,
    random: Random,
    /// Oldest first.
    messages: VecDeque<Message>,
    /// The bytes in them.
    late: usize,
}

/// Bytes that leave at the same time.
#[derive(Debug)]
struct Message {
    due: Duration,
    length: usize,
}

impl Latency {
    pub(super) fn new(delays: Delays, random: Random) -> Latency {
        Latency { delays, random, messages: VecDeque::new(), late: 0 }
    }

    /// Whether another message can be late as well.
    pub(super) fn has_room(&self) -> bool {
        self.messages.len() < MOST_MESSAGES
    }

    /// Records a message.
    pub(super) fn received(&mut self, length: usize, now: Duration) {
        let due = now.saturating_add(self.delays.draw(&mut self.random));
        self.late += length;
        let has_room = self.has_room();
        match self.messages.back_mut() {
            Some(last) if !has_room => {
                last.due = last.due.max(due);
                last.length += length;
            }
            // If it is due before an earlier message, it waits for that one.
            _ => self.messages.push_back(Message { due, length }),
        }
    }

    /// How many of the pending bytes are due at this time.
    pub(super) fn due(&mut self, pending: usize, now: Duration) -> usize {
        while let Some(message) = self.messages.pop_front_if(|message| message.due <= now) {
            self.late -= message.length;
        }
        pending.saturating_sub(self.late)
    }

    /// When the next bytes become due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.messages.front().map(|message| message.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Share;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn latency(delay: Chances<Duration>, jitter: Duration) -> Latency {
        Latency::new(Delays::new(&delay, jitter), Random::of(1512, 0, 0))
    }

    #[test]
    fn each_message_is_as_late_as_it_was_received() {
        let mut latency = latency(Chances::always(50 * MILLISECOND), Duration::ZERO);
        latency.received(10, Duration::ZERO);
        latency.received(5, 20 * MILLISECOND);
        assert_eq!((latency.due(15, 49 * MILLISECOND), latency.next()), (0, Some(50 * MILLISECOND)));
        assert_eq!((latency.due(15, 50 * MILLISECOND), latency.next()), (10, Some(70 * MILLISECOND)));
        assert_eq!((latency.due(8, 70 * MILLISECOND), latency.next()), (8, None));
    }

    #[test]
    fn a_short_delay_does_not_overtake_a_long_one() {
        let half = Share::from_percent(50).unwrap();
        let both = Chances::new([(2000 * MILLISECOND, half), (50 * MILLISECOND, half)]).unwrap();
        let mut latency = latency(both, Duration::ZERO);
        for _ in 0..20 {
            latency.received(1, Duration::ZERO);
        }
        let (soon, late) = (latency.due(20, 50 * MILLISECOND), latency.due(20, 2000 * MILLISECOND));
        assert!(soon < 20 && late == 20, "{soon} are due soon, {late} in the end");
    }

    #[test]
    fn jitter_goes_both_ways_and_not_below_zero() {
        let mut random = Random::of(1512, 0, 0);
        let delays = Delays::new(&Chances::always(50 * MILLISECOND), 10 * MILLISECOND);
        let drawn: Vec<Duration> = (0..1000).map(|_| delays.draw(&mut random)).collect();
        assert!(drawn.iter().all(|delay| (40 * MILLISECOND..=60 * MILLISECOND).contains(delay)));
        assert!(drawn.iter().any(|delay| *delay < 42 * MILLISECOND));
        assert!(drawn.iter().any(|delay| *delay > 58 * MILLISECOND));
        let delays = Delays::new(&Chances::always(MILLISECOND), 10 * MILLISECOND);
        assert!((0..1000).all(|_| delays.draw(&mut random) <= 11 * MILLISECOND));
    }

    #[test]
    fn no_more_messages_are_late_than_there_is_room_for() {
        let mut latency = latency(Chances::always(50 * MILLISECOND), Duration::ZERO);
        for number in 0..1000 {
            latency.received(1, Duration::from_micros(number));
        }
        assert!(!latency.has_room());
        assert_eq!((latency.messages.len(), latency.messages.capacity()), (MOST_MESSAGES, MOST_MESSAGES));
        let last = 50 * MILLISECOND + Duration::from_micros(999);
        assert_eq!(
            latency.due(1000, last - Duration::from_nanos(1)),
            MOST_MESSAGES - 1,
            "the last one took in the others"
        );
        assert_eq!(latency.due(1000, last), 1000);
    }
}
