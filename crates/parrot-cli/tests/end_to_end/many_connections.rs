//! Thousands of connections at once.

use std::net::TcpStream;

use crate::support::{Parrot, data, echo, raise_descriptor_limit, skip};

const CONNECTIONS: usize = 5000;

#[test]
fn five_thousand_connections_are_served_and_take_little_memory() {
    if !raise_descriptor_limit(CONNECTIONS as u64 + 1000) {
        return skip("the limit of descriptors is too low for 5,000 connections in one process");
    }
    let parrot = Parrot::start(&[]);
    echo(&parrot.connect(), b"warm");
    #[cfg(target_os = "linux")]
    let before = parrot.status("VmRSS");

    let streams: Vec<TcpStream> = (0..CONNECTIONS).map(|_| parrot.connect()).collect();
    for (stream, message) in streams.iter().zip(data().chunks(12)) {
        echo(stream, message);
    }
    // Backwards, so that no connection depends on the order in which they came.
    for (stream, message) in streams.iter().zip(data().chunks(1000)).rev() {
        echo(stream, message);
    }

    #[cfg(target_os = "linux")]
    {
        let grown = parrot.status("VmRSS").saturating_sub(before);
        assert!(grown <= 1500, "{grown} KiB more for {CONNECTIONS} connections without a byte pending");
    }
    drop(streams);
    let summary = parrot.stop();
    assert!(summary.contains("5001 accepted"), "{summary}");
}
