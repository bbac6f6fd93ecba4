//! The operating system itself. Its sockets are used through rustix, on FreeBSD also through nix, and its queue through
//! `parrot-kqueue`.

mod accept;
#[cfg(all(test, target_os = "linux"))]
mod soft_errors;

use std::hash::RandomState;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use parrot_kqueue::{Change, Events, Filter, Kqueue, Source, Waker};
use parrot_udp::{Batch, DatagramSocket, Replied};
use rustix::event::{PollFd, PollFlags, Timespec};
#[cfg(not(target_os = "freebsd"))]
use rustix::net::SendFlags;
use rustix::net::{RecvFlags, Shutdown, sockopt};

use super::{Event, Host, Signals, Target, Watch, messages};
use crate::listen::{Carrier, Listener, local_ip, raise_no_signal};
use crate::peer::{Peer, canonical};
use crate::socket_options::SocketOptions;

/// Events taken by one wait. The next wait returns the rest.
const EVENTS_PER_TURN: usize = 1024;

/// XNU sends longer input in chains of this length. It returns ENOBUFS when it has no memory for the second chain, although
/// it sends the first, which the peer would then get twice (`sosend` in bsd/kern/uipc_socket.c, `sosendmaxchain`).
const BYTES_PER_SEND: usize = if cfg!(target_os = "macos") { 64 * 1024 } else { usize::MAX };

/// [`Host`] as it is.
#[derive(Debug)]
pub(crate) struct NativeHost {
    kqueue: Kqueue,
    /// What the last wait found.
    events: Events,
    /// The place of the next event.
    next: usize,
    /// The listeners with an event, in any order, and how many connections wait at each. These events come first.
    backlogs: Vec<(usize, Option<NonZeroU64>)>,
    /// Whether a subscriber may want messages, as of the last wait. Asking at each message would take 22
    /// instructions more.
    logs_messages: bool,
    options: SocketOptions,
    /// Whether accepted sockets have their listener's options, once that is known.
    inherits: Option<bool>,
}

impl NativeHost {
    /// A host for listeners with these options.
    pub(crate) fn new(options: SocketOptions) -> io::Result<NativeHost> {
        let (kqueue, events) = (Kqueue::new()?, Events::with_capacity(EVENTS_PER_TURN));
        Ok(NativeHost { kqueue, events, next: 0, backlogs: Vec::new(), logs_messages: false, options, inherits: None })
    }

    /// Lets other threads end a wait with [`Event::Wake`].
    pub(crate) fn waker(&self) -> io::Result<Waker> {
        self.kqueue.waker(Target::Wake.into())
    }

    /// Collects the events of listeners. Few waits report one. The first look copies no event, which saves 10 instructions
    /// for each.
    fn find_backlogs(&mut self) {
        if self.events.iter().any(|event| matches!(Target::from(event.token()), Target::Listener(_))) {
            self.backlogs.extend(self.events.iter().filter_map(|event| match Target::from(event.token()) {
                Target::Listener(index) => Some((index, available(&event))),
                _ => None,
            }));
        }
    }

    /// Turns these signals into events.
    pub(crate) fn watch_signals(&self, signals: &Signals) -> io::Result<()> {
        signals.add_to(&self.kqueue)
    }
}

impl AsFd for NativeHost {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kqueue.as_fd()
    }
}

impl Host for NativeHost {
    type Listener = Listener;
    type Socket = OwnedFd;
    type DatagramSocket = DatagramSocket;
    type Hasher = RandomState;

    fn now(&mut self) -> Instant {
        Instant::now()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.next = 0;
        self.backlogs.clear();
        self.kqueue.wait(&mut self.events, timeout)?;
        self.find_backlogs();
        self.logs_messages = messages::may_be_wanted();
        Ok(())
    }

    #[inline]
    fn next_event(&mut self) -> Option<Event> {
        if let Some((listener, available)) = self.backlogs.pop() {
            return Some(Event::Backlog { listener, available });
        }
        loop {
            let event = self.events.get(self.next)?;
            self.next += 1;
            return Some(match Target::from(event.token()) {
                Target::Connection(connection) if event.filter() == Filter::Write => Event::Writable { connection },
                Target::Connection(connection) => Event::Readable {
                    connection,
                    read_on: event.is_eof() || event.is_error() || event.is_urgent(),
                    available: available(&event),
                },
                Target::Listener(_) => continue,
                Target::Datagrams(socket) => Event::Datagrams { socket },
                Target::Wake => Event::Wake,
                Target::Signal(index) => {
                    let Some(&signal) = Signals::all().get(index) else { continue };
                    Event::Signal { signal, count: event.count() }
                }
            });
        }
    }

