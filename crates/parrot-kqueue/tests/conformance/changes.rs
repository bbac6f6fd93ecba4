//! Changes and their receipts.

use super::{
    differences::{Difference, here},
    support::*,
};
use parrot_kqueue::{
    Change, Events, Filter, ProcessEvents, ProcessId, Receipts, Schedule, Signal, Source, TimerId, Token, VnodeEvents,
};
use std::{
    io::{ErrorKind, Write},
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

const NOT_FOUND: Result<(), ErrorKind> = Err(ErrorKind::NotFound);

#[test]
fn no_change_is_no_receipt() {
    let receipts: Receipts = queue().apply(&[]);
    receipts.all().unwrap();
    assert_eq!(receipts.iter().count(), 0);
}

#[test]
fn every_change_of_what_is_not_there_is_not_found() {
    let (queue, near, _far) = queue_and_pair();
    let file = tempfile::tempfile().unwrap();
    let process = ProcessId::new(std::process::id()).unwrap();
    let sources = [
        Source::Read(near.as_fd()),
        Source::Write(near.as_fd()),
        Source::Vnode(file.as_fd()),
        Source::Timer(TimerId(1)),
        Source::Signal(Signal::WindowChange),
        Source::Process(process),
    ];
    for source in sources {
        let receipts = queue.apply(&[Change::delete(source), Change::enable(source), Change::disable(source)]);
        assert_eq!(kinds(&receipts), [NOT_FOUND; 3], "{source:?}");
    }
}

#[test]
fn an_error_of_one_change_does_not_hide_the_others() {
    let (queue, near, mut far) = queue_and_pair();
    let receipts = queue.apply(&[
        Change::delete(Source::Timer(TimerId(1))),
        read(&near),
        Change::add_timer(TimerId(2), Schedule::Every(Duration::ZERO), A),
        write(&near),
        Change::delete(Source::Timer(TimerId(3))),
    ]);
    assert_eq!(kinds(&receipts), [NOT_FOUND, Ok(()), Err(ErrorKind::InvalidInput), Ok(()), NOT_FOUND]);
    assert_eq!(receipts.all().unwrap_err().kind(), ErrorKind::NotFound);
    far.write_all(b"squawk").unwrap();
    let filters: Vec<_> = reported(&queue).iter().map(|event| event.filter()).collect();
    assert!(filters.contains(&Filter::Read) && filters.contains(&Filter::Write), "{filters:?}");
}

#[test]
fn each_of_a_thousand_changes_has_its_result_in_its_place() {
    let queue = queue();
    let changes: Vec<_> = (0..1000)
        .map(|index| match index % 5 {
            // Only 200, because OpenBSD allows 1,024 timers per process, and other tests have some.
            0 => Change::add_timer(TimerId(index), Schedule::After(Duration::from_secs(3600)), Token(index)),
            _ => Change::delete(Source::Timer(TimerId(index))),
        })
        .collect();
    let receipts = queue.apply(&changes);
    for (index, result) in kinds(&receipts).into_iter().enumerate() {
        assert_eq!(result, if index % 5 == 0 { Ok(()) } else { NOT_FOUND }, "change {index}");
    }
}

#[test]
fn changes_are_made_in_their_order() {
    let (queue, near, mut far) = queue_and_pair();
    far.write_all(b"squawk").unwrap();
    let source = Source::Read(near.as_fd());
    let receipts = queue.apply(&[
        read(&near),
        Change::delete(source),
        Change::delete(source),
        Change::add_read(near.as_fd(), B),
        Change::disable(source),
        Change::enable(source),
    ]);
    assert_eq!(kinds(&receipts), [Ok(()), Ok(()), NOT_FOUND, Ok(()), Ok(()), Ok(())]);
    assert_eq!(one(&queue).token(), B);
}

#[test]
fn applying_changes_neither_brings_nor_takes_events() {
    let (queue, near, mut far) = queue_and_pair();
    far.write_all(b"squawk").unwrap();
    apply(&queue, read(&near).edge());
    apply(&queue, Change::add_timer(TimerId(1), Schedule::After(Duration::from_secs(3600)), B));
    assert_eq!(one(&queue).token(), A);
}

#[test]
fn a_mode_on_a_change_that_is_no_add_is_refused() {
    let (queue, near, _far) = queue_and_pair();
    apply(&queue, read(&near));
    let source = Source::Read(near.as_fd());
    for change in [Change::enable(source).edge(), Change::delete(source).one_shot(), Change::disable(source).disabled()]
    {
        refused(&queue, change, ErrorKind::InvalidInput);
    }
    apply(&queue, Change::delete(source));
}

#[test]
fn one_shot_and_dispatch_exclude_each_other() {
    let (near, _far) = pair();
    refused(&queue(), read(&near).one_shot().dispatch(), ErrorKind::InvalidInput);
}

#[test]
fn an_edge_of_other_filters_is_refused() {
    let queue = queue();
    let file = tempfile::tempfile().unwrap();
    let process = ProcessId::new(std::process::id()).unwrap();
    let edges = [
        Change::add_timer(TimerId(1), Schedule::Every(Duration::from_secs(1)), A).edge(),
        Change::add_signal(Signal::WindowChange, A).edge(),
        Change::add_vnode(file.as_fd(), VnodeEvents::WRITE, A).edge(),
        Change::add_process(process, ProcessEvents::EXIT, A).edge(),
    ];
    assert_eq!(kinds(&queue.apply(&edges)), [Err(ErrorKind::InvalidInput); 4]);
}

#[test]
fn a_timer_that_fires_once_cannot_be_dispatched() {
    let change = Change::add_timer(TimerId(1), Schedule::After(Duration::from_secs(1)), A).dispatch();
    let refusal = refused(&queue(), change, ErrorKind::InvalidInput);
    assert!(refusal.contains("Every"), "{refusal}");
}

#[test]
fn everything_that_is_supported_can_be_added() {
    assert_eq!(VnodeEvents::SUPPORTED.contains(VnodeEvents::REVOKE), here(Difference::Revoke));
    assert_eq!(
        ProcessEvents::SUPPORTED.contains(ProcessEvents::FORK | ProcessEvents::EXEC),
        here(Difference::ForkAndExec)
    );
    let queue = queue();
    let file = tempfile::tempfile().unwrap();
    let mut child = std::process::Command::new("/bin/cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let process = ProcessId::of(&child).unwrap();
    let supported = [
        Change::add_vnode(file.as_fd(), VnodeEvents::SUPPORTED, A),
        Change::add_process(process, ProcessEvents::SUPPORTED, A),
    ];
    queue.apply(&supported).all().unwrap();
    if !here(Difference::Revoke) {
        let change = Change::add_vnode(file.as_fd(), VnodeEvents::all(), A);
        refused(&queue, change, ErrorKind::Unsupported);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_empty_set_of_events_is_refused() {
    let queue = queue();
    let file = tempfile::tempfile().unwrap();
    let process = ProcessId::new(std::process::id()).unwrap();
    let nothing = [
        Change::add_vnode(file.as_fd(), VnodeEvents::empty(), A),
        Change::add_process(process, ProcessEvents::empty(), A),
    ];
    assert_eq!(kinds(&queue.apply(&nothing)), [Err(ErrorKind::InvalidInput); 2]);
}

#[test]
fn tokens_come_back_unchanged() {
    let queue = queue();
    let mut events = Events::with_capacity(1);
    for token in [0, 1, usize::MAX / 2, usize::MAX / 2 + 1, usize::MAX - 1, usize::MAX] {
        apply(&queue, Change::add_timer(TimerId(token), Schedule::After(Duration::ZERO), Token(token)));
        assert_eq!(wait_with(&queue, &mut events)[0].token(), Token(token));
    }
}

#[test]
fn descriptor_zero_is_a_descriptor_like_any_other() {
    alone_with_input("changes::descriptor_zero_is_a_descriptor_like_any_other", b"squawk", || {
        let (queue, input) = (queue(), std::io::stdin());
        assert_eq!(input.as_raw_fd(), 0);
        apply(&queue, read(&input));
        let event = one(&queue);
        assert_eq!((event.token(), event.filter()), (A, Filter::Read));
        apply(&queue, Change::delete(Source::Read(input.as_fd())));
        assert_quiet(&queue);
    });
}
