//! One place chooses how datagrams are received and sent. Linux, FreeBSD and NetBSD do it in batches, other systems one
//! by one.

mod family;
mod one_by_one;
#[cfg(target_os = "linux")]
mod segments;

#[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd"))]
mod batched;

#[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd"))]
use batched as imp;
#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd")))]
use one_by_one as imp;

pub(crate) use family::{Family, SETS_IPV4_SOURCE, SETS_IPV6_SOURCE};
pub(crate) use imp::Calls;

use std::net::IpAddr;

use nix::sys::socket::{MsgFlags, RecvMsg};

use crate::batch::{Entry, Places};
use crate::{Batch, Datagram, Destination};

/// The source of a reply as the system takes it: an address, and an interface or 0.
pub(crate) type Source = Option<(IpAddr, u32)>;

/// Datagrams of a batch whose replies leave from the same source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) places: Places,
    pub(crate) source: Source,
}

impl<'a> Group<'a> {
    fn datagrams(self) -> impl Iterator<Item = Datagram<'a>> {
        self.places.iter().filter_map(move |place| self.batch.get(place))
    }
}

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
