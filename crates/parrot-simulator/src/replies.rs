//! What the peer of a connection is sent besides its echo: a greeting, and a prefix before each message.

use std::collections::VecDeque;

use parrot_server::Peer;

use crate::check::Promise;
use crate::connection::Connection;
use crate::coverage::Point;
use crate::doors::rendered;
use crate::host::SimulatedHost;
use crate::listeners::{name_of, server_address};
use crate::stream;

/// The replies of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replies {
    /// The greeting and the prefix, once they are known.
    texts: Option<Texts>,
    /// How much of the greeting the loop has put in its buffer.
    greeted: usize,
    /// What the loop has put in its buffer and not sent, the oldest part first.
    owed: VecDeque<Part>,
    /// How much of the first part is sent.
    sent: usize,
}

#[derive(Debug, Clone)]
struct Texts {
    greeting: Vec<u8>,
    prefix: Vec<u8>,
}

/// A part of what the peer is owed.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// Bytes of the greeting.
    Greeting { from: usize, length: usize },
    /// A prefix, and bytes of the peer's stream.
    Message { from: u64, length: usize },
}

impl Replies {
    /// Whether these bytes are the next ones that are owed. They are not owed any more.
    fn take(&mut self, peer: usize, mut bytes: &[u8]) -> bool {
        let Some(texts) = &self.texts else { return bytes.is_empty() };
        while let Some(part) = self.owed.front().filter(|_| !bytes.is_empty()) {
            let (text, length) = match part {
                Part::Greeting { from, length } => (&texts.greeting[*from..*from + *length], *length),
                Part::Message { length, .. } => (&texts.prefix[..], texts.prefix.len() + *length),
            };
            // As far as the text goes, or as far as the part does behind it.
            let end = if self.sent < text.len() { text.len() } else { length };
            let (these, others) = bytes.split_at(bytes.len().min(end - self.sent));
            let right = match part {
                Part::Message { from, .. } if self.sent >= text.len() => {
                    stream::matches(peer, from + (self.sent - text.len()) as u64, these)
                }
                _ => text[self.sent..].starts_with(these),
            };
            if !right {
                return false;
            }
            bytes = others;
            self.sent += these.len();
            if self.sent == length {
                self.owed.pop_front();
                self.sent = 0;
            }
        }
        bytes.is_empty()
    }
}

impl SimulatedHost {
    /// Whether a part of the connection's greeting is not in the loop's buffer yet.
    pub(crate) fn owes_greeting(&self, connection: &Connection) -> bool {
        let Some(replies) = &connection.replies else { return false };
        let left = || replies.texts.as_ref().is_none_or(|texts| replies.greeted < texts.greeting.len());
        self.plan.doors.greeting.is_some() && !connection.awaits_header() && !connection.shut && left()
    }

    /// How long the connection's prefix is.
    pub(crate) fn prefix_length(&self, connection: &Connection) -> u64 {
        let texts = connection.replies.as_ref().and_then(|replies| replies.texts.as_ref());
        texts.map_or(0, |texts| texts.prefix.len() as u64)
    }

    /// The peer as the log and the replies show it.
    pub(crate) fn shown_peer(&self, index: usize) -> Peer {
        let connection = &self.connections[index];
        match connection.header.as_ref().and_then(|header| header.reported()) {
            Some((client, _)) => Peer::from(client),
            None => self.own_peer(index),
        }
    }

    /// Writes the texts of a connection when they are first needed, unless its peer is not known yet.
    pub(crate) fn introduce(&mut self, index: usize) {
        let connection = &self.connections[index];
        if connection.awaits_header() || connection.replies.as_ref().is_none_or(|replies| replies.texts.is_some()) {
            return;
        }
        let reported = connection.header.as_ref().and_then(|header| header.reported());
        let peer = self.shown_peer(index);
        let local = match (peer, reported) {
            (Peer::Unix { .. }, _) => Some(server_address(connection.port)),
            (_, Some((_, server))) => Some(server),
            _ => connection.local,
        };
        let local = local.map(|local| local.to_string()).unwrap_or_default();
        let (listener, peer, number) = (name_of(connection.port), peer.to_string(), connection.number.to_string());
        let facts = [&listener, &local, &peer, &number].map(String::as_str);
        let render = |text: &Option<String>| text.as_ref().map(|text| rendered(text, facts)).unwrap_or_default();
        let texts = Texts { greeting: render(&self.plan.doors.greeting), prefix: render(&self.plan.doors.prefix) };
        if let Some(replies) = &mut self.connections[index].replies {
            replies.texts = Some(texts);
        }
    }

    /// Records how much of the greeting the loop has put in its buffer, when it is about to send `pending` bytes.
    pub(crate) fn take_greeting(&mut self, index: usize, pending: u64) {
        let connection = &self.connections[index];
        let more = pending.saturating_sub(connection.owed()) as usize;
        if more == 0 || !self.owes_greeting(connection) {
            return;
        }
        self.introduce(index);
        let connection = &mut self.connections[index];
        let Some(Replies { texts: Some(texts), greeted, owed, .. }) = connection.replies.as_deref_mut() else { return };
        let (from, length) = (*greeted, more.min(texts.greeting.len() - *greeted));
        *greeted += length;
        owed.push_back(Part::Greeting { from, length });
        let met = match *greeted == texts.greeting.len() {
            true if from > 0 => Some(Point::GreetingInPieces),
            true => Some(Point::Greeting),
            false => None,
        };
        connection.waiting_since = None;
        // The loop handles it as if it had been received.
        connection.note_activity(self.time);
        connection.promised += length as u64;
        connection.filled += length as u64;
        if let Some(point) = met {
            self.coverage.count(point);
        }
    }

    /// Records a message that was received from this offset on, and the prefix in front of it.
    pub(crate) fn promise(&mut self, index: usize, from: u64, length: u64) {
        if self.owes_greeting(&self.connections[index]) {
            self.broken(Promise::Bytes, || format!("connection {index}: a receive before the greeting is sent"));
        }
        self.introduce(index);
        let prefix = self.prefix_length(&self.connections[index]);
        let connection = &mut self.connections[index];
        connection.promised += prefix + length;
        connection.filled += prefix + length;
        if let Some(replies) = &mut connection.replies {
            replies.owed.push_back(Part::Message { from, length: length as usize });
        }
    }

    /// Checks bytes that are sent from this offset of what the peer is owed on.
    pub(crate) fn check_sent(&mut self, index: usize, from: u64, bytes: &[u8]) {
        let right = match &mut self.connections[index].replies {
            None => stream::matches(index, from, bytes),
            Some(replies) => replies.take(index, bytes),
        };
        if !right {
            self.broken(Promise::Bytes, || format!("connection {index} was sent wrong bytes at {from}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_match_only_in_their_order() {
        let texts = Texts { greeting: b"hello".to_vec(), prefix: b"> ".to_vec() };
        let owed = [Part::Greeting { from: 0, length: 5 }, Part::Message { from: 7, length: 3 }];
        let replies = Replies { texts: Some(texts), owed: owed.into(), ..Replies::default() };
        let mut expected = b"hello> ___".to_vec();
        stream::fill(4, 7, &mut expected[7..]);
        for cut in 0..=expected.len() {
            let mut replies = replies.clone();
            assert!(replies.take(4, &expected[..cut]) && replies.take(4, &expected[cut..]));
            assert!(!replies.take(4, b"more"));
        }
        assert!(!replies.clone().take(4, &expected[1..]));
        assert!(!replies.clone().take(4, b"hello>>"));
        assert!(!replies.clone().take(5, &expected));
    }
}
