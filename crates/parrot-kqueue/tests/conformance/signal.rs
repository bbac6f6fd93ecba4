//! The Signal filter and the guard. Signals belong to a process, so every test here has a process of its own.

use super::{
    differences::{Difference, here, testable},
    support::*,
};
use parrot_kqueue::{Change, Events, Filter, Schedule, Signal, SignalGuard, Source, TimerId};
use std::{
    io::ErrorKind,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

/// Sends a signal to this process.
pub(crate) fn post(signal: Signal) {
    let signal = rustix::process::Signal::from_named_raw(signal.number()).unwrap();
    rustix::process::kill_process(rustix::process::getpid(), signal).unwrap();
}

/// Runs a test alone and under a guard of these signals.
///
/// The process starts with the signals blocked, so that libtest's own thread has them blocked as well.
pub(crate) fn guarded(test: &str, signals: &[Signal], body: impl FnOnce()) {
    let _inherited = SignalGuard::block(signals).unwrap();
    alone(test, || {
        let _guard = SignalGuard::block(signals).unwrap();
        body();
    });
}

/// Unblocks what `guarded` has blocked in this thread, so that the next guard is the outermost. A pending signal
/// without a handler ends the process here.
fn unblock_everything() {
    nix::sys::signal::SigSet::all().thread_unblock().unwrap();
}

macro_rules! guarded_tests {
    ($($name:ident $signals:expr => $body:block)+) => {
        $(
            #[test]
            fn $name() {
                guarded(concat!("signal::", stringify!($name)), &$signals, || $body);
            }
        )+
    };
}

guarded_tests! {
    a_signal_is_reported_with_its_token [Signal::User1] => {
        let queue = watching(Change::add_signal(Signal::User1, A));
        assert_quiet(&queue);
        post(Signal::User1);
        let event = one(&queue);
        assert_eq!((event.token(), event.filter(), event.count()), (A, Filter::Signal, 1));
        assert_quiet(&queue);
    }

    posts_before_a_wait_are_one_event_with_a_count [Signal::User1] => {
        let queue = watching(Change::add_signal(Signal::User1, A));
        for _ in 0..3 {
            post(Signal::User1);
        }
        assert_eq!(one(&queue).count(), if here(Difference::SignalCounts) { 3 } else { 1 });
        assert_quiet(&queue);
    }

    signals_are_distinguished_by_their_tokens [Signal::Hangup, Signal::Terminate] => {
        let queue = queue();
        queue
            .apply(&[Change::add_signal(Signal::Hangup, A), Change::add_signal(Signal::Terminate, B)])
            .all()
            .unwrap();
        post(Signal::Terminate);
        assert_eq!(one(&queue).token(), B);
        post(Signal::Hangup);
        assert_eq!(one(&queue).token(), A);
    }

    // std ignores SIGPIPE, and the system ignores SIGWINCH.
    a_signal_that_is_ignored_is_reported [Signal::Pipe, Signal::WindowChange] => {
        let queue = queue();
        for signal in [Signal::Pipe, Signal::WindowChange] {
            apply(&queue, Change::add_signal(signal, A));
            post(signal);
            assert_eq!(one(&queue).token(), A);
        }
        assert_quiet(&queue);
    }

    two_queues_watch_one_signal_or_the_second_is_refused [Signal::User1] => {
        let (first, second) = (queue(), queue());
        apply(&first, Change::add_signal(Signal::User1, A));
        if !testable(Difference::ManyQueuesASignal) {
            refused(&second, Change::add_signal(Signal::User1, B), ErrorKind::AlreadyExists);
            return;
        }
        apply(&second, Change::add_signal(Signal::User1, B));
        post(Signal::User1);
        assert_eq!((one(&first).token(), one(&second).token()), (A, B));
    }

    a_signal_that_one_queue_deleted_can_go_to_another [Signal::User1] => {
        let (first, second) = (queue(), queue());
        apply(&first, Change::add_signal(Signal::User1, A));
        apply(&first, Change::delete(Source::Signal(Signal::User1)));
        apply(&second, Change::add_signal(Signal::User1, B));
        drop(second);
        apply(&first, Change::add_signal(Signal::User1, A));
        post(Signal::User1);
        assert_eq!(one(&first).token(), A);
    }

    a_queue_can_be_closed_with_signals_and_timers_active [Signal::User1] => {
        for _ in 0..20 {
            let queue = queue();
            let timer = Change::add_timer(TimerId(1), Schedule::Every(Duration::from_millis(1)), B);
            queue.apply(&[Change::add_signal(Signal::User1, A), timer]).all().unwrap();
            post(Signal::User1);
            until_pending(&queue);
        }
        let queue = watching(Change::add_signal(Signal::User1, A));
        post(Signal::User1);
        assert_once(&queue, A);
    }

    a_signal_that_is_already_pending_may_be_reported [Signal::User1] => {
        post(Signal::User1);
        let queue = watching(Change::add_signal(Signal::User1, A));
        if testable(Difference::PendingSignal) {
            assert_eq!(one(&queue).token(), A);
        }
        post(Signal::User1);
        assert_eq!(one(&queue).token(), A);
    }

    add_to_reports_what_was_posted_under_the_guard [Signal::Terminate, Signal::User1] => {
        unblock_everything();
        let guard = SignalGuard::block(&[Signal::Terminate, Signal::User1]).unwrap();
        post(Signal::Terminate);
        post(Signal::Terminate);
        let queue = queue();
        guard.add_to(&queue, &[(Signal::Terminate, A), (Signal::User1, B)]).unwrap();
        let event = one(&queue);
        assert_eq!((event.token(), event.count()), (A, if here(Difference::SignalCounts) { 2 } else { 1 }));
        assert_quiet(&queue);
        post(Signal::User1);
        assert_eq!(one(&queue).token(), B);
        drop(guard);
        unblock_everything();
    }

    what_is_posted_during_add_to_is_counted_once [Signal::User1] => {
        unblock_everything();
        for _ in 0..50 {
            let guard = SignalGuard::block(&[Signal::User1]).unwrap();
            let queue = queue();
            let posts = thread::spawn(|| (0..20).for_each(|_| post(Signal::User1)));
            guard.add_to(&queue, &[(Signal::User1, A)]).unwrap();
            posts.join().unwrap();
            let count: u64 = reported(&queue).iter().map(|event| event.count()).sum();
            if here(Difference::SignalCounts) {
                assert_eq!(count, 20);
            } else {
                assert_eq!(count, 1);
            }
        }
    }

    a_signal_is_reported_while_other_threads_run [Signal::User1] => {
        let queue = watching(Change::add_signal(Signal::User1, A));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| while !stop.load(std::sync::atomic::Ordering::Relaxed) { thread::yield_now() });
            }
            for _ in 0..100 {
                post(Signal::User1);
                assert_eq!(one(&queue).token(), A);
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    a_child_that_ends_is_a_signal [Signal::Child] => {
        let queue = watching(Change::add_signal(Signal::Child, A));
        let mut child = std::process::Command::new("/bin/sh").args(["-c", "exit 3"]).spawn().unwrap();
        assert_eq!(one(&queue).token(), A);
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }

    a_guard_discards_what_is_pending [Signal::Terminate, Signal::User1] => {
        unblock_everything();
        let guard = SignalGuard::block(&[Signal::Terminate, Signal::User1]).unwrap();
        post(Signal::Terminate);
        post(Signal::User1);
        drop(guard);
        unblock_everything();
    }

    a_guard_discards_what_its_queue_has_reported [Signal::Terminate] => {
        unblock_everything();
        let guard = SignalGuard::block(&[Signal::Terminate]).unwrap();
        let queue = watching(Change::add_signal(Signal::Terminate, A));
        post(Signal::Terminate);
        assert_eq!(one(&queue).token(), A);
        drop(guard);
        unblock_everything();
    }

    a_guard_within_another_leaves_its_pending_signals [Signal::Terminate, Signal::User1] => {
        unblock_everything();
        let outer = SignalGuard::block(&[Signal::Terminate]).unwrap();
        let inner = SignalGuard::block(&[Signal::Terminate, Signal::User1]).unwrap();
        post(Signal::Terminate);
        post(Signal::User1);
        drop(inner);
        let queue = queue();
        outer.add_to(&queue, &[(Signal::Terminate, A)]).unwrap();
        assert_eq!(one(&queue).token(), A);
        drop(outer);
        unblock_everything();
    }

    a_guard_of_every_signal_discards_all_of_them [
        Signal::Hangup, Signal::Interrupt, Signal::Quit, Signal::Pipe, Signal::Alarm, Signal::Terminate, Signal::Urgent,
        Signal::Child, Signal::Io, Signal::WindowChange, Signal::User1
    ] => {
        unblock_everything();
        let signals = [
            Signal::Hangup, Signal::Pipe, Signal::Terminate, Signal::Child, Signal::WindowChange, Signal::User1,
        ];
        for posted in signals {
            let guard = SignalGuard::block(&signals).unwrap();
            post(posted);
            drop(guard);
        }
        let guard = SignalGuard::block(&signals).unwrap();
        signals.into_iter().for_each(post);
        drop(guard);
        unblock_everything();
    }
}

#[test]
fn a_guard_of_the_second_user_signal_discards_it_or_is_refused() {
    alone("signal::a_guard_of_the_second_user_signal_discards_it_or_is_refused", || {
        let outer = SignalGuard::block(&[Signal::User2]);
        if !testable(Difference::GuardOfUser2) {
            assert_eq!(outer.unwrap_err().kind(), ErrorKind::Unsupported);
            return;
        }
        // To this thread, because there is another one that does not block the signal.
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGUSR2).unwrap();
        drop(outer);
    });
}

