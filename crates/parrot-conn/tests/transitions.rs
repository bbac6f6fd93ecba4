//! The transitions of a connection, with one test for each behaviour.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// The initializer is const already, but the lint does not see that where thread-locals have keys (OpenBSD).
#![allow(clippy::missing_const_for_thread_local)]

use std::cell::Cell;

use parrot_conn::{BufferPool, CloseReason, Connection, Interest, NoSpace};

const BUFFER: usize = 8;

/// An open connection, and a pool of two buffers.
fn opened() -> (Connection, BufferPool) {
    (Connection::new(), BufferPool::new(BUFFER, 2 * BUFFER))
}

/// Receives `bytes` as one receive call would.
fn feed(connection: &mut Connection, pool: &mut BufferPool, bytes: &[u8]) {
    connection.receive_space(pool).expect("there is space")[..bytes.len()].copy_from_slice(bytes);
    connection.received(bytes.len());
}

#[test]
fn new_connection_reads_and_owes_nothing() {
    let connection = Connection::new();
    assert_eq!(connection.interest(), Interest { read: true, write: false });
    assert_eq!(connection.to_send(), b"");
    assert_eq!(connection.close_reason(), None);
    assert!(!connection.holds_buffer());
}

#[test]
fn received_bytes_are_sent_once_in_order() {
    let (mut connection, mut pool) = opened();
    feed(&mut connection, &mut pool, b"abc");
    connection.sent(1);
    feed(&mut connection, &mut pool, b"de");
    assert_eq!(connection.to_send(), b"bcde");
    connection.sent(4);
    assert_eq!(connection.to_send(), b"");
}

#[test]
fn full_buffer_stops_reading_until_all_is_sent() {
    let (mut connection, mut pool) = opened();
    feed(&mut connection, &mut pool, b"12345678");
    assert_eq!(connection.receive_space(&mut pool), Err(NoSpace::OutputFull));
    assert_eq!(connection.interest(), Interest { read: false, write: true });
    connection.sent(7);
    assert_eq!(connection.interest(), Interest { read: false, write: true });
    connection.sent(1);
    assert_eq!(connection.interest(), Interest { read: true, write: false });
    assert_eq!(connection.receive_space(&mut pool).map(|space| space.len()), Ok(BUFFER));
}

#[test]
fn room_comes_back_when_all_is_sent() {
    let (mut connection, mut pool) = opened();
    assert_eq!(connection.room(), None, "it holds no buffer");
    feed(&mut connection, &mut pool, b"12345");
    assert_eq!(connection.room(), Some(3));
    connection.sent(4);
    assert_eq!(connection.room(), Some(3));
    connection.sent(1);
    assert_eq!(connection.room(), Some(BUFFER));
}

#[test]
fn release_returns_buffer_when_nothing_is_pending() {
    let (mut connection, mut pool) = opened();
    feed(&mut connection, &mut pool, b"abc");
    connection.release(&mut pool);
    assert!(connection.holds_buffer(), "bytes are pending");
    connection.sent(3);
    connection.release(&mut pool);
    assert!(!connection.holds_buffer());
    assert_eq!(pool.lent(), 0);
}

#[test]
fn empty_pool_leaves_connection_waiting_and_interested() {
    let (mut connection, mut pool) = opened();
    let mut others: Vec<Connection> = (0..2).map(|_| Connection::new()).collect();
    for other in &mut others {
        feed(other, &mut pool, b"x");
    }
    assert_eq!(connection.receive_space(&mut pool), Err(NoSpace::PoolEmpty));
    assert!(connection.interest().read);
    others[0].sent(1);
    others[0].release(&mut pool);
    assert!(connection.receive_space(&mut pool).is_ok());
}

