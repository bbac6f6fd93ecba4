//! An echo server with compio, an asynchronous runtime on io_uring, on one thread.
//!
//! Called with `check`, it only finds out whether this system has io_uring and permits it.

use std::io;
use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod compio_echo;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
fn run() -> io::Result<()> {
    let runtime = compio_echo::runtime()?;
    if std::env::args().nth(1).is_some_and(|word| word == "check") {
        return Ok(());
    }
    runtime.block_on(compio_echo::serve())
}

#[cfg(not(target_os = "linux"))]
fn run() -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux has io_uring"))
}
