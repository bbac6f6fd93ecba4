//! Faults that end connections, and ends that come in spite of a fault.

use std::time::Instant;

use parrot_testkit::client;
use parrot_testkit::parrot::number;
use parrot_testkit::wait_for;
use rustix::process::Signal;

use super::{Client, End, bytes, milliseconds, over_each, start};
use crate::support::{bare_parrot, scratch, spawn};

#[test]
fn limit_data_ends_with_the_last_byte_of_its_number() {
    over_each(&["limit-data=10KiB"], |connect| {
        let mut client = connect();
        client.send(bytes(30_000));
        let received = client.receive_all(Instant::now());
        assert!(received.bytes() == bytes(10 << 10), "{} bytes", received.bytes().len());
        assert_eq!(received.end, Some(End::Finished), "no reset, although input was left");
    });
}

#[test]
fn a_timeout_answers_nothing_and_ends() {
    over_each(&["timeout=300ms"], |connect| {
        let begin = Instant::now();
        let mut client = connect();
        client.send(b"squawk");
        let received = client.receive_all(begin);
        assert_eq!((received.pieces.len(), received.end), (0, Some(End::Finished)));
        assert!(received.ended >= milliseconds(300), "{received:?}");
    });
}

#[test]
fn a_timeout_holds_for_a_client_that_has_ended() {
    over_each(&["timeout=300ms"], |connect| {
        let begin = Instant::now();
        let mut client = connect();
        client.send(b"squawk");
        client.end();
        let received = client.receive_all(begin);
        assert_eq!((received.pieces.len(), received.end), (0, Some(End::Finished)));
        assert!(received.ended >= milliseconds(300), "{received:?}");
    });
}

#[test]
fn a_black_hole_takes_everything_and_never_ends() {
    let path = scratch("hole.sock");
    // The idle timeout shows that nothing else has ended it before.
    let parrot = start(&path, &["--idle-timeout", "400ms", "--fault", "timeout=0"]);
    for is_tcp in [true, false] {
        let mut client = if is_tcp { Client::tcp(parrot.address()) } else { Client::unix(&path) };
        // No socket holds as much.
        client.send(bytes(24 << 20));
        let begin = Instant::now();
        client.end();
        let received = client.receive_all(begin);
        assert_eq!(received.pieces.len(), 0);
        assert!(received.ended >= milliseconds(300), "{received:?}");
    }
    let summary = parrot.stop().unwrap();
    assert!(summary.contains("; 2 idle timeout"), "{summary}");
}

#[test]
fn a_lifetime_ends_a_connection_that_is_in_use() {
    over_each(&["lifetime=400ms"], |connect| {
        let begin = Instant::now();
        let mut client = connect();
        let mut rounds = 0;
        let ended = loop {
            client.send(b"squawk");
            let received = client.receive_up_to(6, begin);
            if let Some(end) = received.end {
                break (end, received.ended);
            }
            assert_eq!(received.bytes(), b"squawk");
            rounds += 1;
        };
        assert_eq!(ended.0, End::Finished);
        assert!(ended.1 >= milliseconds(400) && rounds > 1, "{rounds} rounds, then {ended:?}");
    });
}

/// A Unix socket knows no reset. When the server has received everything, its peer sees the end of the stream.
fn expect_reset(client: &Client, end: Option<End>) {
    assert_eq!(end, Some(if client.is_tcp() { End::Reset } else { End::Finished }));
}

#[test]
fn a_reset_comes_after_bytes_after_a_time_or_at_once() {
    over_each(&["reset=10KiB"], |connect| {
        let mut client = connect();
        client.send(bytes(30_000));
        let received = client.receive_all(Instant::now());
        if client.is_tcp() {
            // A reset may destroy what the client has not received yet.
            assert!(bytes(10 << 10).starts_with(&received.bytes()));
            expect_reset(&client, received.end);
        } else {
            // On Linux the end is a reset if bytes were unread (`unix_release_sock` in net/unix/af_unix.c).
            assert!(received.bytes() == bytes(10 << 10) && received.end.is_some(), "{:?}", received.end);
        }
    });
    over_each(&["reset=300ms"], |connect| {
        let begin = Instant::now();
        let mut client = connect();
        client.send(b"squawk");
        let received = client.receive_all(begin);
        assert_eq!(received.bytes(), b"squawk");
        assert!(received.ended >= milliseconds(300), "{received:?}");
        expect_reset(&client, received.end);
    });
    over_each(&["reset=0"], |connect| {
        let mut client = connect();
        let received = client.receive_all(Instant::now());
        assert_eq!(received.pieces.len(), 0);
        expect_reset(&client, received.end);
    });
}

