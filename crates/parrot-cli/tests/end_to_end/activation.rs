//! Sockets that a service manager passes: which are served, which are refused, and a restart that refuses nobody.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::Result;
use parrot_testkit::PATIENCE;
use parrot_testkit::client::{connect, echo, expect, expect_end, free_port, reset};
use parrot_testkit::parrot::{Parrot, isolated, number};
use parrot_testkit::patience::wait_for;
use parrot_testkit::process::Process;
use parrot_testkit::program::run;
use rustix::net::{AddressFamily, SocketType, listen, socket};
use rustix::process::Signal;

use crate::support::{LOOPBACK, bare_parrot, scratch, skip, spawn};

const MESSAGE: &[u8] = b"Hello Parrot\n";

/// Parrot with up to two sockets from descriptor 3 up, passed as a service manager does it. `more` are further commands
/// of the shell.
fn activated(sockets: Vec<OwnedFd>, more: &str, arguments: &[&str]) -> Command {
    // Without unsafe code a child gets no other descriptors than its standard streams, and only itself knows its
    // number.
    let count = sockets.len();
    let redirections = ["", "3<&0 <&-", "3<&0 4<&1 <&- >&-"][count];
    let script = format!("exec {redirections}\nexport LISTEN_FDS={count} LISTEN_PID=$$\n{more}\nexec \"$0\" \"$@\"");
    let parrot = bare_parrot(&[&["--log", "off"], arguments].concat());
    let mut command = isolated(Command::new("sh"));
    command.args(["-c", &script]).arg(parrot.get_program()).args(parrot.get_args());
    let mut sockets = sockets.into_iter().map(Stdio::from);
    if let Some(first) = sockets.next() {
        command.stdin(first);
    }
    if let Some(second) = sockets.next() {
        command.stdout(second);
    }
    command
}

/// A listener of this test, and its address.
fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Another server with this listener.
fn successor(listener: &TcpListener) -> Result<Parrot> {
    // Shorter than PATIENCE. FreeBSD's loopback drops packets when its queue is full (netisr(9)). If it drops a reset,
    // the drain waits for that connection until its timeout.
    Parrot::spawn(&mut activated(vec![listener.try_clone()?.into()], "", &["--drain-timeout", "15s"]))
}

#[track_caller]
fn echo_over_unix(path: &Path) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"squawk").unwrap();
    let mut reply = [0; 6];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"squawk");
}

