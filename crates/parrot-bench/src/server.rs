//! A server that can be started, by a command for each transport that it speaks. A load generator is described in the same
//! way.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::measure::Timing;
use crate::suite::{CLIENTS, Field, Suite, Transport};
use crate::tool::Tool;

/// What stands for the number of connections in the command of a load generator.
const CONNECTIONS: &str = "{connections}";

/// The most connections for a server that starts a process for each of them.
const MOST_PROCESSES: usize = 100;

/// A server that can be started.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) name: String,
    /// A description for the report.
    pub(crate) about: String,
    /// The size of its receive buffer, in words.
    pub(crate) receives: String,
    /// How it is started for each transport that it speaks.
    pub(crate) starts: BTreeMap<Transport, Start>,
    /// The text of its configuration file, with the same placeholders as the arguments.
    pub(crate) configuration: Option<&'static str>,
    /// The file of its log, if it has one, with the same placeholders.
    pub(crate) log: Option<PathBuf>,
    /// A tool that it needs and that may not be installed.
    pub(crate) needs: Option<Tool>,
    /// How many processes are started, which share the port.
    pub(crate) processes: usize,
    /// Whether it starts a process for each connection.
    pub(crate) forks: bool,
    /// Whether it takes part in every suite that it can be started for.
    pub(crate) everywhere: bool,
}

/// A program and its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    program: OsString,
    /// With placeholders, which [`Place`] explains.
    arguments: Vec<String>,
}

/// Where a server is started.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// The port of TCP (`{port}`) or UDP (`{udp}`) to listen on.
    pub(crate) port: u16,
    /// A directory for this run (`{directory}`). In it is the Unix socket (`{path}`).
    pub(crate) directory: &'a Path,
}

impl Place<'_> {
    /// The address of the port.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The path of the Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// The file of a server's configuration (`{configuration}`).
    fn configuration(&self) -> PathBuf {
        self.directory.join("configuration")
    }

    fn fill_in(&self, text: &str) -> String {
        text.replace(Transport::Tcp.placeholder(), &self.port.to_string())
            .replace(Transport::Udp.placeholder(), &self.port.to_string())
            .replace(Transport::Unix.placeholder(), &self.socket().display().to_string())
            .replace("{configuration}", &self.configuration().display().to_string())
            .replace("{directory}", &self.directory.display().to_string())
    }
}

impl Transport {
    const ALL: [Transport; 3] = [Transport::Tcp, Transport::Unix, Transport::Udp];

    /// What stands for the address in a command.
    fn placeholder(self) -> &'static str {
        match self {
            Transport::Tcp => "{port}",
            Transport::Unix => "{path}",
            Transport::Udp => "{udp}",
        }
    }
}

impl Server {
    /// A server that speaks nothing yet.
    pub(crate) fn new(name: &str, about: &str, receives: &str) -> Server {
        Server {
            name: name.into(),
            about: about.into(),
            receives: receives.into(),
            starts: BTreeMap::new(),
            configuration: None,
            log: None,
            needs: None,
            processes: 1,
            forks: false,
            everywhere: false,
        }
    }

    /// The server, started for `transport` by this command.
    pub(crate) fn on(mut self, transport: Transport, program: impl AsRef<OsStr>, arguments: &[&str]) -> Server {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        self.starts.insert(transport, Start { program: program.as_ref().into(), arguments });
        self
    }

    /// Parses a rival from `--rival`: `NAME=COMMAND`, with one of the placeholders somewhere in the command.
    ///
    /// # Errors
    ///
    /// If `text` does not have that form, or the name cannot be part of a file name.
    pub(crate) fn rival(text: &str) -> Result<Server> {
        let (name, command) = text.split_once('=').context("expected NAME=COMMAND")?;
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if name.is_empty() || !name.chars().all(plain) {
            bail!("`{name}` cannot be the name of a rival; use letters, digits, `.`, `_` and `-`");
        }
        let mut words = command.split_whitespace();
        let program = words.next().with_context(|| format!("the rival {name} has no command"))?;
        let named = |transport: &Transport| command.contains(transport.placeholder());
        let Some(transport) = Transport::ALL.into_iter().find(named) else {
            bail!(
                "the command of {name} has no {{port}}, which stands for the port to listen on (or {{udp}} for a port \
                 of UDP, or {{path}} for a Unix socket)"
            );
        };
        Ok(Server::new(name, command, "").on(transport, program, &words.collect::<Vec<_>>()))
    }

