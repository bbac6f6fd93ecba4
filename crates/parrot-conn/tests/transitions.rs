//! Each transition of a connection, one test a behaviour.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// It is const already; where thread-locals have keys (OpenBSD) the lint does not see that.
#![allow(clippy::missing_const_for_thread_local)]

use std::cell::Cell;
use std::time::{Duration, Instant};

use parrot_conn::{BufferPool, CloseReason, Connection, Interest, NoSpace};

const BUFFER: usize = 8;

fn pool() -> BufferPool {
    BufferPool::new(BUFFER, 2 * BUFFER)
}

/// Receives `bytes` as one receive call would.
fn feed(connection: &mut Connection, pool: &mut BufferPool, bytes: &[u8], now: Instant) {
    connection.receive_space(pool).expect("there is space")[..bytes.len()].copy_from_slice(bytes);
    connection.received(bytes.len(), now);
}

#[test]
fn a_new_connection_waits_to_read_and_owes_nothing() {
    let connection = Connection::new(Instant::now());
    assert_eq!(connection.interest(), Interest { read: true, write: false });
    assert_eq!(connection.to_send(), b"");
    assert_eq!(connection.close_reason(), None);
    assert!(!connection.holds_buffer());
}

#[test]
fn bytes_received_are_to_be_sent_in_order_and_once() {
    let (mut pool, now) = (pool(), Instant::now());
    let mut connection = Connection::new(now);
    feed(&mut connection, &mut pool, b"abc", now);
    connection.sent(1, now);
    feed(&mut connection, &mut pool, b"de", now);
    assert_eq!(connection.to_send(), b"bcde");
    connection.sent(4, now);
    assert_eq!(connection.to_send(), b"");
}

#[test]
fn a_full_buffer_stops_reading_until_all_of_it_is_sent() {
    let (mut pool, now) = (pool(), Instant::now());
    let mut connection = Connection::new(now);
    feed(&mut connection, &mut pool, b"12345678", now);
    assert_eq!(connection.receive_space(&mut pool), Err(NoSpace::OutputFull));
    assert_eq!(connection.interest(), Interest { read: false, write: true });
    connection.sent(7, now);
    assert_eq!(connection.interest(), Interest { read: false, write: true });
    connection.sent(1, now);
    assert_eq!(connection.interest(), Interest { read: true, write: false });
    assert_eq!(connection.receive_space(&mut pool).map(|space| space.len()), Ok(BUFFER));
}

#[test]
fn a_connection_with_nothing_pending_gives_its_buffer_back() {
    let (mut pool, now) = (pool(), Instant::now());
    let mut connection = Connection::new(now);
    feed(&mut connection, &mut pool, b"abc", now);
    connection.release(&mut pool);
    assert!(connection.holds_buffer(), "bytes are pending");
    connection.sent(3, now);
    connection.release(&mut pool);
    assert!(!connection.holds_buffer());
    assert_eq!(pool.lent(), 0);
}

#[test]
fn an_empty_pool_leaves_a_connection_waiting_and_still_interested() {
    let (mut pool, now) = (pool(), Instant::now());
    let mut others: Vec<Connection> = (0..2).map(|_| Connection::new(now)).collect();
    for other in &mut others {
        feed(other, &mut pool, b"x", now);
    }
    let mut connection = Connection::new(now);
    assert_eq!(connection.receive_space(&mut pool), Err(NoSpace::PoolEmpty));
    assert!(connection.interest().read);
    others[0].sent(1, now);
    others[0].release(&mut pool);
    assert!(connection.receive_space(&mut pool).is_ok());
}

#[test]
fn the_end_of_input_is_answered_with_what_is_pending_then_with_the_end_of_output() {
    let (mut pool, now) = (pool(), Instant::now());
    let mut connection = Connection::new(now);
    feed(&mut connection, &mut pool, b"squawk", now);
    connection.received_end();
    assert_eq!(connection.receive_space(&mut pool), Err(NoSpace::InputEnded));
    assert_eq!(connection.to_send(), b"squawk");
    assert!(!connection.wants_shut_down());
    assert_eq!(connection.interest(), Interest { read: false, write: true });
    connection.sent(6, now);
    assert!(connection.wants_shut_down());
    assert_eq!(connection.close_reason(), None);
    connection.shut_down();
    assert_eq!(connection.close_reason(), Some(CloseReason::PeerFinished));
    assert_eq!(connection.interest(), Interest { read: false, write: false });
}

