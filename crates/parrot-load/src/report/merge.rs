//! Adds reports up, such as those of several hosts that loaded one server together.
//!
//! Counts are added, and so are histograms, bucket by bucket. Percentiles are taken from the sum. An average of
//! percentiles would be no percentile of anything. A count that is too large for its type stays at the largest one,
//! because a file may have any.

use std::collections::HashMap;
use std::{error, fmt};

use super::{Client, Datagrams, Histograms, Load, Mark, Report, marks};
use crate::latency::{Latencies, Latency};

/// The share of the longest window in which all windows have to be open.
const TOGETHER: f64 = 0.9;

/// Why reports cannot be added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmergeable {
    /// There is none.
    Nothing,
    /// The report at this place, counted from 0, is not of the same load as the first one. This setting differs.
    Differs(usize, &'static str),
    /// The reports at these places are one and the same.
    Twice(usize, usize),
}

impl fmt::Display for Unmergeable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unmergeable::Nothing => formatter.write_str("there is no report to add up"),
            Unmergeable::Differs(place, setting) => {
                write!(formatter, "report {} is of another load than the first one: {setting} differs", place + 1)
            }
            Unmergeable::Twice(one, other) => write!(formatter, "reports {} and {} are the same", one + 1, other + 1),
        }
    }
}

impl error::Error for Unmergeable {}

impl Report {
    /// Adds reports of the same load up. The hosts may differ in [`Load::sources`] only.
    ///
    /// The window of the sum begins with the first window and ends with the last one, and throughput is that of this
    /// window. [`Mark::WindowsApart`] says that the windows were not open together. Marks of one report are marks of the
    /// sum. The system's clocks of the hosts should agree to a small part of the window.
    ///
    /// # Errors
    ///
    /// If there is no report, one is of another load, or one is there twice.
    pub fn merge(reports: impl IntoIterator<Item = Report>) -> Result<Report, Unmergeable> {
        let mut reports = reports.into_iter();
        let mut sum = reports.next().ok_or(Unmergeable::Nothing)?;
        let (mut last_opened, mut first_closed, mut longest) = (sum.opened_at, sum.closed_at(), sum.window);
        let mut places = HashMap::from([(sum.identity(), 0)]);
        for (place, report) in (1..).zip(reports) {
            if let Some(setting) = sum.load.difference(&report.load) {
                return Err(Unmergeable::Differs(place, setting));
            }
            if let Some(one) = places.insert(report.identity(), place) {
                return Err(Unmergeable::Twice(one, place));
            }
            last_opened = last_opened.max(report.opened_at);
            first_closed = first_closed.min(report.closed_at());
            longest = longest.max(report.window);
            sum.add(report);
        }
        if first_closed - last_opened < longest * TOGETHER {
            sum.add_mark(Mark::WindowsApart);
        }
        Ok(sum)
    }

    /// What no two runs have in common. The times are as exact as the clocks.
    fn identity(&self) -> (u64, u64, u64) {
        (self.opened_at.to_bits(), self.window.to_bits(), self.messages)
    }

    fn closed_at(&self) -> f64 {
        self.opened_at + self.window
    }

    fn add(&mut self, other: Report) {
        let closed_at = self.closed_at().max(other.closed_at());
        self.opened_at = self.opened_at.min(other.opened_at);
        self.window = closed_at - self.opened_at;
        self.reports = self.reports.saturating_add(other.reports);
        self.load.sources.extend(other.load.sources);
        self.messages = self.messages.saturating_add(other.messages);
        self.messages_per_second = if self.window > 0.0 { self.messages as f64 / self.window } else { 0.0 };
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.bytes_per_second = if self.window > 0.0 { self.bytes as f64 / self.window } else { 0.0 };
        self.steps.iter_mut().zip(&other.steps).for_each(|(own, others)| own.add(others));

        self.histograms.add(&other.histograms);
        let Histograms { latency, service, lateness, connecting } = &self.histograms;
        sum_up(latency, &mut self.latency, &other.latency);
        sum_up(connecting, &mut self.connecting.latency, &other.connecting.latency);
        for (histogram, own, others) in
            [(service, &mut self.service, &other.service), (lateness, &mut self.lateness, &other.lateness)]
        {
            if let (Some(histogram), Some(own), Some(others)) = (histogram, own, others) {
                sum_up(histogram, own, others);
            }
        }

        self.connecting.opened = self.connecting.opened.saturating_add(other.connecting.opened);
        self.connecting.open = self.connecting.open.saturating_add(other.connecting.open);
        self.connecting.elapsed = self.connecting.elapsed.max(other.connecting.elapsed);
        self.connecting.greetings = self.connecting.greetings.saturating_add(other.connecting.greetings);
        if self.connecting.error.is_none() {
            (self.connecting.error, self.connecting.advice) = (other.connecting.error, other.connecting.advice);
        }
        self.unsent = self.unsent.saturating_add(other.unsent);
        self.failures.add(&other.failures);
        if let (Some(own), Some(others)) = (&mut self.datagrams, &other.datagrams) {
            own.add(others);
        }
        self.client.cpu = self.client.cpu.zip(other.client.cpu).map(|(own, others)| own + others);
        let per_message = |cpu: f64| cpu * 1e6 / self.messages as f64;
        self.client.cpu_per_message = self.client.cpu.filter(|_| self.messages > 0).map(per_message);
        let busy = |client: &Client| marks::busy(client.busiest, client.waited);
        if other.client.busiest.is_some() && busy(&other.client) > busy(&self.client) {
            (self.client.busiest, self.client.waited) = (other.client.busiest, other.client.waited);
        }
        let mean = self.service.unwrap_or(self.latency).mean;
        self.concurrency = mean.map(|mean| self.messages_per_second * mean / 1e6);
        other.marks.into_iter().for_each(|mark| self.add_mark(mark));
        // One host may have measured something where another one measured nothing.
        self.marks.retain(|mark| *mark != Mark::NothingMeasured || self.latency.count == 0);
    }