    /// Whether it can be started for `transport`.
    pub(crate) fn speaks(&self, transport: Transport) -> bool {
        self.starts.contains_key(&transport)
    }

    /// The command that starts the server at `place`. Writes the file of its configuration, if it needs one.
    ///
    /// # Errors
    ///
    /// If the server does not speak `transport`, or the file cannot be written.
    pub(crate) fn command(&self, transport: Transport, place: &Place<'_>) -> Result<Command> {
        let start =
            self.starts.get(&transport).with_context(|| format!("{} does not speak {transport:?}", self.name))?;
        if let Some(text) = self.configuration {
            let path = place.configuration();
            let written = std::fs::write(&path, place.fill_in(text));
            written.with_context(|| format!("cannot write {}", path.display()))?;
        }
        let mut command = Command::new(&start.program);
        command.args(start.arguments.iter().map(|argument| place.fill_in(argument)));
        Ok(command)
    }

    /// The file of the log that it writes at `place`, if it has one.
    pub(crate) fn log(&self, place: &Place<'_>) -> Option<PathBuf> {
        self.log.as_ref().map(|log| place.fill_in(&log.display().to_string()).into())
    }

    /// The command of a load generator of this number of connections on the server at `place`, with its times in
    /// milliseconds.
    ///
    /// # Errors
    ///
    /// If it has no command for TCP.
    pub(crate) fn client_command(&self, place: &Place<'_>, connections: usize, timing: Timing) -> Result<Command> {
        let start = self.starts.get(&Transport::Tcp).with_context(|| format!("{} has no command", self.name))?;
        let mut command = Command::new(&start.program);
        command.args(start.arguments.iter().map(|argument| {
            place
                .fill_in(argument)
                .replace(CONNECTIONS, &connections.to_string())
                .replace("{warmup}", &timing.warmup.as_millis().to_string())
                .replace("{window}", &timing.window.as_millis().to_string())
        }));
        Ok(command)
    }

    /// Whether it is a load generator.
    pub(crate) fn is_client(&self) -> bool {
        self.starts.values().flat_map(|start| &start.arguments).any(|argument| argument.contains(CONNECTIONS))
    }

    /// Whether the server takes part in `suite`.
    pub(crate) fn takes_part(&self, suite: &Suite) -> bool {
        if self.is_client() || suite.is_of_clients() {
            return self.is_client() && suite.is_of_clients();
        }
        let connections = suite.connections + suite.idle;
        let is_in = self.everywhere || self.is_in(suite.field);
        self.speaks(suite.transport) && (!self.forks || connections <= MOST_PROCESSES) && is_in
    }

    fn is_in(&self, field: Field) -> bool {
        match self.name.as_str() {
            "parrot" => true,
            "parrot-clf" | "parrot-json" => field == Field::Logs,
            "parrot-2" => field == Field::Processes,
            "go-copy" => field == Field::FewAndCopy,
            "parrot-spin" | "plain-spin" => field == Field::Spinning,
            "tokio" => matches!(field, Field::All | Field::Spinning | Field::Logs | Field::Processes),
            name if is_one_of_few(name) => field != Field::Processes,
            _ => matches!(field, Field::All | Field::Spinning | Field::Logs),
        }
    }
}

/// The name of the server that a fine measurement compares the server called `name` with in `suite`. It may be the same.
pub(crate) fn counterpart(suite: &str, name: &str) -> &'static str {
    match name {
        _ if suite.starts_with(CLIENTS) => "parrot-load",
        "plain-spin" => "parrot-spin",
        _ => "parrot",
    }
}