#[test]
fn a_peer_that_sends_nothing_and_finishes_is_answered_with_the_end() {
    let mut connection = Connection::new(Instant::now());
    connection.received_end();
    assert!(connection.wants_shut_down());
    connection.shut_down();
    assert_eq!(connection.close_reason(), Some(CloseReason::PeerFinished));
}

#[test]
fn a_drain_echoes_on_until_the_input_is_seen_empty_and_the_output_sent() {
    let (mut pool, now) = (pool(), Instant::now());
    let mut connection = Connection::new(now);
    connection.drain();
    assert!(!connection.wants_shut_down(), "whether the input is empty is not known yet");
    feed(&mut connection, &mut pool, b"abc", now);
    connection.input_emptied();
    assert!(!connection.wants_shut_down(), "three bytes are owed");
    connection.sent(3, now);
    assert!(connection.wants_shut_down());
}

#[test]
fn bytes_that_come_before_the_drain_can_finish_are_echoed_too() {
    let (mut pool, now) = (pool(), Instant::now());
    let mut connection = Connection::new(now);
    connection.drain();
    feed(&mut connection, &mut pool, b"abc", now);
    connection.input_emptied();
    feed(&mut connection, &mut pool, b"d", now);
    connection.sent(4, now);
    assert!(!connection.wants_shut_down(), "the input was not empty the last time it was looked at");
    connection.input_emptied();
    assert!(connection.wants_shut_down());
}

#[test]
fn an_empty_input_before_the_drain_says_nothing_about_it_afterwards() {
    let mut connection = Connection::new(Instant::now());
    connection.input_emptied();
    connection.drain();
    assert!(!connection.wants_shut_down());
}

#[test]
fn a_drained_connection_discards_what_still_comes_and_closes_at_the_end_of_it() {
    let (mut pool, now) = (pool(), Instant::now());
    let mut connection = Connection::new(now);
    connection.drain();
    connection.input_emptied();
    connection.shut_down();
    assert_eq!(connection.close_reason(), None);
    assert!(connection.discards_input());
    for _ in 0..3 {
        feed(&mut connection, &mut pool, b"too late", now);
        assert_eq!(connection.to_send(), b"");
    }
    connection.received_end();
    assert_eq!(connection.close_reason(), Some(CloseReason::Drained));
    connection.release(&mut pool);
    assert_eq!(pool.lent(), 0);
}

#[test]
fn the_idle_time_starts_again_with_every_byte_in_or_out() {
    let (mut pool, start) = (pool(), Instant::now());
    let (idle, second) = (Duration::from_secs(10), Duration::from_secs(1));
    let mut connection = Connection::new(start);
    assert_eq!(connection.next_timeout(idle), Some(start + idle));
    feed(&mut connection, &mut pool, b"ab", start + 3 * second);
    assert_eq!(connection.next_timeout(idle), Some(start + 13 * second));
    connection.sent(1, start + 5 * second);
    assert_eq!(connection.next_timeout(idle), Some(start + 15 * second));
    connection.handle_timeout(start + 14 * second, idle);
    assert_eq!(connection.close_reason(), None);
    connection.handle_timeout(start + 15 * second, idle);
    assert_eq!(connection.close_reason(), Some(CloseReason::IdleTimeout));
}

#[test]
fn activity_at_a_time_that_has_become_old_is_extended() {
    let (start, idle, second) = (Instant::now(), Duration::from_secs(10), Duration::from_secs(1));
    let mut connection = Connection::new(start);
    connection.extend_activity(start, start + 2 * second);
    assert_eq!(connection.next_timeout(idle), Some(start + 12 * second));
    connection.extend_activity(start, start + 5 * second); // when another was active, and this one no more
    assert_eq!(connection.next_timeout(idle), Some(start + 12 * second));
}

#[test]
fn an_idle_time_beyond_the_clock_never_comes() {
    let now = Instant::now();
    let mut connection = Connection::new(now);
    assert_eq!(connection.next_timeout(Duration::MAX), None);
    connection.handle_timeout(now + Duration::from_secs(86_400), Duration::MAX);
    assert_eq!(connection.close_reason(), None);
}

#[test]
fn the_first_reason_to_close_stays() {
    let mut connection = Connection::new(Instant::now());
    connection.close(CloseReason::Reset);
    connection.close(CloseReason::DrainTimeout);
    assert_eq!(connection.close_reason(), Some(CloseReason::Reset));
}

