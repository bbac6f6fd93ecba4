//! Every server that is measured: Parrot and its rivals, and how each is started.

use std::path::Path;

use crate::server::Server;
use crate::suite::Transport::{Tcp, Udp, Unix};
use crate::tool::{GO, IO_URING, Tool, rivals};

/// Directories that the commands of servers name.
pub(crate) struct Places<'a> {
    /// The programs of the workspace, and the one in Go.
    pub(crate) programs: &'a Path,
    /// The files of this measurement.
    pub(crate) output: &'a Path,
}

/// Every server and every load generator in the order of the report, whether or not it can take part on this machine.
pub(crate) fn all(places: &Places<'_>) -> Vec<Server> {
    [parrots(places), libraries(places), languages(places), tools(), clients(places)].concat()
}

/// The load generators.
fn clients(places: &Places<'_>) -> Vec<Server> {
    let client = |name, about, program, arguments| {
        Server::new(name, about, "").on(Tcp, places.programs.join(program), arguments)
    };
    let plain = "rival-plain-client";
    vec![
        client(
            "parrot-load",
            "the load generator, which checks every byte and times every message",
            "parrot-load",
            &["--json", "-q", "-c", "{connections}", "--warmup", "{warmup}ms", "-d", "{window}ms", "{port}"],
        ),
        client(
            "plain-client",
            "a bare client: wait, one receive, one send, level-triggered; it checks and times nothing",
            plain,
            &["{port}", "{connections}", "{warmup}", "{window}"],
        ),
        client(
            "edge-client",
            "the bare client with edge-triggered events",
            plain,
            &["{port}", "{connections}", "{warmup}", "{window}", "edge"],
        ),
    ]
}

/// Parrot in several ways. All but the quiet one speak TCP only, which is enough to compare them.
fn parrots(places: &Places<'_>) -> Vec<Server> {
    const QUIET: [&str; 3] = ["-q", "--log", "off"];
    const BIND: [&str; 4] = ["--bind", "127.0.0.1", "--port", "{port}"];
    let program = places.programs.join("parrot");
    let parrot = |name, about| Server::new(name, about, "128 KiB");
    let logging = |name, about, format: &str| {
        let log = places.output.join(format!("{format}-{{port}}.log"));
        let file = log.display().to_string();
        let arguments = [&BIND[..], &["--log", format, "--log-file", &file]].concat();
        Server { log: Some(log), ..parrot(name, about).on(Tcp, &program, &arguments) }
    };
    let two = parrot("parrot-2", "two processes of Parrot on one port, with --reuse-port");
    vec![
        parrot("parrot", "Parrot with logging off")
            .on(Tcp, &program, &[&BIND[..], &QUIET].concat())
            .on(Unix, &program, &[&["--listen", "unix:{path}"], &QUIET[..]].concat())
            .on(Udp, &program, &[&["--listen", "udp:127.0.0.1:{port}"], &QUIET[..]].concat()),
        // Not quiet, because the line that it prints when it listens is waited for.
        Server { processes: 2, ..two.on(Tcp, &program, &[&BIND[..], &["--log", "off", "--reuse-port"]].concat()) },
        logging("parrot-clf", "Parrot with a CLF line per message, in a file", "clf"),
        logging("parrot-json", "Parrot with a JSON line per message, in a file", "json"),
        // A pause of a second between two messages never happens under load, so this one never sleeps.
        parrot("parrot-spin", "Parrot with --busy-poll, so that it never sleeps").on(
            Tcp,
            &program,
            &[&BIND[..], &QUIET, &["--busy-poll", "1s"]].concat(),
        ),
    ]
}

/// The rivals in Rust.
fn libraries(places: &Places<'_>) -> Vec<Server> {
    let program = |name: &str| places.programs.join(format!("rival-{name}"));
    let ours = |name: &str, about, receives| Server::new(name, about, receives).on(Tcp, program(name), &["{port}"]);
    let plain = ours(
        "plain",
        "the bare loop: wait, one receive, one send, on the system's own queue; over UDP recvfrom and sendto in turn",
        "64 KiB",
    );
    let spinning = Server::new("plain-spin", "the bare loop over TCP, which never sleeps", "64 KiB");
    let compio = ours("compio", "compio, an asynchronous runtime on io_uring, on one thread", "64 KiB");
    vec![
        plain.on(Unix, program("plain-unix"), &["{path}"]).on(Udp, program("plain-udp"), &["{port}"]),
        spinning.on(Tcp, program("plain"), &["{port}", "spin"]),
        ours("mio", "mio, the readiness library below tokio", "64 KiB"),
        ours("tokio-1", "tokio on one thread", "8 KiB"),
        ours("tokio", "tokio with a worker for each core it may use, which is its default", "8 KiB"),
        Server { needs: Some(Tool::IoUring), ..compio.on(Tcp, places.programs.join(IO_URING), &["{port}"]) },
        ours("threads", "the standard library, with a thread per connection", "64 KiB"),
    ]
}

