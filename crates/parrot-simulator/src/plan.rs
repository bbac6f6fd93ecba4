//! What a seed decides before the first turn: the configuration of the server, the peers, the faults and the end.

use std::num::NonZeroU32;
use std::time::Duration;

use parrot_kqueue::Signal;
use parrot_server::fault::FaultPlan;
use parrot_server::simulation::Settings;
use parrot_server::{Limits, ProxyProtocol, Replies, UdpRules};

use crate::attempts::port_of;
use crate::changes::ChangePlan;
use crate::coverage::Point;
use crate::datagrams::UdpPlan;
use crate::dice::{Dice, Purpose};
use crate::doors::{Doors, PortPlan, Which, template};
use crate::headers::HeaderPlan;
use crate::misbehaviour;
use crate::peer::{PeerPlan, Scene};
use crate::profile::Profile;
use crate::rates::Rates;
use crate::time::{MICROSECOND, MILLISECOND, SECOND};

/// With more peers than this, what each of them does is kept short.
const CROWD: usize = 50;

/// How and when the server is stopped.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// Nanoseconds after the start, or `None` for when no peer has anything left to do.
    pub(crate) at: Option<u64>,
    /// Whether a signal stops the server, rather than a handle.
    pub(crate) by_signal: bool,
    /// How long after the stop a second signal arrives.
    pub(crate) second_after: Option<u64>,
    pub(crate) signal: Signal,
    pub(crate) second_signal: Signal,
    /// How long after the stop a handle stops the server again.
    pub(crate) again_after: Option<u64>,
}

/// Everything that is decided before the first turn.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) profile: Profile,
    pub(crate) limits: Limits,
    pub(crate) ports: Vec<PortPlan>,
    pub(crate) doors: Doors,
    pub(crate) backlog: usize,
    pub(crate) descriptors: usize,
    /// The longest that the log takes to accept a message, in nanoseconds.
    pub(crate) log_time: u64,
    pub(crate) rates: Rates,
    pub(crate) ending: Ending,
    /// When the process is stopped, and for how long, as SIGSTOP does.
    pub(crate) stopped: Option<(u64, u64)>,
    /// When signals arrive that do not stop the server.
    pub(crate) signals: Vec<(u64, Signal)>,
    pub(crate) wakes: Vec<u64>,
    /// What handles change, and when.
    pub(crate) changes: Vec<(u64, ChangePlan)>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) udp: UdpPlan,
    /// The faults on request of all connections.
    pub(crate) faults: Option<FaultPlan>,
}

/// A peer of the plan.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) script: PeerPlan,
    /// What it sends first, to a listener with PROXY headers.
    pub(crate) header: Option<HeaderPlan>,
    /// Whether its address is not among those that may send a header.
    pub(crate) stranger: bool,
    /// False if the peer is left out to shrink a story.
    pub(crate) takes_part: bool,
}

