//! A listener of the native host, whatever transport it has.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::socket_file::SocketFile;
use crate::socket_options::SocketOptions;

/// What the sockets that a server opens have in common.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ListenOptions {
    pub(crate) backlog: Option<u32>,
    pub(crate) reuse_port: bool,
    /// Every listener expects PROXY headers.
    pub(crate) proxy_everywhere: bool,
    /// The permissions of the file of a Unix socket, unless the umask decides.
    pub(crate) unix_mode: Option<u32>,
    pub(crate) socket: SocketOptions,
}

/// What carries the bytes of a listener's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tcp,
    Unix,
}

/// A socket that accepts connections.
#[derive(Debug)]
pub(crate) struct Listener {
    // Dropped before the socket is closed, so that a client finds either a server or no file.
    file: Option<SocketFile>,
    socket: OwnedFd,
    carrier: Carrier,
    given: bool,
}

impl Listener {
    pub(super) fn tcp(socket: OwnedFd) -> Listener {
        Listener { file: None, socket, carrier: Carrier::Tcp, given: false }
    }

    pub(super) fn unix(socket: OwnedFd, file: Option<SocketFile>) -> Listener {
        Listener { file, socket, carrier: Carrier::Unix, given: false }
    }

    /// The same listener, which somebody else has opened.
    pub(super) fn given(self) -> Listener {
        Listener { given: true, ..self }
    }

    pub(super) fn into_parts(self) -> (OwnedFd, Option<SocketFile>) {
        (self.socket, self.file)
    }

    pub(crate) fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// Whether somebody else has opened it. Then there may be connections in its backlog that are older than its options.
    pub(crate) fn is_given(&self) -> bool {
        self.given
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The backlog to ask for. Every system reduces a longer one to its limit: listen(2), and `solisten` or, on Linux,
/// `__sys_listen`. Most take a negative number for the limit too, but on NetBSD it means no backlog at all
/// (sys/kern/uipc_socket2.c).
pub(super) fn effective_backlog(wanted: Option<u32>) -> i32 {
    // XNU keeps the backlog in a 16-bit number (bsd/kern/uipc_socket.c).
    let most = if cfg!(target_os = "macos") { i32::from(i16::MAX) } else { i32::MAX };
    wanted.map_or(most, |backlog| i32::try_from(backlog).unwrap_or(most).min(most))
}
