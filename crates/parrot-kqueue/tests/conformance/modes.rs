//! The contracts that most filters share: modes, disabling, deleting and adding again.
//!
//! A new filter needs a kind of sample, and its name in the list at the end.

use super::{
    process::{child, go, until_ended},
    signal::{guarded, post},
    support::*,
};
use parrot_kqueue::{Change, Kqueue, ProcessEvents, ProcessId, Schedule, Signal, Source, TimerId, Token, VnodeEvents};
use std::{
    fs::File,
    io::{ErrorKind, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    process::Child,
    time::Duration,
};

/// Something to watch that can be made to happen.
enum Sample {
    /// The watched end of a socket, and its peer.
    Read(UnixStream, UnixStream),
    /// The same, which has room from the start.
    Write(UnixStream, UnixStream),
    Signal,
    Vnode(File),
    /// A child that ends once.
    Process(Child),
    /// A timer of 5 ms.
    Timer,
}

impl Sample {
    fn of(filter: &str) -> Self {
        let (near, far) = pair();
        match filter {
            "read" => Sample::Read(near, far),
            "write" => Sample::Write(near, far),
            "signal" => Sample::Signal,
            "vnode" => Sample::Vnode(tempfile::tempfile().unwrap()),
            "process" => Sample::Process(child("exit 0")),
            "timer" => Sample::Timer,
            other => panic!("{other} has no sample"),
        }
    }

    fn add(&self, token: Token) -> Change<'_> {
        match self {
            Sample::Read(near, _) => Change::add_read(near.as_fd(), token),
            Sample::Write(near, _) => Change::add_write(near.as_fd(), token),
            Sample::Signal => Change::add_signal(Signal::User1, token),
            Sample::Vnode(file) => Change::add_vnode(file.as_fd(), VnodeEvents::WRITE, token),
            Sample::Process(child) => Change::add_process(ProcessId::of(child).unwrap(), ProcessEvents::EXIT, token),
            Sample::Timer => Change::add_timer(TimerId(1), Schedule::Every(Duration::from_millis(5)), token),
        }
    }

    fn source(&self) -> Source<'_> {
        match self {
            Sample::Read(near, _) => Source::Read(near.as_fd()),
            Sample::Write(near, _) => Source::Write(near.as_fd()),
            Sample::Signal => Source::Signal(Signal::User1),
            Sample::Vnode(file) => Source::Vnode(file.as_fd()),
            Sample::Process(child) => Source::Process(ProcessId::of(child).unwrap()),
            Sample::Timer => Source::Timer(TimerId(1)),
        }
    }

    fn happen(&mut self) {
        match self {
            Sample::Read(_, far) => far.write_all(b"squawk").unwrap(),
            Sample::Write(_, far) => _ = drain(far),
            Sample::Signal => post(Signal::User1),
            Sample::Vnode(file) => file.write_all(b"more").unwrap(),
            Sample::Process(child) => {
                go(child);
                until_ended(child);
            }
            Sample::Timer => {
                let clock = watching(Change::add_timer(TimerId(1), Schedule::After(Duration::from_millis(40)), B));
                one(&clock);
            }
        }
    }
}

fn a_one_shot_is_gone_with_its_event(queue: &Kqueue, sample: &mut Sample) {
    apply(queue, sample.add(A).one_shot());
    sample.happen();
    assert_once(queue, A);
    sample.happen();
    assert_quiet(queue);
    refused(queue, Change::enable(sample.source()), ErrorKind::NotFound);
    assert_not_found(queue, sample.source());
}

fn a_dispatched_one_waits_until_it_is_enabled(queue: &Kqueue, sample: &mut Sample) {
    apply(queue, sample.add(A).dispatch());
    for _ in 0..3 {
        sample.happen();
        assert_once(queue, A);
        sample.happen();
        assert_quiet(queue);
        apply(queue, Change::enable(sample.source()));
    }
}

fn one_added_disabled_waits_until_it_is_enabled(queue: &Kqueue, sample: &mut Sample) {
    apply(queue, sample.add(A).disabled());
    sample.happen();
    assert_quiet(queue);
    apply(queue, Change::enable(sample.source()));
    assert_eq!(one(queue).token(), A);
}

fn a_disabled_one_waits_until_it_is_enabled(queue: &Kqueue, sample: &mut Sample) {
    apply(queue, sample.add(A));
    apply(queue, Change::disable(sample.source()));
    sample.happen();
    assert_quiet(queue);
    apply(queue, Change::enable(sample.source()));
    assert_eq!(one(queue).token(), A);
}

fn a_deleted_one_is_not_reported(queue: &Kqueue, sample: &mut Sample) {
    apply(queue, sample.add(A));
    apply(queue, Change::delete(sample.source()));
    sample.happen();
    assert_quiet(queue);
}

fn one_added_again_has_its_new_token(queue: &Kqueue, sample: &mut Sample) {
    apply(queue, sample.add(A).disabled());
    apply(queue, sample.add(B));
    sample.happen();
    assert_once(queue, B);
}

fn a_pending_event_can_be_put_off(queue: &Kqueue, sample: &mut Sample) {
    apply(queue, sample.add(A));
    sample.happen();
    assert_can_be_put_off(queue, sample.source());
    if !matches!(sample, Sample::Read(..) | Sample::Write(..)) {
        assert_quiet(queue);
    }
}

fn a_pending_edge_can_be_put_off(queue: &Kqueue, sample: &mut Sample) {
    apply(queue, sample.add(A).edge());
    sample.happen();
    assert_can_be_put_off(queue, sample.source());
}

fn a_pending_event_can_be_taken_back(queue: &Kqueue, sample: &mut Sample) {
    apply(queue, sample.add(A));
    sample.happen();
    assert_can_be_taken_back(queue, sample.source());
}

/// Checks a contract with a new queue and a new sample. A signal belongs to a process, so it needs one of its own.
fn check(filter: &str, test: &str, contract: fn(&Kqueue, &mut Sample)) {
    let body = || contract(&queue(), &mut Sample::of(filter));
    if filter == "signal" { guarded(test, &[Signal::User1], body) } else { body() }
}

/// Makes a test of each contract for each filter.
macro_rules! contracts {
    ($($contract:ident: $($filter:ident)+;)+) => {
        $(mod $contract {
            $(#[test]
            fn $filter() {
                let test = concat!("modes::", stringify!($contract), "::", stringify!($filter));
                super::check(stringify!($filter), test, super::$contract);
            })+
        })+
    };
}

contracts! {
    a_one_shot_is_gone_with_its_event: read write signal vnode timer;
    a_dispatched_one_waits_until_it_is_enabled: read write signal vnode timer;
    one_added_disabled_waits_until_it_is_enabled: read signal process timer;
    a_disabled_one_waits_until_it_is_enabled: read write vnode;
    a_deleted_one_is_not_reported: read write signal vnode process timer;
    one_added_again_has_its_new_token: signal process;
    a_pending_event_can_be_put_off: read write signal vnode process;
    a_pending_edge_can_be_put_off: read write;
    a_pending_event_can_be_taken_back: read write signal vnode process;
}
