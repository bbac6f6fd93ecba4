//! Peers that do not read slow down no other peer.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parrot_testkit::client::echo;

use crate::support::{data, start};

#[test]
fn with_slow_readers_a_healthy_peer_has_a_median_below_100_ms() {
    let parrot = start(&[]);
    let mut slow: Vec<TcpStream> = (0..100).map(|_| parrot.connect()).collect();
    for stream in &slow {
        stream.set_nonblocking(true).unwrap();
    }
    let healthy = parrot.connect();
    let done = AtomicBool::new(false);

    let mut round_trips = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for stream in &mut slow {
                    write_much_and_read_little(stream);
                }
            }
        });
        let round_trips: Vec<Duration> = (0..300)
            .map(|_| {
                let start = Instant::now();
                echo(&healthy, b"Hello Parrot");
                start.elapsed()
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        round_trips
    });

    round_trips.sort();
    let median = round_trips[round_trips.len() / 2];
    assert!(median < Duration::from_millis(100), "median {median:?}");
}

fn write_much_and_read_little(stream: &mut TcpStream) {
    for result in [stream.write(&data()[..256 << 10]), stream.read(&mut [0])] {
        if let Err(error) = result {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
    }
}
