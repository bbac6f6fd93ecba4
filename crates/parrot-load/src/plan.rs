//! What load to send: to which server, how much, how fast and for how long.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crate::change::Change;
use crate::datagrams::LEAST;
use crate::proxy::ProxyVersion;
use crate::ramp::Ramp;
use crate::steps::{MOST_STEPS, Steps};
use crate::target::Target;

/// A load for [`run`](crate::run()) to send.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The addresses of the server. All connections go to the first that takes one.
    pub targets: Vec<Target>,
    /// Connections that send messages. With UDP these are sockets.
    pub connections: usize,
    /// Further connections that send nothing and are expected to stay open.
    pub idle: usize,
    /// Bytes in a message. A datagram has at least 12, for its number and bytes to check it by, and no more than fit into
    /// a packet, 65,507 with IPv4 and 65,527 with IPv6.
    pub size: usize,
    /// The most bytes in a message, if messages have different sizes, from [`size`](Plan::size) up. Every size between the
    /// two is as likely as any other. The sizes are drawn at random, but are the same in every run, since a message's size
    /// follows from its number and that of its connection.
    pub size_to: Option<usize>,
    /// Messages a connection may have under way at once. An open loop over UDP sends what is due, however many are under
    /// way.
    pub pipeline: usize,
    /// Threads that share the connections.
    pub threads: usize,
    /// When the next message is sent.
    pub pace: Pace,
    /// How messages of an open loop are spread over time.
    pub arrivals: Arrivals,
    /// After how many messages a connection is closed, and how. It is opened again for the next message. `None` keeps
    /// connections open.
    pub reconnect: Option<Reconnect>,
    /// How many connections are opened in a second, by all threads together, before the load and in the course of it. A
    /// message of an open loop whose connection waits for its turn to be opened waits as well, and that is part of its
    /// time. In a closed loop the message begins when the turn has come. `None` opens connections as fast as the server
    /// takes them.
    pub connect_rate: Option<f64>,
    /// When to begin to send, by the system's clock, so that several hosts can begin together. Connections are opened
    /// before that. A time that has passed by then, like `None`, begins at once. The host's own report does not show
    /// that it began late, and only [`Report::merge`](crate::Report::merge) may mark it.
    pub start_at: Option<SystemTime>,
    /// How long to send before measuring.
    pub warmup: Duration,
    /// How long to measure.
    pub length: Length,
    /// How long an answer, or opening a connection, may take before it counts as failed. A load over UDP has
    /// [`datagram_timeout`](Plan::datagram_timeout) instead.
    pub timeout: Duration,
    /// How long the answer to a datagram may take before the datagram counts as lost.
    pub datagram_timeout: Duration,
    /// Local addresses to connect from, in rotation, with port 0 for any port. If empty, the system chooses.
    pub sources: Vec<SocketAddr>,
    /// Whether small messages are sent at once over TCP (`TCP_NODELAY`).
    pub no_delay: bool,
    /// The header of the PROXY protocol that is sent first on every connection, with the connection's own addresses.
    pub proxy: Option<ProxyVersion>,
    /// Whether the server sends a line first on every connection. It is read, up to its LF, before messages are sent.
    pub skip_greeting: bool,
    /// How often [`Watch::interval`](crate::Watch::interval) is called. Its figures are up to a tenth of the interval
    /// old, or a millisecond if that is more.
    pub interval: Option<Duration>,
}

/// The highest rate of an open loop. A message every 100 ns is more than a socket takes on any machine today, and a
/// higher rate would leave the load generator no time for anything but its timetable.
pub(crate) const FASTEST: f64 = 1e7;
/// The most connections, and the most messages under way at once, that memory is reserved for.
const MOST: usize = 1 << 27;

/// The highest connect rate. A connection every microsecond is more than any machine opens today.
const FASTEST_CONNECTING: f64 = 1e6;

