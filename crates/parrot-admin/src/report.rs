//! The numbers as JSON. docs/statistics.schema.json describes the form.

use std::collections::BTreeMap;
use std::env::consts::{ARCH, OS};

use parrot_server::{CloseReason, Durations, ListenerStatistics, Server};
use serde::Serialize;

use crate::history::{Samples, dropped_datagrams, faults, rejected_connections};
use crate::process::Process;
use crate::watch::{LogLines, Numbers, Watch};

/// The version of the form. It changes when a field is removed or gets another meaning. New fields do not change it.
const FORM: u32 = 1;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    form: u32,
    server: About,
    stage: &'static str,
    connections: Connections,
    messages: u64,
    received_bytes: u64,
    sent_bytes: u64,
    discarded_bytes: u64,
    buffered_bytes: u64,
    buffered_bytes_limit: u64,
    datagrams: Datagrams,
    faults: Counts,
    accept_pauses: u64,
    retries: u64,
    turns: u64,
    turn_seconds: Histogram,
    lateness_seconds: Histogram,
    listeners: Vec<Listener>,
    log: Option<LogLines>,
    process: Process,
    settings: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Samples>,
}

#[derive(Debug, Serialize)]
struct About {
    version: String,
    os: &'static str,
    arch: &'static str,
    queue: &'static str,
    pid: u32,
    started_at: f64,
    uptime_seconds: f64,
}

#[derive(Debug, Serialize)]
struct Connections {
    open: u64,
    accepted: u64,
    closed: Counts,
    rejected: Counts,
}

#[derive(Debug, Serialize)]
struct Datagrams {
    sent: u64,
    dropped: Counts,
}

/// Numbers by reason, with underscores in place of spaces.
type Counts = BTreeMap<String, u64>;

#[derive(Debug, Serialize)]
struct Histogram {
    count: u64,
    sum: f64,
    buckets: Vec<Bucket>,
}

/// How many durations were no longer than a bound, those of the shorter bounds included, as in Prometheus.
#[derive(Debug, Serialize)]
struct Bucket {
    /// The bound in seconds, or `null` for none.
    le: Option<f64>,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Listener {
    transport: &'static str,
    address: String,
    name: Option<String>,
    proxy_protocol: bool,
    accepted: Option<u64>,
}

impl Report {
    /// The numbers as they are now, and the samples that are wanted.
    pub(crate) fn new(watch: &Watch, history: Option<Samples>) -> Report {
        let Numbers { server: statistics, log } = watch.numbers();
        let settings = watch.program.settings.as_ref().map(|settings| settings()).unwrap_or_default();
        Report {
            form: FORM,
            server: About::now(watch),
            stage: watch.server.stage().as_str(),
            connections: Connections {
                open: statistics.connections,
                accepted: statistics.accepted,
                closed: counts(CloseReason::ALL.map(|reason| (reason.as_str(), statistics.closed(reason)))),
                rejected: counts(rejected_connections(&statistics)),
            },
            messages: statistics.messages,
            received_bytes: statistics.bytes_in,
            sent_bytes: statistics.bytes_out,
            discarded_bytes: statistics.bytes_discarded,
            buffered_bytes: statistics.buffered_bytes,
            buffered_bytes_limit: statistics.buffered_bytes_limit,
            datagrams: Datagrams { sent: statistics.datagrams_sent, dropped: counts(dropped_datagrams(&statistics)) },
            faults: faults(&statistics).into_iter().collect(),
            accept_pauses: statistics.accept_pauses,
            retries: statistics.retries,
            turns: statistics.turns,
            turn_seconds: statistics.turn_times.into(),
            lateness_seconds: statistics.lateness.into(),
            listeners: watch.server.listeners().into_iter().map(Listener::from).collect(),
            log,
            process: Process::now(),
            settings: settings.into_iter().collect(),
            history,
        }
    }
}

impl About {
    fn now(watch: &Watch) -> About {
        About {
            version: watch.program.version.clone(),
            os: OS,
            arch: ARCH,
            queue: Server::queue_name(),
            pid: std::process::id(),
            started_at: watch.started_at(),
            uptime_seconds: watch.started.elapsed().unwrap_or_default().as_secs_f64(),
        }
    }
}

impl From<Durations> for Histogram {
    fn from(durations: Durations) -> Histogram {
        let bounds = Durations::BOUNDS.iter().map(|bound| Some(bound.as_secs_f64())).chain([None]);
        let cumulative = durations.buckets().iter().scan(0, |count, bucket| {
            *count += bucket;
            Some(*count)
        });
        let buckets = bounds.zip(cumulative).map(|(le, count)| Bucket { le, count }).collect();
        Histogram { count: durations.count(), sum: durations.total().as_secs_f64(), buckets }
    }
}

impl From<ListenerStatistics> for Listener {
    fn from(listener: ListenerStatistics) -> Listener {
        let ListenerStatistics { listening, accepted, .. } = listener;
        Listener {
            transport: listening.address.transport(),
            address: listening.address.to_string(),
            name: listening.name,
            proxy_protocol: listening.proxy_protocol,
            accepted,
        }
    }
}

fn counts(counts: impl IntoIterator<Item = (&'static str, u64)>) -> Counts {
    counts.into_iter().map(|(reason, count)| (reason.replace(' ', "_"), count)).collect()
}
