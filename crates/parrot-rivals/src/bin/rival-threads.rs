//! An echo server with the standard library and a thread per connection, which is what most people write first.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

fn main() -> io::Result<()> {
    let listener = parrot_rivals::listener()?;
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        // If no thread can be started, the stream is dropped, which closes the connection.
        let _ = thread::Builder::new().stack_size(128 << 10).spawn(move || echo(stream));
    }
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; parrot_rivals::RECEIVE];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(buffer.get(..count).unwrap_or_default())?,
        }
    }
}
