//! From a configuration to a running loop, and the handle that other threads hold.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use parrot_conn::Template;
use parrot_kqueue::Waker;
use parrot_udp::DatagramSocket;

use crate::config::{Config, Settings};
use crate::descriptors;
use crate::event_loop::{Ended, EventLoop, Shared};
use crate::host::{NativeHost, Signals};
use crate::listen::{
    Addresses, BindError, CountedListening, Listen, ListenOptions, Listener, Listening, LocalAddress, Opened,
};
use crate::reconfigure::Bound;
use crate::socket_options::SocketOptions;
use crate::stage::{Stage, StageChange};
use crate::statistics::{Counter, ListenerStatistics, Statistics};

/// A descriptor limit that leaves room for fewer connections than this is worth a warning.
const FEW_CONNECTIONS: u64 = 1000;

/// A bound server. Connections wait in its backlog until it [runs](Server::run).
///
/// ```
/// use parrot_server::{Addresses, Config, Ended, Listen, Server};
///
/// let listen = vec![Listen::tcp(Addresses::localhost(0))];
/// let server = Server::bind(Config { listen, ..Config::default() })?;
/// println!("listening on {} with {}", server.listening()[0], Server::queue_name());
/// server.handle().drain(); // before the run, which therefore ends at once
/// assert_eq!(server.run()?, Ended::Drained);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    event_loop: EventLoop<NativeHost>,
    places: Vec<Vec<Listening>>,
    listening: Vec<Listening>,
    local_addresses: Vec<SocketAddr>,
    handle: Handle,
    connections_wanted: u64,
}

