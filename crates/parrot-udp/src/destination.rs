//! The address that a datagram was sent to, which is where its reply has to come from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which of the system's addresses a datagram was sent to, and which interface it arrived on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    address: IpAddr,
    local: IpAddr,
    interface: u32,
}

impl Destination {
    /// The destination in the datagram's header, and the number of the interface that it arrived on, or 0 if that is
    /// not known.
    #[must_use]
    pub fn new(address: IpAddr, interface: u32) -> Self {
        let group = address.to_canonical().is_multicast() || address.to_canonical() == Ipv4Addr::BROADCAST;
        Self { address, local: if group { unspecified(address) } else { address }, interface }
    }

    /// As `new`, for a system that also reports its own address for replies. For a datagram that was sent to a
    /// broadcast address, `local` is an address of the interface.
    #[must_use]
    pub fn with_local(address: IpAddr, local: IpAddr, interface: u32) -> Self {
        Self { address, local, interface }
    }

    /// The address in the datagram's header.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The address that a reply leaves from. If it is unspecified, the system chooses one.
    #[must_use]
    pub fn local(&self) -> IpAddr {
        self.local
    }

    /// The number of the interface that the datagram arrived on, or 0 if that is not known.
    #[must_use]
    pub fn interface(&self) -> u32 {
        self.interface
    }

    /// Whether the datagram was sent to a multicast group.
    #[must_use]
    pub fn is_multicast(&self) -> bool {
        self.address.to_canonical().is_multicast()
    }

    /// Whether the datagram was sent to a broadcast address of IPv4.
    ///
    /// 255.255.255.255 is one on every system. The broadcast address of a network, such as 192.0.2.255, looks like any
    /// other address. Linux reports an address of its own beside it (`ipi_spec_dst` in ip(7)) on a socket of IPv4. On a
    /// socket of both families it does not, and refuses the reply instead. Other systems report nothing, so the address
    /// is compared with those of the interfaces that there were when the socket was taken over.
    #[must_use]
    pub fn is_broadcast(&self) -> bool {
        let IpAddr::V4(address) = self.address.to_canonical() else { return false };
        address.is_broadcast() || (!address.is_multicast() && self.local != self.address)
    }

    /// Makes it a broadcast, after all.
    #[cfg(any(test, not(target_os = "linux")))]
    pub(crate) fn mark_broadcast(&mut self) {
        self.local = unspecified(self.address);
    }

    /// What a reply's source has to be: its address, and its interface if the address means nothing without one.
    ///
    /// For other addresses the interface is left to the routes, as it is for a socket that is bound to the address. The
    /// way back can lead through another interface than the one that the datagram came in on.
    pub(crate) fn reply_source(&self) -> (IpAddr, u32) {
        let link_local = match self.local {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        (self.local, if link_local { self.interface } else { 0 })
    }
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn groups_and_broadcasts_are_told_from_single_addresses() {
        let kind = |text| {
            let destination = Destination::new(address(text), 1);
            (destination.is_multicast(), destination.is_broadcast())
        };
        assert_eq!(kind("192.0.2.1"), (false, false));
        assert_eq!(kind("224.0.0.1"), (true, false));
        assert_eq!(kind("255.255.255.255"), (false, true));
        assert_eq!(kind("2001:db8::1"), (false, false));
        assert_eq!(kind("ff02::1"), (true, false));
        assert_eq!(kind("::ffff:192.0.2.1"), (false, false));
        assert_eq!(kind("::ffff:224.0.0.1"), (true, false));
        assert_eq!(kind("::ffff:255.255.255.255"), (false, true));
    }

    #[test]
    fn an_address_that_is_not_the_systems_own_is_a_broadcast() {
        let sent_to = |header, local| Destination::with_local(address(header), address(local), 1);
        assert!(!sent_to("192.0.2.1", "192.0.2.1").is_broadcast());
        assert!(sent_to("192.0.2.255", "192.0.2.1").is_broadcast());
        let multicast = sent_to("224.0.0.1", "192.0.2.1");
        assert!(multicast.is_multicast() && !multicast.is_broadcast());
    }

    #[test]
    fn a_reply_names_the_interface_of_a_link_local_address_only() {
        let source = |text| Destination::new(address(text), 7).reply_source();
        assert_eq!(source("fe80::1"), (address("fe80::1"), 7));
        assert_eq!(source("169.254.1.1"), (address("169.254.1.1"), 7));
        assert_eq!(source("192.0.2.1"), (address("192.0.2.1"), 0));
        assert_eq!(source("2001:db8::1"), (address("2001:db8::1"), 0));
        assert_eq!(source("ff02::1"), (address("::"), 0));
        assert_eq!(source("255.255.255.255"), (address("0.0.0.0"), 0));
    }
}
