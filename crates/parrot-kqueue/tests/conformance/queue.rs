//! The queue's descriptor, waits and lists.

use super::support::*;
use parrot_kqueue::{BACKEND, Change, Events, Kqueue, Schedule, TimerId, Token};
use std::{
    collections::HashSet,
    io::Write,
    os::fd::AsFd,
    time::{Duration, Instant},
};

#[test]
fn a_queue_is_closed_on_exec() {
    let flags = rustix::io::fcntl_getfd(queue().as_fd()).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn a_queue_names_its_backend() {
    assert_eq!(BACKEND, if cfg!(target_os = "linux") { "kqueue over epoll" } else { "kqueue" });
    assert!(format!("{:?}", queue()).contains(BACKEND));
}

#[test]
fn an_empty_queue_waits_until_the_timeout() {
    let (queue, mut events) = (queue(), Events::with_capacity(8));
    for milliseconds in [0, 1, 20] {
        let (start, timeout) = (Instant::now(), Duration::from_millis(milliseconds));
        queue.wait(&mut events, Some(timeout)).unwrap();
        assert!(events.is_empty() && start.elapsed() >= timeout, "{:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn a_timeout_is_rounded_up_and_never_down() {
    let (queue, mut events) = (queue(), Events::with_capacity(8));
    for nanoseconds in [1, 999_999, 1_000_001, 2_500_000] {
        let (start, timeout) = (Instant::now(), Duration::from_nanos(nanoseconds));
        queue.wait(&mut events, Some(timeout)).unwrap();
        assert!(start.elapsed() >= timeout, "{:?} of {timeout:?}", start.elapsed());
    }
}

#[test]
fn a_timeout_of_any_length_is_accepted() {
    let (queue, mut events) = (queue(), Events::with_capacity(8));
    let waker = queue.waker(A).unwrap();
    for timeout in
        [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(24 * 60 * 60), Duration::new(1, 999_999_999)]
    {
        waker.wake().unwrap();
        queue.wait(&mut events, Some(timeout)).unwrap();
        assert_eq!(events.len(), 1, "{timeout:?}");
    }
}

#[test]
fn no_timeout_waits_until_there_is_an_event() {
    let (queue, mut events) = (queue(), Events::with_capacity(8));
    apply(&queue, Change::add_timer(TimerId(1), Schedule::After(Duration::from_millis(20)), A));
    while events.is_empty() {
        queue.wait(&mut events, None).unwrap();
    }
    assert_eq!(events.get(0).map(|event| event.token()), Some(A));
}

#[test]
fn an_idle_queue_is_not_woken() {
    let queue = queue();
    let pairs: Vec<_> = (0..20).map(|_| pair()).collect();
    for (near, _far) in &pairs {
        apply(&queue, read(near));
    }
    apply(&queue, Change::add_timer(TimerId(1), Schedule::After(Duration::from_millis(60)), A));
    let mut events = Events::with_capacity(8);
    let mut waits = 0;
    while events.is_empty() {
        queue.wait(&mut events, None).unwrap();
        waits += 1;
    }
    assert_eq!((waits, events.get(0).map(|event| event.token())), (1, Some(A)));
}

#[test]
fn a_list_that_is_too_short_gets_the_rest_in_later_waits() {
    let queue = queue();
    let pairs: Vec<_> = (0..50).map(|_| pair()).collect();
    for (index, (near, far)) in pairs.iter().enumerate() {
        apply(&queue, Change::add_read(near.as_fd(), Token(index)));
        (&*far).write_all(b"squawk").unwrap();
    }
    let mut events = Events::with_capacity(7);
    let mut seen = HashSet::new();
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < pairs.len() {
        assert!(Instant::now() < deadline, "only {} of {}", seen.len(), pairs.len());
        let reported = wait_with(&queue, &mut events);
        assert!(reported.len() <= 7);
        seen.extend(reported.iter().map(|event| event.token()));
    }
}

#[test]
fn no_filter_starves_in_a_list_that_is_always_full() {
    const EACH: usize = 60;
    const CAPACITY: usize = 16;
    let queue = queue();
    let pairs: Vec<_> = (0..EACH).map(|_| pair()).collect();
    for (index, (near, far)) in pairs.iter().enumerate() {
        (&*far).write_all(b"squawk").unwrap();
        let timer = Schedule::After(Duration::from_millis(1));
        let changes = [
            Change::add_read(near.as_fd(), Token(index)),
            Change::add_write(near.as_fd(), Token(EACH + index)),
            Change::add_timer(TimerId(index), timer, Token(2 * EACH + index)),
        ];
        queue.apply(&changes).all().unwrap();
    }
    // Once this timer has fired, the others are due.
    let other = self::queue();
    apply(&other, Change::add_timer(TimerId(1), Schedule::After(Duration::from_millis(50)), A));
    one(&other);
    let mut events = Events::with_capacity(CAPACITY);
    let mut seen = HashSet::new();
    // Five times as many waits as are needed to report each once.
    for _ in 0..5 * 3 * EACH / CAPACITY {
        seen.extend(wait_with(&queue, &mut events).iter().map(|event| event.token().0));
    }
    let missing: Vec<_> = (0..3 * EACH).filter(|token| !seen.contains(token)).collect();
    assert!(missing.is_empty(), "of reads, writes and timers, {EACH} each: {missing:?}");
}

#[test]
fn no_filter_starves_in_the_shortest_list() {
    let (queue, near, mut far) = queue_and_pair();
    far.write_all(b"squawk").unwrap();
    let timer = Change::add_timer(TimerId(1), Schedule::Every(Duration::from_millis(1)), A);
    queue.apply(&[read(&near), write(&near), timer]).all().unwrap();
    let mut events = Events::with_capacity(1);
    let mut seen = HashSet::new();
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < 3 {
        assert!(Instant::now() < deadline, "{seen:?}");
        let reported = wait_with(&queue, &mut events);
        assert_eq!(reported.len(), 1);
        seen.insert(reported[0].filter());
    }
}

#[test]
fn a_list_without_room_is_given_room_for_one() {
    let queue = queue();
    queue.waker(A).unwrap().wake().unwrap();
    assert_eq!(wait_with(&queue, &mut Events::with_capacity(0)).len(), 1);
}

#[test]
fn a_list_forgets_the_events_of_the_wait_before() {
    let queue = queue();
    let waker = queue.waker(A).unwrap();
    waker.wake().unwrap();
    let mut events = Events::with_capacity(8);
    wait_with(&queue, &mut events);
    assert_eq!((events.len(), events.iter().len()), (1, 1));
    queue.wait(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(events.is_empty() && events.get(0).is_none());
}

#[test]
fn a_list_can_be_used_with_several_queues() {
    let mut events = Events::with_capacity(8);
    for token in [A, B] {
        let queue = queue();
        queue.waker(token).unwrap().wake().unwrap();
        assert_eq!(wait_with(&queue, &mut events)[0].token(), token);
    }
}

#[test]
fn a_queue_works_on_the_thread_it_is_sent_to() {
    let (queue, near, mut far) = queue_and_pair();
    apply(&queue, read(&near));
    let queue: Kqueue = std::thread::spawn(move || {
        assert_quiet(&queue);
        queue
    })
    .join()
    .unwrap();
    far.write_all(b"squawk").unwrap();
    assert_eq!(one(&queue).token(), A);
}

#[test]
fn events_have_a_readable_form() {
    let queue = queue();
    queue.waker(Token(7)).unwrap().wake().unwrap();
    let event = one(&queue);
    assert_eq!(format!("{event:?}"), "Event { token: 7, filter: User, count: 1 }");
}
