//! The Write filter.

use super::{
    differences::{Difference, here, testable},
    support::*,
};
use parrot_kqueue::{Change, Filter, Source};
use std::{
    io::{ErrorKind, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
};

#[test]
fn a_fresh_socket_has_room() {
    let (queue, near, _far) = queue_and_pair();
    apply(&queue, write(&near));
    let event = one(&queue);
    assert_eq!((event.token(), event.filter()), (B, Filter::Write));
    assert!(!event.is_eof() && !event.is_error());
}

#[test]
fn a_full_socket_is_not_reported_until_its_peer_reads() {
    let (near, far) = pair();
    fill(&near);
    let queue = watching(write(&near));
    assert_quiet(&queue);
    drain(&far);
    assert_eq!(one(&queue).token(), B);
}

#[test]
fn room_is_reported_for_as_long_as_it_is_there() {
    let (queue, near, _far) = queue_and_pair();
    apply(&queue, write(&near));
    assert_eq!(one(&queue).filter(), Filter::Write);
    assert_eq!(one(&queue).filter(), Filter::Write);
    fill(&near);
    assert_quiet(&queue);
}

#[test]
fn an_edge_of_room_is_reported_once_until_the_socket_fills() {
    let (queue, near, far) = queue_and_pair();
    apply(&queue, write(&near).edge());
    assert_eq!(one(&queue).filter(), Filter::Write);
    assert_quiet(&queue);
    fill(&near);
    reported(&queue);
    drain(&far);
    assert_eq!(one(&queue).filter(), Filter::Write);
}

#[test]
fn both_directions_of_a_socket_are_two_events_with_two_tokens() {
    let (queue, near, mut far) = queue_and_pair();
    queue.apply(&[read(&near), write(&near)]).all().unwrap();
    far.write_all(b"squawk").unwrap();
    let events = reported(&queue);
    assert!(events.iter().any(|event| (event.token(), event.filter()) == (A, Filter::Read)), "{events:?}");
    assert!(events.iter().any(|event| (event.token(), event.filter()) == (B, Filter::Write)), "{events:?}");
}

#[test]
fn a_one_shot_in_one_direction_leaves_the_other_as_it_is() {
    let (queue, near, mut far) = queue_and_pair();
    queue.apply(&[read(&near), write(&near).one_shot()]).all().unwrap();
    assert_eq!(one(&queue).filter(), Filter::Write);
    far.write_all(b"squawk").unwrap();
    for _ in 0..3 {
        assert_eq!(one(&queue).filter(), Filter::Read);
    }
    queue.apply(&[read(&near).one_shot(), write(&near)]).all().unwrap();
    until(&queue, |event| event.filter() == Filter::Read);
    let events = reported(&queue);
    assert!(events.iter().all(|event| event.filter() == Filter::Write) && !events.is_empty(), "{events:?}");
}

#[test]
fn each_direction_keeps_its_own_mode() {
    let (queue, near, mut far) = queue_and_pair();
    queue.apply(&[read(&near).edge(), write(&near)]).all().unwrap();
    far.write_all(b"squawk").unwrap();
    until(&queue, |event| event.filter() == Filter::Read);
    let events = [wait(&queue), wait(&queue), wait(&queue)].concat();
    assert!(events.iter().all(|event| event.filter() == Filter::Write), "{events:?}");
}

#[test]
fn deleting_one_direction_leaves_the_other() {
    let (queue, near, mut far) = queue_and_pair();
    queue.apply(&[read(&near), write(&near)]).all().unwrap();
    apply(&queue, Change::delete(Source::Write(near.as_fd())));
    far.write_all(b"squawk").unwrap();
    assert_eq!(one(&queue).filter(), Filter::Read);
    assert_not_found(&queue, Source::Write(near.as_fd()));
    apply(&queue, Change::delete(Source::Read(near.as_fd())));
    assert_quiet(&queue);
}

#[test]
fn a_pipe_without_a_reader_is_reported_to_its_writer() {
    let (reader, writer) = std::io::pipe().unwrap();
    let queue = watching(write(&writer));
    assert!(!one(&queue).is_eof());
    drop(reader);
    let event = one(&queue);
    assert_eq!(event.is_eof(), here(Difference::BrokenPipeIsEof));
    assert!(event.is_eof() || event.is_error());
    if testable(Difference::BrokenPipeStays) {
        assert_eq!(one(&queue).token(), B);
    }
}

#[test]
fn a_pipe_without_a_reader_can_be_added_or_is_refused() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let queue = queue();
    match queue.apply(&[write(&writer)]).all() {
        Ok(()) => {
            let event = one(&queue);
            assert!(event.is_eof() || event.is_error());
        }
        Err(error) => {
            assert!(here(Difference::BrokenPipeRefused), "{error}");
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert_quiet(&queue);
        }
    }
}

