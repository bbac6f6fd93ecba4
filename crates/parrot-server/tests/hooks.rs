//! What an embedder sees of the loop: the stages of the server's end, and calls in intervals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use parrot_server::{Addresses, Config, Ended, Handle, Limits, Listen, Server, Stage};
use parrot_testkit::client::{connect, echo};
use parrot_testkit::wait_until;

const INTERVAL: Duration = Duration::from_millis(2);

fn bind(limits: Limits) -> Server {
    let listen = vec![Listen::tcp(Addresses::localhost(0))];
    Server::bind(Config { listen, limits, ..Config::default() }).expect("a free port on loopback")
}

/// A server that counts its intervals.
fn with_intervals() -> (Server, Arc<AtomicU64>) {
    let mut server = bind(Limits::default());
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    server.set_on_interval(INTERVAL, move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    (server, count)
}

fn run(server: Server) -> (Handle, JoinHandle<Ended>) {
    (server.handle(), std::thread::spawn(move || server.run().unwrap()))
}

#[test]
fn stages_are_reported_from_the_drain_to_the_end() {
    let limits = Limits { drain_timeout: Duration::from_secs(60), ..Limits::default() };
    let mut server = bind(limits);
    let (sender, changes) = mpsc::channel();
    server.set_on_stage(move |change| sender.send(*change).unwrap());
    let client = connect(server.local_addresses()[0]);
    let (handle, thread) = run(server);
    echo(&client, b"squawk");
    assert_eq!(handle.stage(), Stage::Serving);

    handle.drain();
    let change = changes.recv().unwrap();
    assert_eq!((change.stage, change.connections, change.at_most), (Stage::Draining, 1, Duration::from_secs(60)));
    assert_eq!(handle.stage(), Stage::Draining);

    drop(client);
    assert_eq!(thread.join().unwrap(), Ended::Drained);
    assert_eq!(handle.stage(), Stage::Ended);
    assert!(changes.recv().is_err(), "the end is no stage of the loop");
}

#[test]
fn a_server_without_work_is_called_in_intervals() {
    let (server, count) = with_intervals();
    let (handle, thread) = run(server);
    wait_until("ten intervals", || count.load(Ordering::SeqCst) >= 10);
    assert_eq!(handle.statistics().accepted, 0);
    handle.drain();
    thread.join().unwrap();
}

#[test]
fn a_draining_server_is_still_called_in_intervals() {
    let (server, count) = with_intervals();
    let client = connect(server.local_addresses()[0]);
    let (handle, thread) = run(server);
    echo(&client, b"squawk");
    handle.drain();
    wait_until("it drains", || handle.stage() == Stage::Draining);
    let before = count.load(Ordering::SeqCst);
    wait_until("ten more intervals", || count.load(Ordering::SeqCst) >= before + 10);
    drop(client);
    thread.join().unwrap();
}

#[test]
fn a_stuck_loop_is_not_called_in_intervals() {
    let (mut stuck, count) = with_intervals();
    let (other, other_count) = with_intervals();
    let counted = Arc::clone(&count);
    // The loop is stuck for as long as this takes. The other server shows that intervals pass meanwhile.
    stuck.set_on_stage(move |_| {
        let (before, other_before) = (counted.load(Ordering::SeqCst), other_count.load(Ordering::SeqCst));
        wait_until("ten intervals elsewhere", || other_count.load(Ordering::SeqCst) >= other_before + 10);
        assert_eq!(counted.load(Ordering::SeqCst), before);
    });
    let (other_handle, other_thread) = run(other);
    let (handle, thread) = run(stuck);
    wait_until("the first interval", || count.load(Ordering::SeqCst) > 0);
    handle.drain();
    assert_eq!(thread.join().unwrap(), Ended::Drained);
    other_handle.drain();
    other_thread.join().unwrap();
}
