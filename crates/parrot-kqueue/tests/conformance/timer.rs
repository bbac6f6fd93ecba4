//! The Timer filter. Lower bounds are exact, because a timer is never early. The only upper bound is `PATIENCE`.
//!
//! Where timers go by ticks, one of 5 ms fires after 10 to 20 ms (see `Difference::FineTimers`). On Linux
//! `Schedule::At` follows changes of the clock. That has no test, because it would have to set the clock of the
//! machine.

use super::{
    differences::{Difference, testable},
    support::*,
};
use parrot_kqueue::{Change, Filter, Schedule, Source, TimerId, Token};
use std::{
    io::ErrorKind,
    time::{Duration, Instant, SystemTime},
};

const T: TimerId = TimerId(1);
const FOREVER: Duration = Duration::from_secs(3600);

fn after(milliseconds: u64) -> Schedule {
    Schedule::After(Duration::from_millis(milliseconds))
}

fn every(milliseconds: u64) -> Schedule {
    Schedule::Every(Duration::from_millis(milliseconds))
}

#[test]
fn a_timer_fires_after_its_time_and_not_before() {
    let queue = queue();
    let start = Instant::now();
    apply(&queue, Change::add_timer(T, after(30), A));
    let event = one(&queue);
    assert!(start.elapsed() >= Duration::from_millis(30), "{:?}", start.elapsed());
    assert_eq!((event.token(), event.filter(), event.count()), (A, Filter::Timer, 1));
}

#[test]
fn a_timer_that_fires_once_is_gone_afterwards() {
    let queue = watching(Change::add_timer(T, after(1), A));
    one(&queue);
    assert_quiet(&queue);
    assert_not_found(&queue, Source::Timer(T));
}

#[test]
fn a_periodic_timer_fires_repeatedly() {
    let queue = queue();
    let start = Instant::now();
    apply(&queue, Change::add_timer(T, every(10), A));
    let mut expirations = 0;
    while expirations < 5 {
        expirations += one(&queue).count();
    }
    assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
}

#[test]
fn expirations_between_waits_are_counted() {
    let queue = queue();
    // Time has to pass without a wait. A clock bounds the count, not this sleep.
    let start = Instant::now();
    apply(&queue, Change::add_timer(T, every(5), A));
    std::thread::sleep(Duration::from_millis(100));
    let event = one(&queue);
    let most = start.elapsed().as_millis() / 5 + 1;
    assert!(event.count() >= 2 && u128::from(event.count()) <= most, "{event:?} of at most {most}");
}

#[test]
fn a_timer_of_zero_fires_at_once() {
    let queue = watching(Change::add_timer(T, Schedule::After(Duration::ZERO), A));
    assert_eq!(one(&queue).count(), 1);
}

#[test]
fn a_period_of_zero_is_refused() {
    refused(&queue(), Change::add_timer(T, Schedule::Every(Duration::ZERO), A), ErrorKind::InvalidInput);
}

#[test]
fn a_timer_that_is_added_again_starts_again() {
    let queue = watching(Change::add_timer(T, after(1), A));
    let start = Instant::now();
    apply(&queue, Change::add_timer(T, after(40), B));
    assert_eq!(one(&queue).token(), B);
    assert!(start.elapsed() >= Duration::from_millis(40), "{:?}", start.elapsed());
    assert_quiet(&queue);
}

#[test]
fn a_timer_can_be_made_longer() {
    let queue = watching(Change::add_timer(T, after(1), A));
    apply(&queue, Change::add_timer(T, Schedule::After(FOREVER), A));
    apply(&queue, Change::add_timer(TimerId(2), after(30), B));
    assert_eq!(one(&queue).token(), B);
}

#[test]
fn timers_fire_in_the_order_of_their_times() {
    let queue = queue();
    for (timer, milliseconds) in [(1, 120), (2, 40), (3, 80)] {
        apply(&queue, Change::add_timer(TimerId(timer), after(milliseconds), Token(timer)));
    }
    let mut order = Vec::new();
    while order.len() < 3 {
        order.extend(wait(&queue).iter().map(|event| event.token().0));
    }
    assert_eq!(order, [2, 3, 1]);
}

#[test]
fn hundreds_of_timers_all_fire_and_none_twice() {
    // OpenBSD allows 1,024 per process, and other tests have some.
    const TIMERS: usize = 300;
    let queue = queue();
    let changes: Vec<_> = (0..TIMERS)
        .map(|timer| Change::add_timer(TimerId(timer), after(1 + timer as u64 % 50), Token(timer)))
        .collect();
    queue.apply(&changes).all().unwrap();
    let mut fired = [0; TIMERS];
    while fired.contains(&0) {
        for event in wait(&queue) {
            fired[event.token().0] += event.count();
        }
    }
    assert!(fired.iter().all(|&times| times == 1));
}

#[test]
fn a_period_goes_on_while_its_timer_is_disabled() {
    let queue = watching(Change::add_timer(T, every(20), A).disabled());
    apply(&queue, Change::add_timer(TimerId(2), after(120), B));
    assert_eq!(one(&queue).token(), B);
    apply(&queue, Change::enable(Source::Timer(T)));
    let event = one(&queue);
    assert_eq!(event.token(), A);
    if testable(Difference::PeriodGoesOn) {
        assert!(event.count() >= 2, "{event:?}");
    }
}

