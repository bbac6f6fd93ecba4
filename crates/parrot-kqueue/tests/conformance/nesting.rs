//! A queue in a queue.

use super::support::*;
use parrot_kqueue::{Change, Filter, Schedule, TimerId};
use std::{
    io::{ErrorKind, Write},
    os::fd::AsFd,
    time::Duration,
};

#[test]
fn a_queue_is_readable_while_it_has_events() {
    let (inner, outer) = (queue(), queue());
    let (near, mut far) = pair();
    apply(&inner, read(&near));
    apply(&outer, Change::add_read(inner.as_fd(), B));
    assert_quiet(&outer);
    far.write_all(b"squawk").unwrap();
    assert_eq!((one(&outer).token(), one(&inner).token()), (B, A));
    drain(&near);
    assert!(reported(&inner).is_empty());
    assert_quiet(&outer);
}

#[test]
fn room_for_a_write_makes_a_queue_readable_as_well() {
    let (inner, outer) = (queue(), queue());
    let (near, far) = pair();
    fill(&near);
    apply(&inner, write(&near));
    apply(&outer, Change::add_read(inner.as_fd(), A));
    assert_quiet(&outer);
    drain(&far);
    assert_eq!(one(&outer).token(), A);
    assert_eq!(one(&inner).filter(), Filter::Write);
}

#[test]
fn a_timer_makes_its_queue_readable() {
    let (inner, outer) = (queue(), queue());
    apply(&outer, Change::add_read(inner.as_fd(), B));
    apply(&inner, Change::add_timer(TimerId(1), Schedule::After(Duration::from_millis(20)), A));
    assert_eq!(one(&outer).token(), B);
    assert_eq!(one(&inner).token(), A);
    assert_quiet(&outer);
}

#[test]
fn a_waker_makes_its_queue_readable() {
    let (inner, outer) = (queue(), queue());
    apply(&outer, Change::add_read(inner.as_fd(), B));
    let waker = inner.waker(A).unwrap();
    std::thread::spawn(move || waker.wake()).join().unwrap().unwrap();
    assert_eq!(one(&outer).token(), B);
    assert_eq!(one(&inner).token(), A);
}

#[test]
fn a_queue_cannot_watch_itself() {
    let queue = queue();
    assert_eq!(refusal(&queue, Change::add_read(queue.as_fd(), A)).kind(), ErrorKind::InvalidInput);
}
