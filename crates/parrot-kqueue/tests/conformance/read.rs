//! The Read filter.

use super::{
    differences::{Difference, here, testable},
    support::*,
};
use parrot_kqueue::{Change, Filter, Source, Token};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
};

#[test]
fn a_socket_without_bytes_is_not_reported() {
    let (queue, near, _far) = queue_and_pair();
    apply(&queue, read(&near));
    assert_quiet(&queue);
}

#[test]
fn bytes_are_reported_with_the_token_of_the_registration() {
    let (queue, near, mut far) = queue_and_pair();
    apply(&queue, Change::add_read(near.as_fd(), Token(usize::MAX / 3)));
    far.write_all(b"squawk").unwrap();
    let event = one(&queue);
    assert_eq!((event.token(), event.filter()), (Token(usize::MAX / 3), Filter::Read));
    assert!(!event.is_eof() && !event.is_error());
}

#[test]
fn bytes_that_were_there_before_the_registration_are_reported() {
    let (near, mut far) = pair();
    far.write_all(b"squawk").unwrap();
    let queue = watching(read(&near));
    assert_eq!(one(&queue).token(), A);
}

#[test]
fn a_level_is_reported_for_as_long_as_it_is_there() {
    let (mut near, mut far) = pair();
    let queue = watching(read(&near));
    far.write_all(b"ab").unwrap();
    assert_eq!(one(&queue).filter(), Filter::Read);
    near.read_exact(&mut [0]).unwrap();
    assert_eq!(one(&queue).filter(), Filter::Read);
    near.read_exact(&mut [0]).unwrap();
    assert_quiet(&queue);
}

#[test]
fn an_edge_is_reported_once() {
    let (queue, near, mut far) = queue_and_pair();
    apply(&queue, read(&near).edge());
    far.write_all(b"squawk").unwrap();
    assert_eq!(one(&queue).filter(), Filter::Read);
    assert_quiet(&queue);
}

#[test]
fn an_edge_is_reported_again_when_more_arrives() {
    let (queue, near, mut far) = queue_and_pair();
    apply(&queue, read(&near).edge());
    for _ in 0..3 {
        far.write_all(b"squawk").unwrap();
        assert_eq!(one(&queue).filter(), Filter::Read);
        assert_quiet(&queue);
    }
}

#[test]
fn a_one_shot_can_be_added_again() {
    let (queue, near, mut far) = queue_and_pair();
    far.write_all(b"squawk").unwrap();
    for token in [A, B, A] {
        apply(&queue, Change::add_read(near.as_fd(), token).one_shot());
        assert_once(&queue, token);
    }
}

#[test]
fn a_dispatched_registration_is_quiet_at_the_end_of_stream() {
    let (queue, near, mut far) = queue_and_pair();
    apply(&queue, read(&near).dispatch());
    far.write_all(b"squawk").unwrap();
    assert_eq!(one(&queue).token(), A);
    drop(far);
    assert_quiet(&queue);
    apply(&queue, Change::enable(Source::Read(near.as_fd())));
    assert!(one(&queue).is_eof());
}

#[test]
fn a_disabled_registration_does_not_report_a_hang_up_either() {
    let (queue, near, far) = queue_and_pair();
    apply(&queue, read(&near));
    apply(&queue, Change::disable(Source::Read(near.as_fd())));
    drop(far);
    assert_quiet(&queue);
}

#[test]
fn enabling_an_edge_reports_what_is_there() {
    let (queue, near, mut far) = queue_and_pair();
    apply(&queue, read(&near).edge());
    far.write_all(b"squawk").unwrap();
    assert_eq!(one(&queue).token(), A);
    apply(&queue, Change::disable(Source::Read(near.as_fd())));
    assert_quiet(&queue);
    apply(&queue, Change::enable(Source::Read(near.as_fd())));
    assert_once(&queue, A);
    far.write_all(b"more").unwrap();
    assert_eq!(one(&queue).token(), A);
}

