//! Waits with a deadline, and descriptors to watch.

use parrot_kqueue::{Change, Event, Events, Filter, Kqueue, Receipts, Source, Token};
pub(crate) use parrot_testkit::PATIENCE;
use parrot_testkit::descriptors::raise_limit;
#[cfg(target_os = "linux")]
use std::process::Output;
use std::{
    ffi::OsStr,
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::{fd::AsFd, unix::net::UnixStream},
    process::{Command, Stdio},
    sync::Once,
    time::Instant,
};

/// The token of most registrations.
pub(crate) const A: Token = Token(0xA);
pub(crate) const B: Token = Token(0xB);
/// The token of the waker that ends a wait of a quiet queue.
const SENTINEL: Token = Token(usize::MAX);

/// A queue. The first one of the process raises the limit of descriptors, whose default is too low for the suite: 128 on
/// NetBSD and for root on OpenBSD, and 256 on macOS.
pub(crate) fn queue() -> Kqueue {
    static DESCRIPTORS: Once = Once::new();
    DESCRIPTORS.call_once(|| _ = raise_limit());
    Kqueue::new().unwrap()
}

/// A queue with this registration.
pub(crate) fn watching(change: Change<'_>) -> Kqueue {
    let queue = queue();
    apply(&queue, change);
    queue
}

pub(crate) fn apply(queue: &Kqueue, change: Change<'_>) {
    queue.apply(&[change]).all().unwrap();
}

/// The results of changes, with the kinds of the errors.
pub(crate) fn kinds(receipts: &Receipts) -> Vec<Result<(), ErrorKind>> {
    receipts.iter().map(|result| result.map_err(|error| error.kind())).collect()
}

/// The error of a single change that must fail.
pub(crate) fn refusal(queue: &Kqueue, change: Change<'_>) -> io::Error {
    queue.apply(&[change]).all().expect_err("the change should have been refused")
}

/// Expects that a change is refused with this kind of error. Returns its message.
pub(crate) fn refused(queue: &Kqueue, change: Change<'_>, kind: ErrorKind) -> String {
    let refusal = refusal(queue, change);
    assert_eq!(refusal.kind(), kind, "{refusal}: {change:?}");
    refusal.to_string()
}

/// The system's error behind an error that explains it.
pub(crate) fn os_error(error: &io::Error) -> Option<i32> {
    error.get_ref()?.source()?.downcast_ref::<io::Error>()?.raw_os_error()
}

pub(crate) fn assert_not_found(queue: &Kqueue, source: Source<'_>) {
    refused(queue, Change::delete(source), ErrorKind::NotFound);
}

/// The events of one wait that reports at least one.
pub(crate) fn wait(queue: &Kqueue) -> Vec<Event> {
    wait_with(queue, &mut Events::with_capacity(64))
}

