//! The fields of a message, collected from its tracing event.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};

use crate::escape::Escaped;

/// Long enough for any address. Whatever else a program calls its peers is cut here.
const PEER_LIMIT: usize = 256;

/// As long for the names of faults.
const FAULTS_LIMIT: usize = 256;

/// The fields of one message, already escaped. Reused from message to message.
#[derive(Debug)]
pub(crate) struct Record {
    peer: Escaped,
    payload: Escaped,
    faults: Escaped,
    payload_limit: usize,
    has_peer: bool,
    has_payload: bool,
    has_faults: bool,
    bytes: Option<u64>,
    user: Option<u64>,
}

impl Record {
    pub(crate) const fn new() -> Record {
        Record {
            peer: Escaped::word(),
            payload: Escaped::quoted(),
            faults: Escaped::quoted(),
            payload_limit: 0,
            has_peer: false,
            has_payload: false,
            has_faults: false,
            bytes: None,
            user: None,
        }
    }

    /// Clears the fields for the next message.
    pub(crate) fn restart(&mut self, payload_limit: usize) {
        self.peer.restart(PEER_LIMIT);
        self.payload.restart(payload_limit);
        self.payload_limit = payload_limit;
        self.has_peer = false;
        self.has_payload = false;
        self.has_faults = false;
        self.bytes = None;
        self.user = None;
    }

    /// The escaped peer, ASCII without spaces.
    pub(crate) fn peer(&self) -> Option<&[u8]> {
        self.has_peer.then(|| self.peer.text())
    }

    /// The escaped payload, ASCII, as much of it as the limit allows.
    pub(crate) fn payload(&self) -> Option<&[u8]> {
        self.has_payload.then(|| self.payload.text())
    }

    /// The faults of the connection, ASCII, if it has some.
    pub(crate) fn faults(&self) -> Option<&[u8]> {
        self.has_faults.then(|| self.faults.text())
    }

    /// The length of the message, however much of it is shown.
    pub(crate) fn bytes(&self) -> Option<u64> {
        self.bytes.or_else(|| self.has_payload.then(|| self.payload.seen()))
    }

    /// The number of the user behind the peer.
    pub(crate) fn user(&self) -> Option<u64> {
        self.user
    }

    /// Whether the payload is not shown in full.
    pub(crate) fn is_truncated(&self) -> bool {
        let shown = self.payload.shown(self.payload_limit);
        self.has_payload && (shown < self.payload.seen() || self.bytes.is_some_and(|bytes| shown < bytes))
    }

    fn text_field(&mut self, field: &Field) -> Option<&mut Escaped> {
        match field.name() {
            "peer" => {
                self.has_peer = true;
                Some(&mut self.peer)
            }
            "payload" => {
                self.has_payload = true;
                Some(&mut self.payload)
            }
            "faults" => {
                self.faults.restart(FAULTS_LIMIT);
                self.has_faults = true;
                Some(&mut self.faults)
            }
            _ => None,
        }
    }
}

impl Visit for Record {
    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        if let Some(text) = self.text_field(field) {
            text.push(value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_bytes(field, value.as_bytes());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if let Some(text) = self.text_field(field) {
            // A value whose `Debug` fails is shown as far as it got.
            let _ = write!(text, "{value:?}");
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "bytes" => self.bytes = Some(value),
            "user" => self.user = Some(value),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.record_debug(field, &value),
        }
    }
}