#[test]
fn the_end_of_the_stream_is_reported() {
    let (queue, near, far) = queue_and_pair();
    apply(&queue, read(&near));
    drop(far);
    assert!(one(&queue).is_eof());
    assert_eq!((&near).read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn the_end_of_the_stream_is_a_hint_while_bytes_are_pending() {
    let (queue, near, mut far) = queue_and_pair();
    apply(&queue, read(&near));
    far.write_all(b"the tail").unwrap();
    drop(far);
    let event = one(&queue);
    assert!(event.is_eof());
    if here(Difference::Available) {
        assert_eq!(event.available(), Some(8));
    }
    let mut tail = Vec::new();
    (&near).read_to_end(&mut tail).unwrap();
    assert_eq!(tail, b"the tail");
}

#[test]
fn a_half_closed_peer_is_at_eof_and_can_be_written_to() {
    let (near, mut far) = tcp_pair();
    let queue = watching(read(&near));
    far.shutdown(Shutdown::Write).unwrap();
    assert!(until(&queue, |event| event.filter() == Filter::Read).is_eof());
    (&near).write_all(b"still here").unwrap();
    far.set_nonblocking(false).unwrap();
    let mut answer = [0; 10];
    far.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"still here");
}

#[test]
fn the_number_of_bytes_is_reported_or_absent() {
    let (queue, near, mut far) = queue_and_pair();
    apply(&queue, read(&near));
    far.write_all(&[7; 123]).unwrap();
    assert_eq!(one(&queue).available(), here(Difference::Available).then_some(123));
}

#[test]
fn a_pipe_is_reported_when_it_has_bytes_and_at_its_end() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let queue = watching(read(&reader));
    assert_quiet(&queue);
    writer.write_all(b"squawk").unwrap();
    let event = one(&queue);
    assert!(!event.is_eof());
    assert_eq!(event.available(), here(Difference::Available).then_some(6));
    reader.read_exact(&mut [0; 6]).unwrap();
    drop(writer);
    assert!(one(&queue).is_eof());
}

#[test]
fn a_listener_is_reported_while_connections_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let queue = watching(read(&listener));
    assert_quiet(&queue);
    let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
    for waiting in (1..=3).rev() {
        let event = until(&queue, |event| event.available().is_none_or(|available| available == waiting));
        assert_eq!(event.token(), A);
        listener.accept().unwrap();
    }
    assert_quiet(&queue);
    drop(clients);
}

#[test]
fn a_datagram_is_reported() {
    let near = UdpSocket::bind("127.0.0.1:0").unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    let queue = watching(read(&near));
    far.send_to(b"squawk", near.local_addr().unwrap()).unwrap();
    assert_eq!(one(&queue).filter(), Filter::Read);
    near.recv_from(&mut [0; 16]).unwrap();
    assert_quiet(&queue);
}

#[test]
fn adding_what_is_there_replaces_its_token() {
    let (queue, near, mut far) = queue_and_pair();
    apply(&queue, read(&near));
    apply(&queue, Change::add_read(near.as_fd(), B));
    far.write_all(b"squawk").unwrap();
    assert_eq!(one(&queue).token(), B);
}

#[test]
fn adding_what_is_there_replaces_its_mode() {
    let (queue, near, mut far) = queue_and_pair();
    far.write_all(b"squawk").unwrap();
    apply(&queue, read(&near).edge());
    assert_once(&queue, A);
    apply(&queue, read(&near));
    assert_eq!(one(&queue).token(), A);
    assert_eq!(one(&queue).token(), A);
    apply(&queue, read(&near).one_shot());
    assert_once(&queue, A);
}

#[test]
fn adding_what_is_disabled_enables_it() {
    let (queue, near, mut far) = queue_and_pair();
    far.write_all(b"squawk").unwrap();
    apply(&queue, read(&near).disabled());
    assert_quiet(&queue);
    apply(&queue, read(&near));
    assert_eq!(one(&queue).token(), A);
}