/// The default window.
pub(crate) const DURATION: Duration = Duration::from_secs(10);
/// The default warm-up.
pub(crate) const WARMUP: Duration = Duration::from_secs(1);

/// When the next message is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Closed loop: as soon as an answer has arrived. A server that stalls also receives fewer messages, so the
    /// latencies are not those of users who come at their own pace.
    Closed,
    /// Open loop: this many messages a second over all connections, whatever the server does. A message is timed from
    /// the moment it was due, so that a stall is charged to every message that it delayed.
    Rate(f64),
    /// Open loop as well, at a rate that changes in the course of the window.
    Ramp(Ramp),
    /// Open loop as well, at a rate that goes up or down in steps. [`Report::steps`](crate::Report::steps) has the figures
    /// of each.
    Steps(Steps),
}

/// How messages of an open loop are spread over time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Arrivals {
    /// At even distances.
    #[default]
    Even,
    /// At random ones, as independent users send (a Poisson process). Some come close together, so that they queue up
    /// at rates at which messages at even distances do not.
    Poisson,
}

impl Pace {
    /// The rates at its ends.
    fn rates(self) -> Vec<f64> {
        match self {
            Pace::Closed => Vec::new(),
            Pace::Rate(rate) => vec![rate],
            Pace::Ramp(ramp) => vec![ramp.from, ramp.to],
            Pace::Steps(steps) => vec![steps.from, steps.to],
        }
    }
}

/// How long the measured window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// This long.
    Time(Duration),
    /// Until this many messages have been answered.
    Messages(u64),
}

/// When and how a connection is closed, to be opened again for its next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconnect {
    /// After this many messages, when all of them are back.
    pub after: u64,
    /// How.
    pub close: Close,
}

/// How a connection is closed after its last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// In the orderly way. The port stays unusable for a while (`TIME_WAIT`), so the number of ports bounds the number
    /// of connections a second.
    Finish,
    /// By a reset, after which the port is free at once.
    Reset,
}

impl Close {
    /// Closes a connection in this way after so many messages.
    #[must_use]
    pub fn after(self, messages: u64) -> Reconnect {
        Reconnect { after: messages, close: self }
    }
}

impl Plan {
    /// A closed loop of 50 connections and 12-byte messages to `target`, for ten seconds after a warm-up of one second.
    #[must_use]
    pub fn new(target: impl Into<Target>) -> Plan {
        Plan {
            targets: vec![target.into()],
            connections: 50,
            idle: 0,
            size: 12,
            size_to: None,
            pipeline: 1,
            threads: 1,
            pace: Pace::Closed,
            arrivals: Arrivals::Even,
            reconnect: None,
            connect_rate: None,
            start_at: None,
            warmup: WARMUP,
            length: Length::Time(DURATION),
            timeout: Duration::from_secs(10),
            datagram_timeout: Duration::from_secs(1),
            sources: Vec::new(),
            no_delay: true,
            proxy: None,
            skip_greeting: false,
            interval: None,
        }
    }

    /// Whether the load consists of datagrams. Otherwise it goes through streams.
    #[must_use]
    pub fn is_udp(&self) -> bool {
        self.targets.iter().any(Target::is_udp)
    }

    /// The steps in which the rate changes, if it does so in steps.
    pub(crate) fn steps(&self) -> Option<Steps> {
        if let Pace::Steps(steps) = self.pace { Some(steps) } else { None }
    }

    /// Connections that are to stay open for all of the run.
    pub(crate) fn kept(&self) -> usize {
        self.idle.saturating_add(if self.reconnect.is_some() { 0 } else { self.connections })
    }

    /// Connections a second that have to be opened for the messages of an open loop and must not be opened faster than
    /// the connect rate.
    fn connections_needed(&self) -> Option<f64> {
        let rate = self.pace.rates().into_iter().reduce(f64::max)?;
        self.connect_rate.and(self.reconnect).map(|reconnect| rate / reconnect.after as f64)
    }