#[test]
fn a_slow_close_answers_at_once_and_ends_late() {
    over_each(&["slow-close=300ms"], |connect| {
        let mut client = connect();
        client.send(b"squawk");
        let begin = Instant::now();
        client.end();
        let received = client.receive_all(begin);
        assert_eq!((received.bytes().as_slice(), received.end), (&b"squawk"[..], Some(End::Finished)));
        assert!(received.ended >= milliseconds(300), "{received:?}");
    });
}

#[test]
fn half_close_first_ends_before_the_client_and_still_listens() {
    over_each(&["half-close-first"], |connect| {
        let mut client = connect();
        client.send(b"squawk");
        let received = client.receive_all(Instant::now());
        assert_eq!((received.bytes().as_slice(), received.end), (&b"squawk"[..], Some(End::Finished)));
        // A server that had closed would answer these with a reset, and the second one would fail.
        client.send(bytes(8 << 20));
        client.send(bytes(8 << 20));
        assert!(matches!(client.receive(&mut [0]), Ok(0)));
    });
}

#[test]
fn the_first_connections_are_refused_and_no_others() {
    over_each(&["refuse=2"], |connect| {
        for _ in 0..2 {
            let mut client = connect();
            let received = client.receive_all(Instant::now());
            assert_eq!(received.pieces.len(), 0);
            expect_reset(&client, received.end);
        }
        let mut client = connect();
        client.send(b"squawk");
        assert_eq!(client.receive_up_to(6, Instant::now()).bytes(), b"squawk");
    });
}

#[test]
fn a_refused_connection_is_counted_as_no_accepted_one() {
    let path = scratch("counted.sock");
    let parrot = start(&path, &["--fault", "refuse=2"]);
    for _ in 0..2 {
        Client::tcp(parrot.address()).receive_all(Instant::now());
    }
    let summary = parrot.stop().unwrap();
    assert!(summary.contains(" 0 accepted, 0 refused; "), "{summary}");
    assert!(summary.contains("; 2 reset at once by fault refuse"), "{summary}");
}

#[test]
fn a_seed_chooses_the_same_connections_each_time() {
    use parrot_server::fault::{After, Fault, FaultPlan, FaultRule, Share};
    let rule = FaultRule { fault: Fault::Reset(After::Bytes(0)), probability: Share::from_percent(50).unwrap() };
    let plan = FaultPlan::new(1512, [rule]).unwrap();
    over_each(&["reset=0,probability=50%"], |connect| {
        for number in 1..=30 {
            let mut client = connect();
            client.end();
            let received = client.receive_all(Instant::now());
            match plan.connection(number).is_some() {
                true => expect_reset(&client, received.end),
                false => assert_eq!(received.end, Some(End::Finished), "connection {number}"),
            }
        }
    });
}

#[test]
fn a_drain_ends_a_stall_at_its_timeout_and_a_black_hole_at_once() {
    let path = scratch("drained.sock");
    let mut parrot = start(&path, &["--drain-timeout", "400ms", "--fault", "stall=0"]);
    let mut clients = [Client::tcp(parrot.address()), Client::unix(&path)];
    for client in &mut clients {
        client.send(b"squawk");
    }
    wait_for("both are accepted", || Ok((number(&parrot.handle().statistics()?, "accepted")? == 2).then_some(())))
        .unwrap();
    let begin = Instant::now();
    parrot.signal(Signal::TERM).unwrap();
    let summary = parrot.wait_for_summary().unwrap();
    assert!(begin.elapsed() >= milliseconds(400) && summary.contains("; 2 drain timeout"), "{summary}");

    let mut parrot = start(&path, &["--drain-timeout", "1h", "--fault", "timeout=0"]);
    let mut clients = [Client::tcp(parrot.address()), Client::unix(&path)];
    for client in &mut clients {
        client.send(b"squawk");
    }
    clients[1].end();
    wait_for("both are received", || Ok((number(&parrot.handle().statistics()?, "messages")? == 2).then_some(())))
        .unwrap();
    parrot.signal(Signal::TERM).unwrap();
    for mut client in clients {
        assert_eq!(client.receive_all(Instant::now()).end, Some(End::Finished));
    }
    let summary = parrot.wait_for_summary().unwrap();
    assert!(summary.contains("; 1 peer finished; 1 drained"), "{summary}");
}