fn udp_client() -> UdpSocket {
    let client = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

#[track_caller]
fn expect_datagram(client: &UdpSocket, payload: &[u8], from: SocketAddr) {
    let mut received = [0; 64];
    let (length, source) = client.recv_from(&mut received).unwrap();
    assert_eq!((&received[..length], source), (payload, from));
}

#[track_caller]
fn refuses(mut command: Command, words: &[&str]) {
    let ended = run(&mut command);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for words in words {
        assert!(ended.stderr.contains(words), "no {words:?} in: {}", ended.stderr);
    }
}

#[test]
fn given_sockets_replace_the_default_addresses() {
    let (tcp, address) = listener();
    let path = scratch("given.sock");
    let unix = UnixListener::bind(&path).unwrap();
    // A port in the environment is a default.
    let more = "export LISTEN_FDNAMES=web:unknown PARROT_PORT=1";
    let mut parrot = Process::spawn(&mut activated(vec![tcp.into(), unix.into()], more, &[])).unwrap();
    let banner = parrot.line("listening on").unwrap();
    let expected = format!("listening on {address} as web and unix:{} (kqueue", path.display());
    assert!(banner.contains(&expected), "{banner}");
    echo(&connect(address), b"squawk");
    echo_over_unix(&path);
    parrot.signal(Signal::TERM).unwrap();
    assert_eq!(parrot.wait().unwrap().code(), Some(0));
    assert!(path.exists(), "the file of a given socket is not the server's");
}

#[test]
fn addresses_on_the_command_line_add_to_given_sockets() {
    for arguments in [["--bind", "127.0.0.1"], ["--port", "0"]] {
        let (tcp, address) = listener();
        let parrot = spawn(&mut activated(vec![tcp.into()], "export PARROT_PORT=0", &arguments));
        assert!(parrot.addresses().len() > 1, "{:?}", parrot.addresses());
        assert_eq!(parrot.address(), address);
        for address in parrot.addresses() {
            echo(&connect((LOOPBACK, address.port()).into()), b"squawk");
        }
    }
}

#[test]
fn given_udp_sockets_answer_beside_listeners() {
    let (tcp, address) = listener();
    let udp = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let server = udp.local_addr().unwrap();
    let parrot = spawn(&mut activated(vec![udp.into(), tcp.into()], "export LISTEN_FDNAMES=dgram:web", &[]));
    parrot.line(&format!("listening on udp:{server} as dgram and {address} as web (kqueue")).unwrap();
    echo(&parrot.connect(), b"squawk");
    let client = udp_client();
    client.send_to(b"squawk", server).unwrap();
    expect_datagram(&client, b"squawk", server);
}

/// A unit's `ListenStream=1512` is an IPv6 socket that is open to IPv4 too.
#[test]
fn ipv4_peers_of_an_ipv6_socket_have_ipv4_addresses() {
    let (Ok(tcp), Ok(udp)) = (TcpListener::bind("[::]:0"), UdpSocket::bind("[::]:0")) else {
        return skip("no IPv6 on this machine");
    };
    let ports = [tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port()];
    if TcpStream::connect((LOOPBACK, ports[0])).is_err() {
        return skip("IPv6 sockets are closed to IPv4 on this machine");
    }
    tcp.set_nonblocking(true).unwrap();
    drop(tcp.accept());
    let log = scratch("mapped.log");
    // The last one wins.
    let arguments = ["--log", "clf", "--log-file", log.to_str().unwrap()];
    let parrot = spawn(&mut activated(vec![tcp.into(), udp.into()], "", &arguments));
    let stream = connect((LOOPBACK, ports[0]).into());
    echo(&stream, b"over TCP");
    let client = udp_client();
    // Another address than the one that the route suggests.
    let asked = if cfg!(target_os = "linux") { Ipv4Addr::new(127, 0, 0, 2) } else { LOOPBACK };
    client.send_to(b"over UDP", (asked, ports[1])).unwrap();
    expect_datagram(&client, b"over UDP", (asked, ports[1]).into());
    let clients = [stream.local_addr().unwrap(), client.local_addr().unwrap()];
    drop(stream);
    parrot.stop().unwrap();
    let log = std::fs::read_to_string(&log).unwrap();
    for (client, payload) in clients.into_iter().zip(["over TCP", "over UDP"]) {
        let found = log.lines().any(|line| line.starts_with(&format!("{client} - - [")) && line.contains(payload));
        assert!(found, "{client} {payload}: {log}");
    }
}

#[test]
fn systemd_socket_activate_passes_named_sockets() {
    let Some(mut command) = socket_activate() else { return };
    let (path, port) = (scratch("activate.sock"), free_port().unwrap());
    command.arg("-l").arg(&path).args(["-l", &format!("127.0.0.1:{port}"), "--fdname=local:web"]);
    let parrot = bare_parrot(&["--log", "off"]);
    let parrot = Process::spawn(command.arg(parrot.get_program()).args(parrot.get_args())).unwrap();
    parrot.line(" as 4").unwrap();
    // The first connection starts the server.
    echo_over_unix(&path);
    let expected = format!("listening on unix:{} as local and 127.0.0.1:{port} as web (kqueue", path.display());
    parrot.line(&expected).unwrap();
    echo(&connect((LOOPBACK, port).into()), b"squawk");
}

#[test]
fn the_datagram_that_starts_the_server_is_answered() {
    let Some(mut command) = socket_activate() else { return };
    let port = UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port();
    command.args(["--datagram", "-l", &format!("127.0.0.1:{port}"), env!("CARGO_BIN_EXE_parrot"), "--log", "off"]);
    let parrot = Process::spawn(&mut command).unwrap();
    parrot.line(" as 3").unwrap();
    let client = udp_client();
    client.send_to(b"squawk", (LOOPBACK, port)).unwrap();
    expect_datagram(&client, b"squawk", (LOOPBACK, port).into());
    parrot.line(&format!("listening on udp:127.0.0.1:{port} (kqueue")).unwrap();
}

#[test]
fn a_connection_in_place_of_a_listener_is_refused() {
    let advice = ["is a connection, not a listener", "Accept=no in the socket unit"];
    let more = "export LISTEN_FDNAMES=connection";
    refuses(activated(vec![listener().0.into()], more, &[]), &advice);
    let Some(mut command) = socket_activate() else { return };
    let path = scratch("accept.sock");
    command.args(["--accept", "-l"]).arg(&path).arg(env!("CARGO_BIN_EXE_parrot"));
    let manager = Process::spawn(&mut command).unwrap();
    manager.line(" as 3").unwrap();
    let _client = UnixStream::connect(&path).unwrap();
    for words in advice {
        manager.line(words).unwrap();
    }
}

/// The command that passes sockets as systemd does, where it is installed.
fn socket_activate() -> Option<Command> {
    if Command::new("systemd-socket-activate").arg("--version").output().is_err() {
        skip("there is no systemd-socket-activate");
        return None;
    }
    Some(isolated(Command::new("systemd-socket-activate")))
}

#[test]
fn a_descriptor_that_cannot_be_served_is_refused() {
    let unconnected = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let (_listener, address) = listener();
    let connected = TcpStream::connect(address).unwrap();
    let (pair, _peer) = UnixStream::pair().unwrap();
    let unbound = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    let with_peer = udp_client();
    with_peer.connect(address).unwrap();
    let mut unfit: Vec<(OwnedFd, &str)> = vec![
        (connected.into(), "is a connection"),
        (pair.into(), "is a connection"),
        (unbound, "is a UDP socket that is not bound"),
        (with_peer.into(), "is a UDP socket that is connected"),
        (UnixDatagram::unbound().unwrap().into(), "is neither"),
        (File::open("/dev/null").unwrap().into(), "is neither"),
        (std::io::pipe().unwrap().0.into(), "is neither"),
    ];
    // macOS has none for Unix sockets.
    if let Ok(sequenced) = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None) {
        unfit.push((sequenced, "is neither"));
    }
    // macOS does not report whether a socket listens: getsockopt(2).
    if cfg!(not(target_os = "macos")) {
        unfit.push((unconnected, "is a socket that does not listen"));
    }
    for (socket, reason) in unfit {
        let tcp = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let command = activated(vec![tcp.into(), socket], "export LISTEN_FDNAMES=web:odd", &[]);
        refuses(command, &[&format!("descriptor 4 (odd) {reason}"), "parrot"]);
    }
    let missing = activated(vec![TcpListener::bind((LOOPBACK, 0)).unwrap().into()], "export LISTEN_FDS=2", &[]);
    refuses(missing, &["descriptor 4 is neither"]);
}

