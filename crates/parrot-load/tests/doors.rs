//! The load through other doors than plain TCP: Unix sockets, PROXY headers, and servers that greet first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use parrot_load::{Close, Failures, Length, Mark, Pace, Plan, ProxyVersion, Report, Stop, Target};
use parrot_testkit::PATIENCE;
use parrot_testkit::scripted::{echo, serve};
use proxy_header::{ParseConfig, ProxyHeader};
use tempfile::TempDir;

/// The timeout in tests whose server falls silent.
const SILENCE: Duration = Duration::from_secs(1);

/// A short closed loop of four connections.
fn plan(target: impl Into<Target>) -> Plan {
    Plan {
        connections: 4,
        warmup: Duration::ZERO,
        length: Length::Messages(200),
        timeout: PATIENCE,
        ..Plan::new(target)
    }
}

fn run(plan: &Plan) -> Report {
    parrot_load::run(plan, &Stop::default(), &mut ()).expect("the run takes place")
}

/// The error of a run that does not take place.
fn refused(plan: &Plan) -> String {
    parrot_load::run(plan, &Stop::default(), &mut ()).map(|report| report.to_string()).unwrap_err().to_string()
}

/// A Unix socket in a directory of its own, and its address.
fn unix_socket() -> (TempDir, UnixListener, UnixAddress) {
    let directory = tempfile::tempdir().unwrap();
    let address = UnixAddress::from_pathname(directory.path().join("parrot.sock")).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    (directory, listener, address)
}

/// Serves every connection to `listener` on a thread of its own.
fn serve_unix(listener: UnixListener, serve: impl Fn(UnixStream) -> io::Result<()> + Send + Copy + 'static) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
}

fn echo_unix(stream: UnixStream) -> io::Result<()> {
    io::copy(&mut &stream, &mut &stream).map(drop)
}

#[test]
fn a_unix_socket_takes_every_kind_of_load() {
    let (_directory, listener, address) = unix_socket();
    serve_unix(listener, echo_unix);
    for reconnect in [None, Some(Close::Finish.after(1)), Some(Close::Reset.after(1))] {
        for pace in [Pace::Closed, Pace::Rate(2000.0)] {
            for (size, threads, idle) in [(12, 1, 0), (100_000, 3, 5)] {
                let load = Plan { reconnect, pace, size, threads, idle, ..plan(address.clone()) };
                let report = run(&load);
                let case = format!("{load:?}: {report}");
                assert_eq!(
                    (report.failures, report.unsent, report.latency.count),
                    (Failures::default(), 0, 200),
                    "{case}"
                );
                assert!(report.load.target.starts_with("unix:/") && !report.marks.contains(&Mark::ConnectionsLost));
            }
        }
    }
}

#[test]
fn a_unix_server_that_changes_a_byte_is_caught() {
    let (_directory, listener, address) = unix_socket();
    serve_unix(listener, |mut stream| {
        let mut message = [0; 12];
        stream.read_exact(&mut message)?;
        message[7] ^= 1;
        stream.write_all(&message)?;
        echo_unix(stream)
    });
    assert_eq!(run(&plan(address)).failures.mismatch, 4);
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_is_a_target() {
    use std::os::linux::net::SocketAddrExt as _;

    let name = format!("parrot-load-{}", std::process::id());
    let address = UnixAddress::from_abstract_name(&name).unwrap();
    serve_unix(UnixListener::bind_addr(&address).unwrap(), echo_unix);
    let report = run(&plan(address));
    assert_eq!((report.failures, report.load.target), (Failures::default(), format!("unix:@{name}")));
}

#[test]
fn a_full_backlog_of_a_unix_server_is_waited_for() {
    let (_directory, listener, address) = unix_socket();
    rustix::net::listen(&listener, 1).unwrap();
    let (open, opened) = mpsc::channel();
    // The server accepts one connection at a time, each after the one before has been used.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            open.send(()).unwrap();
            thread::spawn(move || echo_unix(stream));
            thread::yield_now();
        }
    });
    for reconnect in [None, Some(Close::Reset.after(1))] {
        let report = run(&Plan { connections: 100, reconnect, ..plan(address.clone()) });
        assert_eq!((report.failures, report.messages), (Failures::default(), 200), "{report}");
    }
    assert!(opened.try_iter().count() >= 300);
}

