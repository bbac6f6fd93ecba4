//! An echo server in about sixty lines. Run `echo [ADDRESS]`, then `nc 127.0.0.1 1512`.
//!
//! Both directions are edge-triggered. An event reports that something is new, and `echo` continues until a call would
//! block. It reads only while nothing is left to send back, so a peer that does not read costs no memory and no time.

use parrot_kqueue::{Change, Events, Kqueue, Source, Token};
use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
};

const LISTENER: Token = Token(0);

/// Sends back what is pending and what arrives. Returns `Ok` at the end of the stream, and an error if a call fails or
/// would block.
fn echo(stream: &mut TcpStream, pending: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        while !pending.is_empty() {
            let sent = stream.write(pending)?;
            pending.drain(..sent);
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => pending.extend_from_slice(&buffer[..read]),
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
    // Each wait accepts at most one connection, so the number of the wait can be the connection's token.
    for token in (1..).map(Token) {
        match queue.wait(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            waited => waited?,
        }
        for event in &events {
            if event.token() == LISTENER {
                let Ok((stream, _)) = listener.accept() else { continue };
                stream.set_nonblocking(true)?;
                let both = [Change::add_read(stream.as_fd(), token), Change::add_write(stream.as_fd(), token)];
                queue.apply(&both.map(Change::edge)).all()?;
                connections.insert(token, (stream, Vec::new()));
            } else if let Some((stream, pending)) = connections.get_mut(&event.token()) {
                if echo(stream, pending).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                    continue;
                }
                let (read, write) = (Source::Read(stream.as_fd()), Source::Write(stream.as_fd()));
                queue.apply(&[Change::delete(read), Change::delete(write)]).all()?;
                connections.remove(&event.token());
            }
        }
    }
    Ok(())
}
