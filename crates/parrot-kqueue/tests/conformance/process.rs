//! The Process filter.

use super::{
    differences::{Difference, here, testable},
    support::*,
};
use parrot_kqueue::{Change, Event, Filter, ProcessEvents, ProcessId, Source, Token};
use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
};

/// A child that waits for a line, or the end of its input, before it runs the script.
pub(crate) fn child(script: &str) -> Child {
    Command::new("/bin/sh")
        .args(["-c", &format!("read line; {script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

pub(crate) fn go(child: &mut Child) {
    // The line is needed, because on macOS children of other threads may hold the pipe open.
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
}

fn watch(child: &Child) -> Change<'static> {
    Change::add_process(ProcessId::of(child).unwrap(), ProcessEvents::EXIT, A)
}

#[test]
fn the_exit_of_a_child_is_reported_with_its_status() {
    let mut child = child("exit 3");
    let queue = watching(watch(&child));
    assert_quiet(&queue);
    go(&mut child);
    let event = one(&queue);
    assert_eq!((event.token(), event.filter()), (A, Filter::Process));
    assert_eq!(event.process_events(), ProcessEvents::EXIT);
    assert_eq!(event.exit_status().and_then(|status| status.code()), Some(3));
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn the_signal_that_ended_a_child_is_part_of_its_status() {
    let mut child = child("exit 0");
    let queue = watching(watch(&child));
    child.kill().unwrap();
    let event = one(&queue);
    assert_eq!(event.exit_status().and_then(|status| status.signal()), Some(9));
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_child_is_reported_once_and_its_registration_is_gone() {
    let mut child = child("exit 0");
    let queue = watching(watch(&child));
    go(&mut child);
    one(&queue);
    assert_quiet(&queue);
    let process = ProcessId::of(&child).unwrap();
    assert_not_found(&queue, Source::Process(process));
    child.wait().unwrap();
}

#[test]
fn a_child_that_ended_before_it_was_added_is_reported_at_once() {
    let queue = queue();
    let mut child = ended_child("exit 4");
    apply(&queue, watch(&child));
    let event = one(&queue);
    assert_eq!((event.token(), event.process_events()), (A, ProcessEvents::EXIT));
    assert_status_of_ended(event, 4);
    assert_quiet(&queue);
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

/// The status is right where it is promised, and right or absent elsewhere.
fn assert_status_of_ended(event: Event, code: i32) {
    match event.exit_status() {
        Some(status) => assert_eq!(status.code(), Some(code)),
        None => assert!(!here(Difference::EndedChildStatus), "{event:?}"),
    }
}

/// A child that has run its script and was not reaped.
fn ended_child(script: &str) -> Child {
    let mut child = child(script);
    go(&mut child);
    until_ended(&mut child);
    child
}

/// Waits until a child is a zombie, which it becomes shortly after its output ends.
pub(crate) fn until_ended(child: &mut Child) {
    child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    while !has_ended(child) {
        std::thread::yield_now();
    }
}

/// Whether a child is a zombie. It stays one.
#[cfg(not(target_os = "openbsd"))]
fn has_ended(child: &Child) -> bool {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(Pid::from_child(child)), options).unwrap().is_some()
}

#[cfg(target_os = "openbsd")]
fn has_ended(child: &Child) -> bool {
    let state = Command::new("ps").args(["-o", "state=", "-p", &child.id().to_string()]).output().unwrap();
    String::from_utf8_lossy(&state.stdout).contains('Z')
}

#[test]
fn children_are_distinguished_by_their_tokens() {
    let queue = queue();
    let mut children: Vec<_> = (0..5).map(|code| child(&format!("exit {code}"))).collect();
    for (index, child) in children.iter().enumerate() {
        apply(&queue, Change::add_process(ProcessId::of(child).unwrap(), ProcessEvents::EXIT, Token(index)));
    }
    for (index, child) in children.iter_mut().enumerate().rev() {
        go(child);
        assert_eq!(one(&queue).token(), Token(index));
        child.wait().unwrap();
    }
}

#[test]
fn an_ended_child_can_be_put_off_and_taken_back() {
    let queue = queue();
    let mut child = ended_child("exit 5");
    let source = Source::Process(ProcessId::of(&child).unwrap());
    apply(&queue, watch(&child).disabled());
    assert_quiet(&queue);
    apply(&queue, Change::enable(source));
    assert_status_of_ended(one(&queue), 5);
    apply(&queue, watch(&child));
    apply(&queue, Change::delete(source));
    assert_quiet(&queue);
    assert_not_found(&queue, source);
    child.wait().unwrap();
}

#[test]
fn an_ended_child_that_is_added_again_has_its_new_token() {
    let queue = queue();
    let mut child = ended_child("exit 0");
    apply(&queue, watch(&child));
    apply(&queue, Change::add_process(ProcessId::of(&child).unwrap(), ProcessEvents::EXIT, B));
    assert_once(&queue, B);
    child.wait().unwrap();
}

#[test]
fn two_queues_watch_one_child() {
    let mut child = child("exit 6");
    let (first, second) = (queue(), queue());
    apply(&first, watch(&child));
    apply(&second, watch(&child));
    go(&mut child);
    for queue in [first, second] {
        assert_eq!(one(&queue).exit_status().and_then(|status| status.code()), Some(6));
        assert_quiet(&queue);
    }
    child.wait().unwrap();
}

#[test]
fn many_children_that_end_at_once_are_each_reported() {
    let queue = queue();
    let mut children: Vec<_> = (0..20).map(|code| child(&format!("exit {code}"))).collect();
    for (index, child) in children.iter().enumerate() {
        apply(&queue, Change::add_process(ProcessId::of(child).unwrap(), ProcessEvents::EXIT, Token(index)));
    }
    children.iter_mut().for_each(go);
    let mut ended = vec![None; children.len()];
    while ended.contains(&None) {
        for event in wait(&queue) {
            let code = event.exit_status().and_then(|status| status.code());
            assert_eq!(ended[event.token().0].replace(code), None);
        }
    }
    for (index, child) in children.iter_mut().enumerate() {
        assert_eq!(ended[index], Some(i32::try_from(index).ok()));
        child.wait().unwrap();
    }
}

#[test]
fn an_exit_is_reported_while_a_grandchild_lives() {
    // The grandchild reads the child's pipe by another number, because a shell gives it other input.
    let mut child = child("exec 3<&0; (read line <&3) & exit 7");
    let queue = watching(watch(&child));
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"\n").unwrap();
    assert_eq!(one(&queue).exit_status().and_then(|status| status.code()), Some(7));
    // This fails if the grandchild did not outlive the child, since the pipe has no other reader.
    input.write_all(b"\n").unwrap();
    assert_quiet(&queue);
    child.wait().unwrap();
}

#[test]
fn the_status_of_a_grandchild_is_right_or_absent() {
    let mut child = child("exec 3<&0; (read line <&3; exit 7) & echo $!; wait");
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"\n").unwrap();
    let mut number = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut number).unwrap();
    let grandchild = ProcessId::new(number.trim().parse().unwrap()).unwrap();
    let queue = watching(Change::add_process(grandchild, ProcessEvents::EXIT, A));
    input.write_all(b"\n").unwrap();
    let event = one(&queue);
    assert_eq!((event.token(), event.process_events()), (A, ProcessEvents::EXIT));
    assert!(event.exit_status().is_none_or(|status| status.code() == Some(7)), "{event:?}");
    child.wait().unwrap();
}

#[test]
fn a_dispatched_process_ends_once() {
    let mut child = child("exit 0");
    let queue = watching(watch(&child).dispatch());
    go(&mut child);
    assert_eq!(one(&queue).process_events(), ProcessEvents::EXIT);
    assert_quiet(&queue);
    child.wait().unwrap();
}

#[test]
fn fork_and_exec_are_reported_or_refused() {
    let mut child = child("/bin/sh -c : & exec /bin/cat");
    let queue = queue();
    let wanted = ProcessEvents::FORK | ProcessEvents::EXEC | ProcessEvents::EXIT;
    let change = Change::add_process(ProcessId::of(&child).unwrap(), wanted, A);
    if !testable(Difference::ForkAndExec) {
        refused(&queue, change, ErrorKind::Unsupported);
        go(&mut child);
        child.wait().unwrap();
        return;
    }
    apply(&queue, change);
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"\n").unwrap();
    let mut seen = ProcessEvents::empty();
    while !seen.contains(ProcessEvents::FORK | ProcessEvents::EXEC) {
        seen |= one(&queue).process_events();
    }
    assert!(!seen.contains(ProcessEvents::EXIT));
    child.kill().unwrap();
    until(&queue, |event| event.process_events().contains(ProcessEvents::EXIT));
    child.wait().unwrap();
}

#[test]
fn a_process_that_does_not_exist_is_refused() {
    let mut child = child("exit 0");
    go(&mut child);
    child.wait().unwrap();
    let refusal = refusal(&queue(), watch(&child));
    assert_eq!(refusal.raw_os_error(), Some(rustix::io::Errno::SRCH.raw_os_error()));
}

#[test]
fn a_number_that_no_process_has_is_refused() {
    assert_eq!(ProcessId::new(0).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(ProcessId::new(u32::MAX).unwrap_err().kind(), ErrorKind::InvalidInput);
}
