//! Which datagrams of a socket are under way, and what an answer to one of them is.

use std::collections::VecDeque;

/// How many of the latest datagrams are remembered. An answer to an older one may be late or a duplicate.
const REMEMBERED: u64 = 1024;

/// In place of the time of a datagram that is back.
const BACK: u64 = u64::MAX;

/// The datagrams that one socket has sent, by their numbers from 0 up.
///
/// Invariant: the oldest datagram in `sent` is under way.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// The number of the next datagram.
    next: u64,
    /// When each datagram was sent, from the oldest one under way to the latest, or `BACK`.
    sent: VecDeque<u64>,
    /// A bit for each remembered datagram, whether an answer came.
    answered: [u64; (REMEMBERED / 64) as usize],
    /// The lowest number that is higher than that of any datagram that is back.
    newest: u64,
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The first answer to a datagram that was sent at this time.
    Answer {
        sent_at: u64,
        /// Whether the answer to a later datagram came before it.
        overtaken: bool,
    },
    /// An answer to a datagram that was given up as lost, or to one that is forgotten.
    Late,
    /// A further answer to a datagram.
    Duplicate,
    /// An answer to a datagram that was never sent.
    Unasked,
}

impl Flight {
    /// The number of the next datagram.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Records that the next datagram was sent at `now`.
    pub(crate) fn sent(&mut self, now: u64) {
        self.mark(self.next, false);
        self.sent.push_back(now);
        self.next += 1;
    }

    /// Records an answer to datagram `number`.
    pub(crate) fn arrived(&mut self, number: u64) -> Arrival {
        if number >= self.next {
            return Arrival::Unasked;
        }
        let Some(place) = number.checked_sub(self.oldest()) else { return self.arrived_again(number) };
        let Some(time) = self.sent.get_mut(place as usize).filter(|time| **time != BACK) else {
            return Arrival::Duplicate;
        };
        let sent_at = std::mem::replace(time, BACK);
        self.mark(number, true);
        while self.sent.front() == Some(&BACK) {
            self.sent.pop_front();
        }
        let overtaken = number < self.newest;
        self.newest = self.newest.max(number + 1);
        Arrival::Answer { sent_at, overtaken }
    }

    /// An answer to a datagram that was answered or given up before.
    fn arrived_again(&mut self, number: u64) -> Arrival {
        if self.next - number > REMEMBERED {
            return Arrival::Late;
        }
        let answered = self.is_marked(number);
        self.mark(number, true);
        if answered { Arrival::Duplicate } else { Arrival::Late }
    }

    /// Gives up the oldest datagram under way if it was sent at `time` or before, and returns its number and when it was
    /// sent.
    pub(crate) fn expire(&mut self, time: u64) -> Option<(u64, u64)> {
        let number = self.oldest();
        let sent_at = self.sent.pop_front_if(|sent_at| *sent_at <= time)?;
        while self.sent.front() == Some(&BACK) {
            self.sent.pop_front();
        }
        Some((number, sent_at))
    }

    /// The number of the oldest datagram under way, or of the next one if none is.
    fn oldest(&self) -> u64 {
        self.next - self.sent.len() as u64
    }

    fn is_marked(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.answered.get(word).is_some_and(|word| word & bit != 0)
    }

    fn mark(&mut self, number: u64, answered: bool) {
        let (word, bit) = place(number);
        if let Some(word) = self.answered.get_mut(word) {
            *word = if answered { *word | bit } else { *word & !bit };
        }
    }
}

/// The word and the bit of a datagram in `answered`.
fn place(number: u64) -> (usize, u64) {
    let place = number % REMEMBERED;
    ((place / 64) as usize, 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flight of datagrams, each sent at the time of its number.
    fn flight(count: u64) -> Flight {
        let mut flight = Flight::default();
        (0..count).for_each(|time| flight.sent(time));
        flight
    }

    fn answer(sent_at: u64, overtaken: bool) -> Arrival {
        Arrival::Answer { sent_at, overtaken }
    }

    #[test]
    fn answers_in_order_are_answers() {
        let mut flight = flight(5000);
        for number in 0..5000 {
            assert_eq!(flight.arrived(number), answer(number, false));
        }
        assert!(flight.sent.is_empty() && flight.expire(u64::MAX - 1).is_none());
    }

    #[test]
    fn an_answer_that_another_overtook_is_told_apart() {
        let mut flight = flight(4);
        let arrivals = [1, 0, 3, 2].map(|number| flight.arrived(number));
        assert_eq!(arrivals, [answer(1, false), answer(0, true), answer(3, false), answer(2, true)]);
    }

    #[test]
    fn a_second_answer_is_a_duplicate_however_the_first_came() {
        let mut flight = flight(4);
        assert_eq!((flight.arrived(2), flight.arrived(2)), (answer(2, false), Arrival::Duplicate), "before others");
        assert_eq!((flight.arrived(0), flight.arrived(0)), (answer(0, true), Arrival::Duplicate), "as the oldest");
        assert_eq!(flight.expire(1), Some((1, 1)));
        assert_eq!((flight.arrived(1), flight.arrived(1)), (Arrival::Late, Arrival::Duplicate), "after the timeout");
    }

    #[test]
    fn only_datagrams_under_way_for_long_enough_expire() {
        let mut flight = flight(6);
        flight.arrived(1);
        flight.arrived(2);
        assert_eq!([flight.expire(3), flight.expire(3), flight.expire(3)], [Some((0, 0)), Some((3, 3)), None]);
        assert_eq!([flight.arrived(0), flight.arrived(1)], [Arrival::Late, Arrival::Duplicate]);
    }

    #[test]
    fn datagrams_that_are_forgotten_are_late() {
        let mut flight = flight(REMEMBERED + 2);
        for number in 0..2 {
            flight.arrived(number);
        }
        assert_eq!([flight.arrived(1), flight.arrived(2)], [Arrival::Late, answer(2, false)]);
        flight.sent(9);
        assert_eq!([flight.arrived(2), flight.arrived(3)], [Arrival::Late, answer(3, false)]);
    }

    #[test]
    fn a_bit_is_used_again_for_a_later_datagram() {
        let mut flight = flight(1);
        flight.arrived(0);
        (1..=REMEMBERED).for_each(|time| flight.sent(time));
        while flight.expire(REMEMBERED).is_some() {}
        assert_eq!(flight.arrived(REMEMBERED), Arrival::Late, "datagram 0 was answered, and this one was not");
    }

    #[test]
    fn what_was_never_sent_was_not_asked_for() {
        let mut flight = flight(3);
        assert_eq!([flight.arrived(3), flight.arrived(u64::MAX)], [Arrival::Unasked; 2]);
    }
}
