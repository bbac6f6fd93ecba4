//! A peer that has finished sending is answered in full, and costs nothing while it does not read.

use std::net::Shutdown;

use crate::support::{Parrot, data, expect, expect_end, fill};

#[test]
fn megabytes_pending_at_the_half_close_all_come_back() {
    let parrot = Parrot::start(&[]);
    let stream = parrot.connect();
    let written = fill(&stream, data());
    assert!(written > 256 << 10, "only {written} bytes are pending: too few to prove anything");
    stream.shutdown(Shutdown::Write).unwrap();
    expect(&stream, &data()[..written]);
    expect_end(&stream);
}

#[test]
fn a_peer_that_sends_nothing_gets_its_end_back() {
    let parrot = Parrot::start(&[]);
    let stream = parrot.connect();
    stream.shutdown(Shutdown::Write).unwrap();
    expect_end(&stream);
    parrot.stop();
}
