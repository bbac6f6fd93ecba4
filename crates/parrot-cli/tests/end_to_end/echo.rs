//! Every byte comes back, in order, once, whatever the sizes, the chunks and the buffers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use parrot_testkit::client::{connect_with_tiny_buffers, echo, expect_end};
use parrot_testkit::stream::Random;

use crate::support::{data, start};

/// Sends `data` in chunks of random sizes while it receives in chunks of other random sizes, and compares.
fn echo_in_chunks(stream: &TcpStream, data: &[u8], largest_chunk: usize, seed: u64) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, mut random) = (stream, Random::new(seed));
            let mut rest = data;
            while !rest.is_empty() {
                let (chunk, behind) = rest.split_at((1 + random.below(largest_chunk)).min(rest.len()));
                stream.write_all(chunk).unwrap();
                rest = behind;
            }
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let (mut reader, mut random) = (stream, Random::new(!seed));
        let mut chunk = vec![0; largest_chunk];
        let mut received = 0;
        while received < data.len() {
            let n = reader.read(&mut chunk[..1 + random.below(largest_chunk)]).unwrap();
            assert_ne!(n, 0, "the stream ended after {received} of {} bytes", data.len());
            assert!(chunk[..n] == data[received..received + n], "other bytes than those sent, near {received}");
            received += n;
        }
    });
    expect_end(stream);
}

#[test]
fn every_size_comes_back_in_random_chunks() {
    let parrot = start(&[]);
    const KIB: usize = 1024;
    for (seed, size) in (0..).zip([1, 2, 13, 4095, 4096, 128 * KIB - 1, 128 * KIB, 128 * KIB + 1, KIB * KIB + 7]) {
        for largest_chunk in [7, 1500, 100_000] {
            if size / largest_chunk < 10_000 {
                echo_in_chunks(&parrot.connect(), &data()[..size], largest_chunk, seed);
            }
        }
    }
}

#[test]
fn thirty_two_mebibytes_come_back() {
    let parrot = start(&[]);
    echo_in_chunks(&parrot.connect(), data(), 300_000, 32);
    let summary = parrot.stop().unwrap();
    assert!(summary.contains("33554432 bytes in, 33554432 bytes out"), "{summary}");
}

#[test]
fn tiny_socket_buffers_lose_nothing() {
    let parrot = start(&[]);
    echo_in_chunks(&connect_with_tiny_buffers(parrot.address()), &data()[..512 << 10], 5000, 1);
}

#[test]
fn connections_do_not_mix() {
    let parrot = start(&[]);
    thread::scope(|scope| {
        for seed in 0..16 {
            let parrot = &parrot;
            let share = &data()[seed << 20..][..1 << 20];
            scope.spawn(move || echo_in_chunks(&parrot.connect(), share, 20_000, seed as u64));
        }
    });
}

#[test]
fn a_connection_serves_many_messages() {
    let parrot = start(&[]);
    let stream = parrot.connect();
    for message in data().chunks(12).take(2000) {
        echo(&stream, message);
    }
}
