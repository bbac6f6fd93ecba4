//! The operating system itself: std's sockets and `parrot-kqueue`.

#[cfg(all(test, target_os = "linux"))]
mod soft_errors;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use parrot_kqueue::{Change, Events, Filter, Kqueue, Source, Token, Waker};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::Signals;
use crate::system::{Event, System, Watch};

/// Events taken by one wait; what is ready beyond that comes with the next.
const EVENTS_PER_TURN: usize = 1024;

/// Numbers above all listeners and below all connections, whose upper half is never 0.
const WAKE: Token = Token(u32::MAX as usize);
const FIRST_SIGNAL: usize = 1 << 31;

/// XNU takes a longer send in chains of this length, and answers ENOBUFS when there is no memory for the second,
/// although it will send the first (`sosend` in bsd/kern/uipc_socket.c, `sosendmaxchain`): the peer would get that twice.
const BYTES_PER_SEND: usize = if cfg!(target_os = "macos") { 64 * 1024 } else { usize::MAX };

/// [`System`] as it is.
#[derive(Debug, Default)]
pub(crate) struct Kernel;

/// The event queue, and what its last wait found.
#[derive(Debug)]
pub(crate) struct Queue {
    kqueue: Kqueue,
    events: Events,
    next: usize,
}

impl Queue {
    pub(crate) fn new() -> io::Result<Queue> {
        Ok(Queue { kqueue: Kqueue::new()?, events: Events::with_capacity(EVENTS_PER_TURN), next: 0 })
    }

    /// Lets other threads end a wait with [`Event::Wake`].
    pub(crate) fn waker(&self) -> io::Result<Waker> {
        self.kqueue.waker(WAKE)
    }

    /// Turns these signals into events.
    pub(crate) fn watch_signals(&self, signals: &Signals) -> io::Result<()> {
        signals.add_to(&self.kqueue, FIRST_SIGNAL)
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.kqueue.as_fd()
    }
}

impl System for Kernel {
    type Listener = TcpListener;
    type Socket = TcpStream;
    type Queue = Queue;

    fn now(&mut self) -> Instant {
        Instant::now()
    }

    fn wait(&mut self, queue: &mut Queue, timeout: Option<Duration>) -> io::Result<()> {
        queue.next = 0;
        queue.kqueue.wait(&mut queue.events, timeout)
    }

    #[inline]
    fn next_event(&mut self, queue: &mut Queue) -> Option<Event> {
        loop {
            let event = queue.events.get(queue.next)?;
            queue.next += 1;
            let token = event.token();
            return Some(match event.filter() {
                Filter::Read => Event::Readable {
                    token,
                    read_on: event.is_eof() || event.is_error() || event.is_urgent(),
                    available: event.available(),
                },
                Filter::Write => Event::Writable { token },
                Filter::User => Event::Wake,
                Filter::Signal => {
                    let Some(signal) = Signals::all().get(token.0.wrapping_sub(FIRST_SIGNAL)) else { continue };
                    Event::Signal { signal: *signal, count: event.count() }
                }
                _ => continue,
            });
        }
    }

    fn watch(&mut self, queue: &mut Queue, what: Watch<'_, Self>, token: Token) -> io::Result<()> {
        let change = match what {
            Watch::Accept(listener) => Change::add_read(listener.as_fd(), token),
            Watch::Read(socket) => Change::add_read(socket.as_fd(), token).edge(),
            Watch::Write(socket) => Change::add_write(socket.as_fd(), token),
        };
        queue.kqueue.apply(&[change]).all()
    }

    fn unwatch(&mut self, queue: &mut Queue, what: Watch<'_, Self>) -> io::Result<()> {
        let source = match what {
            Watch::Accept(listener) => Source::Read(listener.as_fd()),
            Watch::Read(socket) => Source::Read(socket.as_fd()),
            Watch::Write(socket) => Source::Write(socket.as_fd()),
        };
        queue.kqueue.apply(&[Change::delete(source)]).all()
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        // std sets close-on-exec.
        listener.accept()
    }

    fn set_up(&mut self, socket: &TcpStream) -> io::Result<()> {
        // Linux does not hand the listener's flag down to accepted sockets: accept(2).
        socket.set_nonblocking(true)?;
        // An echo that waits to be joined by more bytes is late: RFC 896, RFC 1122 section 4.2.3.4.
        socket.set_nodelay(true)?;
        Ok(())
    }

    fn is_waiting(&mut self, listener: &TcpListener) -> io::Result<bool> {
        polls(listener, PollFlags::IN)
    }

