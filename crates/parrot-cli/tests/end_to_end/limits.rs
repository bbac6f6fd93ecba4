//! Limits: how many connections, and how much memory for what they do not read.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Parrot, data, echo, eventually, expect, expect_end, fill, is_silent, number};

#[test]
fn above_the_limit_of_connections_new_ones_are_closed_at_once() {
    let parrot = Parrot::start(&["--max-connections", "2"]);
    let (first, second) = (parrot.connect(), parrot.connect());
    echo(&first, b"one");
    echo(&second, b"two");
    expect_end(&parrot.connect());
    echo(&first, b"still here");
    drop(first);
    let mut refused = 1;
    eventually("there is room again", || {
        let mut third = parrot.connect();
        let served = third.write_all(b"three").is_ok() && third.read(&mut [0; 5]).is_ok_and(|n| n > 0);
        refused += u64::from(!served);
        served
    });
    drop(second);
    let summary = parrot.stop();
    assert_eq!((number(&summary, "accepted"), number(&summary, "refused")), (3, refused), "{summary}");
}

#[test]
fn at_the_cap_of_buffers_a_connection_waits_until_one_is_free() {
    let parrot = Parrot::start(&["--max-buffered", "256KiB"]);
    // Each of them holds one buffer of 128 KiB.
    let (one, two) = (parrot.connect(), parrot.connect());
    let written = fill(&one, data());
    fill(&two, data());
    let mut waiting = parrot.connect();
    waiting.write_all(b"when you have time").unwrap();
    assert!(is_silent(&waiting), "answered beyond the cap");
    expect(&one, &data()[..written]);
    expect(&waiting, b"when you have time");
    echo(&waiting, b"and once more");
}

#[test]
fn a_buffer_cap_below_one_buffer_still_serves() {
    let parrot = Parrot::start(&["--max-buffered", "0"]);
    let streams: Vec<TcpStream> = (0..10).map(|_| parrot.connect()).collect();
    for stream in &streams {
        echo(stream, &data()[..1000]);
    }
}
