//! The options of a connection's socket. A listener has them, so that accepted sockets inherit them without a call.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;

/// How often a silent peer is probed before it counts as gone. The probes are a third of the quiet time apart, so it is gone
/// after twice that time.
#[cfg(not(target_os = "openbsd"))]
const PROBES: u32 = 3;

/// The shortest and the longest quiet time that every system accepts. Linux has `MAX_TCP_KEEPIDLE` in include/net/tcp.h.
const QUIET: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32_767);

/// DragonFly counts these times in milliseconds (`tcp_ctloutput` in sys/netinet/tcp_usrreq.c), the others in seconds.
#[cfg(not(target_os = "openbsd"))]
const UNITS_PER_SECOND: u32 = if cfg!(target_os = "dragonfly") { 1000 } else { 1 };

/// What every connection's socket needs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SocketOptions {
    /// The quiet time before the first probe.
    keepalive: Option<Duration>,
}

impl SocketOptions {
    pub(crate) fn new(keepalive: Option<Duration>) -> SocketOptions {
        SocketOptions { keepalive: keepalive.map(|quiet| quiet.clamp(*QUIET.start(), *QUIET.end())) }
    }

    /// Sets them on a listener, and what else its connections have to inherit.
    pub(crate) fn set_on_listener(&self, listener: &impl AsFd) -> io::Result<()> {
        // Urgent bytes are bytes of the stream (RFC 6093), so they are echoed in their place. Setting this on an accepted
        // socket would be too late for an urgent byte that has already arrived.
        match sockopt::set_socket_oobinline(listener, true) {
            // A listener of MPTCP, which has no urgent bytes (net/mptcp/sockopt.c).
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        self.set_on(listener)
    }

    /// Sets what an accepted Unix socket needs.
    pub(crate) fn set_on_unix(&self, socket: &impl AsFd) -> io::Result<()> {
        // Linux has urgent bytes here too since 5.15, and decides at the receive whether they are in their place
        // (`manage_oob` in net/unix/af_unix.c).
        #[cfg(target_os = "linux")]
        sockopt::set_socket_oobinline(socket, true)?;
        #[cfg(not(target_os = "linux"))]
        let _ = socket;
        Ok(())
    }

    pub(crate) fn set_on(&self, socket: &impl AsFd) -> io::Result<()> {
        // Nagle's algorithm would hold an echo back until the peer acknowledges the last one: RFC 896, RFC 1122 section
        // 4.2.3.4.
        sockopt::set_tcp_nodelay(socket, true)?;
        if let Some(quiet) = self.keepalive {
            sockopt::set_socket_keepalive(socket, true)?;
            set_probes(socket, quiet)?;
        }
        Ok(())
    }

    /// Whether a socket has inherited them.
    pub(crate) fn are_set_on(&self, socket: &impl AsFd) -> io::Result<bool> {
        let nodelay = sockopt::tcp_nodelay(socket)?;
        let keepalive = match self.keepalive {
            Some(quiet) => sockopt::socket_keepalive(socket)? && has_probes(socket, quiet)?,
            None => true,
        };
        Ok(nodelay && keepalive)
    }
}

#[cfg(not(target_os = "openbsd"))]
fn set_probes(socket: &impl AsFd, quiet: Duration) -> io::Result<()> {
    sockopt::set_tcp_keepidle(socket, quiet * UNITS_PER_SECOND)?;
    sockopt::set_tcp_keepintvl(socket, interval(quiet) * UNITS_PER_SECOND)?;
    sockopt::set_tcp_keepcnt(socket, PROBES)?;
    Ok(())
}

#[cfg(not(target_os = "openbsd"))]
fn has_probes(socket: &impl AsFd, quiet: Duration) -> io::Result<bool> {
    Ok(sockopt::tcp_keepidle(socket)?.as_secs() == (quiet * UNITS_PER_SECOND).as_secs())
}

#[cfg(not(target_os = "openbsd"))]
fn interval(quiet: Duration) -> Duration {
    (quiet / PROBES).max(*QUIET.start())
}

/// OpenBSD has one setting for all sockets: `net.inet.tcp.keepidle` in sysctl(2).
#[cfg(target_os = "openbsd")]
fn set_probes(_: &impl AsFd, _: Duration) -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "openbsd")]
fn has_probes(_: &impl AsFd, _: Duration) -> io::Result<bool> {
    Ok(true)
}
