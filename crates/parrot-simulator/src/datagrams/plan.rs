//! What a seed decides of the UDP sockets and their senders.

use crate::datagrams::LONGEST;
use crate::datagrams::addresses::Family;
use crate::dice::Dice;
use crate::time::{MICROSECOND, MILLISECOND};

/// A datagram takes up this much of the receive buffer in addition to its payload.
pub(crate) const OVERHEAD: u64 = 512;
/// The UDP sockets have ports from this one on.
pub(crate) const FIRST_UDP_PORT: u16 = 1512;

/// Everything that is decided of UDP.
#[derive(Debug, Clone, Default)]
pub(crate) struct UdpPlan {
    pub(crate) sockets: Vec<SocketPlan>,
    pub(crate) senders: Vec<Sender>,
    pub(crate) answer_low_ports: bool,
    pub(crate) rate: Option<u32>,
}

/// A UDP socket of the server.
#[derive(Debug, Clone)]
pub(crate) struct SocketPlan {
    pub(crate) family: Family,
    /// Somebody else has opened it, and may hold it too.
    pub(crate) given: bool,
    /// The room in its receive buffer.
    pub(crate) room: u64,
}

/// A sender of the plan.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) script: SenderPlan,
    /// False if the sender is left out to shrink a story.
    pub(crate) takes_part: bool,
}

/// The script of a sender.
#[derive(Debug, Clone)]
pub(crate) struct SenderPlan {
    pub(crate) kind: &'static str,
    pub(crate) socket: usize,
    /// The network of the sender, if its datagrams are honest.
    pub(crate) network: u64,
    pub(crate) start: u64,
    pub(crate) datagrams: u64,
    pub(crate) length: (u64, u64),
    /// How many datagrams it sends at once, and how long it waits after that.
    pub(crate) burst: (u64, u64),
    pub(crate) gap: (u64, u64),
    /// Whether it waits for the reply before it sends on, up to a timeout.
    pub(crate) lockstep: bool,
    /// How often in 256 a datagram has a forged address.
    pub(crate) forged: u8,
    /// How often in 256 the network loses, doubles or delays a datagram.
    pub(crate) lost: u8,
    pub(crate) doubled: u8,
    pub(crate) late: u8,
}

impl SenderPlan {
    fn draw(sockets: usize, dice: &mut Dice) -> SenderPlan {
        let plan = SenderPlan {
            kind: "client",
            socket: dice.below(sockets as u64) as usize,
            network: dice.below(4),
            start: dice.below(2 * MILLISECOND) * dice.pick([0, 1, 5]),
            datagrams: dice.between((1, 60)),
            length: dice.pick([(0, 64), (1, 1472), (5, 5), (0, 9000)]),
            burst: (1, 1),
            gap: (0, 20 * MICROSECOND),
            lockstep: true,
            forged: dice.pick([0, 0, 8]),
            lost: dice.pick([0, 0, 0, 8, 64]),
            doubled: dice.pick([0, 0, 0, 8, 64]),
            late: dice.pick([0, 0, 0, 8, 64]),
        };
        match dice.below(9) {
            0 | 1 => plan,
            2 | 3 => {
                SenderPlan { kind: "streamer", lockstep: false, burst: (1, 8), datagrams: plan.datagrams * 4, ..plan }
            }
            4 => SenderPlan {
                kind: "flood",
                lockstep: false,
                datagrams: dice.between((64, 900)),
                burst: dice.pick([(33, 64), (200, 320)]),
                length: dice.pick([(0, 8), (20, 200)]),
                gap: (0, dice.pick([MICROSECOND, 100 * MICROSECOND, 3 * MILLISECOND])),
                ..plan
            },
            5 => SenderPlan {
                kind: "flood of long ones",
                lockstep: false,
                datagrams: dice.between((40, 80)),
                burst: (40, 80),
                length: (12_000, 16_384),
                ..plan
            },
            6 => SenderPlan {
                kind: "longest",
                datagrams: dice.between((1, 12)),
                length: dice.pick([(60_000, LONGEST), (LONGEST, LONGEST)]),
                ..plan
            },
            7 => SenderPlan { kind: "empty", length: (0, 0), ..plan },
            _ => SenderPlan { kind: "forger", lockstep: false, burst: (1, 40), forged: 200, ..plan },
        }
    }

    /// The number that is halved to shrink a story.
    pub(crate) fn most(&self) -> u64 {
        self.length.1.max(self.datagrams)
    }

    pub(crate) fn limit(&mut self, most: u64) {
        self.length = (self.length.0.min(most), self.length.1.min(most));
        self.datagrams = self.datagrams.min(most);
    }
}

impl UdpPlan {
    pub(crate) fn draw(dice: &mut Dice) -> UdpPlan {
        let families = [Family::Four, Family::Four, Family::Six, Family::Both, Family::OneAddress];
        let sockets = (0..dice.pick([1, 1, 2, 3])).map(|_| SocketPlan {
            family: dice.pick(families),
            given: dice.chance(64),
            room: dice.pick([212_992, 212_992, 2 << 20, 2 << 20, 40_000, LONGEST + OVERHEAD]),
        });
        let sockets: Vec<SocketPlan> = sockets.collect();
        let senders = (0..dice.between((1, 6)))
            .map(|_| Sender { script: SenderPlan::draw(sockets.len(), dice), takes_part: true })
            .collect();
        UdpPlan {
            sockets,
            senders,
            answer_low_ports: dice.chance(64),
            // Divisors of a second, so that the bound is a whole number of nanoseconds.
            rate: dice.chance(64).then(|| dice.pick([1, 2, 5, 10, 50, 1000, 100_000])),
        }
    }
}