impl Plan {
    pub(crate) fn draw(profile: Profile, source: &Dice) -> Plan {
        let dice = &mut source.of(Purpose::Plan, 0);
        let mut rates = Rates::draw(profile, dice);
        let busy_poll = dice.chance(12).then(|| Duration::from_nanos(dice.pick([3, 15]) * MICROSECOND));
        if busy_poll.is_some() {
            // Frequent events without a cause would keep the loop awake for ever.
            rates.limit(Point::WaitStale, 2);
            rates.limit(Point::WaitSpurious, 2);
        }
        let scene = match dice.chance(10) {
            false => Scene::Usual,
            true => match dice.below(5) {
                0 | 1 => Scene::Crowd,
                2 => Scene::Waiting,
                _ => Scene::Storm,
            },
        };
        if scene == Scene::Crowd {
            // The crowd has to connect first.
            Point::FAULTS.iter().for_each(|fault| rates.limit(*fault, 1));
        }
        let count = match scene {
            Scene::Usual => dice.pick([1, 4, 6, 8, 8, 10, 12, 16]),
            Scene::Storm => dice.between((70, 160)),
            Scene::Crowd | Scene::Waiting => dice.between((1050, 1300)),
        };
        let max_output: u64 =
            dice.pick([1, 3, 16, 64, 256, 700, 1024, 1024, 2048, 4096, 4096, 4096, 8192, 8192, 16_384, 131_072]);
        // With small buffers or many peers, the number of bytes determines how long a run takes.
        let most_bytes = if scene == Scene::Usual { max_output.clamp(1, 2048) * 480 } else { 512 };
        let connected_within = match scene {
            Scene::Usual => dice.pick([0, 50 * MICROSECOND, MILLISECOND, 10 * MILLISECOND]),
            Scene::Storm => dice.pick([0, 0, 20, MILLISECOND]),
            Scene::Crowd | Scene::Waiting => 0,
        };
        // If so, the first peers alone hold the buffers, and when they go, one turn could serve all that wait.
        let quick = scene == Scene::Waiting && dice.chance(128);
        let peers = (0..count).map(|index| {
            let script = PeerPlan::draw(scene, most_bytes, connected_within, &mut source.of(Purpose::Script, index));
            let script = if quick && index > 8 { script.that_reads() } else { script };
            Peer { script, header: None, stranger: false, takes_part: true }
        });
        let peers = peers.collect();
        let (max_output, drain_for_ever) = (max_output as usize, dice.chance(6));
        let mut plan = Plan {
            profile,
            limits: Limits {
                busy_poll,
                max_connections: (scene != Scene::Crowd && dice.chance(32)).then(|| dice.between((1, count)) as usize),
                max_output,
                max_buffered: match dice.below(4) {
                    _ if scene == Scene::Waiting => dice.between((0, 3)) as usize * max_output,
                    0 => dice.between((0, 3)) as usize * max_output,
                    _ => 256 * 1024 * 1024,
                },
                idle_timeout: match scene {
                    // If the process is stopped meanwhile, all of them are idle at once.
                    Scene::Crowd => dice.chance(192).then_some(30 * MILLISECOND),
                    _ => dice
                        .chance(64)
                        .then(|| dice.pick([200 * MICROSECOND, MILLISECOND, 30 * MILLISECOND, 60 * SECOND])),
                }
                .map(Duration::from_nanos),
                drain_delay: Duration::ZERO,
                drain_timeout: match drain_for_ever {
                    true => Duration::MAX,
                    false => {
                        Duration::from_nanos(dice.pick([5 * SECOND, 5 * SECOND, 20 * MILLISECOND, MILLISECOND, 0]))
                    }
                },
            },
            ports: vec![PortPlan::default(); dice.pick([2, 1])],
            doors: Doors::default(),
            backlog: match scene {
                Scene::Usual => dice.pick([128, 128, 128, 4, 1]),
                Scene::Storm => dice.pick([128, 128, 128, 4]),
                Scene::Crowd | Scene::Waiting => 2048,
            },
            descriptors: if scene != Scene::Crowd && dice.chance(40) {
                dice.between((1, count)) as usize
            } else {
                usize::MAX
            },
            log_time: dice.pick([0, 0, 0, MICROSECOND, 20 * MICROSECOND]),
            ending: Ending {
                at: match scene {
                    // A silent crowd has nothing left to do from the start, and its deadlines have to come first.
                    Scene::Crowd if dice.chance(160) => Some(20 * SECOND),
                    _ if dice.chance(64) => Some(dice.below(MILLISECOND) * dice.pick([1, 10, 40])),
                    _ => None,
                },
                by_signal: dice.chance(128),
                // Only a second signal may end a drain without a timeout.
                second_after: match dice.chance(40) {
                    true => Some(dice.pick([0, MICROSECOND, 100 * MICROSECOND, 2 * MILLISECOND])),
                    false => drain_for_ever.then_some(50 * MILLISECOND),
                },
                signal: dice.pick([Signal::Terminate, Signal::Interrupt]),
                second_signal: dice.pick([Signal::Terminate, Signal::Interrupt]),
                again_after: dice.chance(40).then(|| dice.pick([0, MICROSECOND, 100 * MICROSECOND])),
            },
            stopped: dice.chance(if scene == Scene::Crowd { 200 } else { 24 }).then(|| {
                let at = if scene == Scene::Crowd { 25 * MILLISECOND } else { dice.below(5 * MILLISECOND) };
                (at, dice.pick([20 * MILLISECOND, 100 * MILLISECOND, 10 * SECOND]))
            }),
            signals: (0..dice.pick([0, 0, 0, 2]))
                .map(|_| {
                    let at = dice.below(5 * MILLISECOND);
                    (at, if dice.chance(128) { Signal::Hangup } else { Signal::User1 })
                })
                .collect(),
            // A crowd is woken between its accepts and its deadlines. It can then be stopped before the first of them.
            wakes: (0..dice.pick([0, 0, 0, 2]))
                .map(|_| dice.below(5 * MILLISECOND))
                .chain((scene == Scene::Crowd).then_some(25 * MILLISECOND))
                .collect(),
            changes: Vec::new(),
            rates,
            peers,
            udp: UdpPlan::default(),
            faults: None,
        };
        plan.draw_streams(&mut source.of(Purpose::Stream, 0));
        if plan.peers.len() <= CROWD {
            plan.draw_changes(&mut source.of(Purpose::Change, 0));
        }
        plan.draw_doors(source);
        plan.limits.drain_delay = Plan::draw_delay(&mut source.of(Purpose::Delay, 0));
        plan.draw_misbehaviour(&mut source.of(Purpose::Misbehaviour, 0));
        plan
    }