#[test]
fn an_unblocked_signal_is_reported_or_refused() {
    alone("signal::an_unblocked_signal_is_reported_or_refused", || {
        let queue = queue();
        // The system ignores this signal.
        let change = Change::add_signal(Signal::WindowChange, A);
        if !testable(Difference::UnblockedSignal) {
            let refusal = refused(&queue, change, ErrorKind::InvalidInput);
            assert!(refusal.contains("SignalGuard"), "{refusal}");
            return;
        }
        apply(&queue, change);
        post(Signal::WindowChange);
        assert_eq!(one(&queue).token(), A);
    });
}

/// Whether a signal is blocked in this thread.
fn is_blocked(signal: Signal) -> bool {
    let mask = nix::sys::signal::SigSet::thread_get_mask().unwrap();
    mask.iter().any(|blocked| blocked as i32 == signal.number())
}

#[test]
fn a_guard_blocks_its_signals_and_restores_the_mask() {
    alone("signal::a_guard_blocks_its_signals_and_restores_the_mask", || {
        let outer = SignalGuard::block(&[Signal::Hangup]).unwrap();
        let inner = SignalGuard::block(&[Signal::Hangup, Signal::User1]).unwrap();
        assert!(is_blocked(Signal::Hangup) && is_blocked(Signal::User1) && !is_blocked(Signal::Interrupt));
        drop(inner);
        assert!(is_blocked(Signal::Hangup) && !is_blocked(Signal::User1));
        drop(outer);
        assert!(!is_blocked(Signal::Hangup));
    });
}

