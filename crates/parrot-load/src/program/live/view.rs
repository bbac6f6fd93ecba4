//! Draws what is known of a run: figures on the left, charts on the right.

use std::time::Duration;

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};

use super::bars::bars;
use super::objectives;
use super::state::{Now, Stage, State};
use crate::latency::{Latencies, Latency};
use crate::units::{microseconds, round_time, thousands};

/// Columns of the figures, with a gap behind them.
const FIGURES: u16 = 38;
/// Charts narrower than this show nothing.
const NARROWEST: u16 = 12;
/// Below this width there are lines without charts.
pub(super) const WIDTH: u16 = FIGURES + NARROWEST;
/// The axis of time is at least this long, unless the run is shorter.
const SHORTEST: Duration = Duration::from_secs(10);
/// Rows of the axis and the chart of the histogram.
const HISTOGRAM: u16 = 4;

/// A percentile's name, colour and value.
type Percentile = (&'static str, Color, fn(&Latency) -> Option<f64>);

const PERCENTILES: [Percentile; 4] = [
    ("P50", Color::Green, |latency| latency.p50),
    ("P99", Color::Yellow, |latency| latency.p99),
    ("P99.9", Color::Red, |latency| latency.p999),
    ("max", Color::Reset, |latency| latency.max),
];

pub(super) const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);
const SOFT: Style = Style::new().add_modifier(Modifier::DIM);
/// What needs attention is in words, and stands out.
pub(super) const ALARM: Style = Style::new().fg(Color::Red).add_modifier(Modifier::REVERSED);

/// Draws everything that fits, and the most important lines where little does.
pub(super) fn draw(state: &State, buffer: &mut Buffer) {
    let now = state.now();
    let objectives = objectives::lines(state);
    let least = 2 + 4 + 5 + 3 + objectives.len() as u16;
    if buffer.area.width < WIDTH || buffer.area.height < least {
        return draw_lines(state, &now, &objectives, buffer);
    }
    // Rows that are left over go to the histogram, then to the charts, then to gaps.
    let mut spare = buffer.area.height - least;
    let mut take = |wanted: u16| {
        let taken = if spare >= wanted { wanted } else { 0 };
        spare -= taken;
        taken
    };
    let histogram = take(HISTOGRAM);
    let gaps = [take(1), take(1), if histogram > 0 { take(1) } else { 0 }, take(1)];
    let (more, rest) = (spare / 6, spare % 6);
    let mut pen = Pen { buffer, row: 0 };
    pen.line(&[(&state.load, TITLE)]);
    pen.progress(state);
    pen.row += gaps[0];
    pen.throughput(state, &now, 3 + more + rest / 2);
    pen.row += gaps[1];
    pen.latencies(state, &now, 1 + more);
    pen.row += gaps[2];
    if histogram > 0 {
        pen.histogram(&state.window, histogram + more + rest.div_ceil(2));
    }
    pen.row += gaps[3];
    for line in tail(state, &now) {
        pen.words(&line);
    }
    for line in &objectives {
        pen.words(line);
    }
}

/// Words that follow each other, with how they look.
pub(super) type Words = Vec<(String, Style)>;

/// Failures, ends and the load generator's own CPU.
fn tail(state: &State, now: &Now) -> [Words; 3] {
    let plain = |text: String| (text, Style::new());
    let heading = |text: &str| (format!("{text:<12}"), TITLE);
    let failed = if state.failures.total() > 0 { ALARM } else { Style::new() };
    let failures = vec![heading("failures"), (state.failures.to_string(), failed)];
    let ended = match () {
        () if state.udp => vec![heading("lost"), plain(format!("{} datagrams", thousands(state.lost as f64)))],
        () if state.failures.ends.are_none() => vec![heading("ended"), plain("none".into())],
        () => vec![heading("ended"), plain(state.failures.ends.to_string())],
    };
    [failures, ended, client(state, now)]
}

