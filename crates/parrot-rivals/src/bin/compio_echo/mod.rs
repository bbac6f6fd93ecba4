//! A task per connection that receives into buffers which the kernel picks, the way of io_uring that suits a server.

use std::io;
use std::num::NonZeroU16;

use compio::buf::BufResult;
use compio::driver::ProactorBuilder;
use compio::io::{AsyncRead, AsyncReadManaged, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{Runtime, RuntimeBuilder};

/// Entries of the queue of submissions. When it is full, compio makes one more call.
const ENTRIES: u32 = 4096;
/// Buffers that are shared by all connections. With fewer, 10,000 connections that speak at once run out of them.
const BUFFERS: NonZeroU16 = NonZeroU16::new(16 << 10).expect("is not zero");
/// The size of a buffer, which is compio's default.
const BUFFER: usize = 8 << 10;

/// A runtime on a ring that one thread uses and that completes its work while this thread waits (io_uring_setup(2)).
///
/// # Errors
///
/// If the kernel has no io_uring, or this process may not use it.
pub(crate) fn runtime() -> io::Result<Runtime> {
    let mut proactor = ProactorBuilder::new();
    proactor.capacity(ENTRIES).single_issuer(true).defer_taskrun(true);
    proactor.buffer_pool_size(BUFFERS).buffer_pool_buffer_len(BUFFER);
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
    loop {
        match stream.read_managed(0).await {
            Ok(Some(received)) => stream.write_all(received).await.0?,
            Ok(None) => return Ok(()),
            // All buffers are in use.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                let BufResult(count, received) = stream.read(Vec::with_capacity(BUFFER)).await;
                if count? == 0 {
                    return Ok(());
                }
                stream.write_all(received).await.0?;
            }
            Err(error) => return Err(error),
        }
    }
}