pub(crate) fn wait_with(queue: &Kqueue, events: &mut Events) -> Vec<Event> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.checked_duration_since(Instant::now()).expect("no event came");
        match queue.wait(events, Some(left)) {
            Ok(()) if events.is_empty() => {}
            Ok(()) => return events.iter().collect(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The only event of a wait.
pub(crate) fn one(queue: &Kqueue) -> Event {
    let events = wait(queue);
    assert_eq!(events.len(), 1, "{events:?}");
    events[0]
}

/// Expects one event with this token, and no other after it.
pub(crate) fn assert_once(queue: &Kqueue, token: Token) {
    assert_eq!(one(queue).token(), token);
    assert_quiet(queue);
}

/// Waits for an event that fits, and ignores others.
pub(crate) fn until(queue: &Kqueue, fits: impl Fn(&Event) -> bool) -> Event {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(event) = wait(queue).into_iter().find(|event| fits(event)) {
            return event;
        }
        assert!(Instant::now() < deadline, "other events came, but not the one expected");
    }
}

/// What the queue has to report at this moment. A waker ends the wait, and everything that was there before it was used
/// is reported with it.
pub(crate) fn reported(queue: &Kqueue) -> Vec<Event> {
    let waker = queue.waker(SENTINEL).unwrap();
    waker.wake().unwrap();
    let mut reported = Vec::new();
    loop {
        let (sentinel, others): (Vec<_>, Vec<_>) =
            wait(queue).into_iter().partition(|event| event.filter() == Filter::User && event.token() == SENTINEL);
        reported.extend(others);
        if !sentinel.is_empty() {
            return reported;
        }
    }
}

/// Waits until the queue has something to report, and leaves it there.
pub(crate) fn until_pending(of: &Kqueue) {
    let outer = queue();
    apply(&outer, read(of).one_shot());
    one(&outer);
}

/// Disables and enables a registration of token `A` with an event pending. The event is delayed and not lost.
pub(crate) fn assert_can_be_put_off(queue: &Kqueue, source: Source<'_>) {
    until_pending(queue);
    apply(queue, Change::disable(source));
    assert_quiet(queue);
    apply(queue, Change::enable(source));
    assert_eq!(one(queue).token(), A, "{source:?}");
}

/// Deletes a registration with an event pending. The event is gone as well.
pub(crate) fn assert_can_be_taken_back(queue: &Kqueue, source: Source<'_>) {
    until_pending(queue);
    apply(queue, Change::delete(source));
    assert_quiet(queue);
    assert_not_found(queue, source);
}

pub(crate) fn assert_quiet(queue: &Kqueue) {
    let reported = reported(queue);
    assert!(reported.is_empty(), "{reported:?}");
}

/// The two ends of a connection without delay.
pub(crate) fn pair() -> (UnixStream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    (near, far)
}

pub(crate) fn queue_and_pair() -> (Kqueue, UnixStream, UnixStream) {
    let (near, far) = pair();
    (queue(), near, far)
}

/// Two ends of a TCP connection, the accepted one second.
pub(crate) fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    (near, far)
}

/// Writes until there is no more room.
pub(crate) fn fill(mut stream: impl Write) -> usize {
    let mut filled = 0;
    loop {
        match stream.write(&[0; 4096]) {
            Ok(written) => filled += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return filled,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads until there is nothing left.
pub(crate) fn drain(mut stream: impl Read) -> usize {
    let mut drained = 0;
    let mut buffer = [0; 65536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return drained,
            Ok(read) => drained += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return drained,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn read(descriptor: &impl AsFd) -> Change<'_> {
    Change::add_read(descriptor.as_fd(), A)
}

pub(crate) fn write(descriptor: &impl AsFd) -> Change<'_> {
    Change::add_write(descriptor.as_fd(), B)
}

/// Runs a test as the only one of a new process, for what belongs to a whole process, such as signals and the numbers
/// of descriptors.
///
/// The parent starts this binary again for that one test. A variable in the environment makes the child run the body.
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    alone_with(&[], test, b"", body);
}

/// The same, with a pipe with these bytes as standard input.
pub(crate) fn alone_with_input(test: &str, input: &[u8], body: impl FnOnce()) {
    alone_with(&[], test, input, body);
}

/// The same, in a process that another program starts. The test is skipped if that program cannot start anything here.
#[cfg(target_os = "linux")]
pub(crate) fn alone_under(starter: &[&str], test: &str, body: impl FnOnce()) {
    if !is_alone(test) {
        let (program, arguments) = starter.split_first().unwrap();
        let started = Command::new(program).args(arguments).arg("true").output().map_err(|error| error.to_string());
        let refused = |ended: Output| (!ended.status.success()).then(|| String::from_utf8_lossy(&ended.stderr).into());
        if let Some(why) = started.map_or_else(Some, refused) {
            eprintln!("skipped: {program} does not work here: {why}");
            return;
        }
    }
    alone_with(starter, test, b"", body);
}

const ALONE: &str = "PARROT_KQUEUE_ALONE";

fn is_alone(test: &str) -> bool {
    std::env::var_os(ALONE).is_some_and(|alone| alone == test)
}

fn alone_with(starter: &[&str], test: &str, input: &[u8], body: impl FnOnce()) {
    if is_alone(test) {
        return body();
    }
    let binary = std::env::current_exe().unwrap();
    let mut command = starter.iter().map(OsStr::new).chain([binary.as_os_str()]);
    let mut child = Command::new(command.next().unwrap())
        .args(command)
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env(ALONE, test)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    let complained = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{test} alone: {}\n{said}\n{complained}", ended.status);
    assert!(said.contains("1 passed"), "{test} is not the name of one test:\n{said}");
}
