//! The User filter, which has wakers.

use super::{
    differences::{Difference, here},
    support::*,
};
use parrot_kqueue::{Change, Filter, Source, Token, Waker};
use std::{
    io::ErrorKind,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

#[test]
fn a_waker_ends_a_wait_from_another_thread() {
    let queue = queue();
    let waker = queue.waker(A).unwrap();
    let thread = thread::spawn(move || waker.wake());
    let event = one(&queue);
    assert_eq!((event.token(), event.filter()), (A, Filter::User));
    thread.join().unwrap().unwrap();
}

#[test]
fn a_use_before_the_wait_is_kept_for_it() {
    let queue = queue();
    let waker = queue.waker(A).unwrap();
    waker.wake().unwrap();
    assert_once(&queue, A);
}

#[test]
fn many_uses_are_one_event() {
    let queue = queue();
    let waker = queue.waker(A).unwrap();
    for _ in 0..1000 {
        waker.wake().unwrap();
    }
    let event = one(&queue);
    assert_eq!(event.count(), if here(Difference::WakerCounts) { 1000 } else { 1 });
    assert_quiet(&queue);
}

#[test]
fn a_use_after_the_last_clone_was_dropped_is_still_reported() {
    let queue = queue();
    let waker = queue.waker(A).unwrap();
    waker.wake().unwrap();
    drop(waker);
    assert_once(&queue, A);
}

#[test]
fn a_dropped_waker_leaves_nothing_behind() {
    let queue = queue();
    for _ in 0..10_000 {
        queue.waker(A).unwrap();
    }
    assert_quiet(&queue);
    for _ in 0..10_000 {
        queue.waker(A).unwrap().wake().unwrap();
        assert_eq!(one(&queue).token(), A);
    }
    assert_quiet(&queue);
}

#[test]
fn wakers_are_distinguished_by_their_tokens() {
    let queue = queue();
    let wakers: Vec<_> = (0..10).map(|index| queue.waker(Token(index)).unwrap()).collect();
    for (index, waker) in wakers.iter().enumerate() {
        waker.wake().unwrap();
        assert_eq!(one(&queue).token(), Token(index));
    }
}

#[test]
fn clones_are_the_same_waker() {
    let queue = queue();
    let waker = queue.waker(A).unwrap();
    let clone = waker.clone();
    waker.wake().unwrap();
    clone.wake().unwrap();
    assert_eq!(one(&queue).token(), A);
    drop(waker);
    clone.wake().unwrap();
    assert_eq!(one(&queue).token(), A);
}

#[test]
fn threads_wake_each_other_in_turn() {
    const ROUNDS: usize = 1000;
    let (left, right) = (queue(), queue());
    let (wake_left, wake_right) = (left.waker(A).unwrap(), right.waker(B).unwrap());
    let thread = thread::spawn(move || {
        for _ in 0..ROUNDS {
            assert_eq!(one(&right).token(), B);
            wake_left.wake().unwrap();
        }
    });
    for _ in 0..ROUNDS {
        wake_right.wake().unwrap();
        assert_eq!(one(&left).token(), A);
    }
    thread.join().unwrap();
}

#[test]
fn no_use_of_many_threads_is_lost() {
    const THREADS: usize = 8;
    const MESSAGES: usize = 500;
    let queue = queue();
    let waker = queue.waker(A).unwrap();
    let (sender, received) = mpsc::channel();
    let uses: u64 = thread::scope(|scope| {
        for _ in 0..THREADS {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                for message in 0..MESSAGES {
                    sender.send(message).unwrap();
                    waker.wake().unwrap();
                }
            });
        }
        // Only an event leads to a look for messages, so a lost use leaves the last of them unread.
        let (mut messages, mut uses) = (0, 0);
        while messages < THREADS * MESSAGES {
            uses += one(&queue).count();
            messages += received.try_iter().count();
        }
        uses
    });
    let rest: u64 = reported(&queue).iter().map(|event| event.count()).sum();
    if here(Difference::WakerCounts) {
        assert_eq!(uses + rest, (THREADS * MESSAGES) as u64);
    }
}