/// What each thread uses of a core.
fn client(state: &State, now: &Now) -> Words {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let mut words = vec![("client CPU  ".to_owned(), TITLE)];
    if let Some(limit) = state.client_limit(now) {
        words.extend([(limit.to_owned(), ALARM), (", ".to_owned(), Style::new())]);
    }
    let used: Vec<String> = state.threads.iter().map(|thread| thread.used.map_or("-".into(), percent)).collect();
    let mut text = match (&used[..], state.threads.len()) {
        ([], _) => "not known yet".to_owned(),
        ([one], _) => format!("{one} of a core"),
        (_, count) => format!("{count} threads: {}", used.join(", ")),
    };
    if let Some(waited) = state.threads.iter().filter_map(|thread| thread.waited).reduce(f64::max) {
        let waits = if state.threads.len() > 1 { "one waits" } else { "waits for one" };
        text.push_str(&format!(", {waits} {}", percent(waited)));
    }
    words.push((text, Style::new()));
    words
}

/// The stage, and how long it goes on.
fn stage(state: &State) -> (&'static str, String) {
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let left = state.planned().map(|planned| planned.saturating_sub(state.elapsed));
    let since = |left: Option<Duration>| match left {
        Some(left) => format!("{}, {} left", seconds(state.elapsed), seconds(left)),
        None => format!("{}, {:.0} % answered", seconds(state.elapsed), state.share() * 100.0),
    };
    let (word, text) = match state.stage {
        Stage::Connecting(elapsed) => {
            let what = if state.udp { "sockets" } else { "connections" };
            ("connecting", format!("{} {what}, {}", thousands(state.wanted as f64), seconds(elapsed)))
        }
        Stage::Waiting(left) => ("waiting", format!("begins in {}", coarse(left))),
        Stage::Warmup => ("warm-up", since(left)),
        Stage::Window => ("window", since(left)),
        Stage::Drain => ("drain", format!("{}, last answers", seconds(state.elapsed))),
    };
    (if state.stopping { "stopping" } else { word }, text)
}

/// A time that may be long, to the tenth of a second, to the second or to the minute.
fn coarse(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{:.1} s", time.as_secs_f64()),
        (0, _) => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{} h {minutes} min", thousands(hours as f64)),
    }
}

/// The most important lines, without charts.
fn draw_lines(state: &State, now: &Now, objectives: &[Words], buffer: &mut Buffer) {
    let time = |time: Option<f64>| time.map_or("-".into(), microseconds);
    let Latency { p50, p99, p999, max, .. } = now.latency;
    let plain = |text: String| vec![(text, Style::new())];
    let (word, text) = stage(state);
    let [failures, ends, client] = tail(state, now);
    let mut lines = vec![
        plain(format!("{}/s P99 {}", thousands(now.messages_per_second), time(p99))),
        failures,
        plain(format!("{word} {text}")),
        client,
    ];
    lines.extend_from_slice(objectives);
    lines.extend([
        plain(format!("P50 {}, P99.9 {}, max {}", time(p50), time(p999), time(max))),
        ends,
        vec![(state.load.clone(), TITLE)],
    ]);
    let mut pen = Pen { buffer, row: 0 };
    lines.iter().for_each(|line| pen.words(line));
}

/// Writes from the top to the bottom.
struct Pen<'a> {
    buffer: &'a mut Buffer,
    row: u16,
}

