//! Clients that take up places and time.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::channel;

use parrot_server::Listen;
use parrot_testkit::PATIENCE;
use parrot_testkit::http::request;

use crate::support::{LOOPBACK, Watched};

/// How many connections the pages have at a time.
const PLACES: usize = 64;

/// Whether the other end has closed a connection. Waits for that.
fn ends(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match stream.read(&mut [0; 1024]) {
        Ok(n) => n == 0,
        Err(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
    }
}

#[test]
fn a_new_client_takes_the_place_of_the_oldest() {
    let watched = Watched::start();
    let silent: Vec<TcpStream> = (0..PLACES).map(|_| watched.connect_to_pages()).collect();
    // Slow ones have begun a request, which does not help them.
    for mut client in &silent {
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: loc").unwrap();
    }
    assert_eq!(watched.get("/readyz").status, 200);
    let mut others = Vec::new();
    for client in silent.iter().take(10) {
        others.push(watched.connect_to_pages());
        assert!(ends(client), "the oldest has to go");
    }
    // The newest has kept its place.
    let newest = silent.last().unwrap();
    assert_eq!(request(newest, "alhost\r\n\r\n").unwrap().status, 200);
    watched.stop();
}

#[test]
fn silent_clients_do_not_end_a_request() {
    let (go_on, held) = channel();
    let watched = Watched::listening_on(vec![Listen::tcp(LOOPBACK)], move |server| {
        held.recv().unwrap();
        server.run()
    });
    let asking = watched.connect_to_pages();
    // A server that does not run has a second to answer for its health.
    (&asking).write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let silent: Vec<TcpStream> = (0..PLACES + 6).map(|_| watched.connect_to_pages()).collect();
    assert!(silent.iter().take(6).all(ends), "the oldest of them have to go");
    assert_eq!(request(&asking, "").unwrap().status, 503);
    go_on.send(()).unwrap();
    watched.stop();
}

#[test]
fn a_client_that_sends_no_more_gets_its_response() {
    let watched = Watched::start();
    let client = watched.connect_to_pages();
    (&client).write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(request(&client, "").unwrap().status, 200);
    // Half a request gets none.
    let client = watched.connect_to_pages();
    (&client).write_all(b"GET /healthz HTTP/1.0\r\nHost: loc").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(ends(&client));
    watched.stop();
}

#[test]
fn a_client_that_sends_nothing_is_closed_in_time() {
    let watched = Watched::start();
    let (silent, slow) = (watched.connect_to_pages(), watched.connect_to_pages());
    (&slow).write_all(b"GET /").unwrap();
    assert!(ends(&silent));
    assert!(ends(&slow));
    watched.stop();
}

#[test]
fn a_head_without_end_is_cut_off() {
    let watched = Watched::start();
    let mut client = watched.connect_to_pages();
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ").unwrap();
    let mut sent = 0;
    let error = loop {
        match client.write(&[b'x'; 4096]) {
            Ok(n) => sent += n,
            Err(error) => break error,
        }
        assert!(sent < 64 << 20, "the pages take a head of {sent} bytes");
    };
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    assert_eq!(watched.get("/readyz").status, 200);
    watched.stop();
}

#[test]
fn a_connection_serves_one_request() {
    let watched = Watched::start();
    let client = watched.connect_to_pages();
    assert_eq!(request(&client, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap().status, 200);
    assert!(ends(&client));
    watched.stop();
}
