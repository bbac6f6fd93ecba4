//! The bytes of one echo connection, and what it wants next.
//!
//! A [`Connection`] is a value: it is told what has happened (bytes received, bytes sent, the end of the input, time
//! passed) and answers what to do next (receive into this space, send these bytes, shut the write side down, close for
//! this reason). It opens no socket, asks for no time and depends on no other crate, so it can be tested without a
//! network and driven over any transport.
//!
//! ```
//! use std::time::Instant;
//! use parrot_conn::{BufferPool, CloseReason, Connection, Interest};
//!
//! let mut pool = BufferPool::new(64, 1024); // buffers of 64 bytes, 1,024 bytes in all
//! let now = Instant::now();
//! let mut connection = Connection::new(now);
//!
//! connection.receive_space(&mut pool)?[..5].copy_from_slice(b"Hello"); // what a receive call does
//! connection.received(5, now);
//! assert_eq!(connection.to_send(), b"Hello");
//!
//! connection.sent(2, now); // the socket took two bytes only
//! assert_eq!(connection.to_send(), b"llo");
//! assert_eq!(connection.interest(), Interest { read: true, write: true });
//!
//! connection.received_end(); // the peer has finished; it still gets all of its bytes
//! connection.sent(3, now);
//! assert!(connection.wants_shut_down());
//! connection.shut_down();
//! assert_eq!(connection.close_reason(), Some(CloseReason::PeerFinished));
//!
//! connection.release(&mut pool);
//! assert_eq!(pool.lent(), 0);
//! # Ok::<(), parrot_conn::NoSpace>(())
//! ```
//!
//! # What is promised
//!
//! - Every byte received is to be sent back, in order, once.
//! - After the end of the input all pending bytes go out, then the write side is to be shut down, then the connection
//!   is closed.
//! - At most one buffer a connection, so its output is bounded by the pool's buffer size; at most
//!   [`BufferPool::capacity`] buffers over all connections.
//! - After [`Connection::release`] a connection with nothing pending holds no buffer.
//!
//! What is absent on purpose: sockets, clocks, callbacks, framing (a message is whatever one receive call returned).

// What comes from outside must find no index to be out of: docs/reliability.md.
#![warn(clippy::indexing_slicing)]

mod buffer;
mod connection;

pub use buffer::{Buffer, BufferPool};
pub use connection::{CloseReason, Connection, Interest, NoSpace};