#[test]
fn end_of_input_sends_pending_bytes_then_shuts_down() {
    let (mut connection, mut pool) = opened();
    feed(&mut connection, &mut pool, b"squawk");
    connection.received_end();
    assert_eq!(connection.receive_space(&mut pool), Err(NoSpace::InputEnded));
    assert_eq!(connection.to_send(), b"squawk");
    assert!(!connection.wants_shut_down());
    assert_eq!(connection.interest(), Interest { read: false, write: true });
    connection.sent(6);
    assert!(connection.wants_shut_down());
    assert_eq!(connection.close_reason(), None);
    connection.shut_down();
    assert_eq!(connection.close_reason(), Some(CloseReason::PeerFinished));
    assert_eq!(connection.interest(), Interest { read: false, write: false });
}

#[test]
fn peer_that_ends_without_sending_is_shut_down() {
    let mut connection = Connection::new();
    connection.received_end();
    assert!(connection.wants_shut_down());
    connection.shut_down();
    assert_eq!(connection.close_reason(), Some(CloseReason::PeerFinished));
}

#[test]
fn drain_echoes_until_input_is_empty_and_output_is_sent() {
    let (mut connection, mut pool) = opened();
    connection.drain();
    assert!(!connection.wants_shut_down(), "whether the input is empty is not known yet");
    feed(&mut connection, &mut pool, b"abc");
    connection.input_emptied();
    assert!(!connection.wants_shut_down(), "three bytes are owed");
    connection.sent(3);
    assert!(connection.wants_shut_down());
}

#[test]
fn drain_echoes_bytes_that_arrive_before_shut_down() {
    let (mut connection, mut pool) = opened();
    connection.drain();
    feed(&mut connection, &mut pool, b"abc");
    connection.input_emptied();
    feed(&mut connection, &mut pool, b"d");
    connection.sent(4);
    assert!(!connection.wants_shut_down(), "a byte has arrived since the input was empty");
    connection.input_emptied();
    assert!(connection.wants_shut_down());
}

#[test]
fn drain_ignores_input_that_was_empty_before_it() {
    let mut connection = Connection::new();
    connection.input_emptied();
    connection.drain();
    assert!(!connection.wants_shut_down());
}

#[test]
fn drained_connection_discards_input_and_closes_at_its_end() {
    let (mut connection, mut pool) = opened();
    connection.drain();
    connection.input_emptied();
    connection.shut_down();
    assert_eq!(connection.close_reason(), None);
    assert!(connection.discards_input());
    for _ in 0..3 {
        feed(&mut connection, &mut pool, b"too late");
        assert_eq!(connection.to_send(), b"");
    }
    connection.received_end();
    assert_eq!(connection.close_reason(), Some(CloseReason::Drained));
    connection.release(&mut pool);
    assert_eq!(pool.lent(), 0);
}

#[test]
fn first_close_reason_stays() {
    let mut connection = Connection::new();
    connection.close(CloseReason::Reset);
    connection.close(CloseReason::DrainTimeout);
    assert_eq!(connection.close_reason(), Some(CloseReason::Reset));
}

#[test]
fn closed_connection_returns_its_buffer_with_bytes_in_it() {
    let (mut connection, mut pool) = opened();
    feed(&mut connection, &mut pool, b"abc");
    connection.close(CloseReason::Reset);
    assert_eq!(connection.interest(), Interest { read: false, write: false });
    connection.release(&mut pool);
    assert_eq!(pool.lent(), 0);
    assert_eq!(pool.lend().map(|buffer| buffer.pending().len()), Some(0), "the next borrower sees no old bytes");
}

const LARGE: usize = 4 * BUFFER;

/// A connection opened now, and a pool with room for `large` large buffers.
fn opened_with_large(large: usize) -> (Connection, BufferPool) {
    (Connection::new(), BufferPool::new(BUFFER, 2 * large * LARGE).with_large_buffers(LARGE))
}

/// Receives as much as there is space for, and returns how much that is.
fn fill(connection: &mut Connection, pool: &mut BufferPool) -> usize {
    let space = connection.receive_space(pool).unwrap().len();
    connection.received(space);
    space
}

/// Fills a buffer `rounds` times, and the peer takes each at once.
fn stream(connection: &mut Connection, pool: &mut BufferPool, rounds: usize) {
    for _ in 0..rounds {
        let n = fill(connection, pool);
        connection.sent(n);
        connection.release(pool);
    }
}

