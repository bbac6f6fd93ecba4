//! `--live` in a real terminal, as a person sees it, and what it leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use parrot_testkit::program::{Ended, run};
use parrot_testkit::scripted::{echo, serve};
use parrot_testkit::terminal::Terminal;

fn echo_server() -> String {
    serve(|_, stream| echo(stream)).port().to_string()
}

/// Runs a load in the terminal. The shell then prints its exit code, and whether the terminal's modes are as before.
fn start(terminal: &Terminal, arguments: &str) {
    let program = env!("CARGO_BIN_EXE_parrot-load");
    // The line that is typed must not look like what is waited for.
    let after = "echo ended with $?; [ \"$before\" = \"$(stty -g)\" ] && echo modes as $((40 + 2))";
    terminal.enter(&format!("clear; before=$(stty -g); {program} {} --live {arguments}; {after}", echo_server()));
}

/// Waits until the load has ended, with this exit code. Returns the screen.
#[track_caller]
fn expect_end(terminal: &Terminal, code: u8) -> String {
    let screen = terminal.wait("the terminal is as before", |screen| screen.contains("modes as 42"));
    assert!(screen.contains(&format!("ended with {code}\n")), "{screen}");
    assert_eq!(terminal.modes(), (false, true), "the screen as it was, and its cursor\n{screen}");
    screen
}

/// Waits until the window is measured, and the screen shows figures of it. Returns the screen.
///
/// A busy machine can delay the load's thread. The first figures can be of the warm-up then, and the thread opens its
/// window before it hands over others.
#[track_caller]
fn wait_for_window(terminal: &Terminal) -> String {
    let mut counts = BTreeSet::new();
    terminal.wait("the window is shown", |screen| {
        let count = screen.lines().find(|line| line.contains(" in all") && !line.contains("  0 in all"));
        counts.extend(count.and_then(|line| line.split(" in all").next()).map(str::to_owned));
        counts.len() > 2 && screen.contains("\nwindow   ") && screen.contains("histogram")
    })
}

#[test]
fn everything_is_shown_at_80x24_and_ctrl_c_ends_it() {
    let Some(terminal) = Terminal::start(80, 24) else { return };
    start(&terminal, "-d 1h --warmup 100ms -c 4");
    let screen = wait_for_window(&terminal);
    println!("{screen}");
    assert_eq!(terminal.modes(), (true, false), "an alternate screen without a cursor");
    for text in [
        "closed loop: 4 connections x 12 bytes to 127.0.0.1",
        "left",
        "throughput",
        "last second",
        "P50",
        "P99 ",
        "P99.9",
        "max",
        "histogram",
        "failures    none",
        "ended       none",
        "client CPU  ",
        "█",
    ] {
        assert!(screen.contains(text), "{text:?}\n{screen}");
    }
    terminal.press("C-c");
    let screen = expect_end(&terminal, 130);
    assert!(screen.contains("throughput  ") && screen.contains("note        stopped early"), "{screen}");
}

#[test]
fn a_run_to_its_end_leaves_the_report_and_nothing_else() {
    let Some(terminal) = Terminal::start(80, 24) else { return };
    start(&terminal, "-d 1s --warmup 100ms -c 4 --max-errors 0");
    let screen = expect_end(&terminal, 0);
    assert!(screen.trim_start().starts_with("closed loop: 4 connections"), "{screen}");
    assert!(!screen.contains("histogram"), "{screen}");
}

#[test]
fn without_colours_no_colour_is_sent_and_json_can_be_redirected() {
    let directory = tempfile::tempdir().unwrap();
    let record = |name: &str, setting: &str| {
        let terminal = Terminal::start(80, 24)?;
        let (json, sent) = (directory.path().join(name), directory.path().join(format!("{name}.sent")));
        terminal.record(&sent);
        terminal.enter(&format!("export {setting}"));
        start(&terminal, &format!("-d 1h --warmup 100ms -c 4 --json > '{}'", json.display()));
        wait_for_window(&terminal);
        terminal.press("q");
        expect_end(&terminal, 130);
        let report: serde_json::Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
        assert!(report["messages"].as_u64() > Some(0), "{report}");
        Some(fs::read_to_string(sent).unwrap())
    };
    // Colours are the parameters from 30 to 49 and from 90 to 107 of SGR.
    let coloured = |sent: &str| {
        let sequences = sent.split("\x1b[").skip(1).filter_map(|rest| rest.split_once('m'));
        let mut parameters = sequences.map(|(parameters, _)| parameters.split(';').map(str::parse::<u8>));
        parameters
            .any(|mut all| all.any(|one| one.is_ok_and(|one| (30..50).contains(&one) || (90..108).contains(&one))))
    };
    for (name, setting, colours) in
        [("colours", "COLOURS=1", true), ("none", "NO_COLOR=1", false), ("dumb", "TERM=dumb", false)]
    {
        let Some(sent) = record(name, setting) else { return };
        assert!(sent.contains("histogram") && sent.contains("\x1b[?1049l"), "{sent:?}");
        assert_eq!(coloured(&sent), colours, "{setting}: {sent:?}");
    }
}