    /// Checks that the plan is possible. [`run`](crate::run()) calls this first.
    ///
    /// # Errors
    ///
    /// The first contradiction, in words for the plan's author.
    pub fn check(&self) -> Result<(), Impossible> {
        let connections = self.connections.checked_add(self.idle);
        let most = self.size_to.unwrap_or(self.size);
        let under_way = self.connections.checked_mul(self.pipeline);
        let differs = |source: &SocketAddr| {
            let families_differ = |target: &Target| target.ip().is_some_and(|to| source.is_ipv4() != to.is_ipv4());
            self.targets.iter().any(families_differ)
        };
        let unix = self.targets.iter().any(|target| matches!(target, Target::Unix(_)));
        let change = Change::of(self.pace);
        let steps = self.steps();
        let wrong = if self.targets.is_empty() {
            "a load needs a target"
        } else if self.connections == 0 {
            "a load needs at least one connection"
        } else if self.size == 0 {
            "a message needs at least one byte, because nothing comes back for an empty one"
        } else if self.size_to.is_some_and(|most| most < self.size) {
            "sizes go from the least to the most, so the first must not be above the second"
        } else if self.pipeline == 0 {
            "a connection needs at least one message under way"
        } else if most.checked_mul(self.pipeline).is_none_or(|bytes| bytes > 1 << 30) {
            "more than 1 GiB under way on a connection: use a smaller size or pipeline"
        } else if connections.is_none_or(|all| all > MOST) || under_way.is_none_or(|all| all > MOST) {
            "more than 134 million connections, or messages under way at once: use fewer"
        } else if self.threads == 0 || self.threads > self.connections {
            "a load needs at least one thread, and a connection for each thread"
        } else if self.reconnect.is_some_and(|reconnect| reconnect.after == 0) {
            "a connection carries at least one message before it is closed"
        } else if self.reconnect.is_some_and(|reconnect| reconnect.after < self.pipeline as u64) {
            "a connection with fewer messages than the pipeline has never fills it: use a smaller pipeline"
        } else if self.connect_rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            "a connect rate must be a number of connections a second above 0"
        } else if self.connect_rate > Some(FASTEST_CONNECTING) {
            "no machine opens more than 1,000,000 connections a second: use a lower connect rate, or none"
        } else if self.connections_needed().is_some_and(|needed| self.connect_rate < Some(needed)) {
            "the messages need more connections a second than the connect rate allows: use a lower rate, more messages \
             on a connection or a higher connect rate"
        } else if self.length == Length::Messages(0) || self.length == Length::Time(Duration::ZERO) {
            "an empty window leaves nothing to measure"
        } else if self.pace.rates().iter().any(|rate| !(rate.is_finite() && *rate > 0.0)) {
            "a rate must be a number of messages a second above 0"
        } else if change.is_some_and(|change| change.over().is_zero()) {
            "a rate that changes needs a time for that"
        } else if change.is_some() && matches!(self.length, Length::Messages(_)) {
            "a rate that changes is measured for a time, and not for a number of messages"
        } else if matches!((self.pace, self.length), (Pace::Ramp(ramp), Length::Time(time)) if time < ramp.over) {
            "the window ends before the rate has changed: use a duration (-d) at least as long as the change (--over)"
        } else if steps.is_some_and(|steps| !(2..=MOST_STEPS).contains(&steps.count)) {
            "a rate changes in 2 to 100 steps"
        } else if steps.is_some_and(|steps| self.length != Length::Time(steps.over)) {
            "a rate that changes in steps is measured for as long as they take, and not longer or shorter"
        } else if self.arrivals == Arrivals::Poisson && self.pace == Pace::Closed {
            "random arrivals need a rate, because a closed loop sends when an answer has arrived"
        } else if matches!((self.arrivals, self.length), (Arrivals::Poisson, Length::Messages(_))) {
            "random arrivals are measured for a time, and not for a number of messages"
        } else if self.pace.rates().iter().any(|rate| *rate > FASTEST) {
            "no machine sends more than 10,000,000 messages a second: use a lower rate, or the closed loop (no rate), \
             which sends as fast as the server answers"
        } else if self.sources.iter().any(differs) {
            "a source address must be of the target's family (both IPv4 or both IPv6)"
        } else if unix && !self.sources.is_empty() {
            "a connection to a Unix socket has no source address"
        } else if unix && !self.no_delay {
            "only TCP collects small messages"
        } else if self.timeout.is_zero() {
            "a timeout of 0 would fail every message"
        } else if self.interval == Some(Duration::ZERO) {
            "an interval of 0 would print without end: use one such as 1s"
        } else {
            return self.check_datagrams();
        };
        Err(Impossible(wrong))
    }

    /// Checks what holds for UDP only.
    fn check_datagrams(&self) -> Result<(), Impossible> {
        if !self.is_udp() {
            return Ok(());
        }
        let longest =
            if self.targets.iter().filter_map(Target::ip).any(|address| address.is_ipv4()) { 65_507 } else { 65_527 };
        let rate = self.pace.rates().into_iter().fold(0.0, f64::max);
        let wrong = if !self.targets.iter().all(Target::is_udp) {
            "a load goes to streams or to UDP, and not to both"
        } else if self.size < LEAST {
            "a datagram needs at least 12 bytes, for its number and bytes to check it by"
        } else if self.size_to.unwrap_or(self.size) > longest {
            "a datagram has at most 65,507 bytes with IPv4, and 65,527 with IPv6"
        } else if self.reconnect.is_some() {
            "UDP has no connections, so there is none to open again after some messages"
        } else if self.connect_rate.is_some() {
            "UDP has no connections, so there are none to open at a rate"
        } else if self.idle > 0 {
            "UDP has no connections, so a server does not see idle ones"
        } else if self.proxy.is_some() || self.skip_greeting {
            "UDP has no connections, so nothing comes first on them, neither a PROXY header nor a greeting"
        } else if !self.no_delay {
            "only TCP collects small messages"
        } else if self.datagram_timeout.is_zero() {
            "a timeout of 0 would lose every datagram"
        } else if rate * self.datagram_timeout.as_secs_f64() > MOST as f64 {
            "more than 134 million datagrams under way at once: use a shorter timeout or a lower rate"
        } else {
            return Ok(());
        };
        Err(Impossible(wrong))
    }
}

