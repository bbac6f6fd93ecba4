//! A task per connection, as in tokio's own echo example.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) async fn serve() -> io::Result<()> {
    let listener = parrot_rivals::listener()?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => stream.write_all(buffer.get(..count).unwrap_or_default()).await?,
        }
    }
}

/// The size of the buffer that each task holds across its awaits.
///
/// It is smaller than [`parrot_rivals::RECEIVE`], as in tokio's own helpers (`copy` uses 8 KiB).
const BUFFER: usize = 8 << 10;