#[test]
fn a_token_survives_being_disabled_and_enabled() {
    let (queue, near, mut far) = queue_and_pair();
    apply(&queue, Change::add_read(near.as_fd(), Token(4711)));
    for _ in 0..3 {
        apply(&queue, Change::disable(Source::Read(near.as_fd())));
        apply(&queue, Change::enable(Source::Read(near.as_fd())));
    }
    far.write_all(b"squawk").unwrap();
    assert_eq!(one(&queue).token(), Token(4711));
}

#[test]
fn a_reset_is_reported_and_the_socket_has_the_error() {
    let (near, far) = tcp_pair();
    let queue = watching(read(&near));
    rustix::net::sockopt::set_socket_linger(&far, Some(std::time::Duration::ZERO)).unwrap();
    drop(far);
    let event = until(&queue, |event| event.is_eof() || event.is_error());
    if here(Difference::SocketError) {
        assert_eq!(event.socket_error().map(|error| error.kind()), Some(ErrorKind::ConnectionReset));
    } else {
        assert!(event.is_error() && event.socket_error().is_none());
    }
    assert_eq!(near.take_error().unwrap().map(|error| error.kind()), Some(ErrorKind::ConnectionReset));
}

#[test]
fn a_low_water_mark_delays_the_event_until_there_is_enough() {
    let (queue, near, mut far) = queue_and_pair();
    if !testable(Difference::LowWater) {
        let refusal = refused(&queue, read(&near).low_water(4), ErrorKind::Unsupported);
        assert!(refusal.contains("low-water"), "{refusal}");
        return;
    }
    apply(&queue, read(&near).low_water(4));
    far.write_all(b"abc").unwrap();
    assert_quiet(&queue);
    far.write_all(b"d").unwrap();
    assert_eq!(one(&queue).available(), Some(4));
}

#[test]
fn a_low_water_mark_survives_being_disabled_and_enabled() {
    if !testable(Difference::LowWater) {
        return;
    }
    let (queue, near, mut far) = queue_and_pair();
    apply(&queue, read(&near).low_water(4));
    apply(&queue, Change::disable(Source::Read(near.as_fd())));
    apply(&queue, Change::enable(Source::Read(near.as_fd())));
    far.write_all(b"abc").unwrap();
    assert_quiet(&queue);
    apply(&queue, read(&near));
    assert_eq!(one(&queue).available(), Some(3));
}

#[test]
fn a_regular_file_is_readable_or_refused() {
    let file = tempfile::tempfile().unwrap();
    (&file).write_all(b"squawk").unwrap();
    std::io::Seek::rewind(&mut &file).unwrap();
    let queue = queue();
    if testable(Difference::RegularFiles) {
        apply(&queue, read(&file));
        assert_eq!(one(&queue).available(), Some(6));
    } else {
        let refusal = refused(&queue, read(&file), ErrorKind::Unsupported);
        assert!(refusal.contains("add_vnode"), "{refusal}");
    }
}

#[test]
fn an_edge_at_the_end_of_the_stream_is_reported_once() {
    let (queue, near, far) = queue_and_pair();
    apply(&queue, read(&near).edge());
    drop(far);
    assert!(one(&queue).is_eof());
    assert_quiet(&queue);
    assert_eq!((&near).read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn bytes_left_after_an_edge_are_there_after_the_next() {
    let (mut near, mut far) = pair();
    let queue = watching(read(&near).edge());
    for _ in 0..3 {
        far.write_all(b"squawk").unwrap();
    }
    assert_eq!(one(&queue).available(), here(Difference::Available).then_some(18));
    near.read_exact(&mut [0; 5]).unwrap();
    far.write_all(b"!").unwrap();
    assert_eq!(one(&queue).available(), here(Difference::Available).then_some(14));
    assert_eq!(drain(&near), 14);
}
