//! An echo server with tokio and a worker per core, which is its default.

use std::io;

mod tokio_echo;

fn main() -> io::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_io().build()?.block_on(tokio_echo::serve())
}
