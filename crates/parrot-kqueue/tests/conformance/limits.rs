//! Many descriptors, and none left.

use super::{
    differences::{Difference, here},
    signal::{guarded, post},
    support::*,
};
use parrot_kqueue::{
    Change, Events, Filter, Kqueue, ProcessEvents, ProcessId, Schedule, Signal, Source, TimerId, Token, VnodeEvents,
};
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use std::{
    collections::HashSet,
    io::{self, ErrorKind, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    time::{Duration, SystemTime},
};

/// This many pairs, or as many as take a fifth of the limit of descriptors, because other tests run at the same time.
fn many_pairs(wanted: usize) -> (Kqueue, Vec<(UnixStream, UnixStream)>) {
    let queue = queue();
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = usize::try_from(limit).unwrap_or(usize::MAX) / 10;
    if room < wanted {
        eprintln!("{room} pairs in place of {wanted}: the limit of descriptors is {limit}");
    }
    (queue, (0..wanted.min(room)).map(|_| pair()).collect())
}

#[test]
fn thousands_of_descriptors_are_each_reported() {
    let (queue, pairs) = many_pairs(2000);
    let changes: Vec<_> = pairs
        .iter()
        .enumerate()
        .flat_map(|(index, (near, far))| {
            [Change::add_read(near.as_fd(), Token(index)), Change::add_write(far.as_fd(), Token(index)).disabled()]
        })
        .collect();
    queue.apply(&changes).all().unwrap();
    for (_, far) in &pairs {
        (&*far).write_all(b"squawk").unwrap();
    }
    let mut seen = HashSet::new();
    let mut events = Events::with_capacity(256);
    while seen.len() < pairs.len() {
        seen.extend(wait_with(&queue, &mut events).iter().map(|event| event.token()));
    }
    let deletes: Vec<_> = pairs.iter().map(|(near, _)| Change::delete(Source::Read(near.as_fd()))).collect();
    queue.apply(&deletes).all().unwrap();
    assert_quiet(&queue);
}

#[test]
fn one_of_thousands_is_found() {
    let (queue, pairs) = many_pairs(2000);
    for (index, (near, _)) in pairs.iter().enumerate() {
        apply(&queue, Change::add_read(near.as_fd(), Token(index)));
    }
    for index in [0, pairs.len() / 2, pairs.len() - 1] {
        let (near, far) = &pairs[index];
        (&*far).write_all(b"squawk").unwrap();
        assert_eq!(one(&queue).token(), Token(index));
        drain(near);
    }
}

/// A queue opens descriptors when it first needs them, and there may be none left then.
#[test]
fn a_program_out_of_descriptors_gets_an_error_and_can_retry() {
    guarded("limits::a_program_out_of_descriptors_gets_an_error_and_can_retry", &[Signal::User1], || {
        let queue = queue();
        let file = tempfile::tempfile().unwrap();
        let mut child = std::process::Command::new("/bin/cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let hour = Duration::from_secs(3600);
        let changes = [
            Change::add_timer(TimerId(1), Schedule::After(hour), A),
            Change::add_timer(TimerId(2), Schedule::At(SystemTime::now() + hour), A),
            Change::add_signal(Signal::User1, A),
            Change::add_process(ProcessId::of(&child).unwrap(), ProcessEvents::EXIT, A),
            Change::add_vnode(file.as_fd(), VnodeEvents::WRITE, A),
        ];
        let is_refused = |error: &io::Error| error.raw_os_error() == Some(Errno::MFILE.raw_os_error());

        // The system gives out the lowest free number, so all below this one are taken.
        let free = file.try_clone().unwrap().as_raw_fd();
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: u64::try_from(free).ok(), ..limit }).unwrap();
        let (another, waker, receipts) = (Kqueue::new(), queue.waker(B), queue.apply(&changes));
        setrlimit(Resource::Nofile, limit).unwrap();
        assert!(is_refused(&another.unwrap_err()));
        assert!(waker.is_ok() || waker.is_err_and(|error| is_refused(&error)));
        for (change, result) in changes.iter().zip(receipts.iter()) {
            if let Err(error) = result {
                assert!(is_refused(&error) || error.kind() == ErrorKind::Unsupported, "{error}: {change:?}");
            }
        }

        for (change, result) in changes.iter().zip(queue.apply(&changes).iter()) {
            if let Err(error) = result {
                assert!(error.kind() == ErrorKind::Unsupported && !here(Difference::WallClock), "{error}: {change:?}");
            }
        }
        let waker = queue.waker(B).unwrap();
        waker.wake().unwrap();
        assert_eq!(one(&queue).token(), B);
        post(Signal::User1);
        assert_eq!(one(&queue).filter(), Filter::Signal);
        drop(child.stdin.take());
        assert_eq!(one(&queue).filter(), Filter::Process);
        child.wait().unwrap();
        (&file).write_all(b"squawk").unwrap();
        assert_eq!(one(&queue).filter(), Filter::Vnode);
    });
}

#[test]
fn a_disabled_waker_that_was_used_frees_its_descriptor() {
    alone("limits::a_disabled_waker_that_was_used_frees_its_descriptor", || {
        let queue = queue();
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..limit }).unwrap();
        for _ in 0..100 {
            let waker = queue.waker(A).unwrap();
            apply(&queue, Change::disable(Source::User(&waker)));
            waker.wake().unwrap();
        }
        assert_quiet(&queue);
    });
}