#[test]
fn a_drain_sends_what_is_late() {
    let path = scratch("late.sock");
    let mut parrot = start(&path, &["--drain-timeout", "1h", "--fault", "latency=500ms"]);
    let mut client = Client::tcp(parrot.address());
    client.send(b"squawk");
    wait_for("it is received", || Ok((number(&parrot.handle().statistics()?, "messages")? == 1).then_some(())))
        .unwrap();
    parrot.signal(Signal::TERM).unwrap();
    let received = client.receive_all(Instant::now());
    assert_eq!((received.bytes().as_slice(), received.end), (&b"squawk"[..], Some(End::Finished)));
    drop(client);
    parrot.wait_for_summary().unwrap();
}

#[test]
fn a_second_signal_ends_a_stall_at_once() {
    let path = scratch("signalled.sock");
    let mut parrot = start(&path, &["--drain-timeout", "1h", "--fault", "stall=0"]);
    let mut client = Client::tcp(parrot.address());
    client.send(b"squawk");
    wait_for("it is accepted", || Ok((number(&parrot.handle().statistics()?, "accepted")? == 1).then_some(())))
        .unwrap();
    parrot.signal(Signal::TERM).unwrap();
    parrot.signal(Signal::INT).unwrap();
    assert!(parrot.wait().unwrap().code().is_some_and(|code| code > 128));
}

#[test]
fn an_idle_timeout_ends_a_stall_with_unread_input() {
    let path = scratch("idle.sock");
    let parrot = start(&path, &["--idle-timeout", "300ms", "--fault", "stall=0"]);
    for is_tcp in [true, false] {
        let begin = Instant::now();
        let mut client = if is_tcp { Client::tcp(parrot.address()) } else { Client::unix(&path) };
        client.send(b"squawk");
        let received = client.receive_all(begin);
        assert_eq!(received.pieces.len(), 0);
    }
    let summary = parrot.stop().unwrap();
    assert!(summary.contains("; 2 idle timeout"), "{summary}");
}

#[test]
fn a_peer_that_resets_a_stall_or_a_black_hole_is_found() {
    for (fault, ends_first) in [("stall=0", false), ("timeout=0", false), ("timeout=0", true)] {
        let path = scratch("gone.sock");
        let parrot = start(&path, &["--fault", fault]);
        let stream = parrot.connect();
        if ends_first {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        wait_for("it is accepted", || Ok((number(&parrot.handle().statistics()?, "accepted")? == 1).then_some(())))
            .unwrap();
        client::reset(stream).unwrap();
        let open = || number(&parrot.handle().statistics()?, "connections open");
        wait_for("it has ended", || Ok((open()? == 0).then_some(()))).unwrap();
        parrot.stop().unwrap();
    }
}

#[test]
fn a_proxy_header_is_read_in_spite_of_faults() {
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n";
    let start = |fault| {
        let places = ["--listen", "tcp:127.0.0.1:0,proxy", "--proxy-timeout", "300ms", "--log", "off"];
        spawn(bare_parrot(&places).args(["--greeting", "hi", "--fault", fault]))
    };
    let parrot = start("limit-data=9");
    let mut client = Client::tcp(parrot.address());
    client.send(&[&header[..], b"squawk"].concat());
    let received = client.receive_all(Instant::now());
    // A greeting counts as sent, and a header does not.
    assert_eq!((received.bytes().as_slice(), received.end), (&b"hi\nsquawk"[..], Some(End::Finished)));
    drop(client);
    parrot.stop().unwrap();

    let parrot = start("stall=0,for=700ms");
    let begin = Instant::now();
    let mut client = Client::tcp(parrot.address());
    client.send(&[&header[..], b"squawk"].concat());
    let received = client.receive_up_to(9, begin);
    assert_eq!(received.bytes(), b"hi\nsquawk", "no header was late");
    assert!(received.pieces[0].0 >= milliseconds(700), "{received:?}");
    drop(client);
    parrot.stop().unwrap();
}
