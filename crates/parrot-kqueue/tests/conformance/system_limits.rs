//! Limits of the user or of the whole system, which stand behind the changes.
//!
//! A limit of inotify is lowered in a user namespace of the test's own. The others belong to the whole machine, so
//! strace makes the calls fail.

use super::support::*;
use parrot_kqueue::{Change, Kqueue, ProcessEvents, ProcessId, Schedule, Signal, Source, TimerId, VnodeEvents};
use rustix::io::Errno;
use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    time::{Duration, SystemTime},
};

/// Asserts that an error names a limit, is of the kind of the system's error, and has that as its source.
#[track_caller]
fn assert_names(error: &io::Error, limit: &str, errno: Errno) {
    assert!(error.to_string().contains(limit), "{error}");
    assert_eq!(os_error(error), Some(errno.raw_os_error()), "{error:?}");
    assert_eq!(error.kind(), io::Error::from(errno).kind());
}

fn watch(file: &File) -> Change<'_> {
    Change::add_vnode(file.as_fd(), VnodeEvents::WRITE, A)
}

/// A program that starts another one in a user namespace where a limit is lowered.
fn lowered(limit: &str) -> [String; 5] {
    let script = format!("echo {limit} && exec \"$0\" \"$@\"");
    ["unshare", "-Ur", "sh", "-c", &script].map(str::to_owned)
}

fn alone_with_limit(limit: &str, test: &str, body: impl FnOnce()) {
    let starter = lowered(limit);
    alone_under(&starter.each_ref().map(String::as_str), test, body);
}

#[test]
fn one_file_too_many_names_the_limit_of_watches() {
    let test = "system_limits::one_file_too_many_names_the_limit_of_watches";
    alone_with_limit("5 >/proc/sys/user/max_inotify_watches", test, || {
        let queue = queue();
        let files: Vec<_> = (0..6).map(|_| tempfile::tempfile().unwrap()).collect();
        let (last, others) = files.split_last().unwrap();
        others.iter().for_each(|file| apply(&queue, watch(file)));
        assert_names(&refusal(&queue, watch(last)), "max_inotify_watches", Errno::NOSPC);
        assert_not_found(&queue, Source::Vnode(last.as_fd()));
        // Another registration of a file that is watched takes no further watch.
        let again = others[0].try_clone().unwrap();
        apply(&queue, watch(&again));
        apply(&queue, Change::delete(Source::Vnode(others[1].as_fd())));
        apply(&queue, watch(last));
    });
}

#[test]
fn one_queue_of_files_too_many_names_the_limit() {
    let test = "system_limits::one_queue_of_files_too_many_names_the_limit";
    alone_with_limit("1 >/proc/sys/user/max_inotify_instances", test, || {
        let (first, second) = (queue(), queue());
        let file = tempfile::tempfile().unwrap();
        apply(&first, watch(&file));
        assert_names(&refusal(&second, watch(&file)), "max_inotify_instances", Errno::MFILE);
        drop(first);
        apply(&second, watch(&file));
    });
}

/// Adds of everything that can be added.
fn adds<'fd>(file: &'fd File, socket: &'fd UnixStream) -> [Change<'fd>; 7] {
    let hour = Duration::from_secs(3600);
    let process = ProcessId::new(std::process::id()).unwrap();
    nix::sys::signal::SigSet::from(nix::sys::signal::Signal::SIGUSR1).thread_block().unwrap();
    [
        Change::add_timer(TimerId(1), Schedule::After(hour), A),
        Change::add_timer(TimerId(2), Schedule::At(SystemTime::now() + hour), A),
        Change::add_signal(Signal::User1, A),
        Change::add_process(process, ProcessEvents::EXIT, A),
        watch(file),
        read(socket),
        write(socket),
    ]
}

#[test]
fn an_add_above_the_limit_of_epoll_names_it() {
    let test = "system_limits::an_add_above_the_limit_of_epoll_names_it";
    // The first call of the thread is that of the first queue.
    let inject = "--inject=epoll_ctl:error=ENOSPC:when=2+";
    alone_under(&["strace", "-f", "-qq", "-o", "/dev/null", "--trace=epoll_ctl", inject], test, || {
        let queue = queue();
        let file = tempfile::tempfile().unwrap();
        let (near, _far) = pair();
        let receipts = queue.apply(&adds(&file, &near));
        assert_eq!(receipts.failures().count(), receipts.len());
        for (_, error) in receipts.failures() {
            assert_names(&error, "fs.epoll.max_user_watches", Errno::NOSPC);
        }
        assert_names(&queue.waker(A).unwrap_err(), "fs.epoll.max_user_watches", Errno::NOSPC);
        assert_names(&Kqueue::new().unwrap_err(), "fs.epoll.max_user_watches", Errno::NOSPC);
    });
}

#[test]
fn a_descriptor_above_the_limit_of_the_system_names_it() {
    let test = "system_limits::a_descriptor_above_the_limit_of_the_system_names_it";
    let makers = "--inject=eventfd2,timerfd_create,signalfd4,pidfd_open,inotify_init1:error=ENFILE";
    // The first queue is made of two.
    let queues = "--inject=epoll_create1:error=ENFILE:when=3+";
    alone_under(&["strace", "-f", "-qq", "-o", "/dev/null", makers, queues], test, || {
        let queue = queue();
        let file = tempfile::tempfile().unwrap();
        let (near, _far) = pair();
        for change in &adds(&file, &near)[..5] {
            assert_names(&refusal(&queue, *change), "fs.file-max", Errno::NFILE);
        }
        assert_names(&queue.waker(A).unwrap_err(), "fs.file-max", Errno::NFILE);
        assert_names(&Kqueue::new().unwrap_err(), "fs.file-max", Errno::NFILE);
    });
}

#[test]
fn a_descriptor_too_many_of_one_file_names_the_limit() {
    let (queue, near, _far) = queue_and_pair();
    let duplicates: Vec<_> = (0..501).map(|_| near.try_clone().unwrap()).collect();
    let receipts = queue.apply(&duplicates.iter().map(write).collect::<Vec<_>>());
    let failures: Vec<_> = receipts.failures().collect();
    assert_eq!(failures.len(), 1);
    let (index, error) = &failures[0];
    assert_eq!(*index, 500);
    assert_names(error, "500 descriptors", Errno::INVAL);
}
