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
/// This is what the subscribers have answered once, until tracing asks them again because they have changed. To ask them
/// with `tracing::event_enabled!` would cost later events, because a layer with a filter of its own remembers the answer
/// for the event that it takes to come next (`FilterState` in `tracing_subscriber::filter::layer_filters`).
pub(super) fn may_be_wanted() -> bool {
    Level::INFO <= LevelFilter::current() && !MESSAGES.interest().is_never()
}

// A function of its own, so that its caller stays small and is inlined.
#[inline(never)]
pub(super) fn log(peer: &Peer, payload: &[u8]) {
    let bytes = payload.len() as u64;
    tracing::info!(target: MESSAGE_TARGET, peer = %peer, user = peer.user(), payload, bytes);
}

pub(super) fn log_with_faults(peer: &Peer, faults: &str, payload: &[u8]) {
    let bytes = payload.len() as u64;
    tracing::info!(target: MESSAGE_TARGET, peer = %peer, user = peer.user(), faults, payload, bytes);
}