    fn add_mark(&mut self, mark: Mark) {
        if !self.marks.contains(&mark) {
            self.marks.push(mark);
        }
    }
}

/// Takes the figures from the histogram of a sum. How many were clipped is not in the histograms.
fn sum_up(histogram: &Latencies, own: &mut Latency, others: &Latency) {
    *own = Latency { clipped: own.clipped.saturating_add(others.clipped), ..histogram.summary() };
}

impl Histograms {
    fn add(&mut self, other: &Histograms) {
        let Histograms { latency, service, lateness, connecting } = self;
        latency.add(&other.latency);
        connecting.add(&other.connecting);
        for (own, others) in [(service, &other.service), (lateness, &other.lateness)] {
            if let (Some(own), Some(others)) = (own, others) {
                own.add(others);
            }
        }
    }
}

impl Datagrams {
    fn add(&mut self, other: &Datagrams) {
        self.sent = self.sent.saturating_add(other.sent);
        self.lost = self.lost.saturating_add(other.lost);
        self.lost_percent = if self.sent > 0 { 100.0 * self.lost as f64 / self.sent as f64 } else { 0.0 };
        self.late = self.late.saturating_add(other.late);
        self.duplicates = self.duplicates.saturating_add(other.duplicates);
        self.reordered = self.reordered.saturating_add(other.reordered);
        self.overflowed = self.overflowed.zip(other.overflowed).map(|(own, others)| own.saturating_add(others));
    }
}

impl Load {
    /// The first setting that differs, by its name in JSON. Hosts have different addresses, so these are not compared.
    fn difference(&self, other: &Load) -> Option<&'static str> {
        let Load { target, protocol, pace, rate, rate_to, over, steps, .. } = self;
        let Load { connections, idle, size, size_to, pipeline, threads, connect_rate, .. } = self;
        let Load {
            sources: _,
            arrivals,
            reconnect,
            messages_per_connection,
            no_delay,
            proxy,
            skip_greeting,
            warmup,
            duration,
            requests,
            timeout,
            ..
        } = self;
        let same = [
            ("target", *target == other.target),
            ("protocol", *protocol == other.protocol),
            ("pace", *pace == other.pace),
            ("rate", *rate == other.rate),
            ("rate_to", *rate_to == other.rate_to),
            ("over", *over == other.over),
            ("steps", *steps == other.steps),
            ("arrivals", *arrivals == other.arrivals),
            ("connections", *connections == other.connections),
            ("idle", *idle == other.idle),
            ("size", *size == other.size),
            ("size_to", *size_to == other.size_to),
            ("pipeline", *pipeline == other.pipeline),
            ("threads", *threads == other.threads),
            ("reconnect", *reconnect == other.reconnect),
            ("messages_per_connection", *messages_per_connection == other.messages_per_connection),
            ("connect_rate", *connect_rate == other.connect_rate),
            ("no_delay", *no_delay == other.no_delay),
            ("proxy", *proxy == other.proxy),
            ("skip_greeting", *skip_greeting == other.skip_greeting),
            ("warmup", *warmup == other.warmup),
            ("duration", *duration == other.duration),
            ("requests", *requests == other.requests),
            ("timeout", *timeout == other.timeout),
        ];
        same.into_iter().find(|(_, same)| !same).map(|(name, _)| name)
    }
}
