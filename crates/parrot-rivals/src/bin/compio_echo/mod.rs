//! A task per connection, with a buffer that the kernel owns while it receives into it or sends it.
//!
//! io_uring can also pick the buffers itself, from a pool. With messages of 16 KiB that took about twice as much CPU,
//! because the pool hands out cold buffers in turn, and with 12 bytes it made no clear difference.

use std::io;

use compio::buf::BufResult;
use compio::driver::ProactorBuilder;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{Runtime, RuntimeBuilder};

/// Entries of the queue of submissions. When it is full, compio makes one more call.
const ENTRIES: u32 = 4096;

/// A runtime on a ring that one thread uses and that completes its work while this thread waits (io_uring_setup(2)).
///
/// # Errors
///
/// If the kernel has no io_uring, or this process may not use it.
pub(crate) fn runtime() -> io::Result<Runtime> {
    let mut proactor = ProactorBuilder::new();
    proactor.capacity(ENTRIES).single_issuer(true).defer_taskrun(true);
    RuntimeBuilder::new().with_proactor(proactor).build()
}

pub(crate) async fn serve() -> io::Result<()> {
    let listener = TcpListener::from_std(parrot_rivals::listener()?)?;
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            compio::runtime::spawn(echo(stream)).detach();
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(parrot_rivals::RECEIVE);
    loop {
        let BufResult(count, received) = stream.read(buffer).await;
        if count? == 0 {
            return Ok(());
        }
        let BufResult(sent, mut received) = stream.write_all(received).await;
        sent?;
        received.clear();
        buffer = received;
    }
}
