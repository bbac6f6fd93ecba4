//! The program from the outside: what it prints, where, and its exit code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use parrot_testkit::program::{Ended, run, unread_pipe};
use parrot_testkit::scripted::{echo, reply, reporting, serve, serve_datagrams};
use rustix::process::{Pid, Signal, kill_process};

/// The port of an echo server that runs as long as the test.
fn echo_server() -> String {
    serve(|_, stream| echo(stream)).port().to_string()
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-load"));
    command.args(["--connections", "2", "--warmup", "0s"]).args(arguments);
    command
}

fn load(arguments: &[&str]) -> Ended {
    run(&mut program(arguments))
}

#[test]
fn without_a_terminal_it_prints_plain_lines_and_the_report() {
    let Ended { code, stdout, stderr } = load(&[&echo_server(), "-d", "2500ms"]);
    assert_eq!(code, Some(0), "{stderr}{stdout}");
    assert!(stderr.contains("2 connections open") && stderr.contains("the window opens"), "{stderr}");
    assert!(stderr.contains("messages/s  P50"), "{stderr}");
    assert!(stdout.starts_with("closed loop: 2 connections x 12 bytes"), "{stdout}");
    assert!(stdout.contains("failures    none"), "{stdout}");
    for silent in ["--quiet", "--json"] {
        let Ended { code, stderr, .. } = load(&[&echo_server(), "-n", "10", silent]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{silent}");
    }
}

#[test]
fn the_json_report_contains_the_plan() {
    let Ended { stdout, .. } = load(&[&echo_server(), "-n", "10", "--timeout", "7s", "--delay", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let load = &report["load"];
    assert_eq!(load["requests"], 10);
    assert_eq!((&load["protocol"], &report["datagrams"]), (&"tcp".into(), &serde_json::Value::Null));
    assert_eq!((&load["duration"], &load["no_delay"]), (&serde_json::Value::Null, &false.into()));
    assert_eq!((load["timeout"].as_f64(), load["warmup"].as_f64()), (Some(7.0), Some(0.0)));
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn wrong_usage_ends_with_2() {
    for wrong in [
        &["-c", "0"][..],
        &["--size", "0"],
        &["--rate", "1e9"],
        &["--idle", "18446744073709551615"],
        &["x"],
        &["-t", "51"],
    ] {
        let Ended { code, stderr, .. } = run(Command::new(env!("CARGO_BIN_EXE_parrot-load")).args(wrong));
        assert_eq!(code, Some(2), "{wrong:?}: {stderr}");
    }
}

#[test]
fn wrong_values_are_met_with_the_right_form() {
    let (address, duration) = ("PORT or HOST:PORT, such as 1512, localhost:1512 or [::1]:1512", "such as 5s, 1m 30s");
    for (wrong, right) in [
        (&["-d", "1x"][..], duration),
        (&["-d", "5"], duration),
        (&["-d", "-1s"], "a duration cannot be negative"),
        (&["--warmup", "-1s"], "a duration cannot be negative"),
        (&["--timeout", "soon"], duration),
        (&["--interval", "-1"], duration),
        (&["--rate", "-5"], "messages a second, a number above 0"),
        (&["--rate", "fast"], "messages a second, a number above 0"),
        (&["--rate", "NaN"], "messages a second, a number above 0"),
        (&["-c", "-1"], "a whole number from 1 up"),
        (&["-c", "0"], "a whole number from 1 up"),
        (&["-n", "1e6"], "a whole number from 1 up"),
        (&["-t", "two"], "a whole number from 1 up"),
        (&["--pipeline", "0"], "a whole number from 1 up"),
        (&["--idle", "-1"], "a whole number"),
        (&["--max-errors", "99999999999999999999"], "too large"),
        (&["--size", "-1"], "a size such as 256MiB"),
        (&["--size", "12 parrots"], "a size such as 256MiB"),
        (&["--source", "localhost"], "an IP address such as 127.0.0.1"),
        (&["--source", "127.0.0.1:0"], "an IP address such as 127.0.0.1"),
        (&["--source", "fe80::1"], "fe80::1%INTERFACE"),
        (&["--source", "127.0.0.1%lo"], "only an IPv6 address has a zone"),
        (&["--source", "::1", "127.0.0.1:1"], "family"),
        (&["nowhere"], address),
        (&[""], address),
        (&["0"], "a port from 1 to 65535"),
        (&["65536"], "a port from 1 to 65535"),
        (&["-1"], address),
        (&[":1512"], "the host is missing"),
        (&["localhost:"], "a port from 1 to 65535"),
        (&["localhost:http"], "a port from 1 to 65535"),
        (&["localhost:+1"], "a port from 1 to 65535"),
        (&["tcp://h:1"], "h:1 without tcp://"),
        (&["http://h:1/path"], "h:1 without http://"),
        (&["h:1/path"], "a port from 1 to 65535"),
        (&["a b:1"], "no host can have the name \"a b\""),
        (&["user@h:1"], "no host can have the name"),
        (&["h..i:1"], "no host can have the name"),
        (&["300.0.0.1:1"], "four numbers"),
        (&["127.1:1"], "four numbers"),
        (&["224.0.0.1:1"], "multicast"),
        (&["tcp://h"], address),
        (&["tcp://h:1/path"], "h:1 without tcp://"),
        (&["tcp:*:1512"], "a client needs one of its addresses"),
        (&["sctp:h:1"], "no host can have the name"),
        (&["unix:"], "the path is missing"),
        (&["unix:parrot.sock", "--source", "127.0.0.1"], "has no source address"),
        (&["unix:parrot.sock", "--delay"], "only TCP"),
        (&["-u", "tcp:7"], "--udp contradicts"),
        (&["-u", "unix:parrot.sock"], "--udp contradicts"),
        (&["udp:"], "udp:HOST:PORT"),
        (&["udp:*:7"], "a client needs one of its addresses"),
        (&["udp:7", "--size", "11"], "at least 12 bytes"),
        (&["udp:7", "--size", "64KiB"], "at most 65,507 bytes"),
        (&["udp:7", "--idle", "1"], "idle"),
        (&["udp:7", "-k", "false"], "no connections"),
        (&["udp:7", "--proxy-protocol", "v2"], "neither a PROXY header"),
        (&["udp:7", "--datagram-timeout", "0s"], "would lose every datagram"),
        (&["--max-loss", "101"], "a share from 0 to 100"),
        (&["--proxy-protocol", "3"], "v1, v2"),
        (&["--rate", "1..2"], "--rate 1000..50000 --over 60s"),
        (&["--rate", "1", "--over", "9s"], "--rate 1000..50000 --over 60s"),
        (&["--rate", "1..", "--over", "9s"], "messages a second, a number above 0"),
        (&["--rate", "1..2", "--over", "0s", "-d", "1s"], "needs a time"),
        (&["--rate", "1000..2000", "--over", "1s", "-d", "300ms"], "at least as long as the change (--over)"),
        (&["--rate", "1..9", "--steps", "3"], "--over"),
        (&["--rate", "1..9", "--steps", "1", "--over", "9s"], "a whole number from 2 up"),
        (&["--rate", "1..9", "--steps", "101", "--over", "9s"], "2 to 100 steps"),
        (&["--rate", "1..9", "--steps", "3", "--over", "9s", "-d", "5s"], "cannot be used with"),
        (&["--rate", "5", "--steps", "3", "--over", "9s"], "--rate 1000..50000 --over 60s"),
        (&["--size", "9..5"], "the least to the most"),
        (&["--size", "0..5"], "at least one byte"),
        (&["--size", "5.."], "a size such as 256MiB"),
        (&["--size", "1..1GiB", "--pipeline", "2"], "more than 1 GiB"),
        (&["udp:7", "--size", "5..50"], "at least 12 bytes"),
        (&["udp:7", "--size", "12..64KiB"], "at most 65,507 bytes"),
        (&["udp:7", "--connect-rate", "5"], "none to open at a rate"),
        (&["udp:7", "--messages-per-connection", "5"], "none to open again"),
        (&["--messages-per-connection", "0"], "a whole number from 1 up"),
        (&["--messages-per-connection", "5", "-k", "false"], "contradicts"),
        (&["--messages-per-connection", "3", "--pipeline", "4"], "smaller pipeline"),
        (&["--close", "reset"], "it needs --messages-per-connection"),
        (&["--connect-rate", "0"], "connections a second, a number above 0"),
        (&["--connect-rate", "1e9"], "no machine opens"),
        (&["--connect-rate", "9", "-k", "false", "--rate", "10"], "more connections a second"),
        (&["--connect-rate", "9", "-k", "false", "--find-rate", "--objective", "p99=1s"], "leave out one of the two"),
        (&["--arrivals", "poisson"], "--rate"),
        (&["--arrivals", "poisson", "--rate", "9", "-n", "9"], "for a time"),
        (&["--over", "9s"], "--rate"),
        (&["--find-rate"], "--objective"),
        (&["--objective", "p99=10ms"], "--find-rate"),
        (&["--find-rate", "--objective", "p99"], "such as p99=10ms"),
        (&["--find-rate", "--objective", "p99=10"], duration),
        (&["--find-rate", "--objective", "p99=10ms", "-n", "9"], "cannot be used with"),
        (&["--find-rate", "--objective", "p99=10ms", "--max-errors", "9"], "cannot be used with"),
        (&["--find-rate", "--objective", "p99=10ms", "--max-loss", "9"], "cannot be used with"),
        (&["1512:"], "a port from 1 to 65535"),
        (&["::1:1512"], "brackets"),
        (&["::1"], "brackets"),
        (&["fe80::1%eth0:1512"], "brackets"),
        (&["[::1]"], "[::1]:1512"),
        (&["[::1"], address),
        (&["[127.0.0.1]:1"], "127.0.0.1:1 without brackets"),
        (&["[localhost]:1"], "localhost:1 without brackets"),
        (&["[fe80::1]:1"], "fe80::1%INTERFACE"),
        (&["[fe80::1%]:1"], "fe80::1%INTERFACE"),
        (&["127.0.0.1%lo:1"], "only an IPv6 address has a zone"),
        (&["[::%lo]:1"], "no zone"),
        (&["[::zz]:1"], address),
        (&["[::1]x"], "[::1]:1512"),
    ] {
        let Ended { code, stderr, .. } = run(Command::new(env!("CARGO_BIN_EXE_parrot-load")).args(wrong));
        assert_eq!(code, Some(2), "{wrong:?}: {stderr}");
        assert!(stderr.contains(right), "{wrong:?}: {stderr}");
    }
}

#[test]
fn without_a_server_the_error_is_all_that_is_printed() {
    let Ended { code, stderr, .. } = load(&["1"]);
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("listening"), "{stderr}");
}

#[test]
fn an_unwritable_file_is_refused_before_the_run() {
    // Nobody listens at port 1. A run would report that.
    let Ended { code, stderr, .. } = load(&["1", "--hdr", "/nonexistent/latencies.hgrm"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("/nonexistent/latencies.hgrm") && !stderr.contains("listening"), "{stderr}");
}

#[test]
fn a_file_is_overwritten_only_when_there_are_latencies() {
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/kept.hgrm");
    let before = "the latencies of yesterday\n".repeat(1000);
    fs::write(file, &before).unwrap();
    assert_eq!(load(&["1", "--hdr", file]).code, Some(1), "nobody listens at port 1");
    assert_eq!(fs::read_to_string(file).unwrap(), before);
    assert_eq!(load(&[&echo_server(), "-n", "10", "--hdr", file]).code, Some(0));
    let after = fs::read_to_string(file).unwrap();
    assert!(after.trim_start().starts_with("Value") && !after.contains("yesterday"), "{after}");
}

/// The port of a server that answers a second after it was asked.
fn slow_server() -> String {
    let answer = |_, bytes: &[u8]| {
        thread::sleep(Duration::from_secs(1));
        bytes.to_vec()
    };
    serve(move |_, stream| reply(stream, answer)).port().to_string()
}

#[test]
fn a_window_without_an_answer_fails_and_shows_no_figures() {
    // No message of the open loop is due within its window.
    for pace in [&["-d", "500ms"][..], &["--rate", "0.1", "--warmup", "1ms", "-d", "500ms"]] {
        let port = slow_server();
        let arguments = [&[port.as_str(), "--max-errors", "9"], pace].concat();
        let Ended { code, stdout, .. } = load(&arguments);
        assert_eq!(code, Some(1), "{pace:?}: {stdout}");
        assert!(stdout.contains("\n  note        nothing measured"), "{stdout}");
        let row = stdout.lines().find(|line| line.starts_with("  latency")).unwrap();
        assert_eq!(row.split_whitespace().skip(1).collect::<Vec<_>>(), ["-"; 6], "{stdout}");

        let Ended { code, stdout, .. } = load(&[&arguments[..], &["--json"]].concat());
        assert_eq!(code, Some(1), "{pace:?}: {stdout}");
        let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert!(report["marks"].as_array().unwrap().contains(&"nothing-measured".into()), "{report}");
        assert_eq!((&report["latency"]["count"], &report["messages"]), (&0.into(), &0.into()));
        for figure in ["mean", "p50", "p90", "p99", "p999", "max"] {
            let shown = [&report["latency"], &report["service"]].map(|latency| latency[figure].as_f64());
            assert_eq!(shown, [None; 2], "{figure}: {report}");
        }
        assert!(report["concurrency"].is_null(), "{report}");
    }
}

#[test]
fn latencies_are_kept_if_a_run_measures_none() {
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/none.hgrm");
    fs::write(file, "the latencies of yesterday").unwrap();
    assert_eq!(load(&[&slow_server(), "-d", "500ms", "--hdr", file]).code, Some(1));
    assert_eq!(fs::read_to_string(file).unwrap(), "the latencies of yesterday");
}

#[test]
fn losses_fail_a_run_only_if_they_are_more_than_allowed() {
    let server = serve_datagrams(|number, datagram| match number {
        7 => Vec::new(),
        _ => vec![datagram.to_vec()],
    });
    let arguments = ["-u", &server.to_string(), "-n", "100", "--datagram-timeout", "1s", "--json"];
    for (more, lost, code) in [(&["--max-loss", "1%"][..], 1, 0), (&["--max-loss", "0"], 0, 0)] {
        let Ended { code: ended, stdout, stderr } = load(&[&arguments[..], more].concat());
        assert_eq!(ended, Some(code), "{stderr}{stdout}");
        let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        let datagrams = &report["datagrams"];
        assert_eq!((&datagrams["sent"], &datagrams["lost"]), (&100.into(), &lost.into()), "{report}");
        assert_eq!(datagrams["lost_percent"].as_f64(), Some(f64::from(lost)), "{report}");
        assert_eq!((&report["load"]["protocol"], report["load"]["timeout"].as_f64()), (&"udp".into(), Some(1.0)));
    }
    let lossy = serve_datagrams(|number, datagram| match number {
        7 => Vec::new(),
        _ => vec![datagram.to_vec()],
    });
    let arguments = ["-u", &lossy.to_string(), "-n", "100", "--datagram-timeout", "1s", "--max-loss", "0.9"];
    let Ended { code, stdout, stderr } = load(&arguments);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(
        stdout.contains("datagrams   100 sent, 1 lost (1.000 %)") && stdout.contains("failures    none"),
        "{stdout}"
    );
    assert!(stderr.contains("2 sockets open"), "{stderr}");
}

#[test]
fn an_interrupted_run_says_so() {
    for (warmup, words) in [("0s", "stopped-early"), ("1h", "nothing was measured")] {
        let (address, receives) = reporting();
        let load = Command::new(env!("CARGO_BIN_EXE_parrot-load"))
            .args(["-c", "1", "--warmup", warmup, "-d", "1h", "--json", &address.port().to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        receives.recv().expect("the load begins");
        kill_process(Pid::from_child(&load), Signal::INT).unwrap();
        let ended = Ended::from(load.wait_with_output().unwrap());
        assert!(ended.printed().contains(words), "{ended:?}");
        assert_eq!(ended.code, Some(130), "{ended:?}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure_and_a_full_disk_is_one() {
    let ended = run(program(&[&echo_server(), "-n", "10", "--quiet"]).stdout(unread_pipe()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    if let Ok(full) = fs::File::options().write(true).open("/dev/full") {
        let ended = run(program(&[&echo_server(), "-n", "10", "--quiet"]).stdout(full));
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains("cannot write the report"), "{ended:?}");
    }
}
