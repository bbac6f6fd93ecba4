//! Few descriptors serve some connections at once and all in turn, and too few end the start with advice.

use std::io::Write;
use std::net::TcpStream;

use parrot_testkit::client::{echo, expect, is_silent};
#[cfg(feature = "admin")]
use parrot_testkit::http::get;
use parrot_testkit::parrot::{Parrot, number};
use parrot_testkit::process::Process;
use parrot_testkit::program::{Ended, run};
use rustix::process::Signal;

use crate::support::{bare_parrot, has_ipv6, limited, parrot, skip, spawn};

#[test]
fn sixteen_descriptors_serve_all_connections_in_turn() {
    serves_all_in_turn(spawn(&mut limited("-n 16", &parrot(&["--log", "off"]))));
}

#[test]
fn sixteen_descriptors_suffice_for_a_log_and_two_listeners() {
    if !has_ipv6() {
        return skip("no IPv6 on this machine");
    }
    // The defaults, except that other machines cannot connect.
    let plain = bare_parrot(&["--port", "0", "--bind", "127.0.0.1", "--bind", "::1"]);
    serves_all_in_turn(spawn(&mut limited("-n 16", &plain)));
}

fn serves_all_in_turn(parrot: Parrot) {
    let warning = parrot.line("limit of descriptors").unwrap();
    let mut clients: Vec<TcpStream> = (0..20).map(|_| parrot.connect()).collect();
    for client in &mut clients {
        client.write_all(b"squawk").unwrap();
    }
    let fit = clients.iter().take_while(|client| !is_silent(client)).count();
    assert!((1..16).contains(&fit), "{fit} connections fit");
    assert_eq!(number(&warning, "connections").unwrap(), fit as u64, "{warning}");

    // Each that leaves makes room for one that waits.
    for client in clients {
        expect(&client, b"squawk");
    }
    assert!(parrot.stop().unwrap().contains("20 accepted"));
}

#[test]
fn too_few_descriptors_to_start_are_reported_with_advice() {
    // Native queues need fewer descriptors than those over epoll.
    let too_few = if cfg!(target_os = "linux") { &[5, 6, 8, 10][..] } else { &[5, 6] };
    for limit in too_few {
        let Ended { code, stderr, .. } = run(&mut limited(&format!("-n {limit}"), &parrot(&[])));
        assert_eq!(code, Some(1), "{limit}: {stderr}");
        assert!(stderr.ends_with("`ulimit -n 1024` a thousand\n"), "{limit}: {stderr}");
    }
}

#[test]
fn a_server_that_cannot_serve_prints_no_banner() {
    for limit in 5..16 {
        let plain = parrot(&["--log", "off", "--drain-timeout", "0s"]);
        let mut parrot = Process::spawn(&mut limited(&format!("-n {limit}"), &plain)).unwrap();
        let first = parrot.line("").unwrap();
        let listens = first.contains("listening on");
        if listens {
            parrot.signal(Signal::TERM).unwrap();
        }
        let code = if listens { 0 } else { 1 };
        assert_eq!(parrot.wait().unwrap().code(), Some(code), "{limit}: {first}");
    }
}

#[test]
#[cfg(feature = "admin")]
fn the_pages_are_served_when_descriptors_run_out() {
    let parrot = spawn(&mut limited("-n 24", &parrot(&["--log", "off", "--admin", "127.0.0.1:0"])));
    let pages = parrot.pages().unwrap();
    let clients: Vec<TcpStream> = (0..30).map(|_| parrot.connect()).collect();
    for mut client in &clients {
        client.write_all(b"squawk").unwrap();
    }
    assert!(is_silent(clients.last().unwrap()), "some wait for a descriptor");
    for _ in 0..3 {
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(get(pages, path).unwrap().status, 200, "{path}");
        }
        // The descriptor of the pages is not the server's. Both had time to take one while no client of the pages came.
        assert!((0..2).all(|_| is_silent(clients.last().unwrap())));
    }
    clients.into_iter().for_each(|client| expect(&client, b"squawk"));
    parrot.stop().unwrap();
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let parrot = spawn(&mut limited("-S -n 20", &parrot(&["--log", "off"])));
    let clients: Vec<TcpStream> = (0..50).map(|_| parrot.connect()).collect();
    for client in &clients {
        echo(client, b"squawk");
    }
}
