//! Datagrams: each that the rules permit goes back whole, within a share of the turn. Only faults keep some for later.

use std::hash::BuildHasher;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parrot_conn::{Datagram, DatagramRules, Endpoint, Facts, RateLimit, Refusal, Template};
use parrot_udp::{Batch, Destination};

use super::earlier;
use super::held_datagrams::HeldDatagrams;
use super::means::Means;
use super::moment::Moment;
use crate::config::{Replies, UdpRules};
use crate::faults::PlannedFaults;
use crate::host::{Host, Target, Watch};
use crate::listen::OpenDatagramSocket;
use crate::peer::{Peer, canonical};

/// What a socket may receive in a turn, so that neither datagrams nor connections starve the other.
const DATAGRAMS_PER_TURN: usize = 256;
const BYTES_PER_TURN: usize = 512 * 1024;

/// How soon the system's own drops are counted. Asking costs a call, so it is not done with each batch.
const DROPS_INTERVAL: Duration = Duration::from_millis(100);

/// This many events in a row without a datagram are a spin. A checksum that is wrong makes one (udp(7), "BUGS" of select(2)),
/// and a queue of errors that nobody reads makes them for ever.
const EMPTY_EVENTS: u8 = 16;

/// How long a socket is left alone after an error, which could otherwise come back at once and for ever.
const PAUSE: Duration = Duration::from_millis(20);

/// The UDP sockets, and what they share.
#[derive(Debug)]
pub(super) struct Datagrams<Socket, Hasher> {
    /// In the order of [`Target::Datagrams`]. `None` once closed.
    sockets: Vec<Option<Watched<Socket>>>,
    /// There is none without a socket, because it takes memory.
    batch: Option<Batch>,
    answers: Answers<Hasher>,
    /// The faults of the sockets that have none of their own.
    faults: Option<Arc<PlannedFaults>>,
    /// When to count drops, to watch again what was left alone, and to send what was late.
    check_at: Option<Moment>,
}

/// Which datagrams are answered, and with which prefix.
#[derive(Debug)]
struct Answers<Hasher> {
    udp: UdpRules,
    rules: DatagramRules,
    rate: Option<RateLimit<Hasher>>,
    replies: Arc<Replies>,
    /// The prefix of the last datagram, for its memory.
    prefix: Vec<u8>,
}

#[derive(Debug)]
struct Watched<Socket> {
    open: OpenDatagramSocket<Socket>,
    watched: bool,
    /// Until when it is left alone after an error, although a late answer may have the sockets looked at before.
    paused_until: Option<Moment>,
    /// How many events in a row came without a datagram.
    empty_events: u8,
    /// What faults have made late. Sockets without faults have none.
    held: Option<Box<HeldDatagrams>>,
}

impl<Socket> Watched<Socket> {
    /// Notes an event without a datagram. Whether that is one too many.
    fn spins(&mut self) -> bool {
        self.empty_events += 1;
        let spins = self.empty_events == EMPTY_EVENTS;
        self.empty_events %= EMPTY_EVENTS;
        spins
    }

    /// Has faults change the answers in a batch, and sends those that are due.
    #[cold]
    fn reply_with_faults<H: Host<DatagramSocket = Socket>>(
        &mut self,
        faults: &PlannedFaults,
        batch: &mut Batch,
        means: &mut Means<H>,
    ) {
        let held = self.held.get_or_insert_with(|| Box::new(HeldDatagrams::new()));
        held.take(batch, faults, means);
        held.send_due(&mut self.open.socket, means);
    }

    fn unwatch<H: Host<DatagramSocket = Socket>>(&mut self, host: &mut H) {
        if std::mem::take(&mut self.watched)
            && let Err(error) = host.unwatch(Watch::Datagrams(&self.open.socket))
        {
            tracing::debug!(target: "parrot_server", %error, "a UDP socket was not watched");
        }
    }
}

impl<Socket, Hasher: BuildHasher + Default> Datagrams<Socket, Hasher> {
    /// Watches the sockets.
    pub(super) fn new<H: Host<DatagramSocket = Socket>>(
        sockets: Vec<OpenDatagramSocket<Socket>>,
        udp: UdpRules,
        replies: Arc<Replies>,
        faults: Option<Arc<PlannedFaults>>,
        now: Instant,
        host: &mut H,
    ) -> io::Result<Datagrams<Socket, Hasher>> {
        for (index, open) in sockets.iter().enumerate() {
            host.watch(Watch::Datagrams(&open.socket), Target::Datagrams(index))?;
        }
        let rules = DatagramRules { own_ports: Vec::new(), answer_low_ports: udp.answer_low_ports };
        let rate = udp.rate.map(|rate| RateLimit::with_hasher(rate, now, Hasher::default()));
        let watched = |open| Some(Watched { open, watched: true, paused_until: None, empty_events: 0, held: None });
        let sockets = sockets.into_iter().map(watched).collect();
        let answers = Answers { udp, rules, rate, replies, prefix: Vec::new() };
        let mut datagrams = Datagrams { sockets, batch: None, answers, faults, check_at: None };
        datagrams.fit_to_sockets();
        Ok(datagrams)
    }

