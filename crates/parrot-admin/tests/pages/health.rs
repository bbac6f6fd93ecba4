//! Alive, stuck, ready, and on the way out.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use parrot_server::{Listen, MESSAGE_TARGET};
use parrot_testkit::client::{echo, expect, expect_end};
use parrot_testkit::wait_until;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use crate::support::{LOOPBACK, Watched};
use std::io::Write as _;

/// Blocks the loop at each message, until it is told to go on.
struct Blocked(Mutex<Receiver<()>>);

impl<S: tracing::Subscriber> Layer<S> for Blocked {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == MESSAGE_TARGET {
            self.0.lock().unwrap().recv().unwrap();
        }
    }
}

#[test]
fn a_stuck_loop_is_unhealthy_and_recovers() {
    let (go_on, blocked) = channel();
    let subscriber = tracing_subscriber::registry().with(Blocked(Mutex::new(blocked)));
    let watched = Watched::listening_on(vec![Listen::tcp(LOOPBACK)], |server| {
        tracing::subscriber::with_default(subscriber, || server.run())
    });
    let healthy = watched.get("/healthz");
    assert_eq!((healthy.status, healthy.body.as_str()), (200, "healthy: the loop has made a turn\n"));

    let mut client = watched.connect();
    client.write_all(b"squawk").unwrap();
    // The first request may come before the message does.
    wait_until("the loop is stuck", || watched.get("/healthz").status == 503);
    let stuck = watched.get("/healthz");
    assert!(stuck.status == 503 && stuck.body.starts_with("stuck: "), "{stuck:?}");
    // What asks nothing of the loop is there all the same.
    assert_eq!(watched.get("/readyz").status, 200);
    assert_eq!(watched.get("/metrics").status, 200);

    go_on.send(()).unwrap();
    expect(&client, b"squawk");
    assert_eq!(watched.get("/healthz").status, 200);
    drop(client);
    watched.stop();
}

#[test]
fn a_server_that_drains_is_healthy_and_not_ready() {
    let watched = Watched::start();
    let client = watched.connect();
    echo(&client, b"squawk");
    let ready = watched.get("/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready: the server listens\n"));
    watched.handle.drain();
    // The drain ends the connection from its side and then waits for this one.
    expect_end(&client);
    let draining = watched.get("/readyz");
    assert_eq!((draining.status, draining.body.as_str()), (503, "not ready: the server drains\n"));
    assert_eq!(watched.get("/healthz").status, 200);
    assert!(watched.get("/metrics").body.contains("\nparrot_draining 1\n"));
    drop(client);
    watched.stop();
}

#[test]
fn watching_does_not_wake_an_idle_server() {
    let watched = Watched::start();
    echo(&watched.connect(), b"squawk");
    wait_until("the connection has ended", || watched.handle.statistics().connections == 0);
    let before = watched.handle.statistics().turns;
    let samples = || {
        let statistics: serde_json::Value = serde_json::from_str(&watched.get("/statistics?history").body).unwrap();
        statistics["history"]["next"].as_u64().unwrap()
    };
    let first = samples();
    wait_until("two samples were taken", || samples() >= first + 2);
    assert_eq!(watched.get("/metrics").status, 200);
    assert_eq!(watched.get("/readyz").status, 200);
    assert_eq!(watched.handle.statistics().turns, before);
    assert_eq!(watched.get("/healthz").status, 200);
    assert!(watched.handle.statistics().turns > before, "health is asked of the loop");
    watched.stop();
}
