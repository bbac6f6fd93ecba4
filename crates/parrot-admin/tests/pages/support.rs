//! Shared by the topics: a server with pages about it, and clients of both.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use parrot_admin::{Admin, LogLines, Program};
use parrot_server::{Config, Ended, Handle, Listen, Server, Stage};
use parrot_testkit::client;
use parrot_testkit::http::{Response, get};
use parrot_testkit::wait_until;

/// Any free port of the IPv4 loopback address.
pub const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A running server, and pages about it.
pub struct Watched {
    pub handle: Handle,
    pub echo: SocketAddr,
    pub pages: SocketAddr,
    _admin: Admin,
    thread: JoinHandle<io::Result<Ended>>,
}

impl Watched {
    /// With one TCP listener. The server runs already, because before that it is not ready.
    #[track_caller]
    pub fn start() -> Watched {
        let watched = Watched::listening_on(vec![Listen::tcp(LOOPBACK)], |server| server.run());
        wait_until("the server runs", || watched.handle.stage() == Stage::Serving);
        watched
    }

    /// With these listeners. `run` runs the server, on a thread of its own.
    #[track_caller]
    pub fn listening_on(
        listen: Vec<Listen>,
        run: impl FnOnce(Server) -> io::Result<Ended> + Send + 'static,
    ) -> Watched {
        let mut server = Server::bind(Config { listen, ..Config::default() }).unwrap();
        server.time_turns();
        let (handle, echo) = (server.handle(), server.local_addresses()[0]);
        let listener = TcpListener::bind(LOOPBACK).unwrap();
        let pages = listener.local_addr().unwrap();
        let admin = Admin::start(listener, server.handle(), program()).unwrap();
        Watched { handle, echo, pages, _admin: admin, thread: thread::spawn(move || run(server)) }
    }

    /// A page, which has to come.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        get(self.pages, path).unwrap()
    }

    /// A connection to the server.
    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        client::connect(self.echo)
    }

    /// Drains the server and waits for its end. The pages are served until then.
    #[track_caller]
    pub fn stop(self) {
        self.handle.drain();
        assert_eq!(self.thread.join().unwrap().unwrap(), Ended::Drained);
    }
}

/// What a program says of itself.
pub fn program() -> Program {
    let settings = || vec![("drain-timeout", "5s".to_owned()), ("max-buffered", "256.0 MiB".to_owned())];
    let log = || Some(LogLines { written: 12, dropped: 3 });
    Program { version: "1.2.3".to_owned(), settings: Some(Box::new(settings)), log: Some(Box::new(log)) }
}