    /// Has other rules and replies hold from now on.
    pub(super) fn change<H>(
        &mut self,
        udp: UdpRules,
        replies: Arc<Replies>,
        faults: Option<Arc<PlannedFaults>>,
        means: &Means<H>,
    ) {
        self.faults = faults;
        let answers = &mut self.answers;
        if udp.rate != answers.udp.rate {
            let now = means.now.instant(means.start);
            answers.rate = udp.rate.map(|rate| RateLimit::with_hasher(rate, now, Hasher::default()));
        }
        answers.rules.answer_low_ports = udp.answer_low_ports;
        (answers.udp, answers.replies) = (udp, replies);
        // The prefix may need another headroom.
        self.batch = None;
        self.fit_to_sockets();
    }

    /// Adds a socket. If it cannot be watched now, that is tried again after a pause.
    pub(super) fn add<H: Host<DatagramSocket = Socket>>(
        &mut self,
        open: OpenDatagramSocket<Socket>,
        means: &mut Means<H>,
    ) {
        let added = Some(Watched { open, watched: false, paused_until: None, empty_events: 0, held: None });
        match self.sockets.iter_mut().find(|socket| socket.is_none()) {
            Some(free) => *free = added,
            None => self.sockets.push(added),
        }
        self.fit_to_sockets();
        self.check(means);
    }

    /// Follows from the sockets that are open: their ports are the server's own, and without any there is no batch.
    fn fit_to_sockets(&mut self) {
        let own_ports: Vec<u16> = self.sockets.iter().flatten().map(|watched| watched.open.port).collect();
        match own_ports.is_empty() {
            true => (self.batch, self.check_at) = (None, None),
            false => {
                let prefix = self.answers.replies.prefix.as_ref();
                self.batch.get_or_insert_with(|| Batch::with_headroom(prefix.map_or(0, Template::longest)));
            }
        }
        self.answers.rules.own_ports = own_ports;
    }

    /// When [`check`](Datagrams::check) is due.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.check_at
    }

    /// Receives what has arrived, as far as the share of a turn reaches, and replies. What is left makes another event.
    pub(super) fn serve<H: Host<DatagramSocket = Socket>>(&mut self, index: usize, means: &mut Means<H>) {
        self.serve_while(index, means, |received| received == Batch::CAPACITY);
    }

    /// Serves a socket for as long as batches have the length that is wanted, within the share of a turn.
    fn serve_while<H: Host<DatagramSocket = Socket>>(
        &mut self,
        index: usize,
        means: &mut Means<H>,
        go_on: impl Fn(usize) -> bool,
    ) {
        let Some(Some(watched)) = self.sockets.get_mut(index) else { return };
        let Some(batch) = &mut self.batch else { return };
        // A late answer may be due much later.
        self.check_at = earlier(self.check_at, Some(means.now + DROPS_INTERVAL));
        let (mut datagrams, mut bytes) = (0, 0);
        while datagrams < DATAGRAMS_PER_TURN && bytes < BYTES_PER_TURN {
            match means.host.receive_datagrams(&mut watched.open.socket, batch) {
                Ok(received) => datagrams += received.max(1),
                Err(error) if error.kind() == ErrorKind::WouldBlock && (datagrams > 0 || !watched.spins()) => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    datagrams += 1;
                    continue;
                }
                Err(error) => {
                    tracing::debug!(target: "parrot_server", %error, "cannot receive datagrams for the moment");
                    means.counters().datagram_failures.add(1);
                    watched.unwatch(&mut means.host);
                    watched.paused_until = Some(means.now + PAUSE);
                    let late = self.sockets.iter().flatten().filter_map(|watched| watched.held.as_ref()?.next()).min();
                    self.check_at = earlier(late, Some(means.now + PAUSE));
                    return;
                }
            }
            watched.empty_events = 0;
            bytes += self.answers.prepare(batch, &watched.open, means);
            let faults = watched.open.faults.as_ref().or(self.faults.as_ref());
            if let Some(faults) = faults.filter(|faults| faults.plan.is_for_datagrams()) {
                watched.reply_with_faults(&Arc::clone(faults), batch, means);
                self.check_at = earlier(self.check_at, watched.held.as_ref().and_then(|held| held.next()));
            }
            let replied = means.host.reply_datagrams(&mut watched.open.socket, batch);
            let counters = means.counters();
            counters.bytes_out.add(replied.bytes);
            counters.datagrams_sent.add(replied.sent as u64);
            counters.datagrams_dropped_out.add(replied.dropped as u64);
            if !go_on(batch.len()) {
                return;
            }
        }
    }

    /// Counts what the system has dropped, watches again what was left alone, and sends what was late.
    pub(super) fn check<H: Host<DatagramSocket = Socket>>(&mut self, means: &mut Means<H>) {
        // Only these can bring a check forward.
        let has_late = self.sockets.iter().flatten().any(|watched| watched.held.is_some());
        self.check_at = None;
        for (index, watched) in self.sockets.iter_mut().enumerate() {
            let Some(watched) = watched else { continue };
            let dropped = means.host.dropped_datagrams(&mut watched.open.socket);
            means.counters().datagrams_dropped_in.add(dropped);
            if let Some(held) = &mut watched.held {
                held.send_due(&mut watched.open.socket, means);
                self.check_at = earlier(self.check_at, held.next());
            }
            if !watched.watched {
                if let Some(until) = watched.paused_until.filter(|until| has_late && *until > means.now) {
                    self.check_at = earlier(self.check_at, Some(until));
                    continue;
                }
                match means.host.watch(Watch::Datagrams(&watched.open.socket), Target::Datagrams(index)) {
                    Ok(()) => watched.watched = true,
                    Err(error) => {
                        tracing::debug!(target: "parrot_server", %error, "cannot watch a UDP socket yet");
                        self.check_at = earlier(self.check_at, Some(means.now + PAUSE));
                    }
                }
            }
        }
    }

    /// Serves these sockets a last time and closes them. What is in a given socket is left to its other holders.
    pub(super) fn close<H: Host<DatagramSocket = Socket>>(
        &mut self,
        means: &mut Means<H>,
        chosen: impl Fn(&OpenDatagramSocket<Socket>) -> bool,
    ) {
        if !self.sockets.iter().flatten().any(|watched| chosen(&watched.open)) {
            return;
        }
        for index in 0..self.sockets.len() {
            if matches!(self.sockets.get(index), Some(Some(watched)) if chosen(&watched.open) && !watched.open.given) {
                self.serve_while(index, means, |_| true);
            }
        }
        self.check(means);
        for socket in &mut self.sockets {
            if let Some(mut watched) = socket.take_if(|watched| chosen(&watched.open)) {
                watched.unwatch(&mut means.host);
                if let Some(held) = &mut watched.held {
                    held.drop_all(means);
                }
                means.host.close_datagrams(watched.open.socket);
            }
        }
        self.fit_to_sockets();
    }
}

