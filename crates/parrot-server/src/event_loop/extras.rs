//! What a connection can have besides its echo: a PROXY protocol header in front, a greeting, a prefix of each message, and
//! faults.
//!
//! A plain connection has none of these, and its receives do not come here.

use std::net::SocketAddr;
use std::sync::Arc;

use parrot_conn::{CloseReason, Endpoint, Endpoints, Facts, HeaderProgress, NoSpace, ProxyHeader, Template};

use super::conversation::{Conversation, Step};
use super::faults::Faulty;
use super::means::Means;
use super::moment::Moment;
use crate::config::Replies;
use crate::host::Host;
use crate::listen::Label;
use crate::peer::{Peer, canonical};

/// How many bytes of a header one call looks at. Longer ones take several.
const HEADER_BYTES_PER_CALL: usize = 256;

/// What is left of the opening of a connection, and its prefix.
#[derive(Debug)]
pub(super) struct Extras {
    /// The header, until it is complete.
    header: Option<ProxyHeader>,
    /// Whether a byte of it has arrived.
    header_begun: bool,
    /// When the header is late. `None` if the clock has no such time.
    pub(super) header_until: Option<Moment>,
    /// The destination that a header reported.
    destination: Option<SocketAddr>,
    replies: Arc<Replies>,
    /// The listener, as the replies show it.
    listener: Label,
    /// The number of the connection.
    number: u64,
    greeting: Vec<u8>,
    /// How many bytes of the greeting are on their way.
    greeted: usize,
    prefix: Vec<u8>,
    pub(super) faulty: Option<Box<Faulty>>,
}

impl Extras {
    /// The extras of a connection, or `None` if it has none. They are complete after [`Conversation::introduce`].
    pub(super) fn new(
        proxy_protocol: bool,
        replies: &Arc<Replies>,
        listener: &Label,
        number: u64,
        faulty: Option<Box<Faulty>>,
    ) -> Option<Box<Extras>> {
        if !proxy_protocol && replies.are_plain() && faulty.is_none() {
            return None;
        }
        Some(Box::new(Extras {
            header: proxy_protocol.then(ProxyHeader::new),
            header_begun: false,
            header_until: None,
            destination: None,
            replies: Arc::clone(replies),
            listener: listener.clone(),
            number,
            greeting: Vec::new(),
            greeted: 0,
            prefix: Vec::new(),
            faulty,
        }))
    }

    /// What comes before each message.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Whether nothing is left of them, so that the connection is a plain one from here on.
    fn are_done(&self) -> bool {
        let is_introduced = self.header.is_none() && self.greeted == self.greeting.len();
        is_introduced && self.prefix.is_empty() && self.faulty.is_none()
    }

    /// Writes the replies of this connection, whose peer is known now.
    fn render(&mut self, peer: Peer, local: Option<SocketAddr>) {
        let facts = Facts {
            listener: &self.listener.name,
            local: match peer.address() {
                Some(_) => local.map(Endpoint::Ip),
                None => Some(Endpoint::Named(&self.listener.address)),
            },
            peer: peer.address().map_or(Endpoint::Named("unix"), Endpoint::Ip),
            connection: Some(self.number),
        };
        let render = |template: &Option<Template>, text: &mut Vec<u8>| {
            if let Some(template) = template {
                template.render(&facts, text);
            }
        };
        render(&self.replies.greeting, &mut self.greeting);
        render(&self.replies.prefix, &mut self.prefix);
    }
}

