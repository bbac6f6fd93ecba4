//! What a logged message costs: event, layer and the writer's thread, in CPU time.
//!
//! `cargo bench -p parrot-log` logs 12-byte messages at 200,000 a second (in bursts of 64, as an event loop does with
//! the events of one turn) and divides the CPU time of the caller and of all other threads by the messages. Not at full
//! speed: a log that is overrun drops lines, and dropping is cheap.

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
    use std::path::Path;
    use std::thread;
    use std::time::{Duration, Instant};

    use parrot_log::{ClfLayer, Diagnostics, JsonLayer, MESSAGE_TARGET, Writer, WriterGuard};
    use rustix::time::{ClockId, clock_gettime};
    use tracing::level_filters::LevelFilter;
    use tracing::subscriber::with_default;
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

    const RATE: u32 = 200_000;
    const BURST: u32 = 64;

    pub(crate) fn main() {
        // Without --bench (cargo test --benches) it only shows that it works.
        let messages = if std::env::args().any(|argument| argument == "--bench") { 4 * RATE } else { 4 * BURST };
        let path = std::env::temp_dir().join(format!("parrot-log-bench-{}.log", std::process::id()));
        println!("{messages} messages of 12 bytes, {RATE} a second, to {}", path.display());
        println!("{:<34} {:>10} {:>10} {:>10} {:>9}", "CPU ns a message", "caller", "writer", "sum", "dropped");

        with_default(tracing_subscriber::registry(), || report("event, nobody listens", messages, None));
        let (writer, guard) = log(&path);
        with_default(tracing_subscriber::registry().with(ClfLayer::new(writer, 256)), || {
            report("CLF to a file", messages, Some(guard));
        });
        let (writer, guard) = log(&path);
        with_default(tracing_subscriber::registry().with(JsonLayer::new(writer, 256)), || {
            report("JSON to a file", messages, Some(guard));
        });
        let (writer, guard) = log(&path);
        let others = Targets::new().with_default(LevelFilter::INFO).with_target(MESSAGE_TARGET, LevelFilter::OFF);
        let diagnostics =
            tracing_subscriber::fmt::layer().with_writer(Diagnostics::stderr().unwrap()).with_filter(others);
        with_default(tracing_subscriber::registry().with(ClfLayer::new(writer, 256)).with(diagnostics), || {
            report("CLF beside diagnostics on stderr", messages, Some(guard));
        });
        std::fs::remove_file(&path).unwrap();
    }

    fn log(path: &Path) -> (Writer, WriterGuard) {
        let _ = std::fs::remove_file(path);
        Writer::file(path).unwrap()
    }

    fn report(name: &str, messages: u32, guard: Option<WriterGuard>) {
        let peer: SocketAddr = "127.0.0.1:53422".parse().unwrap();
        let payload: &[u8] = b"Hello Parrot";
        let process = cpu(ClockId::ProcessCPUTime);
        let caller = cpu(ClockId::ThreadCPUTime);
        let mut caller_idle = Duration::ZERO;
        let mut next = Instant::now();
        for _ in 0..messages / BURST {
            for _ in 0..BURST {
                tracing::info!(target: MESSAGE_TARGET, peer = %peer, payload, bytes = payload.len() as u64);
            }
            next += Duration::from_secs(1) * BURST / RATE;
            // The caller's waiting is not the log's cost.
            let before = cpu(ClockId::ThreadCPUTime);
            thread::sleep(next.saturating_duration_since(Instant::now()));
            caller_idle += cpu(ClockId::ThreadCPUTime) - before;
        }
        let caller_all = cpu(ClockId::ThreadCPUTime) - caller;
        let dropped = guard.map_or(0, |guard| guard.close(Duration::from_secs(1)).dropped);
        let others = (cpu(ClockId::ProcessCPUTime) - process).saturating_sub(cpu(ClockId::ThreadCPUTime) - caller);
        let each = |time: Duration| time.as_nanos() as f64 / f64::from(messages);
        let (caller, writer) = (each(caller_all - caller_idle), each(others));
        println!("{name:<34} {caller:>10.0} {writer:>10.0} {:>10.0} {dropped:>9}", caller + writer);
    }

    fn cpu(clock: ClockId) -> Duration {
        let time = clock_gettime(clock);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
    }
}
