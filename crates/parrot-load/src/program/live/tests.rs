//! The screen as text, for runs that never took place, and a real terminal that is given back after a panic.

use std::net::SocketAddr;
use std::time::Duration;

use parrot_testkit::terminal::Terminal as TestTerminal;
use ratatui_core::backend::TestBackend;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;

use super::super::history::tests::sample;
use super::*;
use crate::failure::{Failure, Failures};
use crate::latency::{Latencies, Latency};
use crate::{Length, Pace, Target, Usage};

/// The state of a run after four of six seconds.
fn state(change: impl FnOnce(&mut Plan)) -> State {
    let address = SocketAddr::from(([127, 0, 0, 1], 1512));
    let mut plan = Plan { length: Length::Time(Duration::from_secs(5)), ..Plan::new(address) };
    change(&mut plan);
    let mut state = State::new(&plan, None);
    state.connected(&Load::of(&plan, &plan.targets[0]), plan.connections);
    let tenth = Duration::from_millis(100);
    for number in 1..=40 {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|message| latencies.record(100_000 + message * 300));
        let threads = [Usage { used: Some(0.42), waited: Some(0.01) }];
        state.add(&Sample { threads: &threads, ..sample(&latencies, tenth * number, tenth) });
    }
    state
}

fn drawn(state: &State, width: u16, height: u16) -> String {
    let mut frames = Frames::new(TestBackend::new(width, height)).expect("a screen in memory");
    frames.draw(|frame| view::draw(state, frame.buffer_mut())).expect("a frame");
    frames.backend().to_string().replace('"', "")
}

#[track_caller]
fn expect(screen: &str, all: &[&str]) {
    for text in all {
        assert!(screen.contains(text), "{text:?} is not on the screen:\n{screen}");
    }
}

#[test]
fn eighty_columns_and_24_rows_show_everything() {
    let screen = drawn(&state(|_| {}), 80, 24);
    expect(
        &screen,
        &["closed loop: 50 connections x 12 bytes to 127.0.0.1:1512", "window      4.0 s, 2.0 s left", "[====="],
    );
    expect(&screen, &["throughput", "last second        10,000", "window             10,000", "0 s", "6 s"]);
    expect(
        &screen,
        &["P50       250 µs   250 µs   250 µs", "P99       397 µs", "P99.9     400 µs", "max       400 µs"],
    );
    expect(&screen, &["histogram", "40,000 in all", "'100 µs"]);
    expect(&screen, &["failures    none", "ended       none", "client CPU  42 % of a core, waits for one 1 %"]);
    assert!(screen.lines().all(|line| line.chars().count() == 80), "{screen}");
}

#[test]
fn failures_ends_and_losses_are_shown_by_kind() {
    let mut shown = state(|_| {});
    shown.failures = Failures::default();
    for failure in [Failure::Reset, Failure::Closed, Failure::Closed, Failure::Mismatch] {
        shown.failures.count(failure);
        shown.failures.ends.count(failure, 1200);
    }
    let screen = drawn(&shown, 80, 24);
    expect(&screen, &["failures    1 with wrong bytes, 2 closed too early, 1 reset"]);
    expect(&screen, &["ended       2 by FIN after 1,200 bytes, 1 by RST after 1,200 bytes"]);
    let mut shown = state(|plan| plan.targets = vec![Target::Udp(SocketAddr::from(([127, 0, 0, 1], 7)))]);
    shown.lost = 1234;
    expect(&drawn(&shown, 80, 24), &["50 sockets x 12 bytes to udp:127.0.0.1:7", "lost        1,234 datagrams"]);
}

#[test]
fn a_client_at_its_limit_is_named_in_words() {
    let mut shown = state(|_| {});
    shown.threads = vec![Usage { used: Some(0.9), waited: Some(0.07) }, Usage { used: Some(0.5), waited: None }];
    expect(&drawn(&shown, 80, 24), &["client CPU  CLIENT IS THE LIMIT, 2 threads: 90 %, 50 %, one waits 7 %"]);
}

