//! What receiving and replying allocates. The allocator of this binary counts for all of its threads, so this is its
//! only test.
#![allow(clippy::unwrap_used, missing_docs)]

use std::alloc::System;
use std::net::{Ipv4Addr, UdpSocket};

use parrot_testkit::wait_until;
use parrot_udp::{Batch, DatagramSocket};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_batch_allocates_nothing_once_there_was_one() {
    if cfg!(not(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd"))) {
        return eprintln!("SKIPPED: without sendmmsg, nix allocates for each reply that leaves from a wildcard");
    }
    let mut socket = DatagramSocket::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap()).unwrap();
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut batch = Batch::new();
    let mut echo = || {
        for _ in 0..10 {
            client.send_to(b"squawk", (Ipv4Addr::LOCALHOST, socket.local_address().port())).unwrap();
        }
        let mut echoed = 0;
        wait_until("the datagrams", || {
            if socket.receive(&mut batch).is_ok() {
                echoed += socket.reply(&batch).sent;
            }
            echoed == 10
        });
    };
    echo();

    // The least of several counts, because another thread may allocate once before it waits for this test.
    let allocated = (0..10).map(|_| {
        let region = Region::new(ALLOCATOR);
        echo();
        let change = region.change();
        change.allocations + change.reallocations
    });
    assert_eq!(allocated.min(), Some(0));
}
