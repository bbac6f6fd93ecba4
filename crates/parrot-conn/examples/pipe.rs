//! Drives a `Connection` by hand. Standard input is the peer, and standard output takes three bytes at a time.
//!
//! `echo Hello Parrot | cargo run --package parrot-conn --example pipe`

use std::io::{self, Read, Write};

use parrot_conn::{BufferPool, Connection, NoSpace};

fn main() -> io::Result<()> {
    let mut pool = BufferPool::new(16, 16);
    let mut connection = Connection::new();
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());

    while connection.close_reason().is_none() {
        match connection.receive_space(&mut pool) {
            Ok(space) => match input.read(space)? {
                0 => connection.received_end(),
                n => connection.received(n),
            },
            Err(NoSpace::OutputFull | NoSpace::InputEnded) => {}
            Err(error @ (NoSpace::PoolEmpty | NoSpace::NoMemory)) => return Err(io::Error::other(error)),
        }
        let pending = connection.to_send();
        let n = output.write(&pending[..pending.len().min(3)])?;
        connection.sent(n);
        if connection.wants_shut_down() {
            output.flush()?;
            connection.shut_down();
        }
        connection.release(&mut pool);
    }
    Ok(())
}
