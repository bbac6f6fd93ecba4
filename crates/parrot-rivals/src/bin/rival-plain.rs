//! The bare loop over TCP. With the argument `spin` after the port it never sleeps.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

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
    let spins = std::env::args().nth(2).is_some_and(|argument| argument == "spin");
    plain_loop::serve(&listener, spins.then_some(Duration::ZERO))
}