#[test]
fn a_unix_server_that_never_accepts_is_reported() {
    if !cfg!(target_os = "linux") {
        return eprintln!("SKIPPED: elsewhere a full backlog looks as if nobody listened");
    }
    let (_directory, listener, address) = unix_socket();
    rustix::net::listen(&listener, 0).unwrap();
    let _fills_the_backlog = UnixStream::connect_addr(&address).unwrap();
    let error = refused(&Plan { timeout: SILENCE, ..plan(address) });
    assert!(error.contains("no answer within 1s") && error.contains("its backlog stays full"), "{error}");
}

#[test]
fn a_unix_socket_without_a_server_has_its_advice() {
    let (directory, listener, address) = unix_socket();
    let elsewhere = UnixAddress::from_pathname(directory.path().join("elsewhere")).unwrap();
    let file = UnixAddress::from_pathname("/etc/passwd").unwrap();
    drop(listener);
    for (target, advice) in [(address, "(Connection refused"), (elsewhere, "(No such file"), (file, "")] {
        let error = refused(&plan(target));
        assert!(error.contains("to unix:/") && error.contains(advice), "{error}");
        assert!(error.contains("is a server listening there?"), "{error}");
    }
    let datagrams = UnixAddress::from_pathname(directory.path().join("datagrams")).unwrap();
    let _socket = std::os::unix::net::UnixDatagram::bind_addr(&datagrams).unwrap();
    let error = refused(&plan(datagrams));
    assert!(error.contains("no stream socket"), "{error}");
}

/// What a PROXY header reports, the client's address and the server's, and the client's own address as the server sees it.
type Seen = (Option<(SocketAddr, SocketAddr)>, Option<SocketAddr>);

/// Reads a PROXY header, reports it, and echoes what follows it.
fn behind_proxy(mut stream: impl Read + Write, peer: Option<SocketAddr>, seen: &mpsc::Sender<Seen>) -> io::Result<()> {
    let mut buffer = Vec::new();
    let (addresses, length) = loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        buffer.extend(byte);
        if let Ok((header, length)) = ProxyHeader::parse(&buffer, ParseConfig::default()) {
            break (header.proxied_address().map(|address| (address.source, address.destination)), length);
        }
    };
    assert_eq!(length, buffer.len());
    seen.send((addresses, peer)).unwrap();
    let mut message = [0; 12];
    loop {
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
    }
}

#[test]
fn a_proxy_header_reports_the_connections_own_addresses() {
    for proxy in [ProxyVersion::V1, ProxyVersion::V2] {
        let (seen, headers): (_, Receiver<Seen>) = mpsc::channel();
        let address = serve(move |_, stream| {
            let peer = stream.peer_addr()?;
            behind_proxy(stream, Some(peer), &seen)
        });
        let kept = run(&Plan { proxy: Some(proxy), idle: 3, ..plan(address) });
        let each = run(&Plan { proxy: Some(proxy), reconnect: Some(Close::Reset.after(1)), ..plan(address) });
        assert_eq!([kept.failures, each.failures], [Failures::default(); 2], "{kept}\n{each}");
        let mut connections = 0;
        for (addresses, peer) in headers.try_iter() {
            assert_eq!(addresses, peer.map(|peer| (peer, address)), "{proxy:?}");
            connections += 1;
        }
        assert_eq!(connections, 4 + 3 + 200);
    }
}

#[test]
fn a_proxy_header_on_a_unix_socket_reports_no_address() {
    for proxy in [ProxyVersion::V1, ProxyVersion::V2] {
        let (_directory, listener, address) = unix_socket();
        let (seen, headers) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                thread::spawn(move || behind_proxy(stream, None, &seen));
            }
        });
        assert_eq!(run(&Plan { proxy: Some(proxy), ..plan(address) }).failures, Failures::default());
        assert_eq!(headers.try_iter().collect::<Vec<_>>(), [(None, None); 4], "{proxy:?}");
    }
}

