//! An echo connection as a value: the bytes it owes its peer and what it waits for.
//!
//! The caller reports to a [`Connection`] what happened: bytes received, bytes sent, the end of the input. The connection
//! then says what to do next: receive into this space, send these bytes, shut the write side down, close for this
//! reason. It opens no socket, knows no time and depends on no other crate, so it works over any transport and can be
//! tested without a network.
//!
//! ```
//! use parrot_conn::{BufferPool, CloseReason, Connection, Interest};
//!
//! let mut pool = BufferPool::new(64, 1024); // buffers of 64 bytes, 1,024 bytes in all
//! let mut connection = Connection::new();
//!
//! connection.receive_space(&mut pool)?[..5].copy_from_slice(b"Hello"); // what a receive call does
//! connection.received(5);
//! assert_eq!(connection.to_send(), b"Hello");
//!
//! connection.sent(2); // the socket took two bytes only
//! assert_eq!(connection.to_send(), b"llo");
//! assert_eq!(connection.interest(), Interest { read: true, write: true });
//!
//! connection.received_end(); // the peer has ended its stream, but still gets all of its bytes
//! connection.sent(3);
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
//! - Every byte received is sent back once, in order.
//! - After the end of the input all pending bytes go out, then the write side is shut down, then the connection closes.
//! - A connection holds at most one buffer, so the pool's buffer size bounds its output. All connections together hold
//!   at most [`BufferPool::capacity`] bytes of buffers.
//! - If the pool lends [large buffers](BufferPool::with_large_buffers), a connection whose peer takes everything at once
//!   holds one of these, until the peer falls behind and has then been sent what is pending.
//! - After [`Connection::release`] a connection with nothing pending holds no buffer.
//!
//! There is no framing. A message is whatever one receive call returned. There are no timeouts. A caller that closes
//! idle connections notes when bytes moved, in whatever form it keeps times, and calls [`Connection::close`].
//!
//! Where a load balancer sends a PROXY protocol header before the first message, a [`ProxyHeader`] reads it. Where a peer
//! is to learn who answers, a [`Template`] writes the greeting of a stream or the prefix of each message.
//!
//! Datagrams need no connection. [`DatagramRules`] decide which of them are answered at all, and a [`RateLimit`] bounds
//! the answers to each network.
//!
//! For tests of clients and proxies, a [`fault`] makes a connection or datagram misbehave, in the same way for the same
//! seed.

// Input from outside must not be able to cause an index out of bounds: docs/reliability.md.
#![warn(clippy::indexing_slicing)]

mod buffer;
mod connection;
mod datagram;
pub mod fault;
mod proxy_header;
mod rate_limit;
mod template;

pub use buffer::{Buffer, BufferPool};
pub use connection::{CloseReason, Connection, Interest, NoSpace};
pub use datagram::{Datagram, DatagramRules, Refusal};
pub use proxy_header::{Endpoints, HeaderError, HeaderProgress, ProxyHeader};
pub use rate_limit::RateLimit;
pub use template::{Endpoint, Facts, Lookup, Template, TemplateError};
