//! The broadcast addresses of this host's networks, for systems that report no more than the destination in a
//! datagram's header. That address looks like any other, and the BSDs and macOS even take it as the source of a reply
//! (`ifa_ifwithaddr` in net/if.c compares `ifa_broadaddr` too).

use std::net::{IpAddr, Ipv4Addr};

use nix::ifaddrs::getifaddrs;

use crate::batch::Batch;

/// The broadcast addresses of the interfaces as they were at one time.
#[derive(Debug)]
pub(crate) struct Broadcasts(Vec<Ipv4Addr>);

impl Broadcasts {
    /// None if the system does not say.
    pub(crate) fn of_interfaces() -> Self {
        let interfaces = getifaddrs().into_iter().flatten();
        Self(interfaces.filter_map(|interface| Some(interface.broadcast?.as_sockaddr_in()?.ip())).collect())
    }

    /// Marks the datagrams that were sent to one of them.
    pub(crate) fn mark(&self, batch: &mut Batch) {
        let (_, entries) = batch.space();
        for destination in entries.iter_mut().filter_map(|entry| entry.destination.as_mut()) {
            if let IpAddr::V4(address) = destination.address().to_canonical()
                && self.0.contains(&address)
            {
                destination.mark_broadcast();
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use parrot_testkit::network::alone;

    use super::*;
    use crate::Destination;

    #[test]
    fn a_datagram_to_a_network_is_marked() {
        let commands = ["ip link add here type veth peer name there", "ip address add 192.0.2.1/24 brd + dev here"];
        alone(&commands, || {
            let mut batch = Batch::new();
            for address in [[192, 0, 2, 255], [192, 0, 2, 1], [192, 0, 2, 127]] {
                let destination = Destination::new(IpAddr::from(address), 0);
                batch.push(([192, 0, 2, 9], 9).into(), Some(destination), b"squawk").unwrap();
            }
            Broadcasts::of_interfaces().mark(&mut batch);
            let marked = batch.iter().map(|datagram| datagram.destination().unwrap().is_broadcast());
            assert!(marked.eq([true, false, false]));
        });
    }
}