/// The rivals in other languages.
fn languages(places: &Places<'_>) -> Vec<Server> {
    let program = places.programs.join(GO);
    let go = Server::new("go", "Go's net package, with a goroutine per connection and one for UDP", "8 KiB")
        .on(Tcp, &program, &["{port}"])
        .on(Unix, &program, &["{path}", "unix"])
        .on(Udp, &program, &["{port}", "udp"]);
    let copy = Server::new(
        "go-copy",
        "Go's net package with io.Copy, which splices on Linux",
        "32 KiB, or a pipe's capacity where it splices",
    );
    let script = rivals().join("node/echo.js").display().to_string();
    let node = Server::new("node", "Node's net module, a socket piped into itself", "64 KiB");
    vec![
        Server { needs: Some(Tool::Go), ..go },
        Server { needs: Some(Tool::Go), ..copy.on(Tcp, &program, &["{port}", "copy"]) },
        Server { needs: Some(Tool::Node), ..node.on(Tcp, "node", &[&script, "{port}"]) },
    ]
}

/// Tools with which people make an echo server without writing one. Both start a process for each connection.
///
/// Over UDP socat starts one for each datagram. With `UDP4-LISTEN` it would start one for each client, which is faster
/// and sends several datagrams back as one if they arrive together.
fn tools() -> Vec<Server> {
    let socat = Server::new(
        "socat",
        "socat with fork, a process for each connection or datagram, which copies it through a pipe",
        "8 KiB",
    )
    .on(Tcp, "socat", &["TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr,backlog=4096,nodelay,fork", "PIPE"])
    .on(Unix, "socat", &["UNIX-LISTEN:{path},backlog=4096,fork", "PIPE"])
    .on(Udp, "socat", &["UDP4-RECVFROM:{port},bind=127.0.0.1,fork", "PIPE"]);
    let arguments =
        ["-dontfork", "-f", "{configuration}", "-filelog", "{directory}/log", "-pidfile", "{directory}/process"];
    let xinetd = Server::new("xinetd", "xinetd's built-in echo, with a process for each connection", "")
        .on(Tcp, "xinetd", &arguments)
        .on(Udp, "xinetd", &arguments);
    vec![
        Server { needs: Some(Tool::Socat), forks: true, ..socat },
        Server { needs: Some(Tool::Xinetd), forks: true, configuration: Some(XINETD), ..xinetd },
    ]
}

/// xinetd.conf(5) for the built-in echo over TCP and UDP, without its limits on connections.
const XINETD: &str = "\
defaults
{
    instances = UNLIMITED
    per_source = UNLIMITED
    cps = 1000000 1
}
service echo
{
    type = INTERNAL UNLISTED
    id = echo-stream
    socket_type = stream
    protocol = tcp
    wait = no
    bind = 127.0.0.1
    port = {port}
    flags = NODELAY
}
service echo
{
    type = INTERNAL UNLISTED
    id = echo-dgram
    socket_type = dgram
    protocol = udp
    wait = yes
    bind = 127.0.0.1
    port = {port}
}
";

#[cfg(test)]
mod tests {
    use super::*;

    fn servers() -> Vec<Server> {
        all(&Places { programs: Path::new("programs"), output: Path::new("output") })
    }

    #[test]
    fn no_two_servers_have_the_same_name() {
        let mut names: Vec<String> = servers().into_iter().map(|server| server.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn parrot_and_the_bare_loop_speak_every_transport() {
        for server in servers().iter().filter(|server| matches!(server.name.as_str(), "parrot" | "plain")) {
            assert!([Tcp, Unix, Udp].into_iter().all(|transport| server.speaks(transport)), "{}", server.name);
        }
    }
}