impl<Socket> Conversation<Socket> {
    /// Whether the connection's PROXY header is not complete yet. Reading it needs no buffer.
    pub(super) fn awaits_header(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.header.is_some())
    }

    /// Whether its header is late at this time.
    pub(super) fn is_header_late(&self, now: Moment) -> bool {
        self.extras
            .as_ref()
            .is_some_and(|extras| extras.header.is_some() && extras.header_until.is_some_and(|until| until <= now))
    }

    /// Whether a part of the greeting is not in the connection's buffer yet. Nothing is owed once a drain has shut the
    /// connection down.
    pub(super) fn owes_greeting(&self) -> bool {
        let owes = |extras: &Extras| extras.greeted < extras.greeting.len();
        !self.connection.discards_input() && self.extras.as_deref().is_some_and(owes)
    }

    /// Prepares the greeting and the prefix of a connection whose peer is known. A greeting is sent without waiting for a
    /// message, so the connection then has to be served.
    pub(super) fn introduce<H: Host<Socket = Socket>>(&mut self, host: &mut H) {
        let Some(extras) = &mut self.extras else { return };
        let wanted = extras.replies.use_local() && self.peer.address().is_some();
        // Without its local address a greeting still says the rest.
        let local = extras.destination.or_else(|| if wanted { host.local_address(&self.socket).ok() } else { None });
        extras.render(self.peer, local);
        if !extras.greeting.is_empty() {
            self.readiness.suspect_input();
        }
        if extras.are_done() {
            self.extras = None;
        }
    }

    /// A receive of a connection with extras. The greeting counts as received, so that it takes the way of every byte.
    pub(super) fn receive_with_extras<H: Host<Socket = Socket>>(
        &mut self,
        means: &mut Means<H>,
    ) -> Result<Step, NoSpace> {
        if self.awaits_header() {
            return Ok(self.receive_header(means));
        }
        let Some(extras) = &mut self.extras else { return Ok(Step::Interrupted) };
        let greeting = extras.greeting.get(extras.greeted..).unwrap_or_default();
        if !greeting.is_empty() && !self.connection.discards_input() {
            let space = self.connection.receive_space(&mut means.pool)?;
            let n = greeting.len().min(space.len());
            for (place, byte) in space.iter_mut().zip(greeting) {
                *place = *byte;
            }
            self.connection.received(n);
            self.last_activity = means.now;
            extras.greeted += n;
            if extras.are_done() {
                self.extras = None;
            }
            return Ok(Step::Moved(n));
        }
        let (prefix, faulty) = (std::mem::take(&mut extras.prefix), extras.faulty.take());
        let faults = faulty.as_ref().map_or("", |faulty| faulty.names());
        let received = match self.connection.discards_input() {
            true => self.receive_behind(&[], faults, means),
            false => self.receive_behind(&prefix, faults, means),
        };
        if let Some(extras) = &mut self.extras {
            (extras.prefix, extras.faulty) = (prefix, faulty);
        }
        received
    }

    /// Reads on in the header. It is looked at before it is received, so that no byte behind it is received with it.
    fn receive_header<H: Host<Socket = Socket>>(&mut self, means: &mut Means<H>) -> Step {
        let Some(extras) = &mut self.extras else { return Step::Interrupted };
        let Some(header) = &mut extras.header else { return Step::Interrupted };
        let mut bytes = [0; HEADER_BYTES_PER_CALL];
        let seen = match means.host.peek(&self.socket, &mut bytes) {
            // A peer that connects and leaves, such as a health check, has not begun a header.
            Ok(0) if !extras.header_begun => return self.end(),
            Ok(0) => return refuse(self.peer, means, "the stream ends inside the PROXY header"),
            Ok(n) => bytes.get(..n).unwrap_or_default(),
            Err(error) => return self.not_received(&error),
        };
        let used = match header.clone().received(seen) {
            Ok(HeaderProgress::Incomplete) => seen.len(),
            Ok(HeaderProgress::Complete { used, .. }) => used,
            Err(error) => return refuse(self.peer, means, error.as_str()),
        };
        let received = match means.host.receive(&self.socket, bytes.get_mut(..used).unwrap_or_default()) {
            Ok(n) => n,
            Err(error) => return self.not_received(&error),
        };
        extras.header_begun = true;
        let progress = header.received(bytes.get(..received).unwrap_or_default());
        self.last_activity = means.now;
        let _ = self.readiness.received(received, received);
        match progress {
            Ok(HeaderProgress::Incomplete) => {}
            Ok(HeaderProgress::Complete { endpoints, .. }) => {
                extras.header = None;
                if let Endpoints::Proxied { source, destination } = endpoints {
                    tracing::debug!(target: "parrot_server", peer = %self.peer, client = %source, "has a PROXY header");
                    self.peer = Peer::from(source);
                    extras.destination = Some(canonical(destination));
                }
                self.introduce(&mut means.host);
            }
            Err(error) => return refuse(self.peer, means, error.as_str()),
        }
        Step::Moved(received)
    }
}

fn refuse<H>(peer: Peer, means: &mut Means<H>, reason: &str) -> Step {
    means.refuse_header(&peer, reason);
    Step::Failed(CloseReason::HeaderRefused)
}