impl Pen<'_> {
    /// Writes at a column of the current row. Returns the column behind it.
    fn write(&mut self, column: u16, text: &str, style: Style) -> u16 {
        let area = self.buffer.area;
        if self.row >= area.height || column >= area.width {
            return column;
        }
        self.buffer.set_stringn(column, self.row, text, usize::from(area.width - column), style).0
    }

    fn line(&mut self, words: &[(&str, Style)]) {
        let mut column = 0;
        for (text, style) in words {
            column = self.write(column, text, *style);
        }
        self.row += 1;
    }

    fn words(&mut self, words: &Words) {
        let words: Vec<(&str, Style)> = words.iter().map(|(text, style)| (text.as_str(), *style)).collect();
        self.line(&words);
    }

    /// The part of the current row and those below it that belongs to charts.
    fn chart(&self, rows: u16) -> Rect {
        let area = self.buffer.area;
        Rect::new(FIGURES, self.row, area.width.saturating_sub(FIGURES), rows).intersection(area)
    }

    fn progress(&mut self, state: &State) {
        let (word, text) = stage(state);
        let column = self.write(0, &format!("{word:<12}"), TITLE);
        self.write(column, &text, Style::new());
        let width = usize::from(self.chart(1).width.saturating_sub(2));
        let done = (state.share() * width as f64).round() as usize;
        let bar = if done < width { format!("{}>", "=".repeat(done)) } else { "=".repeat(width) };
        self.write(FIGURES, &format!("[{bar:<width$}]"), Style::new());
        self.row += 1;
    }

    /// A heading of figures on the left, and on the right the time that the charts below it are of.
    fn heading(&mut self, text: &str, state: &State) {
        self.write(0, text, TITLE);
        let (area, end) = (self.chart(1), format!("{:.0} s", end(state).as_secs_f64()));
        self.write(area.x, "0 s", SOFT);
        self.write(area.right().saturating_sub(end.chars().count() as u16), &end, SOFT);
        self.row += 1;
    }

    fn throughput(&mut self, state: &State, now: &Now, rows: u16) {
        self.heading("throughput  messages/s", state);
        let area = self.chart(rows);
        let values =
            state.history.columns(end(state), usize::from(area.width), |point| Some(point.messages_per_second()));
        bars(&values, area, Style::new().fg(Color::Cyan), self.buffer);
        let highest = values.into_iter().flatten().fold(0.0, f64::max);
        let asked = state.rate.map_or(("highest", highest), |rate| ("asked for", rate));
        let figures = [("last second", now.messages_per_second), ("window", state.messages_per_second()), asked];
        let below = self.row + rows;
        for (name, rate) in figures {
            self.write(0, &format!("  {name:<12}{:>13}", thousands(rate)), Style::new());
            self.row += 1;
        }
        self.row = below;
    }

    fn latencies(&mut self, state: &State, now: &Now, rows: u16) {
        self.heading("latency   last 1 s   window  highest", state);
        let window = state.window.summary();
        let time = |time: Option<f64>| time.map_or("-".into(), microseconds);
        for (name, colour, value) in PERCENTILES {
            let area = self.chart(rows);
            let values = state.history.columns(end(state), usize::from(area.width), |point| value(&point.latency));
            bars(&values, area, Style::new().fg(colour), self.buffer);
            let highest = values.into_iter().flatten().reduce(f64::max);
            let figures = [value(&now.latency), value(&window), highest].map(|figure| format!("{:>9}", time(figure)));
            self.write(0, &format!("  {name:<7}{}", figures.concat()), Style::new());
            self.row += rows;
        }
    }

    fn histogram(&mut self, latencies: &Latencies, rows: u16) {
        let (area, below) = (self.chart(rows), self.row + rows);
        for (text, style) in [("histogram", TITLE), ("  messages of the window by latency", Style::new())] {
            self.write(0, text, style);
            self.row += 1;
        }
        self.write(0, &format!("  {} in all", thousands(latencies.count() as f64)), Style::new());
        if let Some((from, to)) = latencies.ends() {
            // A decade at least, so that there is something to see where all take the same time.
            let (from, to) = if to < from * 10.0 { (from / 10f64.sqrt(), to * 10f64.sqrt()) } else { (from, to) };
            let columns = usize::from(area.width);
            let counts: Vec<Option<f64>> =
                latencies.spread((from, to), columns).into_iter().map(|count| Some(count as f64)).collect();
            bars(
                &counts,
                Rect { height: area.height.saturating_sub(1), ..area },
                Style::new().fg(Color::Cyan),
                self.buffer,
            );
            self.row = below.saturating_sub(1);
            self.decades((from, to), area);
        }
        self.row = below;
    }

    /// Labels of an axis of times, from the left as far as they fit.
    fn decades(&mut self, (from, to): (f64, f64), area: Rect) {
        let width = f64::from(area.width);
        let mut free = 0;
        let places = (-3..9).flat_map(|decade| [1.0, 2.0, 5.0].map(|factor| factor * 10f64.powi(decade)));
        for value in places.filter(|value| (from..=to).contains(value)) {
            let column = ((value.ln() - from.ln()) / (to.ln() - from.ln()) * width) as u16;
            let label = format!("'{}", round_time(value));
            let length = label.chars().count() as u16;
            if column >= free && column + length <= area.width {
                self.write(area.x + column, &label, SOFT);
                free = column + length + 1;
            }
        }
    }
}

/// The end of the axis of time. It doubles until it is that of the run, so that a long run fills half of it soon.
fn end(state: &State) -> Duration {
    let mut end = SHORTEST;
    while end < state.elapsed {
        end *= 2;
    }
    end.min(state.planned().map_or(end, |planned| planned.max(state.elapsed))).max(Duration::from_secs(1))
}