/// Observes, changes and drains a server, from any thread.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) bound: Arc<Bound>,
    waker: Waker,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listening", &self.listening).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens, and prepares everything that can fail.
    ///
    /// # Errors
    ///
    /// When an address or a given socket cannot be listened on, when a prefix leaves no room for a message, or when the event queue cannot be created, which happens mostly when
    /// descriptors run out. A server needs about eight of them beside its connections.
    pub fn bind(config: Config) -> Result<Server, BindError> {
        if config.raise_descriptor_limit {
            descriptors::raise_limit();
        }
        let longest = config.replies.prefix.as_ref().map_or(0, Template::longest);
        BindError::check_prefix(longest, config.limits.max_output, false)?;
        let options = listen_options(&config);
        let listen = match config.listen {
            listen if listen.is_empty() => vec![Listen::tcp(Addresses::everywhere(0))],
            listen => listen,
        };
        let mut opened = Opened::default();
        let places: Result<Vec<_>, _> = listen.into_iter().map(|listen| listen.open(&options, &mut opened)).collect();
        let places = places?;
        BindError::check_prefix(longest, config.limits.max_output, !opened.datagrams.is_empty())?;
        let Config { limits, proxy, replies, udp, faults, .. } = config;
        let settings = Settings { limits, proxy, replies, udp, faults }.effective();
        Server::over(places, opened, options, settings).map_err(BindError::queue)
    }

    /// Finds out whether [`bind`](Server::bind) would succeed, as far as that can be seen without listening. A server
    /// that runs is not disturbed. Returns those of the addresses that are in use, perhaps by the server that is to be
    /// started again.
    ///
    /// # Errors
    ///
    /// When an address is not one of this machine or may not be used, when a Unix socket cannot have its path, and when
    /// a prefix leaves no room for a message.
    pub fn check(config: &Config) -> Result<Vec<LocalAddress>, BindError> {
        let options = listen_options(config);
        let longest = config.replies.prefix.as_ref().map_or(0, Template::longest);
        let has_datagrams = config.listen.iter().any(Listen::is_udp);
        BindError::check_prefix(longest, config.limits.max_output, has_datagrams)?;
        let in_use: Result<Vec<_>, _> = config.listen.iter().map(|listen| listen.try_out(&options)).collect();
        Ok(in_use?.concat())
    }

    fn over(
        places: Vec<Vec<CountedListening>>,
        opened: Opened<Listener, DatagramSocket>,
        options: ListenOptions,
        settings: Settings,
    ) -> io::Result<Server> {
        let listed = places.iter().map(|place| CountedListening::listed(place)).collect();
        let counted: Vec<CountedListening> = places.into_iter().flatten().collect();
        let listening = CountedListening::listed(&counted);
        let local_addresses = listening.iter().filter_map(Listening::tcp_address).collect();
        let host = NativeHost::new(options.socket)?;
        let waker = host.waker()?;
        let connections_wanted = settings.limits.max_connections.map_or(FEW_CONNECTIONS, |max| max as u64);
        let shared = Arc::new(Shared { listeners: counted.into(), ..Shared::default() });
        let max_output = settings.limits.max_output;
        let longest_prefix = settings.replies.prefix.as_ref().map_or(0, Template::longest).into();
        let event_loop = EventLoop::new(host, opened, settings, Arc::clone(&shared))?;
        let bound = Bound { options, max_output, longest_prefix, changes: event_loop.changes() };
        let handle = Handle { shared, waker, bound: Arc::new(bound) };
        Ok(Server { event_loop, places: listed, listening, local_addresses, handle, connections_wanted })
    }

    /// What the server listens on. Where port 0 was asked for, the address has the port that was found.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// [The same](Server::listening) by place, in the order of [`Config::listen`].
    pub fn listening_by_place(&self) -> &[Vec<Listening>] {
        &self.places
    }

    /// The addresses of the TCP listeners among [these](Server::listening).
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.local_addresses
    }

    /// The name of the system's event queue: `kqueue`, or `kqueue over epoll` on Linux.
    pub fn queue_name() -> &'static str {
        parrot_kqueue::BACKEND
    }

    /// A handle to this server.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until a handle [drains](Handle::drain) it. Signals keep their usual effect.
    ///
    /// # Errors
    ///
    /// When no descriptor is left for even one connection (EMFILE), and when the event queue itself fails. Whatever happens
    /// to a connection ends that connection only.
    pub fn run(mut self) -> io::Result<Ended> {
        let shared = Arc::clone(&self.handle.shared);
        let ended = self.warn_of_few_descriptors().and_then(|()| {
            shared.stage.enter(Stage::Serving);
            self.event_loop.run()
        });
        shared.stage.enter(Stage::Ended);
        ended
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

    /// Has signals end the server, or do what else [`Signals`] says, once it [runs](Server::run). A program that keeps the
    /// signals longer than the server is not ended by a signal that comes after the server's end.
    ///
    /// The loop calls `on_hangup` when SIGHUP arrives, for example to reopen a log file. It should return soon.
    ///
    /// # Errors
    ///
    /// When the queue cannot watch the signals, and when no descriptor is left for even one connection (EMFILE). After
    /// success the server can be called ready.
    pub fn watch_signals(&mut self, signals: &Signals, on_hangup: impl FnMut() + Send + 'static) -> io::Result<()> {
        self.event_loop.set_on_hangup(Box::new(on_hangup));
        self.event_loop.host().watch_signals(signals)?;
        descriptors::left(self.event_loop.host()).map(drop)
    }

    /// What to do with the statistics that a [signal](Signals) asks for, in place of logging them. The loop calls it, so it
    /// should return soon.
    pub fn set_on_statistics(&mut self, on_statistics: impl FnMut(&Statistics) + Send + 'static) {
        self.event_loop.set_on_statistics(Box::new(on_statistics));
    }

    /// Has the loop record [how long turns take](Statistics::turn_times) and [how late it is](Statistics::lateness). Unless
    /// there is an idle timeout, this costs a reading of the clock in each turn.
    pub fn time_turns(&mut self) {
        self.event_loop.time_turns();
    }

    /// What to call when a [stage](Stage) of the server's end begins. The loop calls it, so it should return soon.
    pub fn set_on_stage(&mut self, on_stage: impl FnMut(&StageChange) + Send + 'static) {
        self.event_loop.set_on_stage(Box::new(on_stage));
    }

    /// What the loop is to call at the end of a turn once each interval of this length has passed, for as long as the
    /// server runs. So a call shows that the loop is not stuck, as a watchdog wants to know. It should return soon.
    ///
    /// An interval wakes a server that would otherwise sleep. One below a millisecond counts as one.
    pub fn set_on_interval(&mut self, length: Duration, on_interval: impl FnMut() + Send + 'static) {
        self.event_loop.set_on_interval(length, Box::new(on_interval));
    }

    /// Warns if few connections fit, and fails if none does. The number is exact only once everything else is open.
    fn warn_of_few_descriptors(&mut self) -> io::Result<()> {
        let left = descriptors::left(self.event_loop.host())?;
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

fn listen_options(config: &Config) -> ListenOptions {
    ListenOptions {
        backlog: config.backlog,
        reuse_port: config.reuse_port,
        proxy_everywhere: config.proxy.everywhere,
        unix_mode: config.unix_mode,
        socket: SocketOptions::new(config.keepalive),
    }
}

impl Handle {
    /// Asks for a drain: the backlog is accepted, the listeners are closed, every connection ends at its next pause, and
    /// those left at the drain timeout are closed. Returns at once. Asking again changes nothing.
    pub fn drain(&self) {
        self.shared.drain_wanted.store(true, Ordering::Release);
        if let Err(error) = self.wake() {
            tracing::warn!(target: "parrot_server", %error, "cannot wake the server to drain it");
        }
    }

    /// What the server has done so far.
    pub fn statistics(&self) -> Statistics {
        self.shared.counters.snapshot()
    }

    /// How far the server is on its way to its end.
    pub fn stage(&self) -> Stage {
        self.shared.stage.get()
    }

    /// What the server listens on, or has listened on once it drains, and how many connections each listener has accepted.
    pub fn listeners(&self) -> Vec<ListenerStatistics> {
        // A thread that panics while it holds this lock leaves the list whole.
        let listeners = self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let statistics = listeners.iter().map(|counted| ListenerStatistics {
            listening: counted.listening.clone(),
            accepted: counted.accepted.as_deref().map(Counter::get),
        });
        statistics.collect()
    }

    /// Has the loop make a turn even if there is nothing to do. The number of [turns](Statistics::turns) then grows, unless
    /// the loop is stuck. Returns at once.
    ///
    /// # Errors
    ///
    /// When the system does not take the request. No such case is known.
    pub fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }
}
