//! A signal that arrives while the server is set up drains it like a later one. This test is a program of its own,
//! because the signal would end libtest's threads, which do not block it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::{Ipv4Addr, SocketAddr};

use parrot_server::{Config, Ended, Listen, Server, Signals};
use rustix::process::{Signal, getpid, kill_process};

fn main() {
    let signals = Signals::take().unwrap();
    kill_process(getpid(), Signal::TERM).unwrap();
    let config = Config { listen: vec![Listen::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))], ..Config::default() };
    let server = Server::bind(config).unwrap();
    assert_eq!(server.run_with_signals(&signals, || ()).unwrap(), Ended::Drained);
}
