//! The `parrot` command: arguments in, exit code out.
//!
//! This library exists for the command's `main`, its tests and its fuzz target. Other programs use `parrot-server`.

// Indexing could panic on a value that a user or a peer chose (docs/reliability.md).
#![warn(clippy::indexing_slicing)]

#[cfg(feature = "admin")]
mod admin;
#[cfg(not(feature = "admin"))]
#[path = "no_admin.rs"]
mod admin;
mod advice;
mod arguments;
mod check;
mod diagnostics;
mod dry_run;
mod faults;
mod listening;
mod logging;
#[doc(hidden)]
pub mod manual;
mod ready_file;
mod reload;
mod service_manager;
mod settings;

use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use parrot_server::{Activation, Ended, Listen, STATISTICS_TARGET, Server, Signals, Stage, Statistics};

use crate::admin::Pages;
use crate::arguments::{Arguments, CommandLine};
use crate::logging::Logging;
use crate::ready_file::ReadyFile;
use crate::reload::{OpenPlace, Reload, SharedReadyFile};
use crate::service_manager::ServiceManager;

#[doc(hidden)]
pub use crate::check::{check_command_line, check_config_file};

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
    let command_line = CommandLine::of_process(passed);
    let arguments = command_line.read().unwrap_or_else(|error| error.exit());
    // Dropping this would unblock the signals, and one that arrives while the log closes would end the process with the
    // wrong code.
    let signals = signals.map(ManuallyDrop::new).context("cannot block signals");
    let activation = activation.map_err(advice::cannot_activate);
    let ended = match arguments.check {
        true => activation.and_then(|activation| dry_run::run(&arguments, activation.sockets)),
        false => signals.and_then(|signals| serve(command_line, arguments, &signals, activation?)),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            // eprintln! would panic when stderr is a pipe that nobody reads.
            let _ = writeln!(io::stderr(), "parrot: {:#}", advice::on_descriptors(error));
            ExitCode::FAILURE
        }
    }
}

fn serve(
    command_line: CommandLine,
    arguments: Arguments,
    signals: &Signals,
    activation: Activation,
) -> Result<ExitCode> {
    let logging = Logging::start(&arguments)?;
    let log = logging.log();
    if let Some(process) = activation.meant_for {
        tracing::warn!(
            "LISTEN_FDS is ignored, because LISTEN_PID={process} is another process (a script passes the sockets on \
             with `exec parrot`)"
        );
    }
    let outcome = echo(command_line, arguments, signals, activation.sockets, logging);
    // The log is also closed after a failure, because its last lines may show the cause.
    let timeout = if matches!(outcome, Ok((Ended::Signal(_), _))) { Duration::ZERO } else { LOG_TIMEOUT };
    let log = log.close(timeout);

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
    command_line: CommandLine,
    arguments: Arguments,
    signals: &Signals,
    sockets: Vec<Listen>,
    logging: Logging,
) -> Result<(Ended, Statistics)> {
    let ready_path = arguments.ready_file.clone();
    if let Some(path) = &ready_path {
        ReadyFile::remove_stale(path);
    }
    let passed = sockets.len();
    let (places, listen): (Vec<_>, Vec<_>) = listening::places(&arguments, passed > 0)?.into_iter().unzip();
    let listen = sockets.into_iter().chain(listen).collect();
    let config = settings::config(&arguments, listen)?;
    if let (None, (_, Some(reason))) = (arguments.max_buffered, settings::default_max_buffered()) {
        tracing::info!("{reason}");
    }
    let mut server = Server::bind(config).map_err(advice::cannot_bind)?;
    let (handle, log) = (server.handle(), logging.log());
    server.set_on_statistics(move |statistics| match log.statistics() {
        Some(log) => tracing::info!(target: STATISTICS_TARGET, "{statistics}; {log}"),
        None => tracing::info!(target: STATISTICS_TARGET, "{statistics}"),
    });
    let opened = server.listening_by_place().iter().skip(passed).cloned();
    let places: Vec<OpenPlace> = places.into_iter().zip(opened).map(OpenPlace::from).collect();
    let own = reload::own_faults(&places);
    let faults = faults::status(&arguments, !own.is_empty());
    let pages = Pages::serve(&arguments, &own, &mut server, logging.log())?;
    let ready_file = SharedReadyFile::default();
    let mut reload = Reload {
        command_line,
        started: arguments,
        logging,
        handle: handle.clone(),
        places,
        passed: passed > 0,
        ready_file: Arc::clone(&ready_file),
        shown: pages.as_ref().map(Pages::shown),
        faults: faults.clone(),
    };
    let manager = Arc::new(ServiceManager::from_environment());
    let reloading = Arc::clone(&manager);
    let on_hangup = move || {
        // A manager that was told of the end would take a report of readiness for a change of mind.
        if reload.handle.stage() > Stage::Serving {
            return reload.run();
        }
        reloading.reloading();
        reload.run();
        reloading.reloaded(&status(&listening::of(&reload.handle), &reload.faults));
    };
    server.watch_signals(signals, on_hangup).context("cannot watch for signals")?;
    report_to(&manager, &mut server);
    if let Some(path) = ready_path {
        let admin = pages.as_ref().map(|pages| pages.address().clone());
        let written = ReadyFile::write(path, server.listening(), admin)?;
        *ready_file.lock().unwrap_or_else(PoisonError::into_inner) = Some(written);
    }
    let status = status(server.listening(), &faults);
    tracing::info!("{status}");
    if let Some(pages) = &pages {
        tracing::info!("metrics, health and a page are on {pages}");
    }
    manager.ready(&status);

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

/// What the server listens on, with what, and with which faults if it has some.
fn status(listening: &[parrot_server::Listening], faults: &str) -> String {
    format!("listening on {} ({}{faults})", listening::list(listening), Server::queue_name())
}

/// The exit code that a shell shows for a program ended by this signal.
fn interrupted(number: i32) -> ExitCode {
    u8::try_from(128 + number).map_or(ExitCode::FAILURE, ExitCode::from)
}
