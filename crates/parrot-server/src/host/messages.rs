//! The log of messages, through tracing.

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_core::callsite::DefaultCallsite;
use tracing_core::{Kind, Metadata};

use crate::peer::Peer;

/// The target of the events that carry messages.
pub const MESSAGE_TARGET: &str = "parrot::message";

/// Stands for [`log`] when the subscribers are asked whether they want its events.
static MESSAGES: DefaultCallsite = DefaultCallsite::new(&METADATA);

static METADATA: Metadata<'static> = tracing_core::metadata! {
    name: "message",
    target: MESSAGE_TARGET,
    level: Level::INFO,
    fields: &["peer", "user", "payload", "bytes"],
    callsite: &MESSAGES,
    kind: Kind::EVENT,
};

/// Whether a subscriber may want messages. It then decides about each of them.
///
/// tracing keeps what the subscribers answered, and asks again when they change. `tracing::event_enabled!` would make a
/// layer with a filter of its own drop the next event, because the layer takes the answer to be about that event
/// (`FilterState` in `tracing_subscriber::filter::layer_filters`).
pub(super) fn may_be_wanted() -> bool {
    Level::INFO <= LevelFilter::current() && !MESSAGES.interest().is_never()
}

// Not inlined, so that its caller is small enough to be inlined. Together this saves 11 of a message's 405
// instructions.
#[inline(never)]
pub(super) fn log(peer: &Peer, payload: &[u8]) {
    let bytes = payload.len() as u64;
    tracing::info!(target: MESSAGE_TARGET, peer = %peer, user = peer.user(), payload, bytes);
}

pub(super) fn log_with_faults(peer: &Peer, faults: &str, payload: &[u8]) {
    let bytes = payload.len() as u64;
    tracing::info!(target: MESSAGE_TARGET, peer = %peer, user = peer.user(), faults, payload, bytes);
}
