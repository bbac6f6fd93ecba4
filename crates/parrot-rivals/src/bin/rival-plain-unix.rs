//! The bare loop over Unix sockets.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};

mod plain_loop;

impl plain_loop::Listener for UnixListener {
    type Stream = UnixStream;

    fn accept_stream(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.accept()?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

fn main() -> io::Result<()> {
    let listener = parrot_rivals::unix_listener()?;
    listener.set_nonblocking(true)?;
    plain_loop::serve(&listener, None)
}