#[test]
fn wrong_variables_are_refused_with_advice() {
    for (more, words) in [
        ("unset LISTEN_PID", ["LISTEN_FDS is set and LISTEN_PID is not", "LISTEN_PID=$$ exec parrot"]),
        ("export LISTEN_PID=self", ["LISTEN_PID=\"self\" is not a valid number", "unset LISTEN_FDS"]),
        ("export LISTEN_FDS=-1", ["LISTEN_FDS=\"-1\" is not a valid number", "unset LISTEN_FDS"]),
        ("export LISTEN_FDNAMES=web:more", ["LISTEN_FDNAMES is 2", "unset LISTEN_FDS"]),
    ] {
        refuses(activated(vec![listener().0.into()], more, &[]), &words);
    }
}

#[test]
fn sockets_for_another_process_are_ignored_with_a_warning() {
    let (tcp, address) = listener();
    let more = "export LISTEN_PID=1";
    let parrot = spawn(&mut activated(vec![tcp.into()], more, &["--bind", "127.0.0.1", "--port", "0"]));
    let warning = parrot.line("LISTEN_FDS is ignored, because LISTEN_PID=1 is another process").unwrap();
    assert!(warning.contains(" WARN "), "{warning}");
    assert!(!parrot.addresses().contains(&address));
    echo(&parrot.connect(), b"squawk");
}

#[cfg(target_os = "linux")]
#[test]
fn a_given_socket_does_not_block_and_is_closed_on_exec() {
    use rustix::fs::OFlags;

    let (tcp, _) = listener();
    let parrot = spawn(&mut activated(vec![tcp.into()], "", &[]));
    let about = std::fs::read_to_string(format!("/proc/{}/fdinfo/3", parrot.pid().as_raw_nonzero())).unwrap();
    let flags = about.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    let flags = OFlags::from_bits_retain(u32::from_str_radix(flags.trim(), 8).unwrap());
    assert!(flags.contains(OFlags::NONBLOCK | OFlags::CLOEXEC), "{flags:?}");
}