/// A duration in nanoseconds, at most `u64::MAX` (five centuries).
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A contradiction in a [`Plan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impossible(&'static str);

impl fmt::Display for Impossible {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for Impossible {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Plan)) -> String {
        let mut plan = Plan::new(SocketAddr::from(([127, 0, 0, 1], 1512)));
        change(&mut plan);
        plan.check().expect_err("an impossible plan").to_string()
    }

    #[test]
    fn an_impossible_plan_is_refused_with_the_reason() {
        assert_eq!(Plan::new(SocketAddr::from(([127, 0, 0, 1], 1512))).check(), Ok(()));
        assert!(refused(|plan| plan.targets.clear()).contains("a target"));
        assert!(refused(|plan| plan.size = 0).contains("at least one byte"));
        assert!(refused(|plan| plan.threads = 51).contains("a connection for each"));
        assert!(refused(|plan| plan.pace = Pace::Rate(f64::NAN)).contains("above 0"));
        assert!(refused(|plan| plan.pace = Pace::Rate(1e9)).contains("closed loop"));
        let ramp = |to, over| Pace::Ramp(Ramp { from: 1.0, to, over });
        assert!(refused(|plan| plan.pace = ramp(0.0, Duration::MAX)).contains("above 0"));
        assert!(refused(|plan| plan.pace = ramp(9.0, Duration::ZERO)).contains("needs a time"));
        assert!(refused(|plan| plan.arrivals = Arrivals::Poisson).contains("need a rate"));
        let short = (ramp(9.0, Duration::from_secs(3)), Length::Time(Duration::from_secs(2)));
        assert!(refused(|plan| (plan.pace, plan.length) = short).contains("at least as long"));
        let counted = (ramp(9.0, Duration::MAX), Length::Messages(9));
        assert!(refused(|plan| (plan.pace, plan.length) = counted).contains("for a time"));
        let stepped = |plan: &mut Plan, count, seconds| {
            let (from, to, over) = (1.0, 9.0, Duration::from_secs(seconds));
            plan.pace = Pace::Steps(Steps { from, to, count, over });
            plan.length = Length::Time(Duration::from_secs(10));
        };
        for count in [0, 1, 101] {
            assert!(refused(|plan| stepped(plan, count, 10)).contains("2 to 100 steps"), "{count}");
        }
        assert!(refused(|plan| stepped(plan, 2, 9)).contains("as long as they take"));
        assert!(refused(|plan| plan.idle = usize::MAX).contains("use fewer"));
        assert!(refused(|plan| plan.interval = Some(Duration::ZERO)).contains("such as 1s"));
        assert!(refused(|plan| plan.sources = vec![SocketAddr::from(([0; 16], 0))]).contains("family"));
        let unix = std::os::unix::net::SocketAddr::from_pathname("parrot.sock").unwrap();
        let source = SocketAddr::from(([127, 0, 0, 1], 0));
        assert!(
            refused(|plan| (plan.targets, plan.sources) = (vec![unix.clone().into()], vec![source])).contains("Unix")
        );
        assert!(refused(|plan| (plan.targets, plan.no_delay) = (vec![unix.into()], false)).contains("only TCP"));
        let udp = || vec![Target::Udp(SocketAddr::from(([127, 0, 0, 1], 1512)))];
        assert!(refused(|plan| (plan.targets, plan.size) = (udp(), 11)).contains("at least 12"));
        assert!(refused(|plan| (plan.targets, plan.size) = (udp(), 65_508)).contains("at most 65,507"));
        assert!(refused(|plan| (plan.targets, plan.idle) = (udp(), 1)).contains("idle"));
        assert!(refused(|plan| (plan.targets, plan.skip_greeting) = (udp(), true)).contains("greeting"));
        assert!(
            refused(|plan| (plan.targets, plan.reconnect) = (udp(), Some(Close::Reset.after(1))))
                .contains("open again")
        );
        assert!(refused(|plan| plan.targets.extend(udp())).contains("not to both"));
        assert!(refused(|plan| (plan.targets, plan.connect_rate) = (udp(), Some(1.0))).contains("at a rate"));
        assert!(refused(|plan| (plan.targets, plan.size_to) = (udp(), Some(65_508))).contains("at most 65,507"));
        let reconnect = |messages| Some(Close::Reset.after(messages));
        assert!(refused(|plan| (plan.reconnect, plan.pipeline) = (reconnect(3), 4)).contains("smaller pipeline"));
        assert!(refused(|plan| plan.reconnect = reconnect(0)).contains("at least one message"));
        assert!(refused(|plan| plan.size_to = Some(11)).contains("least to the most"));
        assert!(refused(|plan| (plan.size_to, plan.pipeline) = (Some(1 << 30), 2)).contains("1 GiB"));
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(refused(|plan| plan.connect_rate = Some(rate)).contains("above 0"));
        }
        assert!(refused(|plan| plan.connect_rate = Some(1e7)).contains("1,000,000"));
        let (pace, connect_rate) = (Pace::Rate(1000.0), Some(99.0));
        let slow =
            |plan: &mut Plan| (plan.pace, plan.connect_rate, plan.reconnect) = (pace, connect_rate, reconnect(10));
        assert!(refused(slow).contains("more connections a second"));
    }
}
