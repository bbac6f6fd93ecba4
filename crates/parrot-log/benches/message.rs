//! The CPU time of a logged message: event, layer and the writer's thread.
//!
//! `cargo bench -p parrot-log` logs 12-byte messages at 200,000 a second, in bursts of 64 as an event loop does in one
//! turn, and divides the CPU time of the caller and of all other threads by the messages. It does not run at full
//! speed, because an overrun log drops lines and dropping is cheap. The output has the median of five rounds, the
//! lowest and the highest sum, and the dropped lines of all rounds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
fn main() {
    println!("skipped: no CPU clock for single threads here");
}

#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
fn main() {
    measure::main();
}

#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
mod measure {
    use std::net::SocketAddr;
    use std::thread;
    use std::time::{Duration, Instant};

    use parrot_log::{Diagnostics, Format, MESSAGE_TARGET, MessageLayer, Writer};
    use rustix::time::{ClockId, clock_gettime};
    use tracing::Dispatch;
    use tracing::dispatcher::with_default;
    use tracing::level_filters::LevelFilter;
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
    use tracing_subscriber::registry;

    const RATE: u32 = 200_000;
    const BURST: u32 = 64;
    const ROUNDS: usize = 5;

    /// A log and the subscriber that writes to it.
    type Setup = (Dispatch, Option<Writer>);

    pub(crate) fn main() {
        // Without --bench (cargo test --benches) a few messages show that it works.
        let messages = if std::env::args().any(|argument| argument == "--bench") { RATE } else { 4 * BURST };
        let path = std::env::temp_dir().join(format!("parrot-log-bench-{}.log", std::process::id()));
        println!("{ROUNDS} rounds of {messages} messages of 12 bytes, {RATE} a second, to {}", path.display());
        println!(
            "{:<34} {:>7} {:>7} {:>7} {:>13} {:>8}",
            "CPU ns per message", "caller", "writer", "sum", "from-to", "dropped"
        );

        let log = |format| {
            let _ = std::fs::remove_file(&path);
            let writer = Writer::file(&path, format).unwrap();
            (MessageLayer::new(writer.clone(), 256), Some(writer))
        };
        report("event, nobody listens", messages, || (Dispatch::new(registry()), None));
        report("CLF to a file", messages, || {
            let (layer, writer) = log(Format::Clf);
            (Dispatch::new(registry().with(layer)), writer)
        });
        report("JSON to a file", messages, || {
            let (layer, writer) = log(Format::Json);
            (Dispatch::new(registry().with(layer)), writer)
        });
        report("CLF beside diagnostics on stderr", messages, || {
            let (layer, writer) = log(Format::Clf);
            let others = Targets::new().with_default(LevelFilter::INFO).with_target(MESSAGE_TARGET, LevelFilter::OFF);
            let diagnostics =
                tracing_subscriber::fmt::layer().with_writer(Diagnostics::stderr().unwrap()).with_filter(others);
            (Dispatch::new(registry().with(layer).with(diagnostics)), writer)
        });
        std::fs::remove_file(&path).unwrap();
    }

    fn report(name: &str, messages: u32, setup: impl Fn() -> Setup) {
        let mut rounds: Vec<Round> = (0..ROUNDS).map(|_| round(messages, setup())).collect();
        rounds.sort_by(|one, other| one.sum().total_cmp(&other.sum()));
        let median = &rounds[ROUNDS / 2];
        let spread = format!("{:.0}-{:.0}", rounds[0].sum(), rounds[ROUNDS - 1].sum());
        let dropped: u64 = rounds.iter().map(|round| round.dropped).sum();
        let Round { caller, writer, .. } = median;
        println!("{name:<34} {caller:>7.0} {writer:>7.0} {:>7.0} {spread:>13} {dropped:>8}", median.sum());
    }

    /// CPU nanoseconds per message, and dropped lines.
    struct Round {
        caller: f64,
        writer: f64,
        dropped: u64,
    }

    impl Round {
        fn sum(&self) -> f64 {
            self.caller + self.writer
        }
    }

    fn round(messages: u32, (subscriber, writer): Setup) -> Round {
        let process = cpu(ClockId::ProcessCPUTime);
        let caller = cpu(ClockId::ThreadCPUTime);
        let waiting = with_default(&subscriber, || log_at_rate(messages));
        let logging = cpu(ClockId::ThreadCPUTime) - caller - waiting;
        let dropped = writer.map_or(0, |writer| writer.close(Duration::from_secs(1)).dropped);
        let others = (cpu(ClockId::ProcessCPUTime) - process).saturating_sub(cpu(ClockId::ThreadCPUTime) - caller);
        let each = |time: Duration| time.as_nanos() as f64 / f64::from(messages);
        Round { caller: each(logging), writer: each(others), dropped }
    }

    /// Returns the CPU time of the sleeps between bursts, which is not a cost of the log.
    fn log_at_rate(messages: u32) -> Duration {
        let peer: SocketAddr = "127.0.0.1:53422".parse().unwrap();
        let payload: &[u8] = b"Hello Parrot";
        let mut waiting = Duration::ZERO;
        let mut next = Instant::now();
        for _ in 0..messages / BURST {
            for _ in 0..BURST {
                tracing::info!(target: MESSAGE_TARGET, peer = %peer, payload, bytes = payload.len() as u64);
            }
            next += Duration::from_secs(1) * BURST / RATE;
            let before = cpu(ClockId::ThreadCPUTime);
            thread::sleep(next.saturating_duration_since(Instant::now()));
            waiting += cpu(ClockId::ThreadCPUTime) - before;
        }
        waiting
    }

    fn cpu(clock: ClockId) -> Duration {
        let time = clock_gettime(clock);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
    }
}