    fn peek(&mut self, socket: &TcpStream) -> io::Result<usize> {
        // Linux answers SO_ERROR also with what TCP only notes of a connection that goes on, such as an ICMP error
        // (`sk_err_soft`, net/core/sock.c). What ends it is what poll(2) tells as well.
        let may_have_failed = cfg!(not(target_os = "linux")) || polls(socket, PollFlags::ERR)?;
        let failure = if may_have_failed { socket.take_error()? } else { None };
        match failure {
            Some(error) => Err(error),
            None => socket.peek(&mut [0]),
        }
    }

    #[inline]
    fn receive(&mut self, mut socket: &TcpStream, space: &mut [u8]) -> io::Result<usize> {
        socket.read(space)
    }

    #[inline]
    fn send(&mut self, mut socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        // std sends with MSG_NOSIGNAL, and on macOS the listener's SO_NOSIGPIPE is handed down: a peer that has gone
        // raises no SIGPIPE.
        in_pieces(bytes, BYTES_PER_SEND, |piece| socket.write(piece))
    }

    fn shut_down(&mut self, socket: &TcpStream) -> io::Result<()> {
        socket.shutdown(Shutdown::Write)
    }

    fn close(&mut self, socket: TcpStream) {
        drop(socket);
    }

    fn close_listener(&mut self, listener: TcpListener) {
        drop(listener);
    }

    #[inline]
    fn message(&mut self, peer: SocketAddr, payload: &[u8]) {
        tracing::info!(target: crate::MESSAGE_TARGET, peer = %peer, payload, bytes = payload.len() as u64);
    }
}

/// Whether poll(2) finds this now.
fn polls(descriptor: &impl AsFd, what: PollFlags) -> io::Result<bool> {
    let mut descriptors = [PollFd::new(descriptor, what)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut descriptors, Some(&now))?;
    Ok(descriptors.iter().any(|found| found.revents().intersects(what)))
}

/// Sends piece by piece until one is not taken whole; an error after the first piece is left to the next call.
#[inline]
fn in_pieces(bytes: &[u8], length: usize, mut send: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<usize> {
    let mut sent = 0;
    for piece in bytes.chunks(length) {
        match send(piece) {
            Ok(n) => {
                sent += n;
                if n < piece.len() {
                    break;
                }
            }
            Err(error) if sent == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rustix::fs::{OFlags, fcntl_getfl};
    use rustix::io::{FdFlags, fcntl_getfd};
    use rustix::net::sockopt;

    use super::*;
    use crate::listen;

    /// The connection that a client has begun.
    pub(super) fn accepted(listener: &TcpListener) -> TcpStream {
        loop {
            match Kernel.accept(listener) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                accepted => break accepted.unwrap().0,
            }
        }
    }

    #[test]
    fn an_accepted_socket_is_non_blocking_without_delay_closed_on_exec_and_has_urgent_bytes_in_line() {
        let listener = &listen::listen(&[Ipv4Addr::LOCALHOST.into()], 0, None).unwrap()[0];
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = accepted(listener);
        Kernel.set_up(&socket).unwrap();
        assert!(fcntl_getfl(&socket).unwrap().contains(OFlags::NONBLOCK));
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert!(fcntl_getfd(&socket).unwrap().contains(FdFlags::CLOEXEC));
        assert!(sockopt::socket_oobinline(&socket).unwrap());
        #[cfg(target_os = "macos")]
        assert!(sockopt::socket_nosigpipe(&socket).unwrap());
    }

    #[test]
    fn a_send_in_pieces_ends_at_the_first_that_is_not_taken_whole() {
        let taking = |room: usize| {
            let mut left = room;
            in_pieces(b"pieces of eight", 4, |piece| {
                let n = piece.len().min(left);
                left -= n;
                if n == 0 { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(n) }
            })
        };
        assert_eq!(taking(100).unwrap(), 15);
        assert_eq!(taking(6).unwrap(), 6);
        assert_eq!(taking(8).unwrap(), 8, "what was taken before an error is told, and the error by the next call");
        assert_eq!(taking(0).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn listener_and_queue_are_closed_on_exec() {
        let listener = &listen::listen(&[Ipv4Addr::LOCALHOST.into()], 0, None).unwrap()[0];
        assert!(fcntl_getfd(listener).unwrap().contains(FdFlags::CLOEXEC));
        assert!(fcntl_getfd(Queue::new().unwrap()).unwrap().contains(FdFlags::CLOEXEC));
    }

    #[test]
    fn a_listener_is_waiting_while_a_connection_is_in_its_backlog() {
        let listener = &listen::listen(&[Ipv4Addr::LOCALHOST.into()], 0, None).unwrap()[0];
        assert!(!Kernel.is_waiting(listener).unwrap());
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        while !Kernel.is_waiting(listener).unwrap() {
            std::thread::yield_now();
        }
        Kernel.accept(listener).unwrap();
        assert!(!Kernel.is_waiting(listener).unwrap());
    }
}
