//! What a seed decides before the first turn: the server's configuration, the peers, the faults, the end.

use std::time::Duration;

use parrot_server::system::LoopConfig;

use crate::coverage::Point;
use crate::dice::Dice;
use crate::peer::{PeerPlan, Scene};
use crate::profile::Profile;

pub(crate) const MICROSECOND: u64 = 1_000;
pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// How often in 256 calls each fault happens.
#[derive(Debug, Clone)]
pub(crate) struct Rates([u8; Point::COUNT]);

impl Rates {
    #[inline]
    pub(crate) fn of(&self, fault: Point) -> u8 {
        self.0[fault as usize]
    }

    fn draw(profile: Profile, dice: &mut Dice) -> Rates {
        let mut rates = Rates([0; Point::COUNT]);
        // One seed in eight is calm; in a stormy one a fault happens up to every other call.
        let (share, highest): (u8, [u8; 4]) = match dice.below(8) {
            0 => (0, [0; 4]),
            1..5 => (48, [1, 2, 8, 32]),
            5..7 => (110, [1, 4, 16, 64]),
            _ => (64, [8, 32, 128, 224]),
        };
        for fault in Point::FAULTS.iter().filter(|fault| fault.is_in(profile)) {
            if dice.chance(share) {
                rates.0[*fault as usize] = dice.pick(highest);
            }
        }
        // What ends a connection or stops the clock's peace for long is rarer, or there would be little else to see.
        for (fault, most) in [
            (Point::WaitInterrupted, 96),
            (Point::WaitEarly, 96),
            (Point::ReceiveEmpty, 96),
            (Point::SendFull, 96),
            (Point::ReceiveFails, 2),
            (Point::SendFails, 2),
            (Point::SendPrototype, 2),
            (Point::ClockJumps, 1),
            (Point::ReceiveNoMemory, 16),
            (Point::SendNoBuffers, 16),
            (Point::SendNoMemory, 16),
            (Point::WatchWriteFails, 16),
            (Point::UnwatchWriteFails, 16),
            (Point::WatchReadFails, 64),
            (Point::SetUpFails, 64),
        ] {
            rates.limit(fault, most);
        }
        rates
    }

    fn limit(&mut self, fault: Point, most: u8) {
        self.0[fault as usize] = self.of(fault).min(most);
    }
}

/// A signal that ends the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    Interrupt,
    Terminate,
}

/// How and when the server is told to end.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// Nanoseconds after the start; `None`: when every peer has come to its end.
    pub(crate) at: Option<u64>,
    /// By a signal, or by a handle.
    pub(crate) by_signal: bool,
    /// How long after the first a second signal comes.
    pub(crate) second_after: Option<u64>,
    pub(crate) signal: Stop,
    pub(crate) second_signal: Stop,
    /// How long after the first a handle stops what stops already.
    pub(crate) again_after: Option<u64>,
}

/// All that is decided beforehand.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) profile: Profile,
    pub(crate) config: LoopConfig,
    pub(crate) listeners: usize,
    pub(crate) backlog: usize,
    pub(crate) descriptors: usize,
    pub(crate) log_lines: u64,
    pub(crate) log_interval: u64,
    pub(crate) rates: Rates,
    pub(crate) ending: Ending,
    /// When a signal that ends nothing comes, and whether it is a hangup.
    pub(crate) signals: Vec<(u64, bool)>,
    pub(crate) wakes: Vec<u64>,
    /// `None`: left out, to find the least that still fails.
    pub(crate) peers: Vec<Option<PeerPlan>>,
}

