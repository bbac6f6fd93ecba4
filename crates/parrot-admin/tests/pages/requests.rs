//! What is asked for, how, and in whose name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use parrot_admin::Admin;
use parrot_server::{Config, Listen, Server};
use parrot_testkit::client;
use parrot_testkit::http::request;

use crate::support::{LOOPBACK, Watched, program};

const PATHS: [&str; 5] = ["/", "/metrics", "/healthz", "/readyz", "/statistics"];

impl Watched {
    /// A connection to the pages.
    #[track_caller]
    pub fn connect_to_pages(&self) -> TcpStream {
        client::connect(self.pages)
    }
}

#[test]
fn every_page_is_read_only() {
    let watched = Watched::start();
    for path in PATHS {
        let ask = |method: &str| {
            let text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
            request(watched.connect_to_pages(), &text).unwrap()
        };
        let got = ask("GET");
        assert_eq!((got.status, got.body.is_empty()), (200, false), "{path}");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "SQUAWK"] {
            let refused = ask(method);
            assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    let missing = watched.get("/nothing");
    assert!(missing.status == 404 && missing.body.contains("/statistics"), "{missing:?}");
    watched.stop();
}

#[test]
fn head_has_the_headers_and_no_body() {
    use std::io::{Read as _, Write as _};
    let watched = Watched::start();
    let mut stream = watched.connect_to_pages();
    stream.write_all(b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\n"), "{response}");
    assert!(response.contains("content-length: ") && response.contains("content-type: text/plain"), "{response}");
    watched.stop();
}

#[test]
fn a_foreign_name_for_this_machine_is_refused() {
    let watched = Watched::start();
    let status = |head: &str| request(watched.connect_to_pages(), &format!("{head}\r\n\r\n")).unwrap().status;
    for path in PATHS {
        assert_eq!(status(&format!("GET {path} HTTP/1.1\r\nHost: rebound.example:9512")), 421, "{path}");
    }
    assert_eq!(status("GET / HTTP/1.1\r\nHost: localhost:1"), 200);
    assert_eq!(status("GET / HTTP/1.1\r\nHost: [::1]"), 200);
    assert_eq!(status("GET / HTTP/1.1"), 400);
    assert_eq!(status("GET / HTTP/1.0"), 200);
    assert_eq!(status("GET http://rebound.example/ HTTP/1.1\r\nHost: localhost"), 421);
    watched.stop();
}

/// The status of a request with a foreign name that comes to this address of pages that listen on every address.
fn status_of_foreign_name(address: IpAddr) -> u16 {
    let server = Server::bind(Config { listen: vec![Listen::tcp(LOOPBACK)], ..Config::default() }).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let pages = SocketAddr::new(address, listener.local_addr().unwrap().port());
    let _admin = Admin::start(listener, server.handle(), program()).unwrap();
    request(client::connect(pages), "GET /readyz HTTP/1.1\r\nHost: parrot.example\r\n\r\n").unwrap().status
}

#[test]
fn the_name_matters_where_the_client_has_come() {
    // The server does not run yet.
    assert_eq!(status_of_foreign_name(LOOPBACK.ip()), 421);
    parrot_testkit::network::alone(&["ip address add 192.0.2.1/32 dev lo"], || {
        assert_eq!(status_of_foreign_name([192, 0, 2, 1].into()), 503);
    });
}

#[test]
fn a_unix_socket_takes_any_name() {
    let server = Server::bind(Config { listen: vec![Listen::tcp(LOOPBACK)], ..Config::default() }).unwrap();
    let handle = server.handle();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pages.sock");
    let admin = Admin::start(UnixListener::bind(&path).unwrap(), server.handle(), program()).unwrap();
    let thread = thread::spawn(move || server.run());
    let ask = |path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: parrot\r\n\r\n");
        request(UnixStream::connect(directory.path().join("pages.sock")).unwrap(), &head).unwrap()
    };
    for path in PATHS {
        assert_eq!(ask(path).status, 200, "{path}");
    }
    handle.drain();
    thread.join().unwrap().unwrap();
    // The pages outlive the server, and end with their value.
    for path in ["/healthz", "/readyz"] {
        let response = ask(path);
        assert!(response.status == 503 && response.body.contains("has ended"), "{path}: {response:?}");
    }
    drop(admin);
    assert!(UnixStream::connect(&path).is_err());
}

#[test]
fn no_page_can_load_or_be_loaded_by_others() {
    let watched = Watched::start();
    for path in PATHS {
        let response = watched.get(path);
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("connection", "close"),
        ] {
            assert_eq!(response.header(name), Some(value), "{path}: {name}");
        }
        assert_eq!(response.header("access-control-allow-origin"), None);
    }
    watched.stop();
}
