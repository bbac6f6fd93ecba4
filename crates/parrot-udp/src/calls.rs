//! One place chooses how datagrams are received and sent. Linux, FreeBSD and NetBSD do it in batches, other systems one
//! by one.

mod family;

pub(crate) use family::{Family, SETS_IPV6_SOURCE};

#[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd"))]
#[path = "calls/batched.rs"]
mod imp;

#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd")))]
#[path = "calls/one_by_one.rs"]
mod imp;

pub(crate) use imp::Calls;

// Where the other way is used, its tests run as well.
#[cfg(all(test, any(target_os = "linux", target_os = "freebsd", target_os = "netbsd")))]
mod one_by_one;

use std::net::IpAddr;

use nix::sys::socket::{MsgFlags, RecvMsg};

use crate::Destination;
use crate::batch::Entry;

/// The source of a reply as the system takes it: an address, and an interface or 0.
pub(crate) type Source = Option<(IpAddr, u32)>;

/// What to note of a datagram that arrived. `only` is its destination if the system was not asked.
fn entry<S: Family>(message: &RecvMsg<'_, '_, S>, only: Option<Destination>) -> Option<Entry> {
    let destination = only.or_else(|| S::destination(message));
    Some(Entry {
        source: message.address?.to_address(),
        destination,
        prefix: 0,
        length: message.bytes,
        truncated: message.flags.contains(MsgFlags::MSG_TRUNC),
        refused: destination.is_none(),
    })
}
