//! The server: from a configuration to a running loop, and the handle that others hold.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parrot_kqueue::Waker;

use crate::bind_error::BindError;
use crate::config::Config;
use crate::descriptors;
use crate::event_loop::{EventLoop, LoopConfig, Shared};
use crate::kernel::{Kernel, Queue};
use crate::listen;
use crate::signals::Signals;
use crate::statistics::Statistics;

/// Below this many connections the limit of descriptors is worth a warning.
const FEW_CONNECTIONS: u64 = 1000;

/// A shorter time-out would be over again as soon as it has been looked at.
const LEAST_IDLE_TIMEOUT: Duration = Duration::from_millis(1);

/// A bound server: connections wait in its backlog until it [runs](Server::run).
///
/// ```
/// use parrot_server::{Config, Ended, Server};
///
/// let server = Server::bind(Config { addresses: vec!["127.0.0.1".parse()?], ..Config::default() })?;
/// println!("listening on {:?} with {}", server.local_addresses(), Server::queue_name());
/// server.handle().stop(); // here already, so that it ends as soon as it runs
/// assert_eq!(server.run()?, Ended::Drained);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    event_loop: EventLoop<Kernel>,
    local_addresses: Vec<SocketAddr>,
    handle: Handle,
    connections_wanted: u64,
}

/// How a server has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// After a drain: every connection has ended or was closed at the drain time-out.
    Drained,
    /// At once, by a second signal of this number.
    Signal(i32),
}

/// Looks at a server and stops it, from any thread.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    waker: Waker,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addresses", &self.local_addresses).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens, and readies everything that can fail.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on, or when the event queue cannot be made, above all for want of
    /// descriptors: a server needs about eight beside its connections.
    pub fn bind(config: Config) -> Result<Server, BindError> {
        if config.raise_descriptor_limit {
            descriptors::raise_limit();
        }
        let listeners = listen::listen(&config.addresses, config.port, config.backlog)?;
        Server::with_listeners(listeners, config).map_err(BindError::queue)
    }

    fn with_listeners(listeners: Vec<TcpListener>, config: Config) -> io::Result<Server> {
        let local_addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        let queue = Queue::new()?;
        let waker = queue.waker()?;
        let connections_wanted = config.max_connections.map_or(FEW_CONNECTIONS, |max| max as u64);
        let shared = Arc::new(Shared::default());
        let loop_config = LoopConfig {
            max_connections: config.max_connections,
            max_output: config.max_output,
            max_buffered: config.max_buffered,
            idle_timeout: config.idle_timeout.map(|idle| idle.max(LEAST_IDLE_TIMEOUT)),
            drain_timeout: config.drain_timeout,
            busy_poll: config.busy_poll,
        };
        let event_loop = EventLoop::new(Kernel, queue, listeners, loop_config, Arc::clone(&shared))?;
        Ok(Server { event_loop, local_addresses, handle: Handle { shared, waker }, connections_wanted })
    }

    /// The addresses listened on, with the port that was found where 0 was asked for.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.local_addresses
    }

    /// The name of the system's event queue: `kqueue`, or `kqueue over epoll` on Linux.
    pub fn queue_name() -> &'static str {
        parrot_kqueue::BACKEND
    }

    /// A handle on this server.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until a handle [stops](Handle::stop) it; no signal is looked at.
    ///
    /// # Errors
    ///
    /// When no descriptor is left for even one connection (EMFILE), and when the event queue itself fails; whatever
    /// happens to a connection ends that connection.
    pub fn run(mut self) -> io::Result<Ended> {
        self.warn_of_few_descriptors()?;
        self.event_loop.run()
    }

    /// Serves until a signal or a handle ends it: [`watch_signals`](Server::watch_signals), then [`run`](Server::run).
    ///
    /// # Errors
    ///
    /// As for these two.
    pub fn run_with_signals(
        mut self,
        signals: &Signals,
        on_hangup: impl FnMut() + Send + 'static,
    ) -> io::Result<Ended> {
        self.watch_signals(signals, on_hangup)?;
        self.run()
    }

    /// Has signals end the server, or do what else [`Signals`] says, once it [runs](Server::run). Who keeps the signals
    /// longer is not ended by one that comes after the server's end.
    ///
    /// `on_hangup` is called from the loop when SIGHUP arrives, to reopen a log file: it should return soon.
    ///
    /// # Errors
    ///
    /// When the queue cannot watch the signals, and when no descriptor is left for even one connection (EMFILE). After it
    /// a server can be called ready.
    pub fn watch_signals(&mut self, signals: &Signals, on_hangup: impl FnMut() + Send + 'static) -> io::Result<()> {
        self.event_loop.set_on_hangup(Box::new(on_hangup));
        self.event_loop.queue().watch_signals(signals)?;
        descriptors::left(self.event_loop.queue()).map(drop)
    }

    /// What a signal that asks for [statistics](Signals) does with them, in place of logging them. Called from the loop:
    /// it should return soon.
    pub fn set_on_statistics(&mut self, on_statistics: impl FnMut(&Statistics) + Send + 'static) {
        self.event_loop.set_on_statistics(Box::new(on_statistics));
    }

    /// Tells how many connections fit if that is few, and fails if none does. Only once everything else is open is the
    /// number exact.
    fn warn_of_few_descriptors(&mut self) -> io::Result<()> {
        let left = descriptors::left(self.event_loop.queue())?;
        if left < self.connections_wanted {
            let connections = if left == 1 { "connection" } else { "connections" };
            tracing::warn!(
                target: "parrot_server",
                "the limit of descriptors leaves room for {left} {connections}; further ones wait until one closes \
                 (raise it with ulimit -n)"
            );
        }
        Ok(())
    }
}

impl Handle {
    /// Asks for a drain: what waits in the backlog is accepted, the listeners are closed, every connection ends at its
    /// next pause, and those left at the drain time-out are closed. Returns at once; asking again changes nothing.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            tracing::warn!(target: "parrot_server", %error, "the server could not be woken to stop");
        }
    }

    /// What the server has done so far.
    pub fn statistics(&self) -> Statistics {
        self.shared.counters.snapshot()
    }
}
