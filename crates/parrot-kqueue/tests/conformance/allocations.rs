//! What a wait allocates. The allocator of this binary counts for all of its threads, so the test runs alone.

use super::{
    signal::{guarded, post},
    support::*,
};
use parrot_kqueue::{Change, Events, Filter, Schedule, Signal, TimerId};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::{alloc::System, collections::HashSet, io::Write, time::Duration};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const FILTERS: [Filter; 5] = [Filter::Read, Filter::Write, Filter::Timer, Filter::Signal, Filter::User];

#[test]
fn a_wait_allocates_nothing() {
    guarded("allocations::a_wait_allocates_nothing", &[Signal::User1], || {
        let (queue, mut events) = (queue(), Events::with_capacity(8));
        let (near, mut far) = pair();
        far.write_all(b"squawk").unwrap();
        let waker = queue.waker(A).unwrap();
        let timer = Change::add_timer(TimerId(1), Schedule::Every(Duration::from_millis(1)), A);
        queue.apply(&[read(&near), write(&near), timer, Change::add_signal(Signal::User1, A)]).all().unwrap();
        let mut seen = HashSet::with_capacity(FILTERS.len());

        // The least of several counts, because another thread may allocate once before it waits for this test.
        let allocated = (0..10).map(|_| {
            let region = Region::new(ALLOCATOR);
            for _ in 0..10 {
                seen.clear();
                while seen.len() < FILTERS.len() {
                    waker.wake().unwrap();
                    post(Signal::User1);
                    queue.wait(&mut events, None).unwrap();
                    seen.extend(events.iter().map(|event| event.filter()));
                }
            }
            let change = region.change();
            change.allocations + change.reallocations
        });
        assert_eq!(allocated.min(), Some(0));
    });
}
