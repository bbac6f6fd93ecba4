//! The bare loop over TCP.

use std::io;
use std::net::{TcpListener, TcpStream};

mod plain_loop;

impl plain_loop::Listener for TcpListener {
    type Stream = TcpStream;

    fn accept_stream(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept()?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn main() -> io::Result<()> {
    let listener = parrot_rivals::listener()?;
    listener.set_nonblocking(true)?;
    plain_loop::serve(&listener)
}
