//! The report as text.

use std::fmt;

use super::{Datagrams, Load, RateStep, Report};
use crate::latency::Latency;
use crate::plan::WARMUP;
use crate::units::{microseconds, per_second, thousands};

impl Load {
    /// Bytes in a message, or the least and the most.
    pub(crate) fn bytes(&self) -> String {
        let to = self.size_to.map_or(String::new(), |most| format!(" to {}", thousands(most as f64)));
        thousands(self.size as f64) + &to
    }
}

/// The load in a line, without what is at its default.
impl fmt::Display for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { pace, target, .. } = self;
        let (connections, bytes) = (thousands(self.connections as f64), self.bytes());
        let what = if self.protocol == "udp" { "sockets" } else { "connections" };
        write!(formatter, "{pace}: {connections} {what} x {bytes} bytes to {target}")?;
        if let Some(close) = &self.reconnect {
            let ended = if close == "reset" { "closed by a reset" } else { "closed in the orderly way" };
            match self.messages_per_connection {
                None | Some(1) => write!(formatter, ", a new one for each message, {ended}")?,
                Some(messages) => {
                    write!(formatter, ", a new one after {} messages, {ended}", thousands(messages as f64))?;
                }
            }
        }
        if let Some(rate) = self.connect_rate {
            write!(formatter, ", opened at {} a second", per_second(rate))?;
        }
        if let (Some(from), Some(to), Some(over)) = (self.rate, self.rate_to, self.over) {
            let steps = self.steps.map_or(String::new(), |steps| format!(" in {steps} steps"));
            write!(formatter, ", from {} to {} messages/s{steps} over {over} s", per_second(from), per_second(to))?;
        }
        if self.arrivals.as_deref() == Some("poisson") {
            write!(formatter, ", at random times")?;
        }
        if self.pipeline > 1 {
            write!(formatter, ", {} under way on each", thousands(self.pipeline as f64))?;
        }
        if self.idle > 0 {
            write!(formatter, ", {} more idle", thousands(self.idle as f64))?;
        }
        if self.threads > 1 {
            write!(formatter, ", {} threads", self.threads)?;
        }
        if !self.sources.is_empty() {
            write!(formatter, ", from {}", self.sources.join(" and "))?;
        }
        if self.warmup != WARMUP.as_secs_f64() {
            write!(formatter, ", {} s of warm-up", self.warmup)?;
        }
        if !self.no_delay {
            write!(formatter, ", small messages collected by the system")?;
        }
        if let Some(version) = self.proxy {
            write!(formatter, ", PROXY header of version {version}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { load, connecting, latency, client, .. } = self;
        if self.reports > 1 {
            write!(formatter, "sum of {} reports, each ", self.reports)?;
        }
        writeln!(formatter, "{load}")?;
        writeln!(
            formatter,
            "  throughput  {} messages/s, {:.1} MB/s each way, {} in {:.2} s",
            per_second(self.messages_per_second),
            self.bytes_per_second / 1e6,
            thousands(self.messages as f64),
            self.window
        )?;
        if let Some(rate) = load.asked(self.window) {
            writeln!(formatter, "  asked for   {} messages/s", per_second(rate * self.reports as f64))?;
        }
        let udp = self.datagrams.is_some();
        let rows = [
            ("latency", Some(latency)),
            ("from send", self.service.as_ref()),
            ("own delay", self.lateness.as_ref()),
            (if udp { "probing" } else { "connecting" }, Some(&connecting.latency)),
        ];
        writeln!(formatter, "  {:<10}{HEADINGS}", "")?;
        for (name, times) in rows {
            if let Some(times) = times {
                writeln!(formatter, "  {name:<10}{}", Row(times))?;
            }
        }
        if load.reconnect.is_some() {
            let of = if load.messages_per_connection > Some(1) { "of first messages " } else { "" };
            writeln!(formatter, "              (latency {of}with connecting)")?;
        }
        if !self.steps.is_empty() {
            writeln!(formatter, "{}", RateStep::HEADINGS)?;
        }
        for step in &self.steps {
            writeln!(formatter, "{}", step.row(self.reports))?;
        }
        if load.reconnect.is_none() || load.idle > 0 {
            let [opened, open] = [connecting.opened, connecting.open].map(|count| thousands(count as f64));
            let what = if udp { "sockets" } else { "connections" };
            write!(formatter, "  {what:<11} {opened} open after {:.3} s", connecting.elapsed)?;
            if open != opened {
                write!(formatter, ", {open} at the end")?;
            }
            writeln!(formatter)?;
        }
        if load.skip_greeting {
            writeln!(formatter, "  greetings   {} skipped", thousands(connecting.greetings as f64))?;
        }
        if let (Some(cpu), Some(busiest)) = (client.cpu_per_message, client.busiest) {
            write!(formatter, "  own CPU     {cpu:.2} µs/message, busiest thread {:.0} %", busiest * 100.0)?;
            if let Some(waited) = client.waited {
                write!(formatter, ", waiting for a core {:.0} %", waited * 100.0)?;
            }
            writeln!(formatter)?;
        }
        if let Some(datagrams) = &self.datagrams {
            writeln!(formatter, "  datagrams   {datagrams}")?;
        }
        if self.unsent > 0 {
            writeln!(formatter, "  never sent  {}", thousands(self.unsent as f64))?;
        }
        write!(formatter, "  failures    {}", self.failures)?;
        if let Some(error) = &connecting.error {
            write!(formatter, " (connecting: {error})")?;
        }
        if !self.failures.ends.are_none() {
            write!(formatter, "\n  ended       {}", self.failures.ends)?;
        }
        if let Some(advice) = &connecting.advice {
            write!(formatter, "\n  note        {advice}")?;
        }
        for mark in &self.marks {
            write!(formatter, "\n  note        {}", self.note(*mark))?;
        }
        Ok(())
    }
}

/// How many were sent and lost, and what else happened to some of them.
impl fmt::Display for Datagrams {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [sent, lost] = [self.sent, self.lost].map(|count| thousands(count as f64));
        let percent = match self.lost_percent {
            little if little > 0.0 && little < 0.001 => "less than 0.001".to_owned(),
            percent => format!("{percent:.3}"),
        };
        write!(formatter, "{sent} sent, {lost} lost ({percent} %)")?;
        let others = [
            (self.late, "late"),
            (self.duplicates, "duplicates"),
            (self.reordered, "out of order"),
            (self.overflowed.unwrap_or(0), "dropped here"),
        ];
        let others: Vec<String> = (others.iter().filter(|(count, _)| *count > 0))
            .map(|(count, kind)| format!("{} {kind}", thousands(*count as f64)))
            .collect();
        if others.is_empty() { Ok(()) } else { write!(formatter, "\n  answers     {}", others.join(", ")) }
    }
}

/// The headings above the rows of latencies.
const HEADINGS: &str = "      mean       P50       P90       P99     P99.9       max";

/// A row of latencies, each in the unit that fits, or a dash if none was measured.
struct Row<'a>(&'a Latency);

impl fmt::Display for Row<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { mean, p50, p90, p99, p999, max, .. } = *self.0;
        [mean, p50, p90, p99, p999, max]
            .into_iter()
            .try_for_each(|time| write!(formatter, "{:>10}", time.map_or("-".into(), microseconds)))
    }
}
