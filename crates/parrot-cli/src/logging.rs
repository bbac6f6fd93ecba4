//! The log and the diagnostics, from the start to the end and through every reload.

use std::env::{self, VarError};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use parrot_log::{MessageLayer, Target, Writer, WriterStatistics};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::advice;
use crate::arguments::Arguments;
use crate::diagnostics::{self, ChangeableFilter, Filter};

/// What is written where. Only the one who follows the options has this.
pub(crate) struct Logging {
    filter: ChangeableFilter,
    log: Log,
    /// Where the log is, if it is a file.
    path: Option<PathBuf>,
}

/// The log, once there has been one. A log that is switched off stays open and gets no messages.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<OnceLock<Open>>);

pub(crate) struct Open {
    writer: Writer,
    messages: MessageLayer,
}

/// What a change of the log needs, opened in advance, because that can fail.
pub(crate) enum Prepared {
    Nothing,
    Move(Target),
    Start(Box<Open>),
}

impl Logging {
    /// Sends diagnostics to stderr and messages to the log, if there is one.
    pub(crate) fn start(arguments: &Arguments) -> Result<Logging> {
        let stderr = diagnostics::stderr_layer().context("cannot use stderr")?;
        let rust_log = env::var("RUST_LOG");
        let Filter { targets, ignored } = filter(arguments);
        let mut logging = Logging { filter: ChangeableFilter::new(targets), log: Log::default(), path: None };
        let prepared = logging.prepare(arguments)?;
        logging.place(arguments, prepared);
        let layers = tracing_subscriber::registry().with(logging.log.clone()).with(stderr);
        layers.with(logging.filter.clone()).try_init()?;
        let ignored = match rust_log {
            Err(VarError::NotUnicode(_)) => Some("it is not UTF-8".to_owned()),
            _ => ignored.map(|error| error.to_string()),
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
        Ok(logging)
    }

    pub(crate) fn log(&self) -> Log {
        self.log.clone()
    }

    /// Opens what these options need and is not open.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or the log's thread cannot be started.
    pub(crate) fn prepare(&self, arguments: &Arguments) -> Result<Prepared> {
        let Some(format) = arguments.log.format() else { return Ok(Prepared::Nothing) };
        let path = arguments.log_file.as_deref();
        let is_open = self.log.0.get().is_some();
        if is_open && self.path.as_deref() == path {
            return Ok(Prepared::Nothing);
        }
        let target = path.map_or_else(Target::stdout, Target::file);
        let prepared = target.and_then(|target| match is_open {
            true => Ok(Prepared::Move(target)),
            false => {
                let writer = Writer::at(target, format)?;
                let messages = MessageLayer::new(writer.clone(), arguments.log_payload);
                Ok(Prepared::Start(Box::new(Open { writer, messages })))
            }
        });
        prepared.map_err(|error| advice::cannot_log(error, path))
    }

    /// Follows these options, with what was prepared for them. A log that stays where it is is reopened.
    pub(crate) fn change(&mut self, arguments: &Arguments, prepared: Prepared) {
        if matches!(prepared, Prepared::Nothing) {
            self.log.reopen();
        }
        self.place(arguments, prepared);
        self.filter.change(filter(arguments).targets);
    }

    fn place(&mut self, arguments: &Arguments, prepared: Prepared) {
        let Some(format) = arguments.log.format() else { return };
        match (prepared, self.log.0.get()) {
            (Prepared::Start(open), _) => drop(self.log.0.set(*open)),
            (Prepared::Move(target), Some(open)) => open.writer.move_to(target),
            _ => {}
        }
        if let Some(open) = self.log.0.get() {
            open.writer.set_format(format);
            open.messages.set_payload_limit(arguments.log_payload);
        }
        self.path.clone_from(&arguments.log_file);
    }
}

impl Log {
    /// Its numbers, if there is one.
    pub(crate) fn statistics(&self) -> Option<WriterStatistics> {
        self.0.get().map(|open| open.writer.statistics())
    }

    /// Reopens its file, after a log rotation.
    pub(crate) fn reopen(&self) {
        if let Some(open) = self.0.get() {
            open.writer.reopen();
        }
    }

    /// Closes it, and waits for its last lines. Returns its final numbers, if there is one.
    pub(crate) fn close(&self, timeout: Duration) -> Option<WriterStatistics> {
        self.0.get().map(|open| open.writer.close(timeout))
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if let Some(open) = self.0.get() {
            open.messages.on_event(event, context);
        }
    }
}

/// The filter of RUST_LOG or these options.
fn filter(arguments: &Arguments) -> Filter {
    let rust_log = env::var("RUST_LOG");
    let has_log = arguments.log.format().is_some();
    Filter::new(rust_log.as_deref().ok(), arguments.verbose, arguments.quiet, has_log)
}