    fn watch(&mut self, what: Watch<'_, Self>, target: Target) -> io::Result<()> {
        let token = target.into();
        let change = match what {
            Watch::Accept(listener) => Change::add_read(listener.as_fd(), token),
            Watch::Datagrams(socket) => Change::add_read(socket.as_fd(), token),
            Watch::Read(socket) => Change::add_read(socket.as_fd(), token).edge(),
            Watch::Write(socket) => Change::add_write(socket.as_fd(), token),
        };
        self.kqueue.apply(&[change]).all()
    }

    fn unwatch(&mut self, what: Watch<'_, Self>) -> io::Result<()> {
        let source = match what {
            Watch::Accept(listener) => Source::Read(listener.as_fd()),
            Watch::Datagrams(socket) => Source::Read(socket.as_fd()),
            Watch::Read(socket) => Source::Read(socket.as_fd()),
            Watch::Write(socket) => Source::Write(socket.as_fd()),
        };
        self.kqueue.apply(&[Change::delete(source)]).all()
    }

    fn accept(&mut self, listener: &Listener) -> io::Result<(OwnedFd, Peer)> {
        accept::accept(listener)
    }

    fn set_up(&mut self, socket: &OwnedFd, listener: &Listener) -> io::Result<()> {
        if listener.is_given() {
            raise_no_signal(socket)?;
        }
        if listener.carrier() == Carrier::Unix {
            return self.options.set_on_unix(socket);
        }
        let inherits = match self.inherits {
            Some(inherits) => inherits,
            None => *self.inherits.insert(self.options.are_set_on(socket)?),
        };
        if inherits { Ok(()) } else { self.options.set_on(socket) }
    }

    fn local_address(&mut self, socket: &OwnedFd) -> io::Result<SocketAddr> {
        local_ip(socket).map(canonical)
    }

    fn has_backlog(&mut self, listener: &Listener) -> io::Result<bool> {
        polls(listener, PollFlags::IN)
    }

    fn peek(&mut self, socket: &OwnedFd, space: &mut [u8]) -> io::Result<usize> {
        // On Linux, SO_ERROR also returns errors that TCP only notes while the connection goes on, such as an ICMP error
        // (`sk_err_soft`, net/core/sock.c). An error that ends the connection is one that poll(2) reports as well.
        let may_have_failed = cfg!(not(target_os = "linux")) || polls(socket, PollFlags::ERR)?;
        if may_have_failed && let Err(error) = sockopt::socket_error(socket)? {
            return Err(error.into());
        }
        let (n, _) = rustix::net::recv(socket, space, RecvFlags::PEEK)?;
        Ok(n)
    }

    #[inline]
    fn receive(&mut self, socket: &OwnedFd, space: &mut [u8]) -> io::Result<usize> {
        // On FreeBSD, read(2) takes 142 instructions less and does the same (`soo_read` in sys/kern/sys_socket.c). nix makes
        // this call and write(2) in line, which saves 23 to 27 for both. On Linux recv(2) has the shorter way.
        #[cfg(target_os = "freebsd")]
        return Ok(nix::unistd::read(socket, space)?);
        #[cfg(not(target_os = "freebsd"))]
        return Ok(rustix::net::recv(socket, space, RecvFlags::empty())?.0);
    }

    #[inline]
    fn send(&mut self, socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        in_pieces(bytes, BYTES_PER_SEND, |piece| send(socket, piece))
    }

    fn shut_down(&mut self, socket: &OwnedFd) -> io::Result<()> {
        Ok(rustix::net::shutdown(socket, Shutdown::Write)?)
    }

    fn close(&mut self, socket: OwnedFd) {
        drop(socket);
    }

    fn reset(&mut self, socket: OwnedFd) {
        // The close is then abortive: RFC 9293, section 3.10.5, and socket(7). Without the option it is a plain close.
        if let Err(error) = sockopt::set_socket_linger(&socket, Some(Duration::ZERO)) {
            tracing::debug!(target: "parrot_server", %error, "a connection is closed without a reset");
        }
        drop(socket);
    }

    fn close_listener(&mut self, listener: Listener) {
        drop(listener);
    }

