//! A queue in a queue.

use super::{
    differences::{Difference, testable},
    support::*,
};
use parrot_kqueue::{Change, Filter, Kqueue, Schedule, TimerId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
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
fn four_queues_in_a_row_report_to_each_other() {
    let queues = [(); 4].map(|()| queue());
    for nested in queues.windows(2) {
        apply(&nested[1], read(&nested[0]));
    }
    assert_quiet(&queues[3]);
    let waker = queues[0].waker(B).unwrap();
    waker.wake().unwrap();
    for queue in queues[1..].iter().rev() {
        assert_eq!(one(queue).token(), A);
    }
    assert_eq!(one(&queues[0]).token(), B);
    for queue in queues.iter() {
        assert!(reported(queue).is_empty());
    }
}

#[test]
fn a_fifth_queue_in_a_row_works_or_is_refused() {
    let queues = [(); 5].map(|()| queue());
    for nested in queues[..4].windows(2) {
        apply(&nested[1], read(&nested[0]));
    }
    if !testable(Difference::DeepQueues) {
        refused(&queues[4], read(&queues[3]), ErrorKind::Unsupported);
        return;
    }
    apply(&queues[4], read(&queues[3]));
    queues[0].waker(B).unwrap().wake().unwrap();
    assert_eq!(one(&queues[4]).token(), A);
}

#[test]
fn poll_finds_a_queue_readable_while_it_has_events() {
    let (queue, near, mut far) = queue_and_pair();
    apply(&queue, read(&near));
    assert!(!polled(&queue));
    far.write_all(b"squawk").unwrap();
    assert!(polled(&queue));
    assert_eq!(one(&queue).token(), A);
    drain(&near);
    assert!(reported(&queue).is_empty());
    assert!(!polled(&queue));
}

/// Whether poll(2) reports a queue as readable.
fn polled(queue: &Kqueue) -> bool {
    let mut polled = [PollFd::new(queue, PollFlags::IN)];
    let found = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
    assert_eq!(found == 1, polled[0].revents().contains(PollFlags::IN));
    found == 1
}

#[test]
fn a_queue_cannot_watch_itself() {
    let queue = queue();
    refused(&queue, Change::add_read(queue.as_fd(), A), ErrorKind::InvalidInput);
}
