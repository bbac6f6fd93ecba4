//! Runs the benchmark program: short measurements, wrong usage and interruptions.
//!
//! Servers in this file take Parrot's place, so that nothing else has to be built. Each is this test program, started
//! with the name of an ignored test and a port.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod fine;
mod place;

use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::{fs, io, thread};

use parrot_testkit::process::limited;
use parrot_testkit::program::{Ended, run, unread_pipe};
use parrot_testkit::{scripted, wait_until};
use place::{Place, interrupt, interrupt_until_it_ends, rival};
use rustix::process::{Pid, test_kill_process};

/// Echoes at the port among the arguments, after applying `change` to every byte.
fn serve(change: fn(u8) -> u8) {
    let Some(port) = std::env::args().find_map(|argument| argument.parse::<u16>().ok()) else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let reply = move |_, bytes: &[u8]| bytes.iter().map(|byte| change(*byte)).collect();
    scripted::serve_at(&listener, move |_, stream| scripted::reply(stream, reply));
}

#[test]
#[ignore = "a server for the other tests, which start it with a port"]
fn honest_server() {
    serve(|byte| byte);
}

/// Echoes correctly while the benchmark waits for it (`polly`), and wrongly under load.
#[test]
#[ignore = "a server for the other tests, which start it with a port"]
fn lying_server() {
    serve(|byte| if b"polly\n".contains(&byte) { byte } else { byte ^ 1 });
}

/// Echoes datagrams at the port among the arguments, except every tenth.
#[test]
#[ignore = "a server for the other tests, which start it with a port"]
fn lossy_datagram_server() {
    let Some(port) = std::env::args().find_map(|argument| argument.parse::<u16>().ok()) else { return };
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut buffer = [0; 2048];
    for number in 1_u64.. {
        let (count, peer) = socket.recv_from(&mut buffer).unwrap();
        if number % 10 > 0 {
            socket.send_to(&buffer[..count], peer).unwrap();
        }
    }
}

