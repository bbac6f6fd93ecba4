//! The settings that a server runs with, by the names of their options, for the pages of `--admin`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use parrot_server::Settings;

use crate::arguments::{Arguments, LogFormat};
use crate::faults::seed;
use crate::settings::{mebibytes, settings};

/// Names and values.
type Values = Vec<(&'static str, String)>;

/// The settings that the pages show. A reload changes them.
#[derive(Debug, Clone)]
pub(crate) struct Shown(Arc<Mutex<Values>>);

impl Shown {
    /// The settings of the start.
    pub(super) fn new(arguments: &Arguments, own_faults: &[String]) -> Shown {
        Shown(Arc::new(Mutex::new(values(arguments, arguments, own_faults))))
    }

    /// Shows the settings after a reload. Some stay as they were at the start.
    pub(crate) fn follow(&self, started: &Arguments, wanted: &Arguments, own_faults: &[String]) {
        let values = values(started, wanted, own_faults);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = values;
    }

    pub(super) fn read(&self) -> Values {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Every option that changes how the server behaves, with its value or what holds without it. Where it listens is not
/// among them, because the server knows what came of it.
fn values(started: &Arguments, now: &Arguments, own_faults: &[String]) -> Values {
    // These have been followed, so they are right.
    let Settings { limits, proxy, .. } = settings(now).unwrap_or_default();
    let log = match now.log {
        LogFormat::Clf => "clf",
        LogFormat::Json => "json",
        LogFormat::Off => "off",
    };
    let file = now.log_file.as_ref().map_or("stdout".to_owned(), |path| path.display().to_string());
    let networks: Vec<String> = proxy.from.iter().map(ToString::to_string).collect();
    let shared: Vec<String> = now.fault.iter().map(ToString::to_string).collect();
    let faults: Vec<String> =
        Some(shared.join(" ")).filter(|all| !all.is_empty()).into_iter().chain(own_faults.iter().cloned()).collect();
    vec![
        ("backlog", or(started.backlog, "the system's limit")),
        ("busy-poll", time(limits.busy_poll, "off")),
        ("drain-delay", time(Some(limits.drain_delay).filter(|delay| !delay.is_zero()), "none")),
        ("drain-timeout", time(Some(limits.drain_timeout), "none")),
        ("fault", if faults.is_empty() { "none".to_owned() } else { faults.join(", ") }),
        ("greeting", given(now.greeting.is_some())),
        ("identify", given(now.identify)),
        ("idle-timeout", time(limits.idle_timeout, "never")),
        ("keepalive", time(started.keepalive.0, "off")),
        ("log", log.to_owned()),
        ("log-file", file),
        ("log-payload", format!("{} B", now.log_payload)),
        ("max-buffered", mebibytes(limits.max_buffered as u64)),
        ("max-connections", or(limits.max_connections, "no limit")),
        ("prefix", given(now.prefix.is_some())),
        ("proxy-from", if networks.is_empty() { "anyone".to_owned() } else { networks.join(", ") }),
        ("proxy-protocol", given(started.proxy_protocol)),
        ("proxy-timeout", time(Some(proxy.timeout), "none")),
        ("reuse-port", given(started.reuse_port)),
        ("seed", if faults.is_empty() { "none".to_owned() } else { seed(now).to_string() }),
        ("udp-answer-low-ports", given(now.udp_answer_low_ports)),
        ("udp-rate", or(now.udp_rate, "no limit")),
    ]
}

fn or<T: ToString>(value: Option<T>, otherwise: &str) -> String {
    value.map_or_else(|| otherwise.to_owned(), |value| value.to_string())
}

fn time(value: Option<Duration>, otherwise: &str) -> String {
    value.map_or_else(|| otherwise.to_owned(), |time| format!("{time:?}"))
}

fn given(given: bool) -> String {
    if given { "yes" } else { "no" }.to_owned()
}