    /// Now and then puts streams in place of the first peers, with buffers as large as real ones. All others have smaller ones,
    /// so that they fill them in a few bytes.
    fn draw_streams(&mut self, dice: &mut Dice) {
        if !dice.chance(2) || self.peers.len() > 20 {
            return;
        }
        Point::FAULTS.iter().for_each(|fault| self.rates.limit(*fault, 1));
        self.limits.max_output = 128 * 1024;
        self.limits.max_buffered = dice.pick([2, 64]) * 1024 * 1024;
        for peer in self.peers.iter_mut().take(2) {
            peer.script = PeerPlan::draw_stream(dice);
        }
    }

    /// Draws what a story has besides TCP. Two stories in three have nothing.
    fn draw_doors(&mut self, source: &Dice) {
        let dice = &mut source.of(Purpose::Doors, 0);
        if !dice.chance(85) {
            return;
        }
        self.rates.draw_doors(self.profile, dice);
        let which = Which::draw(dice);
        self.doors = Doors::draw(which, self.limits.max_output, dice);
        for port in &mut self.ports {
            *port = PortPlan { later: port.later, ..PortPlan::draw(which, dice) };
        }
        if self.doors.greeting.is_some() && dice.chance(64) {
            // Greetings often wait for the only buffer.
            self.limits.max_buffered = self.limits.max_output;
        }
        let ports = self.ports.len();
        let idle = self.limits.idle_timeout.map(|idle| idle.as_nanos() as u64);
        let crowd = self.peers.len() > CROWD;
        for (index, peer) in self.peers.iter_mut().enumerate() {
            let port = self.ports[index % ports];
            if self.doors.prefix.is_some() && !crowd && dice.chance(32) {
                // Its buffer fills up until it has no room for another prefix.
                peer.script = peer.script.clone().that_never_reads(self.limits.max_output as u64);
            }
            if !port.proxy && !port.unix {
                continue;
            }
            // Unix sockets have no urgent data here, and a header is not looked at beyond it.
            peer.script.urgent_at = None;
            let dice = &mut source.of(Purpose::Header, index as u64);
            peer.stranger = port.proxy && !port.unix && self.doors.trusts_some && dice.chance(64);
            peer.header = port.proxy.then(|| HeaderPlan::draw(port_of(index), idle, crowd, dice));
        }
        if which.udp {
            self.udp = UdpPlan::draw(dice);
            if dice.chance(40) {
                // A server for UDP only.
                (self.ports, self.peers) = (Vec::new(), Vec::new());
                self.changes.retain(|(_, change)| matches!(change, ChangePlan::Limits(_)));
            }
        }
    }

