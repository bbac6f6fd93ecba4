//! A server inside a program: it is bound to a free port, runs on a thread, echoes two words, and is drained.
//!
//! `cargo run --package parrot-server --example embed`

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;

use parrot_server::{Config, Limits, Listen, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let limits = Limits { max_connections: Some(100), ..Limits::default() };
    let config =
        Config { listen: vec![Listen::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))], limits, ..Config::default() };
    let server = Server::bind(config)?;
    let address = server.local_addresses()[0];
    let handle = server.handle();
    let running = thread::spawn(move || server.run());
    println!("listening on {address} ({})", Server::queue_name());

    let mut client = TcpStream::connect(address)?;
    for word in ["Hello", "Parrot"] {
        client.write_all(word.as_bytes())?;
        let mut reply = vec![0; word.len()];
        client.read_exact(&mut reply)?;
        println!("sent {word:?}, received {:?}", String::from_utf8_lossy(&reply));
    }
    drop(client);

    handle.drain();
    let ended = running.join().map_err(|_| "the server panicked")??;
    println!("{ended:?}: {}", handle.statistics());
    Ok(())
}
