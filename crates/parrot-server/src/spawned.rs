//! A server on a thread of its own, for tests that need one for a while.

use std::io;
use std::net::SocketAddr;
use std::thread::{Builder, JoinHandle};

use crate::event_loop::Ended;
use crate::listen::Listening;
use crate::server::{Handle, Server};

/// A server that runs on a thread of its own until it is [drained](SpawnedServer::drain) or dropped.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
/// use parrot_server::fault::{Fault, FaultPlan};
/// use parrot_server::{Addresses, Config, Listen, Server};
///
/// let faults = Some(FaultPlan::new(1512, [Fault::LimitData(5).into()])?);
/// let listen = vec![Listen::tcp(Addresses::localhost(0))];
/// let parrot = Server::bind(Config { listen, faults, ..Config::default() })?.spawn()?;
///
/// let mut client = TcpStream::connect(parrot.local_addresses()[0])?;
/// client.write_all(b"Hello Parrot\n")?;
/// let mut reply = Vec::new();
/// client.read_to_end(&mut reply)?;
/// assert_eq!(reply, b"Hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SpawnedServer {
    /// `None` once it was joined.
    thread: Option<JoinHandle<io::Result<Ended>>>,
    handle: Handle,
    listening: Vec<Listening>,
    local_addresses: Vec<SocketAddr>,
}

impl Server {
    /// [Runs](Server::run) on a thread of its own. Signals keep their usual effect.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub fn spawn(self) -> io::Result<SpawnedServer> {
        let (handle, listening) = (self.handle(), self.listening().to_vec());
        let local_addresses = self.local_addresses().to_vec();
        let thread = Builder::new().name("parrot".to_owned()).spawn(move || self.run())?;
        Ok(SpawnedServer { thread: Some(thread), handle, listening, local_addresses })
    }
}

impl SpawnedServer {
    /// What the server listens on. See [`Server::listening`].
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// The addresses of its TCP listeners.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.local_addresses
    }

    /// A handle to the server.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// [Drains](Handle::drain) the server and waits for its end, which takes no longer than the drain timeout. Dropping it
    /// does the same and ignores errors.
    ///
    /// # Errors
    ///
    /// As for [`Server::run`].
    pub fn drain(mut self) -> io::Result<Ended> {
        self.join()
    }

    fn join(&mut self) -> io::Result<Ended> {
        self.handle.drain();
        let Some(thread) = self.thread.take() else { return Ok(Ended::Drained) };
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the server has panicked")))
    }
}

impl Drop for SpawnedServer {
    fn drop(&mut self) {
        let _ = self.join();
    }
}