#[test]
fn a_timer_that_is_due_can_be_put_off_and_taken_back() {
    let queue = watching(Change::add_timer(T, after(1), A));
    assert_can_be_put_off(&queue, Source::Timer(T));
    assert_quiet(&queue);
    apply(&queue, Change::add_timer(T, after(1), A));
    assert_can_be_taken_back(&queue, Source::Timer(T));
}

#[test]
fn a_timer_that_is_due_is_forgotten_when_it_is_added_again() {
    let queue = watching(Change::add_timer(T, after(1), A));
    until_pending(&queue);
    apply(&queue, Change::add_timer(T, Schedule::After(FOREVER), A));
    assert_quiet(&queue);
}

#[test]
fn a_running_timer_that_is_added_as_it_was_starts_again() {
    let queue = queue();
    let mut start = Instant::now();
    for _ in 0..3 {
        start = Instant::now();
        apply(&queue, Change::add_timer(T, after(40), A));
    }
    assert_eq!((one(&queue).token(), start.elapsed() >= Duration::from_millis(40)), (A, true));
    assert_quiet(&queue);
}

#[test]
fn a_period_can_be_replaced_by_another_and_by_a_single_time() {
    let queue = watching(Change::add_timer(T, every(5), A));
    one(&queue);
    let start = Instant::now();
    apply(&queue, Change::add_timer(T, every(30), B));
    assert_eq!((one(&queue).token(), start.elapsed() >= Duration::from_millis(30)), (B, true));
    apply(&queue, Change::add_timer(T, after(5), A));
    let event = one(&queue);
    assert_eq!((event.token(), event.count()), (A, 1));
    assert_not_found(&queue, Source::Timer(T));
    assert_quiet(&queue);
}

#[test]
fn a_single_time_can_be_replaced_by_a_period() {
    let queue = watching(Change::add_timer(T, Schedule::After(FOREVER), A));
    apply(&queue, Change::add_timer(T, every(5), B));
    for _ in 0..3 {
        assert_eq!(one(&queue).token(), B);
    }
}

#[test]
fn a_time_of_decades_does_not_come_early() {
    let queue = queue();
    for (number, long) in [30 * 365 * 24 * FOREVER, Duration::MAX].into_iter().enumerate() {
        apply(&queue, Change::add_timer(TimerId(2 * number), Schedule::After(long), A));
        apply(&queue, Change::add_timer(TimerId(2 * number + 1), Schedule::Every(long), A));
    }
    apply(&queue, Change::add_timer(TimerId(9), after(30), B));
    assert_once(&queue, B);
}

#[test]
fn timers_of_two_queues_are_two_timers() {
    let (first, second) = (queue(), queue());
    apply(&first, Change::add_timer(T, after(5), A));
    apply(&second, Change::add_timer(T, after(5), B));
    assert_eq!(one(&first).token(), A);
    assert_eq!(one(&second).token(), B);
}

#[test]
fn a_timer_can_be_finer_than_a_millisecond() {
    if !testable(Difference::FineTimers) {
        return;
    }
    let queue = queue();
    let start = Instant::now();
    apply(&queue, Change::add_timer(T, Schedule::Every(Duration::from_micros(250)), A));
    std::thread::sleep(Duration::from_millis(20));
    let count = one(&queue).count();
    // A timer of whole milliseconds could expire only once per millisecond.
    let milliseconds = start.elapsed().as_millis();
    assert!(u128::from(count) > 20 && u128::from(count) <= 4 * (milliseconds + 1), "{count} in {milliseconds} ms");
}

#[test]
fn a_wall_clock_timer_fires_at_its_time() {
    let queue = queue();
    let time = SystemTime::now() + Duration::from_millis(40);
    let change = Change::add_timer(T, Schedule::At(time), A);
    if !testable(Difference::WallClock) {
        refused(&queue, change, ErrorKind::Unsupported);
        return;
    }
    apply(&queue, change);
    assert_eq!(one(&queue).token(), A);
    // The clock of the kernel's timer may differ a little from the one that `now` reads.
    assert!(SystemTime::now() + Duration::from_millis(2) >= time);
    assert_not_found(&queue, Source::Timer(T));
}

#[test]
fn a_wall_clock_timer_of_the_past_fires_at_once() {
    if !testable(Difference::WallClock) {
        return;
    }
    let queue = queue();
    for past in [SystemTime::UNIX_EPOCH, SystemTime::now() - FOREVER] {
        apply(&queue, Change::add_timer(T, Schedule::At(past), A));
        assert_eq!(one(&queue).token(), A);
    }
}

#[test]
fn a_name_is_one_timer_whatever_its_schedule() {
    if !testable(Difference::WallClock) {
        return;
    }
    let queue = watching(Change::add_timer(T, Schedule::At(SystemTime::now() + FOREVER), A));
    apply(&queue, Change::add_timer(T, after(5), B));
    assert_eq!(one(&queue).token(), B);
    assert_not_found(&queue, Source::Timer(T));
}