#[test]
fn a_drain_leaves_the_backlog_to_the_successor() {
    let (listener, address) = listener();
    let mut first = successor(&listener).unwrap();
    let open = connect(address);
    echo(&open, b"squawk");
    first.signal(Signal::TERM).unwrap();
    // The end of the stream shows that the drain has begun. It lasts for as long as this connection is open.
    expect_end(&open);
    let waiting = connect(address);
    (&waiting).write_all(b"Hello successor").unwrap();
    assert_eq!(number(&first.statistics().unwrap(), "accepted").unwrap(), 1);

    let second = successor(&listener).unwrap();
    expect(&waiting, b"Hello successor");
    drop(open);
    assert_eq!(number(&first.wait_for_summary().unwrap(), "accepted").unwrap(), 1);
    drop(waiting);
    assert_eq!(number(&second.stop().unwrap(), "accepted").unwrap(), 1);
}

#[test]
fn a_connection_that_comes_with_the_signal_is_served() {
    let (listener, address) = listener();
    let mut first = successor(&listener).unwrap();
    // A stopped server finds both in one turn, and their order is up to the system.
    first.pause().unwrap();
    let waiting = connect(address);
    (&waiting).write_all(b"squawk").unwrap();
    first.signal(Signal::TERM).unwrap();
    first.signal(Signal::CONT).unwrap();
    let second = successor(&listener).unwrap();
    expect(&waiting, b"squawk");
    drop(waiting);
    let accepted =
        [first.wait_for_summary(), second.stop()].map(|summary| number(&summary.unwrap(), "accepted").unwrap());
    assert_eq!(accepted.iter().sum::<u64>(), 1, "{accepted:?}");
}

#[test]
fn a_restart_refuses_nobody() {
    const RESTARTS: u64 = 10;
    // No more than wait in the smallest limit of a backlog (128).
    let clients = if cfg!(target_os = "linux") { 200 } else { 100 };
    let (listener, address) = listener();
    listen(&listener, 1024).unwrap();
    let (over, served, ended) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));

    let servers = thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let count = if visit(address) { &served } else { &ended };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let servers = replace_often(&listener, RESTARTS, &served);
        over.store(true, Ordering::Relaxed);
        servers
    });
    let (last, mut accepted) = servers.unwrap();
    accepted += number(&last.stop().unwrap(), "accepted").unwrap();
    let (served, ended) = (served.into_inner(), ended.into_inner());
    assert_eq!(accepted, served + ended, "each connection is accepted once");
    // A drain ends the connections that are open when it begins, so there is at most one for each client.
    assert!(ended <= clients * RESTARTS, "{ended} connections ended early, and {served} were served");
}

#[test]
fn a_datagram_sent_during_a_restart_is_answered() {
    let udp = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let server = udp.local_addr().unwrap();
    let client = udp_client();
    for payload in [b"first".as_slice(), b"second", b"third"] {
        client.send_to(payload, server).unwrap();
        let parrot = spawn(&mut activated(vec![udp.try_clone().unwrap().into()], "", &[]));
        expect_datagram(&client, payload, server);
        parrot.stop().unwrap();
    }
}

/// Ends a server and starts another one, again and again. Each serves the clients for a while. Returns the last one,
/// and how many connections the others have accepted.
fn replace_often(listener: &TcpListener, times: u64, served: &AtomicU64) -> Result<(Parrot, u64)> {
    let mut accepted = 0;
    let mut server = successor(listener)?;
    for _ in 0..times {
        let enough = served.load(Ordering::Relaxed) + 500;
        wait_for("it serves", || Ok((served.load(Ordering::Relaxed) >= enough).then_some(())))?;
        accepted += number(&server.stop()?, "accepted")?;
        server = successor(listener)?;
    }
    Ok((server, accepted))
}

/// Connects and sends one message after another. Returns whether all of them came back. If one did not, the server has
/// ended the stream in order.
fn visit(address: SocketAddr) -> bool {
    let mut stream = connect(address);
    for _ in 0..5 {
        stream.write_all(MESSAGE).unwrap();
        let mut reply = Vec::new();
        (&mut stream).take(MESSAGE.len() as u64).read_to_end(&mut reply).unwrap();
        assert!(reply.is_empty() || reply == MESSAGE, "{reply:?}");
        if reply.is_empty() {
            return false;
        }
    }
    // Ports of connections that a client ends in order stay in use for a minute.
    reset(stream).unwrap();
    true
}
