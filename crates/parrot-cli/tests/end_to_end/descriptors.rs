//! Few descriptors: served as far as they go, and everyone in turn; too few are told of with what to do.

use std::io::{BufRead as _, BufReader, Write};
use std::net::TcpStream;
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Parrot, bare_parrot, echo, expect, has_ipv6, is_silent, limited, number, parrot, skip};

#[test]
fn sixteen_descriptors_serve_some_at_once_and_everyone_in_turn() {
    serves_everyone_in_turn(Parrot::spawn(&mut limited("-n 16", &parrot(&["--log", "off"]))));
}

#[test]
fn sixteen_descriptors_are_enough_with_a_log_and_two_listeners() {
    if !has_ipv6() {
        return skip("no IPv6 on this machine");
    }
    // As by default, but for other machines.
    let plain = bare_parrot(&["--port", "0", "--bind", "127.0.0.1", "--bind", "::1"]);
    serves_everyone_in_turn(Parrot::spawn(&mut limited("-n 16", &plain)));
}

fn serves_everyone_in_turn(parrot: Parrot) {
    let warning = parrot.stderr_line("limit of descriptors");
    let mut clients: Vec<TcpStream> = (0..20).map(|_| parrot.connect()).collect();
    for client in &mut clients {
        client.write_all(b"squawk").unwrap();
    }
    let fit = clients.iter().take_while(|client| !is_silent(client)).count();
    assert!((1..16).contains(&fit), "{fit} connections fit");
    assert_eq!(number(&warning, "connections"), fit as u64, "{warning}");

    // Each that leaves makes room for one that waits.
    for client in clients {
        expect(&client, b"squawk");
    }
    assert!(parrot.stop().contains("20 accepted"));
}

#[test]
fn too_few_descriptors_to_start_are_told_of_with_what_to_do() {
    // Native queues need fewer descriptors than those over epoll.
    let too_few = if cfg!(target_os = "linux") { &[5, 6, 8, 10][..] } else { &[5, 6] };
    for limit in too_few {
        let mut command = limited(&format!("-n {limit}"), &parrot(&[]));
        let Output { status, stderr, .. } = command.stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{limit}: {stderr}");
        assert!(stderr.ends_with("`ulimit -n 1024` a thousand\n"), "{limit}: {stderr}");
    }
}

#[test]
fn who_cannot_serve_does_not_say_that_it_listens() {
    for limit in 5..16 {
        let mut command = limited(&format!("-n {limit}"), &parrot(&["--log", "off", "--drain-timeout", "0s"]));
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut first).unwrap();
        if first.contains("listening on") {
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(0), "{limit}");
        } else {
            assert_eq!(child.wait().unwrap().code(), Some(1), "{limit}: {first}");
        }
    }
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let parrot = Parrot::spawn(&mut limited("-S -n 20", &parrot(&["--log", "off"])));
    let clients: Vec<TcpStream> = (0..50).map(|_| parrot.connect()).collect();
    for client in &clients {
        echo(client, b"squawk");
    }
}