/// Whether the server called `name` stands for a way to wait for sockets.
pub(crate) fn is_one_of_few(name: &str) -> bool {
    matches!(name, "parrot" | "plain" | "mio" | "tokio-1" | "compio")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Suite;

    fn place() -> Place<'static> {
        Place { port: 1512, directory: Path::new("/tmp/place") }
    }

    fn rival(text: &str) -> Server {
        Server::rival(text).expect("a rival")
    }

    #[test]
    fn a_rival_is_a_name_and_a_command_with_a_port() {
        let rival = rival("socat=socat TCP-LISTEN:{port},fork,reuseaddr EXEC:cat");
        let command = rival.command(Transport::Tcp, &place()).expect("a command");
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["TCP-LISTEN:1512,fork,reuseaddr", "EXEC:cat"]);
        assert_eq!((rival.name.as_str(), command.get_program()), ("socat", "socat".as_ref()));
    }

    #[test]
    fn the_placeholder_of_a_rival_is_its_transport() {
        let argument = |text, transport| {
            let command = rival(text).command(transport, &place()).expect("a command");
            command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect::<String>()
        };
        assert_eq!(argument("a=a unix:{path}", Transport::Unix), "unix:/tmp/place/socket");
        assert_eq!(argument("a=a udp:*:{udp}", Transport::Udp), "udp:*:1512");
        assert!(rival("a=a {udp}").command(Transport::Tcp, &place()).is_err());
    }

    #[test]
    fn a_rival_without_a_port_or_a_command_is_refused() {
        assert!(Server::rival("echo=/bin/echo").is_err());
        assert!(Server::rival("no command").is_err());
        assert!(Server::rival("empty=").is_err());
    }

    #[test]
    fn a_name_that_is_not_a_file_name_is_refused() {
        for wrong in ["=echo {port}", "../up=echo {port}", "a b=echo {port}", "<b>=echo {port}"] {
            assert!(Server::rival(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_configuration_file_names_the_place() {
        let directory = std::env::temp_dir().join(format!("parrot-bench-configured-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let server = Server::new("own", "", "").on(Transport::Tcp, "own", &["{configuration}"]);
        let server = Server { configuration: Some("port = {port} in {directory}"), ..server };
        let command = server.command(Transport::Tcp, &Place { port: 7, directory: &directory }).expect("a command");
        let file = command.get_args().next().expect("a file").to_owned();
        let text = std::fs::read_to_string(file).expect("its text");
        std::fs::remove_dir_all(&directory).expect("the end of the directory");
        assert_eq!(text, format!("port = 7 in {}", directory.display()));
    }

    #[test]
    fn some_servers_take_part_in_some_suites_only() {
        let all = Suite::all();
        let takes_part = |server: &Server, suite: &str| {
            server.takes_part(all.iter().find(|other| other.name == suite).expect("a suite"))
        };
        let server = |name: &str| Server::new(name, "", "").on(Transport::Tcp, "", &[]);
        assert!(takes_part(&server("plain"), "size-1k") && !takes_part(&server("go"), "size-1k"));
        assert!(takes_part(&server("parrot-clf"), "c50") && !takes_part(&server("parrot-clf"), "c1"));
        assert!(takes_part(&server("go-copy"), "size-1m") && !takes_part(&server("go-copy"), "c50"));
        assert!(takes_part(&server("own"), "c50") && !takes_part(&server("own"), "size-1k"));
        let everywhere = Server { everywhere: true, ..server("own") };
        assert!(takes_part(&everywhere, "size-1k") && !takes_part(&everywhere, "udp"));
        assert!(takes_part(&server("plain-spin"), "c1") && !takes_part(&server("plain-spin"), "c50"));
        assert!(takes_part(&server("parrot-2"), "reuse-port") && !takes_part(&server("parrot-2"), "c50"));
        assert!(!takes_part(&server("plain"), "udp"), "it does not speak UDP");
        let forking = Server { forks: true, ..server("forking") };
        assert!(takes_part(&forking, "c50") && !takes_part(&forking, "c1000"));
    }
}