#[test]
fn a_closed_connection_gives_its_buffer_back_with_the_bytes_in_it() {
    let (mut pool, now) = (pool(), Instant::now());
    let mut connection = Connection::new(now);
    feed(&mut connection, &mut pool, b"abc", now);
    connection.close(CloseReason::Reset);
    assert_eq!(connection.interest(), Interest { read: false, write: false });
    connection.release(&mut pool);
    assert_eq!(pool.lent(), 0);
    assert_eq!(pool.lend().map(|buffer| buffer.pending().len()), Some(0), "the next borrower sees no old bytes");
}

#[test]
fn counts_beyond_what_there_is_are_cut_to_it() {
    let (mut pool, now) = (pool(), Instant::now());
    let mut connection = Connection::new(now);
    connection.receive_space(&mut pool).unwrap().fill(b'x');
    connection.received(usize::MAX, now);
    assert_eq!(connection.to_send(), [b'x'; BUFFER]);
    connection.sent(usize::MAX, now);
    assert_eq!(connection.to_send(), b"");
}

#[test]
fn a_pool_lends_at_most_its_capacity() {
    let mut pool = BufferPool::new(BUFFER, 3 * BUFFER + 1);
    let lent: Vec<_> = std::iter::from_fn(|| pool.lend()).collect();
    assert_eq!(lent.len(), 3);
    assert!(!pool.can_lend());
    lent.into_iter().for_each(|buffer| pool.give_back(buffer));
    assert!(pool.can_lend());
    assert_eq!(pool.lent(), 0);
}

#[test]
fn a_pool_of_too_few_bytes_still_lends_one_buffer() {
    let mut pool = BufferPool::new(BUFFER, 0);
    assert!(pool.lend().is_some());
    assert!(pool.lend().is_none());
}

thread_local! {
    static HAS_MEMORY: Cell<bool> = const { Cell::new(false) };
}

#[test]
fn a_connection_for_which_there_is_no_memory_gets_a_buffer_later() {
    let now = Instant::now();
    let mut pool = BufferPool::with_memory(BUFFER, BUFFER, |size| HAS_MEMORY.get().then(|| vec![0; size]));
    let mut connection = pool.connection(now);
    for _ in 0..3 {
        assert_eq!(connection.receive_space(&mut pool), Err(NoSpace::NoMemory));
        assert_eq!(pool.lent(), 0, "a buffer that was not made is not lent");
    }
    HAS_MEMORY.set(true);
    assert!(connection.receive_space(&mut pool).is_ok());
    assert_eq!(pool.lent(), 1);
}

#[test]
fn every_close_reason_reads_as_words() {
    for reason in CloseReason::ALL {
        assert!(reason.to_string().chars().all(|c| c.is_ascii_lowercase() || c == ' ' || c == '-'), "{reason}");
        assert_eq!(CloseReason::ALL[reason as usize], reason);
    }
}

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// How many buffers a pool has allocated until `lent` are lent at once, after it has got `returned` back, each of which
/// was filled with so many bytes.
fn allocated_after(returned: &[usize], lent: usize) -> usize {
    const SIZE: usize = 128 * 1024;
    let mut pool = BufferPool::with_memory(SIZE, 1024 * SIZE, |size| {
        ALLOCATED.set(ALLOCATED.get() + 1);
        Some(vec![0; size])
    });
    let burst: Vec<_> = returned.iter().map_while(|_| pool.lend()).collect();
    for (mut buffer, filled) in burst.into_iter().zip(returned) {
        buffer.fill(*filled);
        pool.give_back(buffer);
    }
    ALLOCATED.set(0);
    let _lent: Vec<_> = (0..lent).map_while(|_| pool.lend()).collect();
    ALLOCATED.get()
}

#[test]
fn buffers_that_held_a_message_are_kept_for_the_next_borrowers() {
    assert_eq!(allocated_after(&[12; 100], 100), 0);
}

#[test]
fn memory_falls_again_after_a_burst() {
    assert_eq!(allocated_after(&[128 * 1024; 100], 100), 96, "four full ones are kept");
}

#[test]
fn a_few_buffers_that_were_full_do_not_displace_those_that_held_a_message() {
    let after_streams: Vec<usize> = [128 * 1024; 4].into_iter().chain([12; 50]).collect();
    assert_eq!(allocated_after(&after_streams, 50), 0);
}