    fn receive_datagrams(&mut self, socket: &mut DatagramSocket, batch: &mut Batch) -> io::Result<usize> {
        socket.receive(batch)
    }

    fn reply_datagrams(&mut self, socket: &mut DatagramSocket, batch: &Batch) -> Replied {
        socket.reply(batch)
    }

    fn dropped_datagrams(&mut self, socket: &mut DatagramSocket) -> u64 {
        socket.take_drops().map_or(0, u64::from)
    }

    fn close_datagrams(&mut self, socket: DatagramSocket) {
        drop(socket);
    }

    // Inlined for the reason given at `messages::log`.
    #[inline(always)]
    fn message(&mut self, peer: &Peer, payload: &[u8]) {
        if self.logs_messages {
            messages::log(peer, payload);
        }
    }

    fn message_with_faults(&mut self, peer: &Peer, faults: &str, payload: &[u8]) {
        messages::log_with_faults(peer, faults, payload);
    }
}

/// The count that an event carries. `None` if the system does not count, or counts none.
#[inline]
fn available(event: &parrot_kqueue::Event) -> Option<NonZeroU64> {
    event.available().and_then(NonZeroU64::new)
}

/// Whether poll(2) reports this now.
fn polls(descriptor: &impl AsFd, what: PollFlags) -> io::Result<bool> {
    let mut descriptors = [PollFd::new(descriptor, what)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut descriptors, Some(&now))?;
    Ok(descriptors.iter().any(|found| found.revents().intersects(what)))
}

/// Sends without SIGPIPE if the peer has gone. On macOS and FreeBSD the socket inherits that from its listener. There
/// a call need not ask for it, and write(2) of FreeBSD is enough, which takes 88 instructions less (`soo_write` in
/// sys/kern/sys_socket.c).
#[inline]
fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    #[cfg(target_os = "freebsd")]
    let sent = nix::unistd::write(socket, bytes);
    #[cfg(target_os = "macos")]
    let sent = rustix::net::send(socket, bytes, SendFlags::empty());
    #[cfg(not(any(target_os = "freebsd", target_os = "macos")))]
    let sent = rustix::net::send(socket, bytes, SendFlags::NOSIGNAL);
    Ok(sent?)
}