/// The address that a datagram was sent to, with the zone that a link-local one needs.
fn local_address(destination: Destination, port: u16) -> SocketAddr {
    match destination.address() {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddrV6::new(ip, port, 0, destination.interface()).into(),
        ip => canonical(SocketAddr::new(ip, port)),
    }
}

impl<Hasher: BuildHasher> Answers<Hasher> {
    /// Refuses the datagrams in a batch that the rules do not permit, and counts, logs and prefixes the others. Returns how
    /// many bytes those have.
    fn prepare<H: Host>(
        &mut self,
        batch: &mut Batch,
        open: &OpenDatagramSocket<H::DatagramSocket>,
        means: &mut Means<H>,
    ) -> usize {
        let (mut messages, mut bytes) = (0, 0);
        let now = means.now.instant(means.start);
        for mut datagram in batch.iter_mut() {
            let received = datagram.get();
            // The system did not say where the reply has to come from.
            if received.is_refused() {
                means.counters().datagrams_dropped_out.add(1);
                continue;
            }
            if let Err(refusal) = self.permit(&received, now) {
                means.counters().refused_datagram(refusal);
                datagram.refuse();
                continue;
            }
            let (source, destination, payload) = (received.source(), received.destination(), received.payload());
            (messages, bytes) = (messages + 1, bytes + payload.len());
            means.host.message(&Peer::from(source), payload);
            if let Some(template) = &self.replies.prefix {
                let local = destination.map(|to| Endpoint::Ip(local_address(to, open.port)));
                let peer = Endpoint::Ip(canonical(source));
                self.prefix.clear();
                template.render(&Facts { listener: &open.label.name, local, peer, connection: None }, &mut self.prefix);
                // The headroom has space for the longest.
                if datagram.prepend(&self.prefix).is_err() {
                    datagram.refuse();
                }
            }
        }
        means.counters().messages.add(messages);
        means.counters().bytes_in.add(bytes as u64);
        bytes
    }

    fn permit(&mut self, received: &parrot_udp::Datagram<'_>, now: Instant) -> Result<(), Refusal> {
        let destination = received.destination();
        let sent_to_many = destination.is_some_and(|to| to.is_multicast() || to.is_broadcast());
        let destination = destination.map(|to| to.address());
        self.rules.check(&Datagram { source: received.source(), destination, sent_to_many })?;
        match &mut self.rate {
            Some(rate) => rate.take(received.source().ip(), now),
            None => Ok(()),
        }
    }
}
