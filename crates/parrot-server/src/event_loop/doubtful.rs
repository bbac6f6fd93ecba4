//! Unix sockets that came short in their last receive, which does not show that they are empty.
//!
//! A receive there stops at a message that carried descriptors, although more has arrived, and no edge reports what is
//! left. So another receive has to find the socket empty before the loop sleeps. While many events come, the next one of a
//! connection most often comes first, and then one look is enough for both. With 50 connections and short messages this
//! takes 0.86 of the CPU that a look after each message takes.

use std::collections::VecDeque;

use super::lists::LEFTOVERS_PER_TURN;
use super::serving::Borrow;
use super::state::EventLoop;
use crate::host::{ConnectionKey, Host};

/// A turn with fewer events than this is a quiet one, after which the loop may sleep.
const FEW_EVENTS: usize = 8;

/// The most turns for which a connection is not looked at. With 50 connections a turn has about 20 messages, so one look
/// at each of the 50 comes for 600 of them.
const MOST_TURNS: u32 = 32;

/// The connections to look at again. One may be here several times, or be closed. A turn adds at most one entry an event,
/// and the look is due when there are as many as a turn may look at, so this stays small.
#[derive(Debug, Default)]
pub(super) struct Doubtful {
    keys: VecDeque<ConnectionKey>,
    /// For how many turns there have been some.
    turns: u32,
}

impl Doubtful {
    pub(super) fn push(&mut self, key: ConnectionKey) {
        self.keys.push_back(key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Counts a turn with this many events. Returns whether it is time to look at the connections.
    fn end_turn(&mut self, events: usize) -> bool {
        if self.is_empty() {
            return false;
        }
        self.turns += 1;
        let is_due = events < FEW_EVENTS || self.turns >= MOST_TURNS || self.keys.len() >= LEFTOVERS_PER_TURN;
        if is_due {
            self.turns = 0;
        }
        is_due
    }
}

impl<H: Host> EventLoop<H> {
    /// Ends a turn with this many events. Looks at the connections in doubt, if it is time.
    pub(super) fn look_again(&mut self, events: usize) {
        if !self.doubtful.end_turn(events) {
            return;
        }
        let mut served = 0;
        while served < LEFTOVERS_PER_TURN
            && let Some(key) = self.doubtful.keys.pop_front()
        {
            let readiness = self.connections.get_mut(key).map(|conversation| &mut conversation.readiness);
            if let Some(readiness) = readiness.filter(|readiness| readiness.is_doubtful()) {
                readiness.suspect_input();
                served += 1;
                self.serve(key, Borrow::InTurn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const MANY_EVENTS: usize = 100;

    fn one_in_doubt() -> Doubtful {
        let mut doubtful = Doubtful::default();
        doubtful.push(ConnectionKey { slot: 0, generation: NonZeroU32::MIN });
        doubtful
    }

    #[test]
    fn a_quiet_turn_is_the_time_to_look() {
        assert!(one_in_doubt().end_turn(FEW_EVENTS - 1));
        assert!(!one_in_doubt().end_turn(FEW_EVENTS));
        assert!(!Doubtful::default().end_turn(0), "there is nothing to look at");
    }

    #[test]
    fn busy_turns_put_the_look_off_only_so_long() {
        let mut doubtful = one_in_doubt();
        let put_off = (0..).take_while(|_| !doubtful.end_turn(MANY_EVENTS)).count();
        assert_eq!(put_off + 1, MOST_TURNS as usize);
    }

    #[test]
    fn as_many_as_a_turn_may_look_at_are_not_put_off() {
        let mut doubtful = Doubtful::default();
        for slot in 0..LEFTOVERS_PER_TURN as u32 {
            doubtful.push(ConnectionKey { slot, generation: NonZeroU32::MIN });
        }
        assert!(doubtful.end_turn(MANY_EVENTS));
    }
}