/// Sends piece by piece until the system takes only part of one. An error after the first piece is left for the next call
/// to report.
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
    use std::io::Write as _;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::num::NonZeroU32;

    use rustix::fs::{OFlags, fcntl_getfl};
    use rustix::io::{FdFlags, fcntl_getfd};

    use super::*;
    use crate::listen::{Addresses, Listen, ListenOptions, Opened};

    fn options() -> ListenOptions {
        ListenOptions { socket: SocketOptions::new(Some(Duration::from_secs(600))), ..ListenOptions::default() }
    }

    pub(super) fn host() -> NativeHost {
        NativeHost::new(options().socket).unwrap()
    }

    fn open(listen: Listen, options: &ListenOptions) -> (Listener, SocketAddr) {
        let mut opened = Opened::default();
        let listening = listen.open(options, &mut opened).unwrap();
        (opened.listeners.remove(0).listener, listening[0].listening.address.socket_address().unwrap())
    }

    pub(super) fn listen() -> (Listener, SocketAddr) {
        open(Listen::tcp(Addresses::localhost(0)), &options())
    }

    /// Accepts the connection that a client has begun.
    pub(super) fn accepted(host: &mut NativeHost, listener: &Listener) -> OwnedFd {
        loop {
            match host.accept(listener) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                accepted => break accepted.unwrap().0,
            }
        }
    }

    #[test]
    fn an_accepted_socket_has_the_flags_that_the_loop_needs() {
        let mut host = host();
        let (listener, address) = &listen();
        let _client = TcpStream::connect(address).unwrap();
        let socket = accepted(&mut host, listener);
        host.set_up(&socket, listener).unwrap();
        assert!(fcntl_getfl(&socket).unwrap().contains(OFlags::NONBLOCK));
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert!(sockopt::socket_keepalive(&socket).unwrap());
        #[cfg(not(any(target_os = "openbsd", target_os = "dragonfly")))]
        {
            assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), Duration::from_secs(600));
            assert_eq!(sockopt::tcp_keepintvl(&socket).unwrap(), Duration::from_secs(200));
            assert_eq!(sockopt::tcp_keepcnt(&socket).unwrap(), 3);
        }
        assert_eq!(host.inherits, Some(true), "no call sets what a listener hands down");
        assert!(fcntl_getfd(&socket).unwrap().contains(FdFlags::CLOEXEC));
        assert!(sockopt::socket_oobinline(&socket).unwrap());
        #[cfg(any(target_os = "macos", target_os = "freebsd"))]
        assert!(sockopt::socket_nosigpipe(&socket).unwrap());
    }

    #[test]
    fn options_that_are_not_inherited_are_set() {
        let mut host = NativeHost { inherits: Some(false), ..host() };
        let bare = ListenOptions::default();
        let (listener, address) = &open(Listen::tcp(Addresses::localhost(0)), &bare);
        sockopt::set_tcp_nodelay(listener, false).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let socket = accepted(&mut host, listener);
        assert!(!sockopt::tcp_nodelay(&socket).unwrap());
        host.set_up(&socket, listener).unwrap();
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert!(sockopt::socket_keepalive(&socket).unwrap());
    }

    #[test]
    fn without_keepalive_a_socket_has_no_probes() {
        let bare = ListenOptions::default();
        let (listener, address) = &open(Listen::tcp(Addresses::localhost(0)), &bare);
        let _client = TcpStream::connect(address).unwrap();
        let mut host = NativeHost::new(bare.socket).unwrap();
        let socket = accepted(&mut host, listener);
        host.set_up(&socket, listener).unwrap();
        assert!(!sockopt::socket_keepalive(&socket).unwrap());
    }

    #[test]
    fn a_given_listener_is_made_fit_for_the_loop() {
        let given = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::io::fcntl_setfd(&given, FdFlags::empty()).unwrap();
        let (listener, address) = &open(Listen::from(given), &options());
        assert!(fcntl_getfd(listener).unwrap().contains(FdFlags::CLOEXEC));
        let mut host = host();
        assert_eq!(host.accept(listener).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let _client = TcpStream::connect(address).unwrap();
        let socket = accepted(&mut host, listener);
        host.set_up(&socket, listener).unwrap();
        assert!(sockopt::tcp_nodelay(&socket).unwrap() && sockopt::socket_oobinline(&socket).unwrap());
    }

    #[test]
    fn events_of_listeners_come_first() {
        let (mut host, (listener, address)) = (host(), listen());
        let mut clients: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let sockets: Vec<OwnedFd> = clients.iter().map(|_| accepted(&mut host, &listener)).collect();
        let key = |slot| Target::Connection(crate::host::ConnectionKey { slot, generation: NonZeroU32::MIN });
        for (slot, (socket, client)) in (0..).zip(sockets.iter().zip(&mut clients)) {
            host.watch(Watch::Read(socket), key(slot)).unwrap();
            client.write_all(b"squawk").unwrap();
        }
        host.watch(Watch::Accept(&listener), Target::Listener(0)).unwrap();
        let _burst = TcpStream::connect(address).unwrap();
        let mut found = Vec::new();
        while found.len() < 4 {
            found.clear();
            host.wait(None).unwrap();
            found.extend(std::iter::from_fn(|| host.next_event()));
            // An edge comes once, so ask for all of them again.
            if found.len() < 4 {
                for (slot, socket) in (0..).zip(&sockets) {
                    host.watch(Watch::Read(socket), key(slot)).unwrap();
                }
            }
        }
        assert!(matches!(found[0], Event::Backlog { listener: 0, .. }), "{found:?}");
    }

    #[test]
    fn a_send_in_pieces_ends_at_the_first_short_one() {
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
        assert_eq!(taking(8).unwrap(), 8, "the error is left for the next call");
        assert_eq!(taking(0).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn listener_and_queue_are_closed_on_exec() {
        let (listener, _) = &listen();
        assert!(fcntl_getfd(listener).unwrap().contains(FdFlags::CLOEXEC));
        assert!(fcntl_getfd(host()).unwrap().contains(FdFlags::CLOEXEC));
    }

    #[test]
    fn a_listener_has_a_backlog_until_its_connection_is_accepted() {
        let mut host = host();
        let (listener, address) = &listen();
        assert!(!host.has_backlog(listener).unwrap());
        let _client = TcpStream::connect(address).unwrap();
        while !host.has_backlog(listener).unwrap() {
            std::thread::yield_now();
        }
        host.accept(listener).unwrap();
        assert!(!host.has_backlog(listener).unwrap());
    }
}
