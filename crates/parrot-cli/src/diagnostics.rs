//! Diagnostics on stderr, and the one filter for them and the log.

use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use parrot_log::{Diagnostics, MESSAGE_TARGET};
use parrot_server::STATISTICS_TARGET;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_core::callsite::rebuild_interest_cache;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::fmt::{self, format};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The filter of stderr and the log.
///
/// With one filter for both, tracing decides once for each place in the code. With a filter for each, it would decide
/// again for every message. `Targets` reads the part of RUST_LOG's language that needs no regular expressions.
pub(crate) struct Filter {
    pub targets: Targets,
    /// The reason why RUST_LOG is not followed.
    pub ignored: Option<ParseError>,
}

impl Filter {
    /// Follows RUST_LOG if it is set, or else the options. Messages get through if there is a log.
    pub(crate) fn new(rust_log: Option<&str>, verbose: u8, quiet: u8, messages: bool) -> Filter {
        let options = Targets::new().with_default(level(verbose, quiet));
        let (targets, ignored) = match rust_log.filter(|text| !text.trim().is_empty()).map(str::parse::<Targets>) {
            None => (options, None),
            Some(Ok(targets)) => (targets, None),
            Some(Err(error)) => (options, Some(error)),
        };
        // Statistics come on request, so they get through however quiet the rest is, unless RUST_LOG names them.
        let named = targets.iter().any(|(target, _)| target == STATISTICS_TARGET);
        let targets = if named { targets } else { targets.with_target(STATISTICS_TARGET, LevelFilter::INFO) };
        let messages = if messages { LevelFilter::INFO } else { LevelFilter::OFF };
        Filter { targets: targets.with_target(MESSAGE_TARGET, messages), ignored }
    }
}

/// A filter that can change while the program runs.
///
/// It decides once for each place in the code and is asked again only after a change. So a message takes no lock, which
/// it would with the layers that tracing-subscriber has for this.
#[derive(Debug, Clone)]
pub(crate) struct ChangeableFilter(Arc<RwLock<Targets>>);

impl ChangeableFilter {
    pub(crate) fn new(targets: Targets) -> ChangeableFilter {
        ChangeableFilter(Arc::new(RwLock::new(targets)))
    }

    pub(crate) fn change(&self, targets: Targets) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = targets;
        rebuild_interest_cache();
    }

    fn now(&self) -> RwLockReadGuard<'_, Targets> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for ChangeableFilter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        Layer::<S>::register_callsite(&*self.now(), metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        Layer::<S>::enabled(&*self.now(), metadata, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Layer::<S>::max_level_hint(&*self.now())
    }
}

fn level(verbose: u8, quiet: u8) -> LevelFilter {
    match (verbose, quiet) {
        (0, 0) => LevelFilter::INFO,
        (0, 1) => LevelFilter::WARN,
        (0, _) => LevelFilter::ERROR,
        (_, _) => LevelFilter::DEBUG,
    }
}

/// The layer that writes everything but messages to stderr, without ever waiting for it.
///
/// # Errors
///
/// Fails if stderr's descriptor cannot be duplicated.
pub(crate) fn stderr_layer<S>() -> io::Result<impl Layer<S>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = fmt::layer().with_ansi(false).with_target(false).with_writer(Diagnostics::stderr()?);
    Ok(NoMessages(layer))
}

/// Hides messages from the layer inside.
struct NoMessages<L>(L);

impl<S, W> Layer<S> for NoMessages<fmt::Layer<S, format::DefaultFields, format::Format, W>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> fmt::MakeWriter<'a> + 'static,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != MESSAGE_TARGET {
            self.0.on_event(event, context);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    fn filter(rust_log: Option<&str>, verbose: u8, quiet: u8) -> Targets {
        Filter::new(rust_log, verbose, quiet, true).targets
    }

    #[test]
    fn verbose_and_quiet_move_the_level() {
        assert!(filter(None, 0, 0).would_enable("parrot_server", &Level::INFO));
        assert!(!filter(None, 0, 0).would_enable("parrot_server", &Level::DEBUG));
        assert!(filter(None, 1, 0).would_enable("parrot_server", &Level::DEBUG));
        assert!(!filter(None, 0, 1).would_enable("parrot_server", &Level::INFO));
        assert!(!filter(None, 0, 2).would_enable("parrot_server", &Level::WARN));
    }

    #[test]
    fn rust_log_decides_instead() {
        let debug = filter(Some("warn,parrot_server=debug"), 0, 2);
        assert!(debug.would_enable("parrot_server", &Level::DEBUG));
        assert!(!debug.would_enable("parrot_log", &Level::INFO));
    }

    #[test]
    fn an_invalid_rust_log_is_reported_and_not_followed() {
        let Filter { targets, ignored } = Filter::new(Some("parrot_server=loud"), 0, 0, true);
        assert!(ignored.is_some());
        assert!(targets.would_enable("parrot_server", &Level::INFO));
        assert!(Filter::new(Some(" "), 0, 0, true).ignored.is_none());
    }

    #[test]
    fn server_and_log_use_the_same_target_for_messages() {
        assert_eq!(parrot_server::MESSAGE_TARGET, MESSAGE_TARGET);
    }

    #[test]
    fn messages_and_statistics_do_not_depend_on_verbosity() {
        assert!(filter(None, 0, 2).would_enable(MESSAGE_TARGET, &Level::INFO));
        assert!(filter(Some("off"), 0, 0).would_enable(MESSAGE_TARGET, &Level::INFO));
        assert!(filter(None, 0, 2).would_enable(STATISTICS_TARGET, &Level::INFO));
        assert!(filter(Some("warn"), 0, 0).would_enable(STATISTICS_TARGET, &Level::INFO));
        assert!(!filter(Some("info,parrot::statistics=off"), 0, 0).would_enable(STATISTICS_TARGET, &Level::INFO));
        let silent = Filter::new(Some("trace"), 0, 0, false).targets;
        assert!(!silent.would_enable(MESSAGE_TARGET, &Level::INFO));
    }
}
