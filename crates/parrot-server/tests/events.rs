//! The events that an embedder's subscriber gets for messages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use parrot_server::{Config, Handle, Listen, MESSAGE_TARGET, Server};
use parrot_testkit::client::{connect, echo};
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The fields of an event for a message.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    peer: String,
    payload: Vec<u8>,
    bytes: u64,
}

impl Visit for Message {
    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        assert_eq!(field.name(), "payload");
        self.payload = value.to_vec();
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        assert_eq!(field.name(), "bytes");
        self.bytes = value;
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        assert_eq!(field.name(), "peer");
        self.peer = format!("{value:?}");
    }
}

/// Wants events while it is switched on.
struct Forward {
    to: Sender<Message>,
    on: Arc<AtomicBool>,
}

impl<S: Subscriber> Layer<S> for Forward {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && self.on.load(Ordering::SeqCst)
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == MESSAGE_TARGET {
            let mut message = Message::default();
            event.record(&mut message);
            self.to.send(message).unwrap();
        }
    }
}

/// Keeps the words of the events that are no messages.
#[derive(Clone, Default)]
struct Words(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Words {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != MESSAGE_TARGET {
            let mut words = Words::default();
            event.record(&mut words);
            self.0.lock().unwrap().append(&mut words.0.lock().unwrap());
        }
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0.lock().unwrap().push(format!("{value:?}"));
        }
    }
}

/// Runs a server under a subscriber, calls `talk` with a client, and returns the events.
fn events(talk: impl FnOnce(&mut TcpStream, &Handle)) -> Receiver<Message> {
    events_while(&Arc::new(AtomicBool::new(true)), talk)
}

fn events_while(on: &Arc<AtomicBool>, talk: impl FnOnce(&mut TcpStream, &Handle)) -> Receiver<Message> {
    let (to, receiver) = channel();
    run(tracing_subscriber::registry().with(Forward { to, on: Arc::clone(on) }), talk);
    receiver
}

fn run(subscriber: impl Subscriber + Send + Sync + 'static, talk: impl FnOnce(&mut TcpStream, &Handle)) {
    let server = Server::bind(Config {
        listen: vec![Listen::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))],
        ..Config::default()
    })
    .unwrap();
    let (handle, address) = (server.handle(), server.local_addresses()[0]);
    let thread = thread::spawn(move || tracing::subscriber::with_default(subscriber, || server.run()));
    let mut client = connect(address);
    talk(&mut client, &handle);
    drop(client);
    handle.drain();
    thread.join().unwrap().unwrap();
}

#[test]
fn each_message_is_an_event_with_peer_payload_and_bytes() {
    let mut peer = String::new();
    let events = events(|client, _| {
        peer = client.local_addr().unwrap().to_string();
        echo(client, b"Hello");
        echo(client, &[0, 255]);
    });
    let messages: Vec<Message> = events.iter().collect();
    assert_eq!(messages[0], Message { peer: peer.clone(), payload: b"Hello".to_vec(), bytes: 5 });
    assert_eq!(messages[1], Message { peer, payload: vec![0, 255], bytes: 2 });
}

#[test]
fn a_subscriber_can_want_messages_only_for_a_time() {
    let on = Arc::new(AtomicBool::new(false));
    let events = events_while(&on, |client, _| {
        echo(client, b"before");
        on.store(true, Ordering::SeqCst);
        echo(client, b"meanwhile");
        on.store(false, Ordering::SeqCst);
        echo(client, b"after");
    });
    let payloads: Vec<u8> = events.iter().flat_map(|message| message.payload).collect();
    assert_eq!(payloads, b"meanwhile");
}

#[test]
fn a_layer_without_messages_gets_all_other_events() {
    let (all, without_messages) = (Words::default(), Words::default());
    let filter = filter_fn(|metadata| metadata.target() != MESSAGE_TARGET);
    let layers = all.clone().and_then(without_messages.clone().with_filter(filter));
    run(tracing_subscriber::registry().with(layers), |client, _| echo(client, b"a message"));
    let (all, without_messages) = (all.0.lock().unwrap(), without_messages.0.lock().unwrap());
    assert!(all.iter().any(|words| words.starts_with("closed")), "{all:?}");
    assert_eq!(*without_messages, *all);
}

#[test]
fn a_message_too_late_to_be_echoed_is_an_event_too() {
    let events = events(|client, handle| {
        echo(client, b"in time");
        handle.drain();
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the server finishes first");
        client.write_all(b"too late").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        while handle.statistics().connections > 0 {
            thread::yield_now();
        }
        let statistics = handle.statistics();
        assert_eq!((statistics.bytes_in, statistics.bytes_out, statistics.bytes_discarded), (15, 7, 8));
    });
    let payloads: Vec<u8> = events.iter().flat_map(|message| message.payload).collect();
    assert_eq!(payloads, b"in timetoo late");
}
