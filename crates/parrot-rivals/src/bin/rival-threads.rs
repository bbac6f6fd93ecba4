//! An echo server with the standard library and a thread per connection, which is what most people write first.
//!
//! With the argument `sockperf` after the port, it answers messages of sockperf as that tool's own server does, and echoes
//! all others. So one server can be measured by sockperf and by `parrot-load`.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

fn main() -> io::Result<()> {
    let listener = parrot_rivals::listener()?;
    let change = if std::env::args().nth(2).is_some_and(|argument| argument == "sockperf") { answer } else { keep };
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        // If no thread can be started, the stream is dropped, which closes the connection.
        let _ = thread::Builder::new().stack_size(128 << 10).spawn(move || echo(stream, change));
    }
    Ok(())
}

fn keep(_: &mut [u8]) {}

/// Makes a message of sockperf the answer to it, if `message` is one.
///
/// The header is a number of 8 bytes, 2 bytes of flags, of which the last bit says that a client sent it, and a length of
/// 4 bytes (`MsgHeader` in its src/message.h). No text begins with a zero, as the number does.
fn answer(message: &mut [u8]) {
    if let [0, _, _, _, _, _, _, _, _, flags, _, _, _, _, ..] = message {
        *flags &= !1;
    }
}

fn echo(mut stream: TcpStream, change: fn(&mut [u8])) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; parrot_rivals::RECEIVE];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let message = buffer.get_mut(..count).unwrap_or_default();
        change(message);
        stream.write_all(message)?;
    }
}
