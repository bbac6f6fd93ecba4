//! Answers with faults on request: which are owed, and the check that no other one leaves, and none too early.

use parrot_server::fault::Fate;
use parrot_udp::Batch;

use crate::check::Promise;
use crate::coverage::Point;
use crate::datagrams::addresses::Verdict;
use crate::host::SimulatedHost;

/// An answer that the loop may still send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owed {
    datagram: usize,
    fate: Fate,
    /// How often it may still be sent.
    copies: u8,
    /// When it may leave.
    due: u64,
}

impl SimulatedHost {
    /// Notes the fate of a datagram that the loop has received and has to answer.
    pub(crate) fn draw_fate(&mut self, datagram: usize) {
        let Some(plan) = &self.plan.faults else { return };
        if !plan.is_for_datagrams() {
            return;
        }
        self.udp.answered += 1;
        let fate = plan.datagram(self.udp.answered);
        self.coverage.count(if fate.copies == 0 { Point::AnswerLost } else { Point::AnswerWithFate });
        let due = self.turn_time + fate.delay.as_nanos() as u64;
        self.udp.owed.push(Owed { datagram, fate, copies: fate.copies, due });
    }

    /// Whether answers are sent as their faults say, so that those in a batch are not those to what was received.
    pub(crate) fn has_fates(&self) -> bool {
        self.plan.faults.as_ref().is_some_and(|faults| faults.is_for_datagrams())
    }

    /// Checks that each of these answers is owed, and returns the numbers of their datagrams.
    pub(crate) fn take_owed(&mut self, index: usize, batch: &Batch) -> Vec<usize> {
        let mut numbers = Vec::new();
        for reply in batch.iter().filter(|reply| !reply.is_refused()) {
            let is_this = |owed: &Owed| {
                let datagram = &self.udp.datagrams[owed.datagram];
                if owed.copies == 0 || owed.due > self.turn_time || reply.source() != datagram.source {
                    return false;
                }
                let mut expected = self.prefix_of(index, datagram.source, datagram.destination);
                let front = expected.len();
                expected.resize(front + datagram.length as usize, 0);
                datagram.fill(&mut expected[front..]);
                owed.fate.corrupt(&mut expected);
                reply.payload() == expected
            };
            match self.udp.owed.iter().position(is_this) {
                Some(found) => {
                    self.udp.owed[found].copies -= 1;
                    numbers.push(self.udp.owed[found].datagram);
                }
                None => {
                    let (source, length) = (reply.source(), reply.payload().len());
                    self.broken(Promise::Answers, || {
                        format!("UDP socket {index}: {length} bytes to {source} that are not owed, or not yet")
                    });
                }
            }
        }
        self.udp.owed.retain(|owed| owed.copies > 0);
        numbers
    }

    /// Checks the batch of those that were received, of which none is left to be answered at once.
    pub(crate) fn check_batch_of_fates(&mut self, index: usize, batch: &Batch) {
        let prompt = batch.iter().filter(|reply| !reply.is_refused()).count();
        if prompt > 0 {
            self.broken(Promise::Answers, || format!("UDP socket {index}: {prompt} answers have no fate"));
        }
        let not_logged =
            self.udp.in_hand[self.udp.logged..].iter().filter(|in_hand| in_hand.verdict == Verdict::Answer);
        let not_logged = not_logged.count();
        if not_logged > 0 {
            self.broken(Promise::Log, || format!("UDP socket {index}: {not_logged} datagrams are not logged"));
        }
        self.udp.in_hand.clear();
        self.udp.logged = 0;
    }

    /// Checks that nothing is late for ever: before a wait without a timeout, all that is owed was sent or dropped.
    pub(crate) fn check_nothing_is_owed(&mut self) {
        let owed: u64 = self.udp.owed.iter().map(|owed| u64::from(owed.copies)).sum();
        let dropped = self.shared.counters.datagrams_dropped_out.get() - self.udp.dropped_by_calls;
        if self.has_fates() && owed > dropped {
            self.broken(Promise::Awake, || {
                format!("{owed} answers are owed, {dropped} were dropped, and the loop waits")
            });
        }
    }
}