#[test]
fn stream_gets_a_large_buffer_after_64_usual_ones() {
    let (mut connection, mut pool) = opened_with_large(1);
    stream(&mut connection, &mut pool, 63);
    assert_eq!(fill(&mut connection, &mut pool), BUFFER);
    connection.sent(BUFFER);
    connection.release(&mut pool);
    assert_eq!(fill(&mut connection, &mut pool), LARGE);
    assert_eq!(pool.lent(), LARGE);
}

#[test]
fn peer_that_falls_behind_starts_again_with_usual_buffers() {
    let (mut connection, mut pool) = opened_with_large(1);
    stream(&mut connection, &mut pool, 64);
    fill(&mut connection, &mut pool);
    connection.sent(LARGE - 1);
    connection.release(&mut pool);
    assert!(connection.holds_buffer(), "a byte is pending");
    connection.sent(1);
    assert_eq!(fill(&mut connection, &mut pool), BUFFER, "although the large buffer was not released");
    assert_eq!(pool.lent(), BUFFER);
    connection.sent(BUFFER);
    connection.release(&mut pool);
    stream(&mut connection, &mut pool, 62);
    assert_eq!(fill(&mut connection, &mut pool), BUFFER);
}

#[test]
fn peer_that_takes_nothing_falls_behind_too() {
    let (mut connection, mut pool) = opened_with_large(1);
    stream(&mut connection, &mut pool, 63);
    fill(&mut connection, &mut pool);
    connection.release(&mut pool); // the send would block
    connection.sent(BUFFER);
    connection.release(&mut pool);
    assert_eq!(fill(&mut connection, &mut pool), BUFFER);
}

#[test]
fn short_messages_after_a_stream_get_usual_buffers() {
    let (mut connection, mut pool) = opened_with_large(1);
    stream(&mut connection, &mut pool, 100);
    assert_eq!(connection.receive_space(&mut pool).unwrap().len(), LARGE);
    for message in 0..3 {
        connection.receive_space(&mut pool).unwrap();
        connection.received(BUFFER - 1);
        connection.sent(BUFFER - 1);
        connection.release(&mut pool);
        assert_eq!(connection.receive_space(&mut pool).unwrap().len(), BUFFER, "after message {message}");
    }
    connection.release(&mut pool);
    stream(&mut connection, &mut pool, 3);
    assert_eq!(fill(&mut connection, &mut pool), LARGE, "as many whole buffers make up for them");
}

#[test]
fn large_buffers_take_at_most_half_of_the_cap() {
    let (_, mut pool) = opened_with_large(3);
    let mut streams: Vec<Connection> = (0..4).map(|_| Connection::new()).collect();
    for connection in &mut streams {
        stream(connection, &mut pool, 64);
    }
    let sizes: Vec<usize> = streams.iter_mut().map(|connection| fill(connection, &mut pool)).collect();
    assert_eq!(sizes, [LARGE, LARGE, LARGE, BUFFER]);
    streams[0].close(CloseReason::Reset);
    streams[0].release(&mut pool);
    streams[3].sent(BUFFER);
    streams[3].release(&mut pool);
    assert_eq!(fill(&mut streams[3], &mut pool), LARGE, "there is room now");
}

#[test]
fn pool_without_large_buffers_lends_none() {
    for size in [0, BUFFER] {
        let (mut connection, pool) = (Connection::new(), BufferPool::new(BUFFER, 100 * BUFFER));
        let mut pool = pool.with_large_buffers(size);
        stream(&mut connection, &mut pool, 100);
        assert_eq!(fill(&mut connection, &mut pool), BUFFER);
        assert_eq!(pool.largest_size(), BUFFER);
    }
}

#[test]
fn counts_are_capped_at_the_bytes_there_are() {
    let (mut connection, mut pool) = opened();
    connection.receive_space(&mut pool).unwrap().fill(b'x');
    connection.received(usize::MAX);
    assert_eq!(connection.to_send(), [b'x'; BUFFER]);
    connection.sent(usize::MAX);
    assert_eq!(connection.to_send(), b"");
}