impl Plan {
    pub(crate) fn draw(profile: Profile, dice: &mut Dice) -> Plan {
        let mut rates = Rates::draw(profile, dice);
        let busy_poll = dice.chance(12).then(|| Duration::from_nanos(dice.pick([3, 15]) * MICROSECOND));
        if busy_poll.is_some() {
            // Events for nothing would keep the loop awake for ever.
            rates.limit(Point::WaitStale, 2);
            rates.limit(Point::WaitSpurious, 2);
        }
        let scene = match dice.chance(6) {
            false => Scene::Usual,
            true if dice.chance(24) => Scene::Crowd,
            true => Scene::Storm,
        };
        let count = match scene {
            Scene::Usual => dice.pick([1, 4, 5, 6, 8, 8, 12, 16]),
            Scene::Storm => dice.between((70, 160)),
            Scene::Crowd => dice.between((1050, 1300)),
        };
        let max_output: u64 =
            dice.pick([1, 3, 16, 64, 256, 700, 1024, 1024, 2048, 4096, 4096, 4096, 8192, 8192, 16_384, 131_072]);
        // In small steps, and with many peers, the number of bytes is what a run's length comes from.
        let most_bytes = if scene == Scene::Usual { max_output.clamp(1, 2048) * 300 } else { 512 };
        let connected_within = match scene {
            Scene::Usual => dice.pick([0, 50 * MICROSECOND, MILLISECOND, 10 * MILLISECOND]),
            Scene::Storm => dice.pick([0, 0, 20, MILLISECOND]),
            Scene::Crowd => 0,
        };
        let peers = (0..count).map(|_| Some(PeerPlan::draw(scene, most_bytes, connected_within, dice))).collect();
        let (max_output, drain_for_ever) = (max_output as usize, dice.chance(6));
        Plan {
            profile,
            config: LoopConfig {
                busy_poll,
                max_connections: if dice.chance(32) { Some(dice.between((1, count)) as usize) } else { None },
                max_output,
                max_buffered: match dice.below(4) {
                    0 => dice.between((0, 3)) as usize * max_output,
                    _ => 256 * 1024 * 1024,
                },
                idle_timeout: if dice.chance(64) {
                    Some(Duration::from_nanos(dice.pick([
                        200 * MICROSECOND,
                        MILLISECOND,
                        30 * MILLISECOND,
                        60 * SECOND,
                    ])))
                } else {
                    None
                },
                drain_timeout: match drain_for_ever {
                    true => Duration::MAX,
                    false => {
                        Duration::from_nanos(dice.pick([5 * SECOND, 5 * SECOND, 20 * MILLISECOND, MILLISECOND, 0]))
                    }
                },
            },
            listeners: dice.pick([2, 1]),
            backlog: match scene {
                Scene::Usual => dice.pick([128, 128, 128, 4, 1]),
                Scene::Storm => dice.pick([128, 128, 128, 4]),
                Scene::Crowd => 2048,
            },
            descriptors: if dice.chance(40) { dice.between((1, count)) as usize } else { usize::MAX },
            log_lines: dice.pick([u64::MAX, 4, 64]),
            log_interval: dice.pick([MICROSECOND, 50 * MICROSECOND, MILLISECOND]),
            ending: Ending {
                at: if dice.chance(64) { Some(dice.below(MILLISECOND) * dice.pick([1, 10, 40])) } else { None },
                by_signal: dice.chance(128),
                // A drain without a time-out may have no end of its own.
                second_after: match dice.chance(40) {
                    true => Some(dice.pick([0, MICROSECOND, 100 * MICROSECOND, 2 * MILLISECOND])),
                    false => drain_for_ever.then_some(50 * MILLISECOND),
                },
                signal: dice.pick([Stop::Terminate, Stop::Interrupt]),
                second_signal: dice.pick([Stop::Terminate, Stop::Interrupt]),
                again_after: if dice.chance(40) { Some(dice.pick([0, MICROSECOND, 100 * MICROSECOND])) } else { None },
            },
            signals: (0..dice.pick([0, 0, 0, 2])).map(|_| (dice.below(5 * MILLISECOND), dice.chance(128))).collect(),
            wakes: (0..dice.pick([0, 0, 0, 2])).map(|_| dice.below(5 * MILLISECOND)).collect(),
            rates,
            peers,
        }
    }

    /// Leaves these faults out.
    pub(crate) fn without(&mut self, faults: &[Point]) {
        for fault in faults {
            self.rates.0[*fault as usize] = 0;
        }
    }

    /// Leaves out every peer but these.
    pub(crate) fn keep_peers(&mut self, kept: &[usize]) {
        for (index, peer) in self.peers.iter_mut().enumerate() {
            if !kept.contains(&index) {
                *peer = None;
            }
        }
    }

    /// The faults that may happen in this plan.
    pub(crate) fn faults(&self) -> Vec<Point> {
        Point::FAULTS.iter().copied().filter(|fault| self.rates.of(*fault) > 0).collect()
    }

    /// The peers that take part.
    pub(crate) fn kept_peers(&self) -> Vec<usize> {
        self.peers.iter().enumerate().filter(|(_, peer)| peer.is_some()).map(|(index, _)| index).collect()
    }
}
