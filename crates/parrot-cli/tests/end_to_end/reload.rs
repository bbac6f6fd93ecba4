//! SIGHUP with a file of options: what changes without losing a connection, and what a mistake leaves as it was.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use parrot_testkit::client::{connect, datagram_client, echo, expect, expect_end, fill, free_port, is_silent};
use parrot_testkit::parrot::Parrot;
use parrot_testkit::wait_until;
use rustix::process::Signal;

use crate::support::{LOOPBACK, bare_parrot, data, has_ipv6, scratch, skip};

/// A server whose options are in a file.
struct Configured {
    parrot: Parrot,
    path: PathBuf,
}

impl Configured {
    /// A server with these options, on a free port of 127.0.0.1.
    #[track_caller]
    fn start(options: &str) -> Configured {
        Configured::start_with(options, &["--log", "off", "--listen", "tcp:127.0.0.1:0"])
    }

    #[track_caller]
    fn start_with(options: &str, arguments: &[&str]) -> Configured {
        let path = scratch("parrot.toml");
        fs::write(&path, options).unwrap();
        let mut command: Command = bare_parrot(arguments);
        command.arg("--config").arg(&path);
        let parrot = Parrot::spawn(command.stdout(Stdio::null())).unwrap();
        Configured { parrot, path }
    }

    /// How often this was printed.
    fn count(&self, words: &str) -> usize {
        self.parrot.stderr().matches(words).count()
    }

    /// Has the server follow other options.
    #[track_caller]
    fn reload(&self, options: &str) {
        self.hang_up(options, "reloaded ");
    }

    /// Has the server read other options, which it cannot follow, and returns its reason.
    #[track_caller]
    fn refused(&self, options: &str) -> String {
        self.hang_up(options, "; nothing was changed");
        let stderr = self.parrot.stderr();
        stderr.lines().rfind(|line| line.contains("; nothing was changed")).unwrap().to_owned()
    }

