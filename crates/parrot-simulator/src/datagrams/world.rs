//! What happens beside the loop: senders send, the network loses, doubles and delays, and buffers overflow.

use crate::coverage::Point;
use crate::datagrams::LONGEST;
use crate::datagrams::addresses::Claim;
use crate::datagrams::plan::OVERHEAD;
use crate::datagrams::state::Datagram;
use crate::host::{Action, SimulatedHost, note};
use crate::stream;
use crate::time::{MICROSECOND, MILLISECOND};

/// Senders have streams of bytes of their own, which begin with this one.
const FIRST_STREAM: usize = 100_000;

impl Datagram {
    /// Writes its payload.
    pub(crate) fn fill(&self, space: &mut [u8]) {
        stream::fill(FIRST_STREAM + self.sender, self.number * LONGEST, space);
    }

    /// Whether these are the bytes of its payload.
    pub(crate) fn matches(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.length && stream::matches(FIRST_STREAM + self.sender, self.number * LONGEST, bytes)
    }
}

impl SimulatedHost {
    /// Sends from a sender, if the datagram of this number is still its next one.
    pub(crate) fn send_datagrams(&mut self, sender: usize, number: u64) {
        let plan = self.plan.udp.senders[sender].script.clone();
        let (dice, next) = &mut self.udp.senders[sender];
        if *next != number || number >= plan.datagrams {
            return;
        }
        let burst = dice.between(plan.burst).min(plan.datagrams - number);
        *next += burst;
        let (next, gap) = (*next, dice.between(plan.gap));
        for number in number..next {
            self.send_datagram(sender, number);
        }
        // A reply that comes before this timeout has the sender go on earlier.
        let timeout = if plan.lockstep { MILLISECOND } else { 0 };
        self.schedule(timeout + gap, Action::Send(sender as u32, next as u32));
    }

    fn send_datagram(&mut self, sender: usize, number: u64) {
        let plan = &self.plan.udp.senders[sender].script;
        let family = self.plan.udp.sockets[plan.socket].family;
        let own_ports = self.udp.sockets.len() as u64;
        let (dice, _) = &mut self.udp.senders[sender];
        let claim = match dice.chance(plan.forged) {
            true => Claim::forged(family, self.plan.profile, dice),
            false => Claim::HONEST,
        };
        let own_port = self.udp.sockets[dice.below(own_ports) as usize].port;
        let source = claim.source(family, plan.network, own_port, dice);
        let destination = claim.destination(family, source.ip(), dice);
        let length = dice.between(plan.length);
        let datagram = Datagram { sender, number, length, claim, source, destination };
        let lost = dice.chance(plan.lost);
        let copies = 1 + u64::from(dice.chance(plan.doubled));
        let late = dice.chance(plan.late);
        let delays = [dice.below(20 * MICROSECOND), dice.below(MILLISECOND)];
        let (socket, kind) = (plan.socket, plan.kind);
        self.udp.datagrams.push(datagram);
        let index = self.udp.datagrams.len() - 1;
        note!(self, "sender {sender} ({kind}) sends {number} of {length} bytes from {source}: {claim:?}");
        for (condition, point) in [
            (lost, Point::DatagramLost),
            (copies > 1, Point::DatagramDoubled),
            (late, Point::DatagramLate),
            (length == 0, Point::DatagramEmpty),
            (length == LONGEST, Point::DatagramLongest),
        ] {
            if condition {
                self.coverage.count(point);
            }
        }
        if lost {
            return;
        }
        // Without a delay they arrive in the order in which they were sent.
        match late {
            false => (0..copies).for_each(|_| self.arrive(socket, index)),
            true => (0..copies).for_each(|copy| {
                self.schedule(delays[0] + copy * delays[1], Action::Arrive(socket as u32, index as u32));
            }),
        }
    }

    /// A datagram arrives at a socket of the server.
    pub(crate) fn arrive(&mut self, socket: usize, datagram: usize) {
        let takes = self.udp.datagrams[datagram].length + OVERHEAD;
        let socket = &mut self.udp.sockets[socket];
        if socket.closed {
            return;
        }
        if socket.queued + takes > socket.plan.room {
            socket.dropped += 1;
            self.coverage.count(Point::DatagramOverflow);
            return;
        }
        socket.queued += takes;
        socket.queue.push_back(datagram);
    }

    /// A reply is on its way to the sender, which may wait for it.
    pub(crate) fn reply_arrives(&mut self, datagram: usize) {
        let Datagram { sender, number, claim, .. } = self.udp.datagrams[datagram];
        let plan = &self.plan.udp.senders[sender].script;
        if plan.lockstep && claim == Claim::HONEST {
            let (lost, range) = (plan.lost, plan.gap);
            let (dice, _) = &mut self.udp.senders[sender];
            if !dice.chance(lost) {
                let gap = dice.between(range);
                self.schedule(gap, Action::Send(sender as u32, number as u32 + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_matches_only_its_own_datagram() {
        let datagram = |number, length| Datagram {
            sender: 2,
            number,
            length,
            claim: Claim::HONEST,
            source: ([192, 0, 2, 1], 40_000).into(),
            destination: None,
        };
        let mut payload = vec![0; 1500];
        datagram(7, 1500).fill(&mut payload);
        assert!(datagram(7, 1500).matches(&payload));
        assert!(!datagram(8, 1500).matches(&payload));
        assert!(!datagram(7, 1501).matches(&payload));
        assert!(datagram(7, 0).matches(&[]));
    }
}
