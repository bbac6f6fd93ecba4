//! The User filter: wakers.

use super::{
    differences::{Difference, here},
    support::*,
};
use parrot_kqueue::{Change, Filter, Source, Token};
use std::{io::ErrorKind, thread, time::Duration};

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
    assert_eq!(one(&queue).token(), A);
    assert_quiet(&queue);
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
    assert_eq!(one(&queue).token(), A);
    assert_quiet(&queue);
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
fn wakers_of_one_queue_are_told_apart() {
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
    const TURNS: usize = 1000;
    let (left, right) = (queue(), queue());
    let (wake_left, wake_right) = (left.waker(A).unwrap(), right.waker(B).unwrap());
    let thread = thread::spawn(move || {
        for _ in 0..TURNS {
            assert_eq!(one(&right).token(), B);
            wake_left.wake().unwrap();
        }
    });
    for _ in 0..TURNS {
        wake_right.wake().unwrap();
        assert_eq!(one(&left).token(), A);
    }
    thread.join().unwrap();
}

#[test]
fn no_use_of_many_threads_is_lost() {
    let queue = queue();
    let waker = queue.waker(A).unwrap();
    let done = std::sync::atomic::AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                waker.wake().unwrap();
            });
        }
        // Whatever was merged: after the last use there is an event that sees all of them.
        while done.load(std::sync::atomic::Ordering::SeqCst) < 8 {
            one(&queue);
        }
    });
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
    assert_eq!(refusal(&queue, Change::delete(Source::User(&waker))).kind(), ErrorKind::NotFound);
}

#[test]
fn a_waker_of_another_queue_is_not_found() {
    let (mine, other) = (queue(), queue());
    let _own = mine.waker(A).unwrap();
    let waker = other.waker(B).unwrap();
    for change in [Change::delete(Source::User(&waker)), Change::disable(Source::User(&waker))] {
        assert_eq!(refusal(&mine, change).kind(), ErrorKind::NotFound);
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
fn a_queue_goes_to_another_thread_with_its_wakers_left_behind() {
    let queue = queue();
    let waker = queue.waker(A).unwrap();
    let thread = thread::spawn(move || one(&queue).token());
    thread::sleep(Duration::from_millis(1));
    waker.wake().unwrap();
    assert_eq!(thread.join().unwrap(), A);
}