    #[track_caller]
    fn hang_up(&self, options: &str, answer: &str) {
        fs::write(&self.path, options).unwrap();
        let before = self.count(answer);
        self.parrot.signal(Signal::HUP).unwrap();
        wait_until(answer, || self.count(answer) > before);
        // The loop makes the changes in its next turn, and reports statistics after them.
        self.parrot.statistics().unwrap();
    }
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn limits_follow_a_reload_and_connections_live_through_it() {
    let server = Configured::start("max-connections = 2");
    let open = [server.parrot.connect(), server.parrot.connect()];
    open.iter().for_each(|stream| echo(stream, b"before"));
    expect_end(&server.parrot.connect());

    server.reload("max-connections = 3");
    open.iter().for_each(|stream| echo(stream, b"after"));
    let third = server.parrot.connect();
    echo(&third, b"room");
    expect_end(&server.parrot.connect());

    server.reload("");
    let more: Vec<TcpStream> = (0..5).map(|_| server.parrot.connect()).collect();
    open.iter().chain([&third]).chain(&more).for_each(|stream| echo(stream, b"no limit"));
}

#[test]
fn an_idle_timeout_comes_and_goes_with_a_reload() {
    let server = Configured::start("");
    let stream = server.parrot.connect();
    echo(&stream, b"squawk");
    server.reload("idle-timeout = '100ms'");
    expect_end(&stream);
    server.reload("idle-timeout = '1h'");
    let stream = server.parrot.connect();
    echo(&stream, b"squawk");
    let other = Configured::start("idle-timeout = '100ms'");
    expect_end(&other.parrot.connect());
    echo(&stream, b"still here");
}

#[test]
fn more_memory_for_replies_serves_those_who_wait() {
    let server = Configured::start("max-buffered = '128KiB'");
    let greedy = server.parrot.connect();
    fill(&greedy, data());
    let mut patient = server.parrot.connect();
    patient.write_all(b"patience").unwrap();
    assert!(is_silent(&patient), "there is one buffer");
    server.reload("max-buffered = '256KiB'");
    expect(&patient, b"patience");
}

#[test]
fn times_of_the_drain_follow_a_reload() {
    let mut server = Configured::start("drain-timeout = '1h'");
    let stream = server.parrot.connect();
    echo(&stream, b"squawk");
    server.reload("drain-delay = '100ms'\ndrain-timeout = '100ms'");
    server.parrot.signal(Signal::TERM).unwrap();
    server.parrot.line("leaving: ").unwrap();
    let summary = server.parrot.wait_for_summary().unwrap();
    assert!(summary.contains("; 1 drain timeout"), "{summary}");
}

#[test]
fn a_drain_is_not_reloaded_and_its_delay_is() {
    let mut server = Configured::start("drain-delay = '1h'");
    let stream = server.parrot.connect();
    echo(&stream, b"squawk");
    server.parrot.signal(Signal::TERM).unwrap();
    server.parrot.line("leaving: ").unwrap();
    server.reload("drain-delay = '1h'\ndrain-timeout = '1h'\nprefix = '> '");
    let late = server.parrot.connect();
    (&late).write_all(b"squawk").unwrap();
    expect(&late, b"> squawk");

    server.parrot.signal(Signal::TERM).unwrap();
    server.parrot.line("draining: ").unwrap();
    server.parrot.signal(Signal::HUP).unwrap();
    server.parrot.line("is not read again, because parrot drains").unwrap();
    (&stream).write_all(b"squawk").unwrap();
    drop((stream, late));
    let summary = server.parrot.wait_for_summary().unwrap();
    assert!(summary.contains("0 connections open"), "{summary}");
}

#[test]
fn replies_and_datagram_rules_follow_a_reload() {
    let server =
        Configured::start_with("", &["--log", "off", "--listen", "tcp:127.0.0.1:0", "--listen", "udp:127.0.0.1:0"]);
    let early = server.parrot.connect();
    echo(&early, b"squawk");
    server.reload("greeting = 'welcome'\nprefix = '> '\nudp-rate = 1000");
    expect(&server.parrot.connect(), b"welcome\n");
    echo(&early, b"a plain connection stays plain");
    let client = datagram_client((LOOPBACK, 0));
    client.send_to(b"squawk", server.parrot.udp_addresses()[0]).unwrap();
    let mut reply = [0; 16];
    let length = client.recv(&mut reply).unwrap();
    assert_eq!(&reply[..length], b"> squawk");
    server.reload("udp-rate = 1");
    wait_until("datagrams are refused", || {
        client.send_to(b"squawk", server.parrot.udp_addresses()[0]).unwrap();
        server.parrot.statistics().unwrap().contains("rate limited")
    });
}

#[test]
fn a_long_prefix_goes_as_datagrams_come() {
    let tcp = "'tcp:127.0.0.1:0'";
    let streams = format!("listen = {tcp}\nprefix = '{}'", "x".repeat(70_000));
    let both = format!("listen = [{tcp}, 'udp:127.0.0.1:0']\nprefix = '> '");
    let server = Configured::start_with(&streams, &["--log", "off"]);
    server.reload(&both);
    let stream = server.parrot.connect();
    (&stream).write_all(b"squawk").unwrap();
    expect(&stream, b"> squawk");
    server.reload(&streams);
    server.parrot.line("no longer listening on udp:127.0.0.1:").unwrap();
}

#[test]
fn a_new_unix_socket_has_the_new_permissions() {
    let (old, new) = (scratch("old.sock"), scratch("new.sock"));
    let options = |places: &[&PathBuf], mode: &str| {
        let places: Vec<String> = places.iter().map(|place| format!("'unix:{}'", place.display())).collect();
        format!("listen = [{}]\nunix-mode = '{mode}'", places.join(", "))
    };
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let server = Configured::start_with(&options(&[&old], "0600"), &["--log", "off"]);
    server.reload(&options(&[&old, &new], "0662"));
    assert_eq!((mode(&old), mode(&new)), (0o600, 0o662));
    assert_eq!(server.count("--unix-mode stays as it was"), 1);
}

#[test]
fn listeners_come_and_go_with_a_reload() {
    let (ready, socket) = (scratch("ready"), scratch("parrot.sock"));
    let [first, second] = [free_port().unwrap(), free_port().unwrap()];
    let first_place = format!("'tcp:127.0.0.1:{first}'");
    let second_place = format!("'tcp:127.0.0.1:{second}', 'unix:{}'", socket.display());
    let ready_argument = ready.to_str().unwrap();
    let server =
        Configured::start_with(&format!("listen = [{first_place}]"), &["--log", "off", "--ready-file", ready_argument]);
    let address = |port| SocketAddr::from((LOOPBACK, port));
    let stream = server.parrot.connect();
    echo(&stream, b"before");

    server.reload(&format!("listen = [{first_place}, {second_place}]"));
    echo(&connect(address(second)), b"squawk");
    assert!(socket.exists());
    let listed = fs::read_to_string(&ready).unwrap();
    assert!(listed.contains(&format!("127.0.0.1:{second}")) && listed.contains("parrot.sock"), "{listed}");

    server.reload(&format!("listen = [{second_place}]"));
    wait_until("the first one is closed", || is_refused(address(first)));
    echo(&stream, b"after");
    assert!(!fs::read_to_string(&ready).unwrap().contains(&format!("127.0.0.1:{first}")));

    server.reload(&format!("listen = [{first_place}]"));
    wait_until("the others are closed", || is_refused(address(second)) && !socket.exists());
    echo(&connect(address(first)), b"back again");
    echo(&stream, b"all the while");
    drop(stream);
    server.parrot.stop().unwrap();
    assert!(!ready.exists(), "the file of the last listeners goes at the end");
}

#[test]
fn addresses_of_bind_come_and_go_one_by_one() {
    if !has_ipv6() {
        return skip("no IPv6 on this machine");
    }
    let port = free_port().unwrap();
    let server = Configured::start_with(&format!("port = {port}\nbind = '127.0.0.1'"), &["--log", "off"]);
    let stream = server.parrot.connect();
    server.reload(&format!("port = {port}\nbind = ['127.0.0.1', '::1', '::1']"));
    let both = [SocketAddr::from((LOOPBACK, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))];
    both.iter().for_each(|address| echo(&connect(*address), b"squawk"));
    server.reload(&format!("port = {port}\nbind = '::1'"));
    wait_until("the first one is closed", || is_refused(both[0]));
    echo(&connect(both[1]), b"squawk");
    echo(&stream, b"squawk");
}

#[test]
fn a_place_that_is_written_another_way_stays_open() {
    let port = free_port().unwrap();
    let server = Configured::start_with(&format!("port = {port}\nbind = '127.0.0.1'"), &["--log", "off"]);
    let waiting = server.parrot.connect();
    server.reload(&format!("listen = ['udp:127.0.0.1:0', 'tcp:127.0.0.1:{port}']"));
    server.parrot.line("listening on udp:127.0.0.1:").unwrap();
    assert_eq!(server.count("no longer listening"), 0);
    echo(&waiting, b"squawk");
    server.reload(&format!("listen = 'tcp:127.0.0.1:{port}'"));
    server.parrot.line("no longer listening on udp:127.0.0.1:").unwrap();
    echo(&waiting, b"squawk");
    echo(&server.parrot.connect(), b"squawk");
}

#[test]
fn a_free_port_stays_through_a_reload() {
    let server = Configured::start_with("listen = 'tcp:127.0.0.1:0'", &["--log", "off"]);
    let address = server.parrot.address();
    server.reload("listen = ['tcp:127.0.0.1:0', 'udp:127.0.0.1:0']");
    echo(&connect(address), b"squawk");
    server.parrot.line("listening on udp:127.0.0.1:").unwrap();
    assert_eq!(server.count("no longer listening"), 0);
}

#[test]
fn the_log_moves_and_changes_its_form() {
    let (first, second) = (scratch("log"), scratch("log"));
    let options = |file: &PathBuf, more: &str| format!("log-file = '{}'\n{more}", file.display());
    let server = Configured::start_with(&options(&first, ""), &["--listen", "tcp:127.0.0.1:0"]);
    let stream = server.parrot.connect();
    echo(&stream, b"one");
    server.reload(&options(&second, "log = 'json'\nlog-payload = 2"));
    echo(&stream, b"two");
    server.reload("log = 'off'");
    echo(&stream, b"three");
    server.reload(&options(&first, ""));
    echo(&stream, b"four");
    drop(stream);
    let summary = server.parrot.stop().unwrap();
    assert!(summary.contains("3 log lines written, 0 dropped"), "{summary}");

    let log = fs::read_to_string(first).unwrap();
    let [one, four] = log.lines().collect::<Vec<_>>()[..] else { panic!("{log}") };
    assert!(one.ends_with("\"one\" 3") && four.ends_with("\"four\" 4"), "{log}");
    let log = fs::read_to_string(second).unwrap();
    assert!(log.contains(r#""payload":"tw","truncated":true,"bytes":3"#) && log.lines().count() == 1, "{log}");
}

#[test]
fn a_log_that_moves_is_not_made_again_where_it_was() {
    let (first, second) = (scratch("log"), scratch("log"));
    let options = |file: &PathBuf| format!("log-file = '{}'", file.display());
    let server = Configured::start_with(&options(&first), &["--listen", "tcp:127.0.0.1:0"]);
    let stream = server.parrot.connect();
    echo(&stream, b"one");
    wait_until("the line is written", || fs::read_to_string(&first).unwrap().ends_with('\n'));
    fs::remove_file(&first).unwrap();
    server.reload(&options(&second));
    echo(&stream, b"two");
    // A rotation is followed whatever the file of options says.
    for (options, refused) in [(options(&second), false), ("squawk = 1".to_owned(), true)] {
        wait_until("the line is written", || fs::read_to_string(&second).is_ok_and(|log| log.ends_with('\n')));
        fs::remove_file(&second).unwrap();
        if refused {
            drop(server.refused(&options))
        } else {
            server.reload(&options)
        }
        echo(&stream, b"three");
    }
    drop(stream);
    server.parrot.stop().unwrap();
    assert!(!first.exists());
    assert_eq!(fs::read_to_string(second).unwrap().lines().count(), 1);
}

#[test]
fn a_log_can_begin_with_a_reload() {
    let log = scratch("log");
    let server = Configured::start_with("log = 'off'", &["--listen", "tcp:127.0.0.1:0"]);
    let stream = server.parrot.connect();
    echo(&stream, b"one");
    server.reload(&format!("log-file = '{}'", log.display()));
    echo(&stream, b"two");
    let line = server.parrot.statistics().unwrap();
    assert!(line.contains("log lines written"), "{line}");
    drop(stream);
    server.parrot.stop().unwrap();
    let log = fs::read_to_string(log).unwrap();
    assert!(log.ends_with("\"two\" 3\n") && log.lines().count() == 1, "{log}");
}

#[test]
fn the_level_of_diagnostics_follows_a_reload() {
    let server = Configured::start("");
    echo(&server.parrot.connect(), b"squawk");
    server.reload("verbose = 1");
    echo(&server.parrot.connect(), b"squawk");
    server.parrot.line("connected").unwrap();
    server.reload("");
    // The line of the first connection that ended after the change would come before the next statistics.
    server.parrot.statistics().unwrap();
    let connected = server.count("connected");
    assert_eq!(connected, 1);
    echo(&server.parrot.connect(), b"squawk");
    server.parrot.statistics().unwrap();
    assert_eq!(server.count("connected"), connected);
}

#[test]
fn a_broken_file_changes_nothing_and_says_why() {
    let (log, other) = (scratch("log"), scratch("log"));
    let [port, free] = [free_port().unwrap(), free_port().unwrap()];
    let good = format!("listen = ['tcp:127.0.0.1:{port}']\nlog-file = '{}'\ngreeting = 'good'", log.display());
    let server = Configured::start_with(&good, &[]);
    let stream = server.parrot.connect();
    expect(&stream, b"good\n");
    let taken = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let bad = |listen: &str, more: &str| {
        format!("listen = ['tcp:127.0.0.1:{free}'{listen}]\ngreeting = 'bad'\nlog-file = '{}'\n{more}", other.display())
    };
    for (options, reason) in [
        (bad("", "idle-timeuot = '5s'"), ":4:1: there is no option idle-timeuot (did you mean idle-timeout?)"),
        (bad("", "idle-timeout = 5"), ":4:16: invalid value '5'"),
        (bad("", "udp-rate = 5"), ":4:12: --udp-rate is for datagrams"),
        (bad("", "max-connections = "), ":4:"),
        (bad(&format!(", 'tcp:{}'", taken.local_addr().unwrap()), ""), "is taken"),
        (bad("", "").replace(other.to_str().unwrap(), "/nowhere/log"), "cannot log to /nowhere/log"),
    ] {
        let printed = server.refused(&options);
        assert!(server.parrot.stderr().contains(reason), "no {reason:?} in: {printed}\n{}", server.parrot.stderr());
        echo(&stream, b"still here");
        expect(&server.parrot.connect(), b"good\n");
        assert!(is_refused((LOOPBACK, free).into()), "{options}");
    }
    fs::remove_file(&server.path).unwrap();
    server.parrot.signal(Signal::HUP).unwrap();
    server.parrot.line("cannot read").unwrap();
    echo(&stream, b"still here");
    server.reload(&good.replace("good", "better"));
    expect(&server.parrot.connect(), b"better\n");
}

#[test]
fn what_cannot_change_says_so() {
    let server = Configured::start("");
    let stream = server.parrot.connect();
    server.reload("backlog = 7\nkeepalive = 'off'\nreuse-port = true\nready-file = 'ready'\nmax-connections = 1");
    for option in ["--backlog", "--keepalive", "--reuse-port", "--ready-file"] {
        server.parrot.line(&format!("{option} stays as it was until parrot is started again")).unwrap();
    }
    echo(&stream, b"squawk");
    // The rest is followed.
    expect_end(&server.parrot.connect());
}

#[test]
fn a_listener_does_not_come_to_expect_proxy_headers() {
    let port = free_port().unwrap();
    let place = |options| format!("listen = 'tcp:127.0.0.1:{port}{options}'");
    let server = Configured::start_with(&place(""), &["--log", "off"]);
    server.reload(&place(",proxy"));
    server.parrot.line(&format!("tcp:127.0.0.1:{port} expects no PROXY headers until parrot is started")).unwrap();
    echo(&server.parrot.connect(), b"squawk");
}

#[test]
fn a_place_in_the_way_of_another_is_named() {
    let port = free_port().unwrap();
    let server = Configured::start_with(&format!("listen = 'tcp:127.0.0.1:{port}'"), &["--log", "off"]);
    let places = format!("listen = ['unix:{}', 'tcp:*:{port}']", scratch("parrot.sock").display());
    if cfg!(target_os = "linux") {
        let reason = server.refused(&places);
        let named = format!("0.0.0.0:{port}, because tcp:127.0.0.1:{port} still has the port");
        assert!(reason.contains(&named), "{reason}");
    } else {
        // SO_REUSEADDR is enough for both to listen (in_pcbbind_setup in FreeBSD's sys/netinet/in_pcb.c).
        server.reload(&places);
    }
    echo(&server.parrot.connect(), b"squawk");
}

#[test]
#[cfg(feature = "admin")]
fn the_pages_show_a_reload_and_stay_where_they_are() {
    let ready_file = scratch("ready-reload.json");
    let options = |more: &str| format!("ready-file = '{}'\n{more}", ready_file.display());
    let before = options("admin = '127.0.0.1:0'\nlisten = 'tcp:127.0.0.1:0'\nlog = 'off'\nidle-timeout = '5m'");
    let server = Configured::start_with(&before, &[]);
    let pages = server.parrot.pages().unwrap();
    let statistics = || -> serde_json::Value {
        let page = parrot_testkit::http::get(pages, "/statistics").unwrap();
        serde_json::from_str(&page.body).unwrap()
    };
    let shown = |option: &str| statistics()["settings"][option].as_str().unwrap().to_owned();
    assert_eq!((shown("idle-timeout").as_str(), statistics()["log"].is_null()), ("300s", true));

    let listen = "listen = ['tcp:127.0.0.1:0', 'udp:127.0.0.1:0']";
    server.reload(&options(&format!("admin = '127.0.0.1:1'\n{listen}\nlog = 'json'\nkeepalive = '1m'")));
    assert_eq!(server.count("--admin stays as it was until parrot is started again"), 1);
    assert_eq!(
        (shown("idle-timeout"), shown("keepalive"), shown("log")),
        ("never".into(), "300s".into(), "json".into())
    );
    assert_eq!(statistics()["listeners"].as_array().unwrap().len(), 2);
    let ready: serde_json::Value = serde_json::from_slice(&fs::read(&ready_file).unwrap()).unwrap();
    assert_eq!(ready["admin"]["address"], pages.to_string());
    echo(&server.parrot.connect(), b"squawk");
    wait_until("the log's lines are counted", || statistics()["log"]["written"] == 1);
}
