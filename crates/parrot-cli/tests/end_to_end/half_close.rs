//! A peer that has shut down its sending side gets everything back.

use std::net::Shutdown;

use parrot_testkit::client::{expect, expect_end, fill};

use crate::support::{data, start};

#[test]
fn what_is_pending_at_the_half_close_comes_back() {
    let parrot = start(&[]);
    let stream = parrot.connect();
    let written = fill(&stream, data());
    // More than the server's buffer, so the server has yet to receive some of it. How much more depends on the system.
    // On NetBSD a socket holds at most 256 KiB (kern.sbmax).
    assert!(written > 128 << 10, "only {written} bytes are pending, too few to prove anything");
    stream.shutdown(Shutdown::Write).unwrap();
    expect(&stream, &data()[..written]);
    expect_end(&stream);
}

#[test]
fn a_peer_that_sends_nothing_gets_its_end_back() {
    let parrot = start(&[]);
    let stream = parrot.connect();
    stream.shutdown(Shutdown::Write).unwrap();
    expect_end(&stream);
    parrot.stop().unwrap();
}