#[test]
fn a_terminal_that_changes_its_size_shows_what_fits() {
    let Some(terminal) = Terminal::start(80, 24) else { return };
    start(&terminal, "-d 1h --warmup 100ms -c 4");
    wait_for_window(&terminal);
    terminal.resize(20, 5);
    let small = terminal.wait("a small screen is used", |screen| {
        screen.contains("/s P99 ") && screen.contains("failures    none") && !screen.contains("histogram")
    });
    assert!(small.lines().nth(2).is_some_and(|line| line.starts_with("window ")), "{small}");
    terminal.resize(100, 30);
    let large = wait_for_window(&terminal);
    assert!(large.lines().any(|line| line.trim_end().chars().count() == 100), "{large}");
    terminal.press("q");
    expect_end(&terminal, 130);
}

#[test]
fn a_stopped_program_gives_the_terminal_back_until_it_goes_on() {
    let Some(terminal) = Terminal::start(80, 24) else { return };
    start(&terminal, "-d 1h --warmup 100ms -c 4");
    wait_for_window(&terminal);
    terminal.press("C-z");
    // The shells of the BSDs have another word.
    let stopped = |screen: &str| screen.contains("Stopped") || screen.contains("Suspended");
    terminal.wait("the shell has the terminal", |screen| stopped(screen) && screen.contains("ready$"));
    assert_eq!(terminal.modes(), (false, true));
    terminal.enter("clear; fg; echo the second $((40 + 2))");
    wait_for_window(&terminal);
    assert_eq!(terminal.modes(), (true, false));
    terminal.press("C-c");
    terminal.wait("the report is printed", |screen| screen.contains("stopped early") && screen.contains("second 42"));
    assert_eq!(terminal.modes(), (false, true));
}

#[test]
fn a_search_shows_its_objective_and_prints_its_steps_at_the_end() {
    let Some(terminal) = Terminal::start(80, 24) else { return };
    start(&terminal, "--find-rate --objective p50=10s -r 100 -d 500ms --warmup 100ms -c 4");
    let screen =
        terminal.wait("the second step is shown", |screen| screen.contains("step 2 at 200/s; so far 100/s held"));
    assert!(screen.contains("objective   p50=10s: ") && screen.contains("objective   errors=0%: "), "{screen}");
    terminal.press("q");
    let screen = expect_end(&terminal, 130);
    assert!(screen.contains("rate   answered") && screen.contains("0.000 %  holds"), "{screen}");
    assert!(screen.contains("highest rate for p50=10s and errors=0%"), "{screen}");
}

#[test]
fn an_error_at_the_start_is_readable() {
    let Some(terminal) = Terminal::start(80, 24) else { return };
    let program = env!("CARGO_BIN_EXE_parrot-load");
    // Nobody listens at port 1.
    terminal.enter(&format!("clear; {program} 1 --live; echo ended with $?"));
    let screen = terminal.wait("it has ended", |screen| screen.contains("ended with 1\n"));
    assert!(screen.contains("parrot-load: ") && screen.contains("listening"), "{screen}");
    assert_eq!(terminal.modes(), (false, true));
}

#[test]
fn a_screen_needs_a_terminal_and_contradicts_other_output() {
    for (others, reason) in [
        (&[][..], "--live needs a terminal on standard error"),
        (&["--quiet"], "cannot be used with"),
        (&["--csv"], "cannot be used with"),
        (&["--json-stream"], "cannot be used with"),
        (&["--interval", "1s"], "cannot be used with"),
    ] {
        let arguments = ["1", "--live"].iter().chain(others);
        let Ended { code, stderr, .. } = run(Command::new(env!("CARGO_BIN_EXE_parrot-load")).args(arguments));
        assert_eq!(code, Some(2), "{others:?}: {stderr}");
        assert!(stderr.contains(reason), "{others:?}: {stderr}");
    }
}

#[test]
fn a_page_is_written_whatever_else_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.html");
    let page = |arguments: &[&str]| {
        let server = echo_server();
        let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-load"));
        command.args([&server, "-c", "4", "--warmup", "100ms", "--report"]).arg(&file).args(arguments);
        let ended = run(&mut command);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        fs::read_to_string(&file).unwrap()
    };
    for run in [&["-d", "1s", "--quiet"][..], &["-d", "1s", "-i", "100ms"], &["-d", "1s", "-i", "100ms", "--csv"]] {
        let text = page(run);
        assert!(text.matches("<svg ").count() == 3 && text.contains("Throughput over time"), "{run:?}: {text}");
    }
}
