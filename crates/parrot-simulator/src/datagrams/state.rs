//! The state of the UDP sockets and their senders.

use std::collections::VecDeque;
use std::net::SocketAddr;

use parrot_server::simulation::{OpenDatagramSocket, Target};
use parrot_udp::Destination;

use crate::datagrams::addresses::{Claim, Verdict};
use crate::datagrams::calls::DatagramSocket;
use crate::datagrams::faults::Owed;
use crate::datagrams::plan::{SocketPlan, UdpPlan};
use crate::datagrams::rate::Answers;
use crate::dice::{Dice, Purpose};

/// All that is simulated of UDP.
#[derive(Debug, Default)]
pub(crate) struct Udp {
    pub(crate) sockets: Vec<Socket>,
    /// Dice for what each sender does, and the number of the datagram that it sends next.
    pub(crate) senders: Vec<(Dice, u64)>,
    /// All datagrams that were sent.
    pub(crate) datagrams: Vec<Datagram>,
    /// Those that the loop has received and not replied to yet, which are of one socket.
    pub(crate) in_hand: Vec<InHand>,
    /// How many of these were passed over on the way to the last one that was logged.
    pub(crate) logged: usize,
    pub(crate) answers: Answers,
    /// When the loop first received after it last asked for the system's drops.
    pub(crate) received_since_check: Option<u64>,
    /// The time of the last turn in which a receive failed. That delays what is due for all sockets.
    pub(crate) last_failure: Option<u64>,
    /// The last turn in which statistics were requested.
    pub(crate) statistics_turn: u64,
    /// How many datagrams were to be answered in a story with faults on request, and which answers are still owed.
    pub(crate) answered: u64,
    pub(crate) owed: Vec<Owed>,
    /// Answers that the loop has dropped for another reason than a lack of room among those that are late.
    pub(crate) dropped_by_calls: u64,
    /// Space for a payload.
    pub(crate) payload: Vec<u8>,
}

/// A UDP socket of the server.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) plan: SocketPlan,
    pub(crate) port: u16,
    pub(crate) label: String,
    pub(crate) closed: bool,
    pub(crate) watch: Option<Target>,
    /// The time of the turn since which it is not watched.
    pub(crate) unwatched: Option<u64>,
    /// The datagrams in its receive buffer, and the room that they take.
    pub(crate) queue: VecDeque<usize>,
    pub(crate) queued: u64,
    /// Those that did not fit, since the loop last asked.
    pub(crate) dropped: u64,
    /// When the loop last asked.
    pub(crate) asked: Option<u64>,
    /// The time of the turn in which a receive last failed. `None` once an event gives a reason to try again.
    pub(crate) failed: Option<u64>,
    /// Until when every receive fails.
    pub(crate) fails_until: u64,
    /// Until when it is ready although it may be empty, because of a queue of errors that nobody reads.
    pub(crate) errors_until: u64,
    /// How many receives in a row have found nothing, each the first one after an event.
    pub(crate) empty_events: u32,
    /// The last turn with an event, and the share of a turn that was used since then, or since a drain began.
    pub(crate) event_turn: u64,
    pub(crate) received: usize,
    pub(crate) bytes: u64,
    /// Whether the last receive gave a reason to stop.
    pub(crate) done: bool,
}

/// A datagram on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Datagram {
    pub(crate) sender: usize,
    pub(crate) number: u64,
    pub(crate) length: u64,
    pub(crate) claim: Claim,
    pub(crate) source: SocketAddr,
    pub(crate) destination: Option<Destination>,
}

/// A datagram that the loop has received.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InHand {
    pub(crate) datagram: usize,
    pub(crate) verdict: Verdict,
}

impl Udp {
    pub(crate) fn new(plan: &UdpPlan, source: &Dice) -> Udp {
        let sockets = plan.sockets.iter().enumerate().map(|(index, plan)| Socket::new(plan.clone(), index));
        let senders = 0..plan.senders.len() as u64;
        Udp {
            sockets: sockets.collect(),
            senders: senders.map(|sender| (source.of(Purpose::Sender, sender), 0)).collect(),
            ..Udp::default()
        }
    }

    /// The sockets as they are when the loop begins.
    pub(crate) fn opened(&self) -> Vec<OpenDatagramSocket<DatagramSocket>> {
        self.sockets.iter().enumerate().map(|(index, socket)| socket.open(index)).collect()
    }
}