#[test]
fn a_search_shows_its_objectives_and_the_bracket() {
    let mut shown = state(|plan| plan.pace = Pace::Rate(1600.0));
    let p90 = Objective::Percentile { percentile: 90.0, at_most: Duration::from_micros(200) };
    let objectives = vec![p90, Objective::Errors(0.0)];
    let step = |rate, held| Step {
        rate,
        messages_per_second: rate,
        latency: Latency::default(),
        lateness: Latency::default(),
        errors: 0.0,
        held,
        client_bound: false,
    };
    let steps = vec![step(1500.0, true), step(3000.0, false)];
    shown.search = Some(Search { objectives, steps, bracket: (Some(1500.0), Some(3000.0)) });
    let screen = drawn(&shown, 80, 24);
    expect(&screen, &["search      step 3 at 1,600/s; so far 1,500/s held, 3,000/s failed"]);
    expect(&screen, &["objective   p90=200µs: 370 µs, FAILS so far", "objective   errors=0%: 0.000 %, holds so far"]);
    expect(&screen, &["asked for           1,600", "histogram", "client CPU"]);
}

#[test]
fn any_size_shows_what_fits_and_never_panics() {
    let shown = state(|_| {});
    for (width, height) in (1..=130).step_by(3).flat_map(|width| (1..=60).step_by(2).map(move |height| (width, height)))
    {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        view::draw(&shown, &mut buffer);
    }
    let small = drawn(&shown, 20, 5);
    expect(&small, &["10,000/s P99 397 µs", "failures    none", "window 4.0 s, 2.0 s", "client CPU  42 %"]);
    expect(&drawn(&shown, 1, 1), &["1"]);
}

#[test]
fn a_long_run_fills_its_axis_soon() {
    let mut shown = state(|plan| plan.length = Length::Time(Duration::from_secs(3600)));
    let axis = |shown: &State| drawn(shown, 80, 24).lines().nth(3).map(|line| line.trim_end().to_owned());
    for (elapsed, end) in [(4, "10 s"), (11, "20 s"), (3000, "3601 s")] {
        shown.elapsed = Duration::from_secs(elapsed);
        assert!(axis(&shown).is_some_and(|line| line.ends_with(&format!(" {end}"))), "{:?}", axis(&shown));
    }
}

#[test]
fn each_stage_has_its_word() {
    let mut shown = state(|plan| plan.length = Length::Messages(80_000));
    expect(&drawn(&shown, 80, 24), &["window      4.0 s, 50 % answered"]);
    let second = Duration::from_secs(1);
    for (stage, words) in [
        (Stage::Connecting(second), "connecting  50 connections, 1.0 s"),
        (Stage::Waiting(second), "waiting     begins in 1.0 s"),
        (Stage::Waiting(second * 61), "waiting     begins in 1 min 1 s"),
        (Stage::Waiting(second * 24_688), "waiting     begins in 6 h 51 min"),
        (Stage::Warmup, "warm-up     4.0 s"),
        (Stage::Drain, "drain       4.0 s, last answers"),
    ] {
        shown.stage = stage;
        expect(&drawn(&shown, 80, 24), &[words]);
    }
    shown.stopping = true;
    expect(&drawn(&shown, 80, 24), &["stopping    4.0 s"]);
}

#[test]
#[ignore = "a program for the next test, which starts it in a terminal"]
fn a_drawing_that_panics() {
    let Ok(terminal) = Terminal::open() else { return };
    terminal.enter().expect("a terminal");
    let mut frames = Frames::new(Cells::new(terminal, true)).expect("a screen");
    let drawn = frames.draw(|frame| {
        let row = frame.buffer_mut().area.height;
        frame.buffer_mut()[(0, row)].set_symbol("a cell below the screen");
    });
    assert!(drawn.is_ok());
}

#[test]
fn a_panic_gives_the_terminal_back() {
    let Some(terminal) = TestTerminal::start(80, 24) else { return };
    let program = std::env::current_exe().expect("this program");
    let test = "program::live::tests::a_drawing_that_panics --ignored --exact --nocapture";
    terminal.enter(&format!("before=$(stty -g); RUST_BACKTRACE=0 {} {test}", program.display()));
    let screen = terminal.wait("the panic is on the screen", |screen| screen.contains("test result: FAILED"));
    expect(&screen, &["panicked at", "index outside of buffer"]);
    assert_eq!(terminal.modes(), (false, true), "the screen as it was, and its cursor");
    terminal.enter("[ \"$before\" = \"$(stty -g)\" ] && echo the same $((40 + 2))");
    terminal.wait("the modes are as before", |screen| screen.contains("the same 42"));
}