#[test]
fn pool_lends_at_most_its_capacity() {
    let mut pool = BufferPool::new(BUFFER, 3 * BUFFER + 1);
    let lent: Vec<_> = std::iter::from_fn(|| pool.lend()).collect();
    assert_eq!((lent.len(), pool.lent()), (3, 3 * BUFFER));
    assert!(!pool.can_lend());
    lent.into_iter().for_each(|buffer| pool.give_back(buffer));
    assert!(pool.can_lend());
    assert_eq!(pool.lent(), 0);
}

#[test]
fn pool_of_too_few_bytes_still_lends_one_buffer() {
    let mut pool = BufferPool::new(BUFFER, 0);
    assert!(pool.lend().is_some());
    assert!(pool.lend().is_none());
}

thread_local! {
    static HAS_MEMORY: Cell<bool> = const { Cell::new(false) };
}

#[test]
fn connection_without_memory_gets_a_buffer_later() {
    let mut pool = BufferPool::with_memory(BUFFER, BUFFER, |size| HAS_MEMORY.get().then(|| vec![0; size]));
    let mut connection = pool.connection();
    for _ in 0..3 {
        assert_eq!(connection.receive_space(&mut pool), Err(NoSpace::NoMemory));
        assert_eq!(pool.lent(), 0, "a buffer that was not allocated is not lent");
    }
    HAS_MEMORY.set(true);
    assert!(connection.receive_space(&mut pool).is_ok());
    assert_eq!(pool.lent(), BUFFER);
}

#[test]
fn stream_without_memory_for_a_large_buffer_gets_a_usual_one() {
    let pool = BufferPool::with_memory(BUFFER, 100 * BUFFER, |size| (size == BUFFER).then(|| vec![0; size]));
    let mut pool = pool.with_large_buffers(LARGE);
    let mut connection = pool.connection();
    for _ in 0..100 {
        let space = connection.receive_space(&mut pool).unwrap().len();
        assert_eq!(space, BUFFER);
        connection.received(space);
        connection.sent(space);
        connection.release(&mut pool);
    }
    assert_eq!(pool.lent(), 0);
}

#[test]
fn close_reasons_are_words() {
    for reason in CloseReason::ALL {
        assert!(reason.to_string().chars().all(|c| c.is_ascii_lowercase() || c == ' ' || c == '-'), "{reason}");
        assert_eq!(CloseReason::ALL[reason as usize], reason);
    }
}

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// Counts the buffers that a pool allocates to lend `lent` at once, after it got `returned` back. Each entry of
/// `returned` is the number of bytes that were in one buffer.
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
fn pool_keeps_buffers_that_held_a_message() {
    assert_eq!(allocated_after(&[12; 100], 100), 0);
}

#[test]
fn pool_memory_falls_after_a_burst() {
    assert_eq!(allocated_after(&[128 * 1024; 100], 100), 96, "four full buffers are kept");
}

#[test]
fn pool_keeps_one_large_buffer_after_a_burst() {
    const SIZE: usize = 1024;
    let mut pool = BufferPool::with_memory(SIZE, 1024 * SIZE, |size| {
        ALLOCATED.set(ALLOCATED.get() + 1);
        Some(vec![0; size])
    });
    pool = pool.with_large_buffers(4 * SIZE);
    let burst: Vec<_> = (0..5).map_while(|_| pool.lend_large()).collect();
    burst.into_iter().for_each(|buffer| pool.give_back(buffer));
    ALLOCATED.set(0);
    let _lent: Vec<_> = (0..5).map_while(|_| pool.lend_large()).collect();
    assert_eq!((pool.lent(), ALLOCATED.get()), (20 * SIZE, 4));
}

#[test]
fn full_buffers_do_not_displace_those_that_held_a_message() {
    let after_streams: Vec<usize> = [128 * 1024; 4].into_iter().chain([12; 50]).collect();
    assert_eq!(allocated_after(&after_streams, 50), 0);
}
