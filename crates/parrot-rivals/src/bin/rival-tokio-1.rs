//! An echo server with tokio on one thread.

use std::io;

mod tokio_echo;

fn main() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(tokio_echo::serve())
}