#[test]
fn a_greeting_is_skipped_and_counted() {
    for line in ["\n", "parrot-7 says hello\n", &format!("{}\n", "x".repeat(4095))] {
        let greeting = line.to_owned();
        let address = serve(move |_, mut stream| {
            // In two pieces, so that the line is not complete at first.
            let (first, second) = greeting.split_at(greeting.len() / 2);
            stream.write_all(first.as_bytes())?;
            thread::yield_now();
            stream.write_all(second.as_bytes())?;
            echo(stream)
        });
        for (reconnect, greetings) in [(None, 4 + 3), (Some(Close::Reset.after(1)), 200 + 3)] {
            let report = run(&Plan { skip_greeting: true, idle: 3, reconnect, ..plan(address) });
            assert_eq!((report.failures, report.messages), (Failures::default(), 200), "{report}");
            assert_eq!(report.connecting.greetings, greetings, "{report}");
            assert!(report.to_string().contains(&format!("{greetings} skipped")), "{report}");
        }
        assert!(run(&plan(address)).failures.total() > 0, "a greeting that is not skipped is wrong bytes");
    }
}

#[test]
fn no_message_is_sent_before_the_greeting_is_complete() {
    let address = serve(|_, mut stream| {
        stream.write_all(b"hello")?;
        stream.set_read_timeout(Some(Duration::from_millis(50)))?;
        let early = stream.read(&mut [0]).is_ok();
        stream.set_read_timeout(None)?;
        stream.write_all(if early { b"\0" } else { b"\n" })?;
        echo(stream)
    });
    // With a connection for each message, the message is there before its connection.
    let (reconnect, length) = (Some(Close::Reset.after(1)), Length::Messages(8));
    let report = run(&Plan { skip_greeting: true, timeout: SILENCE, reconnect, length, ..plan(address) });
    assert_eq!(report.failures, Failures::default(), "{report}");
}

#[test]
fn a_server_that_does_not_greet_is_reported() {
    let silent = serve(|_, stream| echo(stream));
    // Closing with a PROXY header unread would be a reset.
    let leaving = serve(|_, mut stream| {
        stream.write_all(b"hello")?;
        stream.shutdown(Shutdown::Write)?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let endless = serve(|_, mut stream| {
        let hello = stream.write_all(&[b'x'; 10_000]);
        hello.and_then(|()| BufReader::new(stream).read_until(b'\n', &mut Vec::new()).map(drop))
    });
    for address in [silent, leaving, endless] {
        let error = refused(&Plan { skip_greeting: true, timeout: SILENCE, ..plan(address) });
        assert!(error.contains("no greeting came first"), "{error}");
        assert!(error.contains("leave out --skip-greeting") && error.contains("add --proxy-protocol v2"), "{error}");
    }
    let proxied = Plan { skip_greeting: true, proxy: Some(ProxyVersion::V2), timeout: SILENCE, ..plan(leaving) };
    let error = refused(&proxied);
    assert!(error.contains("leave out --skip-greeting") && !error.contains("--proxy-protocol"), "{error}");
    let sometimes = serve(|number, mut stream| {
        if number > 0 {
            stream.write_all(b"hello\n")?;
        }
        echo(stream)
    });
    let report = run(&Plan { skip_greeting: true, timeout: SILENCE, ..plan(sometimes) });
    assert_eq!((report.failures.greeting, report.failures.total()), (1, 1), "{report}");
}

#[test]
fn bytes_behind_the_greeting_were_not_asked_for() {
    let address = serve(|number, mut stream| {
        stream.write_all(if number == 0 { b"hello\nmore" } else { b"hello\n" })?;
        echo(stream)
    });
    let report = run(&Plan { skip_greeting: true, ..plan(address) });
    assert_eq!((report.failures.unasked, report.failures.total()), (1, 1), "{report}");
}
