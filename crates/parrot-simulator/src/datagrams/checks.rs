//! Checks of UDP: that the right datagrams are answered, and of turns and waits.

use parrot_server::{Peer, Refusal};
use parrot_udp::{Batch, Destination};
use std::net::{IpAddr, SocketAddr};

use crate::check::Promise;
use crate::coverage::Point;
use crate::datagrams::addresses::Verdict;
use crate::datagrams::state::InHand;
use crate::doors::rendered;
use crate::host::SimulatedHost;
use crate::time::MILLISECOND;

/// The longest that the loop leaves a socket unwatched, or does not ask for drops.
const LONGEST_PAUSE: u64 = 200 * MILLISECOND;

impl SimulatedHost {
    /// What is to become of a datagram that is received now.
    pub(crate) fn verdict(&mut self, number: usize) -> Verdict {
        let datagram = &self.udp.datagrams[number];
        let verdict = datagram.claim.verdict(self.plan.udp.answer_low_ports);
        match self.plan.udp.rate {
            Some(rate) if verdict == Verdict::Answer => {
                match self.udp.answers.take(datagram.source.ip(), rate, self.turn_time) {
                    true => Verdict::Answer,
                    false => Verdict::Refuse(Refusal::RateLimited),
                }
            }
            _ => verdict,
        }
    }

    pub(crate) fn count_refusal(&mut self, refusal: Refusal) {
        self.coverage.count(match refusal {
            Refusal::SentToMany => Point::RefusedSentToMany,
            Refusal::Source => Point::RefusedSource,
            Refusal::PortZero => Point::RefusedPortZero,
            Refusal::OwnPort => Point::RefusedOwnPort,
            Refusal::LowPort => Point::RefusedLowPort,
            _ => Point::RefusedByRate,
        });
    }

    /// Checks the replies to what was received: each that has to be answered is in its place, whole, with its source and
    /// its destination, and no other one is.
    pub(crate) fn check_batch(&mut self, index: usize, batch: &Batch) {
        let (expected, given) = (self.udp.in_hand.len(), batch.len());
        if expected != given {
            self.broken(Promise::Answers, || format!("UDP socket {index}: {given} replies to {expected} datagrams"));
        }
        for (position, reply) in batch.iter().enumerate().take(expected) {
            let InHand { datagram: number, verdict } = self.udp.in_hand[position];
            let datagram = self.udp.datagrams[number];
            let prefix = self.prefix_of(index, datagram.source, datagram.destination);
            let what = if reply.is_refused() != (verdict != Verdict::Answer) {
                format!("refused: {}, but it was to be {verdict:?}", reply.is_refused())
            } else if reply.is_refused() {
                continue;
            } else if reply.source() != datagram.source || reply.destination() != datagram.destination {
                format!("to {} from {:?}", reply.source(), reply.destination())
            } else if reply.payload().strip_prefix(&prefix[..]).is_none_or(|bytes| !datagram.matches(bytes)) {
                format!("{} bytes, which are not {prefix:?} and its own", reply.payload().len())
            } else {
                continue;
            };
            self.broken(Promise::Answers, || format!("UDP socket {index}, reply to {datagram:?}: {what}"));
        }
        let logged = self.udp.logged;
        let not_logged = self.udp.in_hand[logged..].iter().filter(|in_hand| in_hand.verdict == Verdict::Answer).count();
        if not_logged > 0 {
            self.broken(Promise::Log, || format!("UDP socket {index}: {not_logged} datagrams are not logged"));
        }
    }

    /// What a reply begins with.
    pub(crate) fn prefix_of(&self, index: usize, source: SocketAddr, destination: Option<Destination>) -> Vec<u8> {
        match (destination, &self.plan.doors.prefix) {
            (Some(to), Some(prefix)) => {
                let socket = &self.udp.sockets[index];
                // Addresses are shown as people know them.
                let shown = |address: IpAddr, port| SocketAddr::new(address.to_canonical(), port);
                let (local, peer) = (shown(to.address(), socket.port), shown(source.ip(), source.port()));
                rendered(prefix, [&socket.label, &local.to_string(), &peer.to_string(), ""])
            }
            _ => Vec::new(),
        }
    }

    /// Checks a message that the loop logs while it has datagrams in hand: it is the next one that is answered.
    pub(crate) fn check_datagram_message(&mut self, peer: &Peer, payload: &[u8]) {
        let in_hand = &self.udp.in_hand[self.udp.logged..];
        let next = in_hand.iter().position(|in_hand| in_hand.verdict == Verdict::Answer);
        let fits = next.is_some_and(|next| {
            let datagram = &self.udp.datagrams[in_hand[next].datagram];
            Peer::from(datagram.source) == *peer && datagram.matches(payload)
        });
        self.udp.logged += next.map_or(0, |next| next + 1);
        if !fits {
            let length = payload.len();
            self.broken(Promise::Log, || format!("a datagram of {length} bytes from {peer} is logged out of turn"));
        }
    }

    /// Checks a turn that has not ended the server.
    pub(crate) fn check_datagrams(&mut self) {
        let unanswered = self.udp.in_hand.len();
        if unanswered > 0 {
            self.broken(Promise::Answers, || format!("{unanswered} datagrams are kept for another turn"));
        }
        if self.drain_deadline.is_some() && self.udp.sockets.iter().any(|socket| !socket.closed) {
            self.broken(Promise::Drain, || "UDP goes on in a drain".to_owned());
        }
        self.check_datagram_events();
    }

    /// Checks that a wait until `latest` does not delay the count of drops.
    pub(crate) fn check_drops_before_wait(&mut self, latest: u64) {
        let since = self.udp.received_since_check.max(self.udp.last_failure);
        if self.udp.received_since_check.is_some() && since.is_some_and(|since| latest > since + LONGEST_PAUSE) {
            self.broken(Promise::Counters, || "a wait delays the count of datagrams that were dropped".to_owned());
        }
    }

    /// Checks that a wait until `latest` leaves no socket unwatched for long.
    pub(crate) fn check_datagrams_watched(&mut self, latest: u64) {
        let forgotten = self.udp.sockets.iter().position(|socket| {
            let since = socket.unwatched.map(|since| since.max(self.udp.last_failure.unwrap_or(0)));
            let long = since.is_none_or(|since| latest > since + LONGEST_PAUSE);
            !socket.closed && socket.watch.is_none() && long
        });
        if let Some(index) = forgotten {
            self.broken(Promise::Awake, || format!("UDP socket {index} is not watched, and the loop waits"));
        }
    }

    /// Whether UDP gives a wait a reason to end by itself.
    pub(crate) fn datagrams_are_due(&self) -> bool {
        self.udp.received_since_check.is_some()
            || self.udp.sockets.iter().any(|socket| !socket.closed && socket.watch.is_none())
    }
}
