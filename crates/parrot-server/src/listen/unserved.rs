//! Listeners that no server serves, for what a program offers beside the echo.

use std::os::fd::OwnedFd;

use super::{BindError, Listen, ListenOptions, Listener, LocalAddress, Opened, SocketFile};

/// A listener that the caller serves. It is opened like those of a server, so the file of a program that has gone is
/// replaced, and an error names the place.
///
/// ```
/// use std::net::{SocketAddr, TcpListener};
/// use parrot_server::Listen;
///
/// let listen = Listen::tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
/// for listener in listen.open_unserved(None)? {
///     println!("serving something else on {}", listener.address);
///     let listener = TcpListener::from(listener.socket);
/// }
/// # Ok::<(), parrot_server::BindError>(())
/// ```
#[derive(Debug)]
pub struct UnservedListener {
    /// Where it listens.
    pub address: LocalAddress,
    /// The socket, which does not block.
    pub socket: OwnedFd,
    /// The file of a Unix socket, unless the caller has opened it.
    pub file: Option<SocketFile>,
}

impl Listen {
    /// Opens the listeners for the caller to serve, one for each address. A UDP socket is none. `unix_mode` is as in
    /// [`Config`](crate::Config::unix_mode).
    ///
    /// # Errors
    ///
    /// When an address, a path or a given socket cannot be listened on.
    pub fn open_unserved(self, unix_mode: Option<u32>) -> Result<Vec<UnservedListener>, BindError> {
        let mut opened = Opened::default();
        let counted = self.open(&ListenOptions { unix_mode, ..ListenOptions::default() }, &mut opened)?;
        let addresses = counted.into_iter().map(|counted| counted.listening.address);
        let unserved = opened.listeners.into_iter().zip(addresses).map(|(open, address)| {
            let (socket, file) = Listener::into_parts(open.listener);
            UnservedListener { address, socket, file }
        });
        Ok(unserved.collect())
    }
}