#[test]
fn a_socket_whose_peer_is_gone_is_reported_at_its_end() {
    let (near, far) = pair();
    fill(&near);
    let queue = watching(write(&near));
    assert_quiet(&queue);
    drop(far);
    assert!(one(&queue).is_eof());
}

#[test]
fn a_connection_that_was_made_is_reported_as_room() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = unconnected();
    let address = listener.local_addr().unwrap();
    let std::net::SocketAddr::V4(address) = address else { panic!("asked for IPv4") };
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(errno) => panic!("{errno}"),
    }
    let queue = watching(write(&socket));
    let event = one(&queue);
    assert!(!event.is_error() && !event.is_eof(), "{event:?}");
    assert!(rustix::net::getpeername(&socket).is_ok());
}

#[test]
fn a_connection_that_was_refused_is_reported_in_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("asked for IPv4") };
    drop(listener);
    let socket = unconnected();
    let queue = queue();
    match rustix::net::connect(&socket, &address) {
        Err(rustix::io::Errno::INPROGRESS) => {
            apply(&queue, write(&socket));
            let event = one(&queue);
            assert!(event.is_error() || event.is_eof(), "{event:?}");
            let refused = rustix::net::sockopt::socket_error(&socket).unwrap();
            assert_eq!(refused, Err(rustix::io::Errno::CONNREFUSED));
        }
        // On loopback, some systems refuse before connect returns.
        connected => assert_eq!(connected, Err(rustix::io::Errno::CONNREFUSED)),
    }
}

fn unconnected() -> std::os::fd::OwnedFd {
    use rustix::net::{AddressFamily, SocketType, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::io::ioctl_fionbio(&socket, true).unwrap();
    socket
}

#[test]
fn a_low_water_mark_of_room_delays_the_event() {
    if !testable(Difference::LowWater) {
        let (near, _far) = pair();
        refused(&queue(), write(&near).low_water(4), ErrorKind::Unsupported);
        return;
    }
    let (near, _far) = tcp_pair();
    let queue = watching(write(&near));
    let room = one(&queue).available().unwrap();
    fill(&near);
    apply(&queue, write(&near).low_water(usize::try_from(room).unwrap()));
    assert_quiet(&queue);
}

#[test]
fn the_amount_of_room_is_reported_or_absent() {
    let (near, _far) = tcp_pair();
    let queue = watching(write(&near));
    assert_eq!(one(&queue).available().is_some_and(|room| room > 0), here(Difference::Available));
}

#[test]
fn a_datagram_socket_has_room() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let queue = watching(write(&socket));
    for _ in 0..2 {
        let event = one(&queue);
        assert_eq!((event.token(), event.filter(), event.is_eof()), (B, Filter::Write, false));
    }
    apply(&queue, write(&socket).edge());
    assert_once(&queue, B);
}

#[test]
fn a_listener_has_no_room() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let queue = watching(write(&listener));
    assert_quiet(&queue);
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_quiet(&queue);
}
