//! Fine measurements: what they leave, and that they leave no stopped process.

use parrot_testkit::program::Ended;
use parrot_testkit::wait_until;
use rustix::process::{Pid, Signal, kill_process};

use crate::place::{Place, interrupt, interrupt_until_it_ends, rival};

/// Processes of each server.
const PROCESSES: usize = 5;

#[test]
fn a_fine_measurement_has_ratios_with_intervals() {
    let place = Place::new("fine", "honest_server");
    let ended = place.bench(&["--fine", "--only", "c1,parrot,twin", &place.twin("twin"), "--repeat", "8"]);
    assert_eq!(ended.code, Some(0), "{}", ended.printed());
    let results = place.results();
    // Unlike CPU time, the latency is known however busy this machine is.
    let of_latency = |one: &&serde_json::Value| one["figure"] == "p50";
    let comparison = results["fine"]["comparisons"].as_array().unwrap().iter().find(of_latency).unwrap();
    assert_eq!(["suite", "server", "with"].map(|name| &comparison[name]), ["c1", "twin", "parrot"]);
    let ratio = &comparison["ratio"];
    let [low, median, high] = [&ratio["interval"][0], &ratio["median"], &ratio["interval"][1]].map(|one| one.as_f64());
    assert!(ratio["count"] == 8 && low > Some(0.0) && low <= median && median <= high, "{comparison}");
    let runs = results["cells"][0]["runs"].as_array().unwrap();
    let processes = runs.iter().map(|run| run["round"]["process"].as_u64().unwrap());
    assert_eq!(processes.collect::<Vec<_>>(), [0, 1, 2, 3, 4, 0, 1, 2], "they take turns");
    assert!(place.read("report.html").contains("<circle") && place.read("tables.md").contains("P50 × parrot"));
    assert_eq!(place.processes().len(), 2 * PROCESSES);
    place.expect_no_process();
}

#[test]
fn load_generators_are_compared_on_one_server() {
    let place = Place::new("clients", "honest_server");
    let prints = |cpu| {
        let report =
            format!(r#"{{"messages": 9, "messages_per_second": 1e5, "client": {{"cpu_per_message": {cpu}}}}}"#);
        format!("#!/bin/sh\necho $* >> '{}'\necho '{report}'\n", place.0.join("calls").display())
    };
    place.program("parrot-load", &prints(4));
    place.program("rival-plain-client", &prints(5));
    let broken = place.program("broken", "#!/bin/sh\necho no luck >&2; exit 3\n");
    let broken = format!("--rival=broken={} {{connections}} {{port}}", broken.display());
    let ended = place.bench(&["--fine", "--only", "client-c50", "--repeat", "6", &broken]);
    assert_eq!(ended.code, Some(0), "a rival may fail: {}", ended.printed());
    let results = place.results();
    let comparison = &results["fine"]["comparisons"][0];
    assert_eq!(["server", "with"].map(|name| &comparison[name]), ["plain-client", "parrot-load"]);
    assert!(comparison["ratio"]["count"] == 6 && comparison["ratio"]["median"] == 1.25, "{comparison}");
    let failed = results["cells"].as_array().unwrap().iter().find(|cell| cell["server"] == "broken").unwrap();
    assert!(failed["errors"].to_string().contains("no luck"), "{failed}");
    let (calls, port) = (place.read("../calls"), place.port());
    assert!(calls.contains(&format!("-c 50 --warmup 51ms -d 200ms {port}\n")), "{calls}");
    assert!(calls.contains(&format!("{port} 50 51 200 edge\n")), "{calls}");
    assert_eq!(place.processes().len(), 1, "one server for all");
    place.expect_no_process();
}

#[test]
fn a_server_that_ends_in_a_round_has_no_further_ones() {
    let place = Place::new("fine-mortal", "honest_server");
    let mortal = rival("mortal", "mortal_server", "{port}");
    let twin = place.twin("twin");
    // On a busy machine, a round of the usual 200 ms may pass without an answer.
    let arguments = ["--fine", "--only", "c1,parrot,twin,mortal", &twin, &mortal, "--repeat", "2", "--duration", "1s"];
    let ended = place.bench(&arguments);
    assert_eq!(ended.code, Some(0), "a rival may fail: {}", ended.printed());
    assert!(ended.printed().contains("mortal ended"), "{}", ended.printed());
    let results = place.results();
    for cell in results["cells"].as_array().unwrap() {
        let (errors, runs) = (cell["errors"].as_array().unwrap(), cell["runs"].as_array().unwrap());
        let expected = if cell["server"] == "mortal" { (1, 0) } else { (0, 2) };
        assert_eq!((errors.len(), runs.len()), expected, "{cell}");
    }
    place.expect_no_process();
}

/// Starts a measurement with long rounds, and waits until all processes but the measured one are stopped.
fn begin(place: &Place, arguments: &[&str]) -> std::process::Child {
    let bench = place.spawn(&[&["--fine", "--duration", "1h"], arguments].concat());
    wait_until("all servers start", || place.processes().len() == 2 * PROCESSES);
    if cfg!(target_os = "linux") {
        // proc_pid_stat(5): the state comes after the name.
        let stat = |id: &Pid| std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let is_stopped = |id: &Pid| stat(id).contains(") T ");
        let stopped = || place.processes().iter().filter(|id| is_stopped(id)).count();
        wait_until("all but one are stopped", || stopped() == 2 * PROCESSES - 1);
    }
    bench
}

#[test]
fn an_interruption_leaves_no_stopped_process() {
    let place = Place::new("fine-interrupted", "honest_server");
    let bench = begin(&place, &["--only", "c1,parrot,twin", &place.twin("twin")]);
    interrupt(&bench);
    let ended = Ended::from(bench.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(130), "{}", ended.printed());
    assert_eq!(place.results()["interrupted"], true);
    place.expect_no_process();
}

#[test]
fn a_closed_terminal_leaves_no_stopped_process() {
    let place = Place::new("fine-hung-up", "honest_server");
    let bench = begin(&place, &["--only", "c1,parrot,twin", &place.twin("twin")]);
    // The shell and the system both tell it.
    for _ in 0..2 {
        kill_process(Pid::from_child(&bench), Signal::HUP).unwrap();
    }
    let ended = Ended::from(bench.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(130), "{}", ended.printed());
    assert_eq!(place.results()["interrupted"], true);
    place.expect_no_process();
}

#[test]
fn a_second_interruption_leaves_no_stopped_process() {
    let place = Place::new("fine-interrupted-twice", "honest_server");
    // The benchmark gives servers with a log seconds to end. These ignore the signal.
    let mut bench = begin(&place, &["--only", "parrot,parrot-clf", "--connections", "1"]);
    assert_eq!(interrupt_until_it_ends(&mut bench).code(), Some(130));
    place.expect_no_process();
}
