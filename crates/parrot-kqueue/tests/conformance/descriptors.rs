//! Descriptors of several kinds, in several queues, closed, duplicated and reused.

use super::{
    differences::{Difference, here},
    support::*,
};
use parrot_kqueue::{Change, Events, Filter, Source};
use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
};

#[test]
fn two_queues_watch_one_descriptor_each_with_its_own_token() {
    let (near, mut far) = pair();
    let (first, second) = (queue(), queue());
    apply(&first, Change::add_read(near.as_fd(), A));
    apply(&second, Change::add_read(near.as_fd(), B));
    far.write_all(b"squawk").unwrap();
    assert_eq!((one(&first).token(), one(&second).token()), (A, B));
    apply(&first, Change::delete(Source::Read(near.as_fd())));
    assert_quiet(&first);
    assert_eq!(one(&second).token(), B);
}

#[test]
fn two_queues_wait_for_room_in_one_descriptor() {
    let (near, far) = pair();
    fill(&near);
    let (first, second) = (queue(), queue());
    apply(&first, Change::add_write(near.as_fd(), A));
    apply(&second, Change::add_write(near.as_fd(), B).one_shot());
    assert_quiet(&first);
    assert_quiet(&second);
    drain(&far);
    assert_eq!((one(&first).token(), one(&second).token()), (A, B));
    assert_quiet(&second);
    assert_eq!(one(&first).token(), A);
}

#[test]
fn a_terminal_is_reported_at_both_of_its_ends() {
    let pty = nix::pty::openpty(None, None).unwrap();
    let (near, far) = (File::from(pty.master), File::from(pty.slave));
    let queue = queue();
    queue.apply(&[read(&near), Change::add_read(far.as_fd(), B), write(&near).disabled()]).all().unwrap();
    assert_quiet(&queue);
    // A line, because a terminal passes on whole lines.
    (&near).write_all(b"squawk\n").unwrap();
    assert_eq!(until(&queue, |event| event.token() == B).filter(), Filter::Read);
    assert_eq!((&far).read(&mut [0; 16]).unwrap(), 7);
    // The terminal echoes the line.
    assert_eq!(until(&queue, |event| event.token() == A).filter(), Filter::Read);
    assert!((&near).read(&mut [0; 16]).unwrap() > 0);
    apply(&queue, Change::enable(Source::Write(near.as_fd())));
    until(&queue, |event| event.filter() == Filter::Write);
}

#[cfg(target_os = "linux")]
#[test]
fn an_eventfd_is_reported_when_it_counts_and_has_room() {
    use rustix::event::{EventfdFlags, eventfd};
    let counter = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let queue = queue();
    queue.apply(&[read(&counter), write(&counter).one_shot()]).all().unwrap();
    assert_eq!(one(&queue).filter(), Filter::Write);
    assert_quiet(&queue);
    rustix::io::write(&counter, &7u64.to_ne_bytes()).unwrap();
    assert_eq!(one(&queue).filter(), Filter::Read);
    // Now it is full and has no room until it is read.
    rustix::io::write(&counter, &(u64::MAX - 8).to_ne_bytes()).unwrap();
    apply(&queue, write(&counter));
    assert_eq!(one(&queue).filter(), Filter::Read);
    rustix::io::read(&counter, &mut [0; 8]).unwrap();
    assert_eq!(one(&queue).filter(), Filter::Write);
}

#[test]
fn closing_a_descriptor_ends_its_registration() {
    let (queue, near, far) = queue_and_pair();
    apply(&queue, read(&near));
    drop(near);
    drop(far);
    assert_quiet(&queue);
}

#[test]
fn a_reused_number_starts_without_a_registration() {
    let (queue, near, far) = queue_and_pair();
    apply(&queue, read(&near).edge());
    drop((near, far));
    let (near, mut far) = pair();
    far.write_all(b"squawk").unwrap();
    assert_quiet(&queue);
    apply(&queue, Change::add_read(near.as_fd(), B));
    assert_eq!(one(&queue).token(), B);
    assert_eq!(one(&queue).token(), B);
}

#[test]
fn events_of_a_closed_descriptor_are_dropped_and_counted() {
    alone("descriptors::events_of_a_closed_descriptor_are_dropped_and_counted", || {
        let (queue, near, mut far) = queue_and_pair();
        let duplicate = near.try_clone().unwrap();
        apply(&queue, read(&near));
        let number = near.as_raw_fd();
        drop(near);
        // Another descriptor gets the number and is registered under it.
        let (other, _other_far) = pair_with_number(number);
        apply(&queue, Change::add_read(other.as_fd(), B));
        far.write_all(b"squawk").unwrap();
        let mut events = Events::with_capacity(8);
        queue.wait(&mut events, Some(std::time::Duration::ZERO)).unwrap();
        assert!(events.is_empty(), "{events:?}");
        assert_eq!(queue.stale_events() > 0, here(Difference::StaleEvents));
        drop(duplicate);
        assert_quiet(&queue);
    });
}

/// A pair with a near end of this number, which is reached by opening pairs.
fn pair_with_number(number: i32) -> (UnixStream, UnixStream) {
    let mut others = Vec::new();
    for _ in 0..1000 {
        let (near, far) = pair();
        match (near.as_raw_fd(), far.as_raw_fd()) {
            (near_number, _) if near_number == number => return (near, far),
            (_, far_number) if far_number == number => return (far, near),
            _ => others.push((near, far)),
        }
    }
    panic!("no new descriptor got the number {number}");
}
