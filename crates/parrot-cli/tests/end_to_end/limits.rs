//! The limits of connections and of memory for replies that no peer reads.

use std::io::{Read, Write};
use std::net::TcpStream;

use parrot_testkit::client::{echo, expect, expect_end, fill, is_silent};
use parrot_testkit::parrot::number;
use parrot_testkit::wait_until;

use crate::support::{data, start};

#[test]
fn connections_above_the_limit_are_closed_at_once() {
    let parrot = start(&["--max-connections", "2"]);
    let (first, second) = (parrot.connect(), parrot.connect());
    echo(&first, b"one");
    echo(&second, b"two");
    expect_end(&parrot.connect());
    echo(&first, b"still here");
    drop(first);
    let mut refused = 1;
    wait_until("there is room again", || {
        let mut third = parrot.connect();
        let served = third.write_all(b"three").is_ok() && third.read(&mut [0; 5]).is_ok_and(|n| n > 0);
        refused += u64::from(!served);
        served
    });
    drop(second);
    let summary = parrot.stop().unwrap();
    let count = |words| number(&summary, words).unwrap();
    assert_eq!((count("accepted"), count("refused")), (3, refused), "{summary}");
}

#[test]
fn at_the_cap_a_connection_waits_until_a_buffer_is_free() {
    let parrot = start(&["--max-buffered", "256KiB"]);
    // Each of them holds one buffer of 128 KiB.
    let (one, two) = (parrot.connect(), parrot.connect());
    let written = fill(&one, data());
    fill(&two, data());
    let mut waiting = parrot.connect();
    waiting.write_all(b"when you have time").unwrap();
    assert!(is_silent(&waiting), "an echo beyond the cap");
    expect(&one, &data()[..written]);
    expect(&waiting, b"when you have time");
    echo(&waiting, b"and once more");
}

#[test]
fn a_cap_of_one_buffer_serves() {
    let parrot = start(&["--max-buffered", "128KiB"]);
    let streams: Vec<TcpStream> = (0..10).map(|_| parrot.connect()).collect();
    for stream in &streams {
        echo(stream, &data()[..1000]);
    }
}
