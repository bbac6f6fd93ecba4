//! An echo server in about sixty lines: every byte comes back. `echo [ADDRESS]`, then `nc 127.0.0.1 1512`.
//!
//! It reads only while nothing is left to send back, so a peer that does not read costs no memory and no time.

use parrot_kqueue::{Change, Event, Events, Filter, Kqueue, Source, Token};
use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
};

const LISTENER: Token = Token(0);

struct Connection {
    stream: TcpStream,
    /// Read and not yet sent back.
    pending: Vec<u8>,
}

impl Connection {
    /// Goes on until the socket has no more bytes or no more room. `false` when the peer has ended.
    fn echo(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            while !self.pending.is_empty() {
                let sent = self.stream.write(&self.pending)?;
                self.pending.drain(..sent);
            }
            match self.stream.read(&mut buffer)? {
                0 => return Ok(false),
                read => self.pending.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind(std::env::args().nth(1).unwrap_or("127.0.0.1:1512".into()))?;
    listener.set_nonblocking(true)?;
    eprintln!("listening on {} ({})", listener.local_addr()?, parrot_kqueue::BACKEND);
    let queue = Kqueue::new()?;
    queue.apply(&[Change::add_read(listener.as_fd(), LISTENER)]).all()?;
    let mut connections = HashMap::new();
    let mut events = Events::with_capacity(256);
    for next in 1.. {
        match queue.wait(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            waited => waited?,
        }
        for event in &events {
            if event.token() != LISTENER {
                serve(&queue, &mut connections, event)?;
            } else if let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(true)?;
                queue.apply(&[Change::add_read(stream.as_fd(), Token(next))]).all()?;
                connections.insert(Token(next), Connection { stream, pending: Vec::new() });
            }
        }
    }
    Ok(())
}

fn serve(queue: &Kqueue, connections: &mut HashMap<Token, Connection>, event: Event) -> io::Result<()> {
    let Some(connection) = connections.get_mut(&event.token()) else { return Ok(()) };
    let open = match connection.echo() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => true,
        ended => ended.unwrap_or(false),
    };
    // Either bytes are waited for or room is, never both: a descriptor is watched for what can go on.
    let (read, write) = (connection.stream.as_fd(), connection.stream.as_fd());
    let wanted = if connection.pending.is_empty() { Filter::Read } else { Filter::Write };
    if !open {
        // Deregistered before it is closed. One of the two is not there, which is no error here.
        let _ = queue.apply(&[Change::delete(Source::Read(read)), Change::delete(Source::Write(write))]);
        connections.remove(&event.token());
    } else if wanted == Filter::Write && event.filter() == Filter::Read {
        queue.apply(&[Change::delete(Source::Read(read)), Change::add_write(write, event.token())]).all()?;
    } else if wanted == Filter::Read && event.filter() == Filter::Write {
        queue.apply(&[Change::delete(Source::Write(write)), Change::add_read(read, event.token())]).all()?;
    }
    Ok(())
}
