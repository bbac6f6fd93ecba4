//! The servers that are measured: Parrot and its rivals, how each is started, and what it needs to take part.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::suite::Field;

/// A server that can be started.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) name: String,
    /// A description for the report.
    pub(crate) about: String,
    program: OsString,
    /// Its arguments, with `{port}` in place of the port.
    arguments: Vec<String>,
    /// The size of its receive buffer, in words.
    pub(crate) receives: String,
    /// The file of its log, if it has one.
    pub(crate) log: Option<PathBuf>,
    /// A tool that it needs and that may not be installed.
    needs: Option<Tool>,
}

/// Another language's compiler or runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tool {
    Go,
    Node,
}

impl Tool {
    /// Prepares the servers that need this tool. Compiled programs go to `programs`.
    fn prepare(self, programs: &Path) -> Result<()> {
        match self {
            Tool::Go => build_go(&programs.join(GO)),
            Tool::Node => match Command::new("node").arg("--version").output() {
                Ok(output) if output.status.success() => Ok(()),
                _ => bail!("Node is not installed"),
            },
        }
    }
}

/// The program of the servers in Go.
const GO: &str = "rival-go";

impl Server {
    fn new(name: &str, about: &str, receives: &str, program: impl Into<OsString>, arguments: &[&str]) -> Server {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Server {
            name: name.into(),
            about: about.into(),
            program: program.into(),
            arguments,
            receives: receives.into(),
            log: None,
            needs: None,
        }
    }

    /// Parses a rival from `--rival`: `NAME=COMMAND`, with `{port}` somewhere in the command.
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
        let mut words = command.split_whitespace().map(str::to_string);
        let program = words.next().with_context(|| format!("the rival {name} has no command"))?;
        if !command.contains("{port}") {
            bail!("the command of {name} has no {{port}}, which stands for the port to listen on");
        }
        let arguments: Vec<String> = words.collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Ok(Server::new(name, command, "", program, &arguments))
    }

    /// The command that starts the server on `port`.
    pub(crate) fn command(&self, port: u16) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.arguments.iter().map(|argument| argument.replace("{port}", &port.to_string())));
        command
    }

    /// Whether the server takes part in suites with this `field`.
    pub(crate) fn takes_part(&self, field: Field) -> bool {
        let few = matches!(self.name.as_str(), "parrot" | "plain" | "mio" | "tokio-1");
        match self.name.as_str() {
            "parrot-clf" | "parrot-json" => field == Field::Logs,
            "go-copy" => field == Field::FewAndCopy,
            _ => few || matches!(field, Field::All | Field::Logs),
        }
    }
}

/// Directories that the commands of servers name.
pub(crate) struct Places<'a> {
    /// The programs of the workspace, and the one in Go.
    pub(crate) programs: &'a Path,
    /// The files of this measurement.
    pub(crate) output: &'a Path,
}

/// Every server in the order of the report, whether or not it can take part on this machine.
pub(crate) fn all(places: &Places<'_>) -> Vec<Server> {
    let parrot = |name, about, log: &[&str]| {
        let base = ["--bind", "127.0.0.1", "--port", "{port}"];
        Server::new(name, about, "128 KiB", places.programs.join("parrot"), &[&base[..], log].concat())
    };
    let logging = |name, about, format: &str| {
        let log = places.output.join(format!("{format}.log"));
        let file = log.display().to_string();
        Server { log: Some(log), ..parrot(name, about, &["--log", format, "--log-file", &file]) }
    };
    let ours = |name, about, receives| {
        Server::new(name, about, receives, places.programs.join(format!("rival-{name}")), &["{port}"])
    };
    let go = |name, about, receives, arguments: &[&str]| Server {
        needs: Some(Tool::Go),
        ..Server::new(name, about, receives, places.programs.join(GO), arguments)
    };
    let script = rivals().join("node/echo.js").display().to_string();
    let node =
        Server::new("node", "Node's net module, a socket piped into itself", "64 KiB", "node", &[&script, "{port}"]);
    vec![
        parrot("parrot", "Parrot with logging off", &["-q", "--log", "off"]),
        logging("parrot-clf", "Parrot with a CLF line per message, in a file", "clf"),
        logging("parrot-json", "Parrot with a JSON line per message, in a file", "json"),
        ours("plain", "the bare loop: wait, one receive, one send, on the system's own queue", "64 KiB"),
        ours("mio", "mio, the readiness library below tokio", "64 KiB"),
        ours("tokio-1", "tokio on one thread", "8 KiB"),
        ours("tokio", "tokio with a worker for each core it may use, which is its default", "8 KiB"),
        ours("threads", "the standard library, with a thread per connection", "64 KiB"),
        go("go", "Go's net package, with a goroutine per connection", "8 KiB", &["{port}"]),
        go(
            "go-copy",
            "Go's net package with io.Copy, which splices on Linux",
            "32 KiB, or a pipe's capacity where it splices",
            &["{port}", "copy"],
        ),
        Server { needs: Some(Tool::Node), ..node },
    ]
}

/// Prepares `servers` and returns those that cannot take part, with the reason.
pub(crate) fn missing(servers: &[Server], programs: &Path) -> BTreeMap<String, String> {
    let mut prepared: BTreeMap<Tool, Option<String>> = BTreeMap::new();
    let mut why = |tool: Tool| {
        let prepare = || tool.prepare(programs).err().map(|error| format!("{error:#}"));
        prepared.entry(tool).or_insert_with(prepare).clone()
    };
    servers.iter().filter_map(|server| Some((server.name.clone(), why(server.needs?)?))).collect()
}

fn build_go(program: &Path) -> Result<()> {
    let mut command = Command::new("go");
    // Use the installed toolchain and fetch nothing. The source needs no newer one and no module.
    command.env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=mod").env("GOPROXY", "off");
    command.arg("build").arg("-o").arg(program).arg(".").current_dir(rivals().join("go"));
    let output = match command.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("Go is not installed"),
        output => output.context("cannot start go build")?,
    };
    if !output.status.success() {
        bail!("go build failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The directory with the sources of the rivals in other languages.
fn rivals() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../parrot-rivals")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rival_is_a_name_and_a_command_with_a_port() {
        let rival = Server::rival("socat=socat TCP-LISTEN:{port},fork,reuseaddr EXEC:cat").expect("a rival");
        let command = rival.command(1512);
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["TCP-LISTEN:1512,fork,reuseaddr", "EXEC:cat"]);
        assert_eq!((rival.name.as_str(), command.get_program()), ("socat", "socat".as_ref()));
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
    fn some_servers_take_part_in_some_suites_only() {
        let server = |name| Server::new(name, "", "", "", &[]);
        assert!(server("plain").takes_part(Field::Few) && !server("go").takes_part(Field::Few));
        assert!(server("parrot-clf").takes_part(Field::Logs) && !server("parrot-clf").takes_part(Field::All));
        assert!(server("go-copy").takes_part(Field::FewAndCopy) && !server("go-copy").takes_part(Field::All));
        assert!(server("own").takes_part(Field::All) && !server("own").takes_part(Field::Few));
    }
}