    /// Has the server misbehave in one story of ten, of those without headers and replies on streams.
    fn draw_misbehaviour(&mut self, dice: &mut Dice) {
        let has_replies = self.doors.greeting.is_some() || self.doors.prefix.is_some();
        let has_headers = self.ports.iter().any(|port| port.proxy);
        let is_plain = self.peers.is_empty() || !(has_replies || has_headers);
        if dice.chance(25) && is_plain && self.peers.len() <= CROWD {
            self.faults = misbehaviour::draw(dice);
        }
    }

    /// Draws how long a SIGTERM delays the drain. In three stories of four it does not.
    pub(crate) fn draw_delay(dice: &mut Dice) -> Duration {
        match dice.chance(64) {
            true => Duration::from_nanos(dice.pick([MICROSECOND, MILLISECOND, 20 * MILLISECOND, SECOND])),
            false => Duration::ZERO,
        }
    }

    /// The part of the server's options that the loop works with.
    pub(crate) fn settings(&self) -> Settings {
        let rate = self.udp.rate.and_then(NonZeroU32::new);
        let text = |text: &Option<String>| text.as_deref().and_then(template);
        let from = if self.doors.trusts_some { "127.0.0.0/8".parse().into_iter().collect() } else { Vec::new() };
        Settings {
            limits: self.limits.clone(),
            udp: UdpRules { answer_low_ports: self.udp.answer_low_ports, rate },
            replies: Replies { greeting: text(&self.doors.greeting), prefix: text(&self.doors.prefix) },
            proxy: ProxyProtocol { everywhere: false, timeout: Duration::from_nanos(self.doors.header_timeout), from },
            faults: self.faults.clone(),
        }
    }

    /// Leaves out every fault except those in `kept`.
    pub(crate) fn keep_faults(&mut self, kept: &[Point]) {
        for fault in Point::FAULTS {
            if !kept.contains(fault) {
                self.rates.limit(*fault, 0);
            }
        }
    }

    /// Leaves out every peer and sender except those in `kept`. Senders have the numbers after the peers.
    pub(crate) fn keep_peers(&mut self, kept: &[usize]) {
        let peers = self.peers.iter_mut().map(|peer| &mut peer.takes_part);
        let senders = self.udp.senders.iter_mut().map(|sender| &mut sender.takes_part);
        for (index, takes_part) in peers.chain(senders).enumerate() {
            *takes_part = kept.contains(&index);
        }
    }

    /// Limits the bytes that each peer sends, and the datagrams and their length.
    pub(crate) fn limit_bytes(&mut self, most: u64) {
        for peer in &mut self.peers {
            peer.script.bytes = peer.script.bytes.min(most);
        }
        for sender in &mut self.udp.senders {
            sender.script.limit(most);
        }
    }

    /// The faults that may happen in this plan.
    pub(crate) fn faults(&self) -> Vec<Point> {
        Point::FAULTS.iter().copied().filter(|fault| self.rates.of(*fault) > 0).collect()
    }

    /// The peers that take part, with connections and then with datagrams.
    pub(crate) fn kept_peers(&self) -> Vec<usize> {
        let senders = self.kept_senders().into_iter().map(|sender| self.peers.len() + sender);
        self.kept_connections().into_iter().chain(senders).collect()
    }

    /// The peers with connections that take part.
    pub(crate) fn kept_connections(&self) -> Vec<usize> {
        self.peers.iter().enumerate().filter(|(_, peer)| peer.takes_part).map(|(index, _)| index).collect()
    }

    /// The senders of datagrams that take part.
    pub(crate) fn kept_senders(&self) -> Vec<usize> {
        let senders = self.udp.senders.iter().enumerate();
        senders.filter(|(_, sender)| sender.takes_part).map(|(index, _)| index).collect()
    }

    /// The most bytes that any peer of the plan sends.
    pub(crate) fn most_bytes(&self) -> u64 {
        let peers = self.peers.iter().filter(|peer| peer.takes_part).map(|peer| peer.script.bytes);
        let senders = self.udp.senders.iter().filter(|sender| sender.takes_part).map(|sender| sender.script.most());
        peers.chain(senders).max().unwrap_or(0)
    }
}
