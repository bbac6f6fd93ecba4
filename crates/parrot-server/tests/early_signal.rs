//! A signal that comes while the server is set up stops it like a later one. A program of its own, without libtest's
//! threads: a thread that does not block the signal would be ended by it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::Ipv4Addr;

use parrot_server::{Config, Ended, Server, Signals};
use rustix::process::{Signal, getpid, kill_process};

fn main() {
    let signals = Signals::take().unwrap();
    kill_process(getpid(), Signal::TERM).unwrap();
    let config = Config { addresses: vec![Ipv4Addr::LOCALHOST.into()], ..Config::default() };
    let server = Server::bind(config).unwrap();
    assert_eq!(server.run_with_signals(&signals, || ()).unwrap(), Ended::Drained);
}