/// Echoes at the Unix socket whose path is among the arguments.
#[test]
#[ignore = "a server for the other tests, which start it with a path"]
fn unix_server() {
    let Some(path) = std::env::args().find(|argument| argument.ends_with("/socket")) else { return };
    let listener = UnixListener::bind(path).unwrap();
    thread::scope(|scope| {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            scope.spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
}

/// Echoes on its first connection, which the benchmark opens to see whether it is there, and ends with the second one.
#[test]
#[ignore = "a server for the other tests, which start it with a port"]
fn mortal_server() {
    let Some(port) = std::env::args().find_map(|argument| argument.parse::<u16>().ok()) else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let (stream, _) = listener.accept().unwrap();
    io::copy(&mut &stream, &mut &stream).unwrap();
    listener.accept().unwrap();
}

#[test]
#[ignore = "a server for the other tests, which does nothing until it is killed"]
fn waiting_server() {
    // Without a port somebody runs every ignored test, and this one would never end.
    while std::env::args().any(|argument| argument.parse::<u16>().is_ok()) {
        thread::park();
    }
}

#[test]
fn a_measurement_leaves_its_results_and_no_server() {
    let place = Place::new("measurement", "honest_server");
    let ended = place.bench(&["--only", "c1,parrot", "--duration", "2s", "--repeat", "2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.printed());
    let results = place.results();
    assert_eq!(results["schema"], "parrot-bench/2");
    let cell = &results["cells"][0];
    assert_eq!((&cell["suite"], &cell["server"]), (&"c1".into(), &"parrot".into()));
    let runs = cell["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    assert!(runs.iter().all(|run| run["latency"]["count"].as_u64() > Some(0) && run["failures"] == 0), "{cell}");
    assert!(place.read("report.html").contains("<svg ") && place.read("tables.md").contains("| parrot |"));
    place.expect_no_server();
}

#[test]
fn wrong_echoes_are_no_figures_and_end_with_code_1() {
    let place = Place::new("liar", "lying_server");
    let ended = place.bench(&["--only", "c1,parrot", "--duration", "100ms"]);
    assert_eq!(ended.code, Some(1), "{}", ended.printed());
    assert!(ended.printed().contains("1 with wrong bytes"), "{}", ended.printed());
    assert!(place.read("report.html").contains("Not shown: parrot (1 with wrong bytes"));
    place.expect_no_server();
}

#[test]
fn an_unknown_name_is_wrong_usage() {
    let place = Place::new("usage", "honest_server");
    for wrong in [["--only", "c5O"], ["--rival", "parrot=mine {port}"], ["--repeat", "0"], ["--fine", "--quick"]] {
        let ended = place.bench(&wrong);
        assert_eq!(ended.code, Some(2), "{wrong:?}: {}", ended.printed());
    }
}

#[test]
fn a_server_that_is_not_installed_is_reported() {
    let place = Place::new("not-installed", "honest_server");
    let ended = place.bench(&["--only", "go"]);
    assert_eq!(ended.code, Some(2), "{}", ended.printed());
    assert!(ended.printed().contains("Go is not installed"), "{}", ended.printed());
    let list = place.bench(&["--list"]).printed();
    assert!(list.lines().any(|line| line.contains("go-copy") && line.contains("Go is not installed")), "{list}");
}

#[test]
fn a_server_on_io_uring_is_left_out_where_that_is_forbidden() {
    let place = Place::new("no-io-uring", "honest_server");
    place.program("rival-compio", "#!/bin/sh\necho 'Operation not permitted' >&2\nexit 1\n");
    let list = place.bench(&["--list"]).printed();
    let why = "cannot take part: io_uring cannot be used: Operation not permitted";
    assert!(list.lines().any(|line| line.contains("compio") && line.contains(why)), "{list}");
}

#[test]
fn a_list_may_end_in_a_closed_pipe() {
    let place = Place::new("list", "honest_server");
    let ended = run(place.command(&["--list"]).stdout(unread_pipe()));
    assert_eq!((ended.code, ended.printed().as_str()), (Some(0), ""));
}

#[test]
fn the_exit_code_of_a_comparison_reports_a_slower_parrot() {
    let place = Place::new("comparison", "honest_server");
    let load = ["--only", "c1,parrot", "--duration", "500ms", "--repeat", "1"];
    assert_eq!(place.bench_in_time(&load).code, Some(0));
    let measured = place.results();
    for (then, code, word) in [(0.01, 1, "SLOWER"), (100.0, 0, "faster")] {
        let mut old = measured.clone();
        let run = &mut old["cells"][0]["runs"][0];
        run["cpu_per_message"] = run["cpu_per_message"].as_f64().map(|cpu| cpu * then).into();
        run["messages_per_second"] = run["messages_per_second"].as_f64().map(|rate| rate / then).into();
        let path = place.0.join("old.json");
        fs::write(&path, old.to_string()).unwrap();
        let arguments = [&load[..], &["--compare", path.to_str().unwrap()]].concat();
        let ended = place.bench_in_time(&arguments);
        assert_eq!(ended.code, Some(code), "{}", ended.printed());
        assert!(ended.printed().contains(word), "{}", ended.printed());
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_figures_include_processes_that_a_script_started() {
    let place = Place::new("wrapped", "honest_server");
    let own = std::env::current_exe().unwrap();
    let script = format!("#!/bin/sh\n'{}' --ignored --exact honest_server \"$1\"\nexit $?\n", own.display());
    let rival = format!("wrapped={} {{port}}", place.program("wrapper", &script).display());
    let arguments = ["--only", "c1,wrapped", "--duration", "1s", "--repeat", "1", "--rival", &rival];
    let ended = place.bench(&arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.printed());
    let run = &place.results()["cells"][0]["runs"][0];
    assert!(run["cores"].as_f64() > Some(0.0) || run["cpu_late"].is_f64(), "{run}");
}

#[test]
fn a_suite_with_too_few_descriptors_is_skipped_once() {
    let place = Place::new("few-descriptors", "honest_server");
    let arguments = ["--only", "parrot", "--connections", "1,1000", "--duration", "100ms", "--repeat", "2"];
    let ended = run(&mut limited("-n 100", &place.command(&arguments)));
    assert_eq!(ended.code, Some(0), "{}", ended.printed());
    assert_eq!(ended.printed().matches("ulimit -n").count(), 1, "{}", ended.printed());
    let results = place.results();
    assert!(results["skipped"]["c1000"].is_string() && results["cells"][0]["suite"] == "c1", "{results}");
    assert!(place.read("report.html").contains("was skipped") && place.read("tables.md").contains("c1000 was skipped"));
}

#[test]
fn lost_datagrams_are_reported_beside_the_figures() {
    let place = Place::new("lossy", "honest_server");
    let lossy = rival("lossy", "lossy_datagram_server", "{udp}");
    let ended = place.bench(&["--only", "udp-1,lossy", "--duration", "1s", "--repeat", "1", &lossy]);
    assert_eq!(ended.code, Some(0), "{}", ended.printed());
    assert!(ended.printed().contains(" datagrams ("), "{}", ended.printed());
    let results = place.results();
    let run = &results["cells"][0]["runs"][0];
    assert_eq!((&results["suites"][0]["transport"], &run["failures"]), (&"udp".into(), &0.into()));
    let [sent, lost] = ["sent", "lost"].map(|name| run["datagrams"][name].as_u64().unwrap());
    assert!(lost > 0 && lost < sent && run["latency"]["count"].as_u64() > Some(0), "{run}");
}

#[test]
fn a_rival_with_a_path_is_measured_through_a_unix_socket() {
    let place = Place::new("unix", "honest_server");
    let mine = rival("mine", "unix_server", "{path}");
    let ended = place.bench(&["--only", "unix,mine", "--duration", "500ms", "--repeat", "1", &mine]);
    assert_eq!(ended.code, Some(0), "{}", ended.printed());
    let run = &place.results()["cells"][0]["runs"][0];
    assert!(run["latency"]["count"].as_u64() > Some(0) && run["failures"] == 0, "{run}");
}

#[test]
fn two_processes_are_started_measured_and_ended() {
    let place = Place::new("two-processes", "honest_server");
    let (own, directory) = (std::env::current_exe().unwrap(), place.0.display());
    // The first one serves. The second one could not share its port, so it only waits.
    let script = format!(
        "#!/bin/sh\necho \"listening on $4\" >&2\nprintf %s \"$4\" > '{directory}/port'\nserver=waiting_server\n\
         if (set -C; : > '{directory}/first'); then server=honest_server; else echo $$ > '{directory}/second'; fi\n\
         exec '{}' --ignored --exact $server \"$4\"\n",
        own.display()
    );
    place.program("parrot", &script);
    // The scripted server starts a thread for each of 1,000 connections, which takes a busy machine a while.
    let ended = place.bench(&["--only", "reuse-port,parrot-2", "--duration", "4s", "--repeat", "1"]);
    assert_eq!(ended.code, Some(0), "{}", ended.printed());
    let results = place.results();
    assert_eq!((&results["cells"][0]["server"], &results["servers"][0]["processes"]), (&"parrot-2".into(), &2.into()));
    let second = fs::read_to_string(place.0.join("second")).unwrap().trim().parse().unwrap();
    let second = Pid::from_raw(second).unwrap();
    wait_until("the second process ends", || test_kill_process(second).is_err());
    place.expect_no_server();
}

#[test]
fn an_interruption_leaves_the_results_and_no_server() {
    let place = Place::new("interrupted", "honest_server");
    let bench = place.spawn(&["--only", "c1,parrot", "--duration", "1h"]);
    place.port();
    interrupt(&bench);
    let ended = Ended::from(bench.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(130), "{}", ended.printed());
    assert_eq!(place.results()["interrupted"], true);
    place.expect_no_server();
}

#[test]
fn a_second_interruption_ends_the_program_and_its_server() {
    let place = Place::new("interrupted-twice", "honest_server");
    // The benchmark gives a server with a log seconds to end. This one ignores the signal.
    let mut bench = place.spawn(&["--only", "parrot-clf", "--connections", "1", "--duration", "1h"]);
    let port = place.port();
    wait_until("the server listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    assert_eq!(interrupt_until_it_ends(&mut bench).code(), Some(130));
    place.expect_no_server();
}
