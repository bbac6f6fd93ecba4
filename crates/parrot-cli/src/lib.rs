//! The `parrot` command: arguments in, exit code out.
//!
//! This library exists for the command's `main`, its tests and its fuzz target. Other programs use `parrot-server`.

// Indexing could panic on a value that a user or a peer chose (docs/reliability.md).
#![warn(clippy::indexing_slicing)]

mod advice;
mod arguments;
mod check;
mod diagnostics;
mod listening;
#[doc(hidden)]
pub mod manual;
mod ready_file;
mod service_manager;

use std::env::VarError;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::num::{NonZeroU32, NonZeroUsize};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use parrot_log::{Format, MessageLayer, Writer};
use parrot_server::{
    Activation, Config, Ended, Limits, Listen, Listening, MemoryLimit, ProxyProtocol, Replies, STATISTICS_TARGET,
    Server, Signals, Statistics, Template, UdpRules, lookup,
};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::arguments::Arguments;
use crate::diagnostics::Filter;
use crate::ready_file::ReadyFile;
use crate::service_manager::ServiceManager;

#[doc(hidden)]
pub use crate::check::check_command_line;

/// How long the program waits for its log when it ends.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the command to its end. No other thread may be running when it is called.
#[doc(hidden)]
pub fn run() -> ExitCode {
    // Before the program opens a descriptor of its own.
    let activation = Listen::from_environment();
    // Signals are blocked for this thread and those it starts later.
    let signals = Signals::take();
    let passed =
        !matches!(&activation, Ok(activation) if activation.sockets.is_empty() && activation.meant_for.is_none());
    let arguments = Arguments::read(passed);
    // Dropping this would unblock the signals, and one that arrives while the log closes would end the process with the
    // wrong code.
    let signals = signals.map(ManuallyDrop::new).context("cannot block signals");
    match signals.and_then(|signals| serve(arguments, &signals, activation.map_err(advice::cannot_activate)?)) {
        Ok(code) => code,
        Err(error) => {
            // eprintln! would panic when stderr is a pipe that nobody reads.
            let _ = writeln!(io::stderr(), "parrot: {:#}", advice::on_descriptors(error));
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: Arguments, signals: &Signals, activation: Activation) -> Result<ExitCode> {
    let log = start_logging(&arguments)?;
    if let Some(process) = activation.meant_for {
        tracing::warn!(
            "LISTEN_FDS is ignored, because LISTEN_PID={process} is another process (a script passes the sockets on \
             with `exec parrot`)"
        );
    }
    let outcome = echo(arguments, signals, activation.sockets, log.clone());
    // The log is also closed after a failure, because its last lines may show the cause.
    let timeout = if matches!(outcome, Ok((Ended::Signal(_), _))) { Duration::ZERO } else { LOG_TIMEOUT };
    let log = log.map(|log| log.close(timeout));

    let (ended, statistics) = outcome?;
    let (how, code) = match ended {
        Ended::Drained => ("drained".to_owned(), ExitCode::SUCCESS),
        Ended::Signal(number) => (format!("ended at once by signal {number}"), interrupted(number)),
    };
    match log {
        Some(log) => tracing::info!("{how}: {statistics}; {log}"),
        None => tracing::info!("{how}: {statistics}"),
    }
    Ok(code)
}

/// Listens and serves until the server ends. Returns how it ended, with the final statistics.
fn echo(
    arguments: Arguments,
    signals: &Signals,
    sockets: Vec<Listen>,
    log: Option<Writer>,
) -> Result<(Ended, Statistics)> {
    if let Some(path) = &arguments.ready_file {
        ReadyFile::remove_stale(path);
    }
    let limits = Limits {
        max_connections: arguments.max_connections.map(NonZeroUsize::get),
        max_buffered: arguments.max_buffered.unwrap_or_else(default_max_buffered),
        idle_timeout: arguments.idle_timeout,
        drain_delay: arguments.drain_delay.unwrap_or_default(),
        drain_timeout: arguments.drain_timeout,
        busy_poll: arguments.busy_poll,
        ..Limits::default()
    };
    let config = Config {
        listen: listening::places(&arguments, sockets)?,
        backlog: arguments.backlog.map(NonZeroU32::get),
        reuse_port: arguments.reuse_port,
        unix_mode: arguments.unix_mode,
        keepalive: arguments.keepalive.0,
        limits,
        proxy: ProxyProtocol {
            everywhere: arguments.proxy_protocol,
            timeout: arguments.proxy_timeout.unwrap_or(ProxyProtocol::default().timeout),
            from: arguments.proxy_from,
        },
        replies: Replies {
            greeting: if arguments.identify { Some(Template::identify(lookup)) } else { arguments.greeting },
            prefix: arguments.prefix,
        },
        udp: UdpRules { answer_low_ports: arguments.udp_answer_low_ports, rate: arguments.udp_rate },
        ..Config::default()
    };
    let mut server = Server::bind(config).map_err(advice::cannot_bind)?;
    if let Some(log) = log.clone() {
        server.set_on_statistics(move |statistics| {
            tracing::info!(target: STATISTICS_TARGET, "{statistics}; {}", log.statistics());
        });
    }
    let manager = Arc::new(ServiceManager::from_environment());
    let status = format!("listening on {} ({})", list(server.listening()), Server::queue_name());
    let on_hangup = {
        let (manager, status) = (Arc::clone(&manager), status.clone());
        move || {
            manager.reloading();
            if let Some(log) = &log {
                log.reopen();
            }
            manager.reloaded(&status);
        }
    };
    server.watch_signals(signals, on_hangup).context("cannot watch for signals")?;
    report_to(&manager, &mut server);
    let _ready_file = arguments.ready_file.map(|path| ReadyFile::write(path, server.listening())).transpose()?;
    tracing::info!("{status}");
    manager.ready(&status);

    let handle = server.handle();
    let ended = server.run().context("the event queue failed")?;
    Ok((ended, handle.statistics()))
}

/// Has the loop report its end to the service manager, and that it goes on if the manager wants to know.
fn report_to(manager: &Arc<ServiceManager>, server: &mut Server) {
    let stopping = Arc::clone(manager);
    server.set_on_stage(move |change| stopping.stopping(change));
    if let Some(interval) = manager.watchdog_interval() {
        let watchdog = Arc::clone(manager);
        server.set_on_interval(interval, move || watchdog.watchdog());
    }
}

/// The memory for replies if the command line does not say: no more than a quarter of a limit that the process has, so that
/// peers that do not read cannot have it killed.
fn default_max_buffered() -> usize {
    let Limits { max_buffered, max_output, .. } = Limits::default();
    let Some(limit) = MemoryLimit::of_this_process() else { return max_buffered };
    let quarter = usize::try_from(limit.bytes() / 4).unwrap_or(usize::MAX);
    if quarter >= max_buffered {
        return max_buffered;
    }
    let reduced = quarter.max(max_output);
    let (reduced_to, allowed) = (mebibytes(reduced as u64), mebibytes(limit.bytes()));
    tracing::info!("replies may use {reduced_to} of the {allowed} that {limit} allows (--max-buffered changes this)");
    reduced
}

/// A number of bytes in MiB. Without floating point, because the `Display` of `ByteSize` would bring in the system's library
/// of mathematics, and with it 350 KiB of memory.
fn mebibytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}

/// Sends diagnostics to stderr and messages to the log, if there is one.
fn start_logging(arguments: &Arguments) -> Result<Option<Writer>> {
    let stderr = diagnostics::stderr_layer().context("cannot use stderr")?;
    let log = arguments.log.format().map(|format| open_log(arguments, format)).transpose()?;
    let rust_log = std::env::var("RUST_LOG");
    let filter = Filter::new(rust_log.as_deref().ok(), arguments.verbose, arguments.quiet, log.is_some());
    let messages = log.clone().map(|log| MessageLayer::new(log, arguments.log_payload));
    tracing_subscriber::registry().with(messages).with(stderr).with(filter.targets).try_init()?;
    let ignored = match rust_log {
        Err(VarError::NotUnicode(_)) => Some("it is not UTF-8".to_owned()),
        _ => filter.ignored.map(|error| error.to_string()),
    };
    if let Some(reason) = ignored {
        tracing::warn!("RUST_LOG is not followed ({reason}); an example is RUST_LOG=warn,parrot_server=debug");
    }
    if let Some(ignored) = &arguments.port_ignored {
        tracing::warn!("{ignored}; for another port than {} use --port or set it to a number", arguments.port);
    }
    if let Err(error) = parrot_log::check_time_zone() {
        tracing::warn!(
            "{error}, so log times are in UTC; examples are TZ=Europe/Berlin, and for a system without a time zone \
             database TZ=CET-1CEST,M3.5.0,M10.5.0/3"
        );
    }
    Ok(log)
}

fn open_log(arguments: &Arguments, format: Format) -> Result<Writer> {
    let path = arguments.log_file.as_deref();
    let opened = match path {
        Some(path) => Writer::file(path, format),
        None => Writer::stdout(format),
    };
    opened.map_err(|error| advice::cannot_log(error, path))
}

/// The exit code that a shell shows for a program ended by this signal.
fn interrupted(number: i32) -> ExitCode {
    u8::try_from(128 + number).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Places as a sentence lists them.
fn list(listening: &[Listening]) -> String {
    let places: Vec<String> = listening.iter().map(Listening::to_string).collect();
    match places.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}