#[test]
fn threads_inherit_the_mask_of_the_guard() {
    alone("signal::threads_inherit_the_mask_of_the_guard", || {
        let _guard = SignalGuard::block(&[Signal::User1]).unwrap();
        assert!(thread::spawn(|| is_blocked(Signal::User1)).join().unwrap());
    });
}

#[test]
fn an_interrupted_wait_returns_to_the_caller() {
    alone("signal::an_interrupted_wait_returns_to_the_caller", || {
        let handled = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(Signal::User1.number(), Arc::clone(&handled)).unwrap();
        let queue = queue();
        // The other threads of the test leave the signal to the one that waits.
        let _guard = SignalGuard::block(&[Signal::User1]).unwrap();
        let waits = thread::spawn(move || {
            nix::sys::signal::SigSet::from_iter([nix::sys::signal::Signal::SIGUSR1]).thread_unblock().unwrap();
            let mut events = Events::with_capacity(8);
            let waited = queue.wait(&mut events, Some(PATIENCE));
            (waited.map_err(|error| error.kind()), events.len())
        });
        // A single signal could arrive before the wait begins.
        use std::os::unix::thread::JoinHandleExt;
        while !waits.is_finished() {
            nix::sys::pthread::pthread_kill(waits.as_pthread_t(), nix::sys::signal::Signal::SIGUSR1).unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(waits.join().unwrap(), (Err(ErrorKind::Interrupted), 0));
        assert!(handled.load(std::sync::atomic::Ordering::SeqCst));
    });
}

#[test]
fn common_signals_have_the_same_numbers_everywhere() {
    let numbers = [Signal::Hangup, Signal::Interrupt, Signal::Quit, Signal::Pipe, Signal::Alarm, Signal::Terminate];
    assert_eq!(numbers.map(Signal::number), [1, 2, 3, 13, 14, 15]);
}
