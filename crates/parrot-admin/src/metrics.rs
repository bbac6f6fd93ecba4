//! The metrics. docs/operating.md says what each of them means to an operator.

use std::collections::BTreeMap;
use std::env::consts::{ARCH, OS};
use std::fmt;
use std::time::Duration;

use parrot_server::{CloseReason, Durations, ListenerStatistics, Server, Stage};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::history::{dropped_datagrams, faults, rejected_connections};
use crate::process::Process;
use crate::watch::{Numbers, Watch};

/// All metrics as OpenMetrics.
pub(crate) fn open_metrics(watch: &Watch) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape {
        numbers: watch.numbers(),
        listeners: watch.server.listeners(),
        stage: watch.server.stage(),
        version: watch.program.version.clone(),
        process: Process::now(),
        started: watch.started_at(),
    }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// What a scrape shows.
#[derive(Debug)]
struct Scrape {
    numbers: Numbers,
    listeners: Vec<ListenerStatistics>,
    stage: Stage,
    version: String,
    process: Process,
    started: f64,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.connections(&mut families)?;
        self.traffic(&mut families)?;
        self.loop_and_log(&mut families)?;
        self.process(&mut families)
    }
}

impl Scrape {
    fn connections(&self, families: &mut Families<'_>) -> fmt::Result {
        let statistics = &self.numbers.server;
        families.gauge("parrot_connections", "Connections that are open.", statistics.connections)?;
        let mut accepted: BTreeMap<_, u64> = BTreeMap::new();
        for listener in &self.listeners {
            let Some(count) = listener.accepted else { continue };
            let listening = &listener.listening;
            let name = listening.name.clone().unwrap_or_else(|| listening.address.to_string());
            // Several listeners may have one name.
            *accepted.entry((name, listening.address.transport())).or_default() += count;
        }
        let accepted = accepted
            .into_iter()
            .map(|((name, transport), count)| (vec![("listener", name), ("transport", transport.to_owned())], count));
        families.counters(
            "parrot_connections_accepted",
            "Connections accepted and served, by listener.",
            accepted.collect(),
        )?;
        families.counters(
            "parrot_connections_closed",
            "Connections that have ended, by reason.",
            by_reason(CloseReason::ALL.map(|reason| (reason.as_str(), statistics.closed(reason)))),
        )?;
        families.counters(
            "parrot_connections_rejected",
            "Connections that were closed without being served, by reason.",
            by_reason(rejected_connections(statistics)),
        )?;
        families.counters(
            "parrot_faults",
            "Connections and datagrams that had a fault on request, by its kind.",
            faults(statistics).into_iter().map(|(kind, count)| (vec![("kind", kind)], count)).collect(),
        )?;
        families.counter(
            "parrot_accept_pauses",
            "Times that accepting paused because descriptors or memory ran out.",
            statistics.accept_pauses,
        )
    }

    fn traffic(&self, families: &mut Families<'_>) -> fmt::Result {
        let statistics = &self.numbers.server;
        families.counter(
            "parrot_messages",
            "Messages received: what one receive call returned, or a datagram.",
            statistics.messages,
        )?;
        families.counter("parrot_received_bytes", "Bytes received in messages.", statistics.bytes_in)?;
        families.counter("parrot_sent_bytes", "Bytes sent.", statistics.bytes_out)?;
        families.gauge(
            "parrot_buffered_bytes",
            "Memory held for replies that peers have yet to read.",
            statistics.buffered_bytes,
        )?;
        families.gauge(
            "parrot_buffered_limit_bytes",
            "Memory that may be held for such replies.",
            statistics.buffered_bytes_limit,
        )?;
        families.counters(
            "parrot_datagrams_dropped",
            "Datagrams that were not answered, by reason.",
            by_reason(dropped_datagrams(statistics)),
        )
    }

    fn loop_and_log(&self, families: &mut Families<'_>) -> fmt::Result {
        let statistics = &self.numbers.server;
        families.gauge("parrot_draining", "1 while the server drains.", u64::from(self.stage == Stage::Draining))?;
        families.histogram(
            "parrot_turn_duration_seconds",
            "How long a turn of the event loop took, without its wait.",
            &statistics.turn_times,
        )?;
        families.histogram(
            "parrot_deadline_lateness_seconds",
            "How late the event loop was with what was due.",
            &statistics.lateness,
        )?;
        if let Some(log) = self.numbers.log {
            families.counter("parrot_log_lines", "Log lines written.", log.written)?;
            families.counter(
                "parrot_log_lines_dropped",
                "Log lines dropped because the log was behind or failed.",
                log.dropped,
            )?;
        }
        let build = [
            ("version", self.version.clone()),
            ("os", OS.to_owned()),
            ("arch", ARCH.to_owned()),
            ("queue", Server::queue_name().to_owned()),
        ];
        let mut info = families.family("parrot_build", "The program that serves.", MetricType::Info)?;
        info.encode_info(&build)
    }

    fn process(&self, families: &mut Families<'_>) -> fmt::Result {
        let Process { cpu_seconds, open_fds, max_fds, threads, virtual_memory_bytes, resident_memory_bytes } =
            self.process;
        if let Some(seconds) = cpu_seconds {
            let help = "Time that the process has had a processor.";
            let mut metric = families.family("process_cpu_seconds", help, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
        }
        for (name, help, value) in [
            ("process_open_fds", "Descriptors that are open.", open_fds),
            ("process_max_fds", "Descriptors that may be open.", max_fds),
            ("process_threads", "Threads of the process.", threads),
            ("process_virtual_memory_bytes", "Virtual memory.", virtual_memory_bytes),
            ("process_resident_memory_bytes", "Resident memory.", resident_memory_bytes),
        ] {
            if let Some(value) = value {
                families.gauge(name, help, value)?;
            }
        }
        families.gauge("process_start_time_seconds", "When the process was started, since 1970.", self.started)
    }
}

/// Writes families of metrics.
struct Families<'a>(DescriptorEncoder<'a>);

type Labels = Vec<(&'static str, String)>;

impl Families<'_> {
    fn family<'a>(&'a mut self, name: &'a str, help: &str, kind: MetricType) -> Result<MetricEncoder<'a>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// A counter, whose samples get `_total` at the end of their name.
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, help, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn counters(&mut self, name: &str, help: &str, samples: Vec<(Labels, u64)>) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, durations: &Durations) -> fmt::Result {
        let bounds = Durations::BOUNDS.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(durations.buckets().iter().copied()).collect();
        let mut metric = self.family(name, help, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(durations.total().as_secs_f64(), durations.count(), &buckets, None)
    }
}

/// Samples with a reason as their label.
fn by_reason(counts: impl IntoIterator<Item = (&'static str, u64)>) -> Vec<(Labels, u64)> {
    counts.into_iter().map(|(reason, count)| (vec![("reason", reason.replace(' ', "_"))], count)).collect()
}