/// Two threads use and drop the last two clones of a waker while the queue reports them.
#[test]
fn the_last_use_survives_a_report_at_the_same_time() {
    const ROUNDS: usize = 3000;
    let queue = queue();
    let used = AtomicUsize::new(0);
    thread::scope(|scope| {
        let [first, second] = [(); 2].map(|()| {
            let (sender, wakers) = mpsc::channel::<Waker>();
            scope.spawn(|| {
                for waker in wakers {
                    used.fetch_add(1, Ordering::SeqCst);
                    waker.wake().unwrap();
                }
            });
            sender
        });
        for round in 1..=ROUNDS {
            let waker = queue.waker(A).unwrap();
            first.send(waker.clone()).unwrap();
            second.send(waker).unwrap();
            // Where uses are not counted, an event after both uses have begun may be of both.
            let mut uses = 0;
            loop {
                uses += wait(&queue).iter().map(|event| event.count()).sum::<u64>();
                let counted = !here(Difference::WakerCounts) || uses == 2;
                if used.load(Ordering::SeqCst) == 2 * round && counted {
                    break;
                }
            }
        }
    });
    reported(&queue);
    assert_quiet(&queue);
}

#[test]
fn a_disabled_waker_is_quiet_until_it_is_enabled() {
    let queue = queue();
    let waker = queue.waker(A).unwrap();
    apply(&queue, Change::disable(Source::User(&waker)));
    waker.wake().unwrap();
    assert_quiet(&queue);
    apply(&queue, Change::enable(Source::User(&waker)));
    assert_eq!(one(&queue).token(), A);
}

#[test]
fn a_deleted_waker_does_nothing() {
    let queue = queue();
    let waker = queue.waker(A).unwrap();
    apply(&queue, Change::delete(Source::User(&waker)));
    waker.wake().unwrap();
    assert_quiet(&queue);
    assert_not_found(&queue, Source::User(&waker));
}

#[test]
fn a_waker_of_another_queue_is_not_found() {
    let (mine, other) = (queue(), queue());
    let _own = mine.waker(A).unwrap();
    let waker = other.waker(B).unwrap();
    for change in [Change::delete(Source::User(&waker)), Change::disable(Source::User(&waker))] {
        refused(&mine, change, ErrorKind::NotFound);
    }
    waker.wake().unwrap();
    assert_eq!(one(&other).token(), B);
}

#[test]
fn a_waker_outlives_its_queue_without_harm() {
    let queue = queue();
    let waker = queue.waker(A).unwrap();
    drop(queue);
    waker.wake().unwrap();
}

#[test]
fn a_queue_can_leave_the_thread_of_its_wakers() {
    let queue = queue();
    let waker = queue.waker(A).unwrap();
    let (waits, is_waiting) = mpsc::channel();
    let thread = thread::spawn(move || {
        [(); 2].map(|()| {
            waits.send(()).unwrap();
            one(&queue).token()
        })
    });
    for _ in 0..2 {
        is_waiting.recv().unwrap();
        waker.wake().unwrap();
    }
    assert_eq!(thread.join().unwrap(), [A, A]);
}

#[test]
fn a_pending_use_can_be_put_off_and_taken_back() {
    let queue = queue();
    let waker = queue.waker(A).unwrap();
    waker.wake().unwrap();
    assert_can_be_put_off(&queue, Source::User(&waker));
    waker.wake().unwrap();
    assert_can_be_taken_back(&queue, Source::User(&waker));
}

/// Uses a waker on a thread of its own. Returns after the first use.
fn used_by_a_thread(waker: Waker) -> thread::JoinHandle<()> {
    let (started, is_used) = mpsc::channel();
    let thread = thread::spawn(move || {
        for _ in 0..20 {
            waker.wake().unwrap();
            let _ = started.send(());
        }
    });
    is_used.recv().unwrap();
    thread
}

#[test]
fn a_waker_can_be_used_while_its_registration_is_deleted() {
    let queue = queue();
    for _ in 0..200 {
        let waker = queue.waker(A).unwrap();
        let thread = used_by_a_thread(waker.clone());
        apply(&queue, Change::delete(Source::User(&waker)));
        assert_quiet(&queue);
        thread.join().unwrap();
        assert_quiet(&queue);
    }
}

#[test]
fn a_waker_can_be_used_while_its_queue_is_dropped() {
    for _ in 0..200 {
        let queue = queue();
        let thread = used_by_a_thread(queue.waker(A).unwrap());
        drop(queue);
        thread.join().unwrap();
    }
}
