//! The peers and their scripts.

use crate::dice::Dice;
use crate::time::{MICROSECOND, MILLISECOND, SECOND};

/// The number and kind of peers in a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    /// A few of every kind.
    Usual,
    /// More peers than a turn accepts, with few bytes.
    Storm,
    /// More peers than a turn serves, and all of them silent.
    Crowd,
    /// As many peers, with a few bytes each and hardly a buffer for them.
    Waiting,
}

/// What a peer does once it has written all its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Ends its stream at once and reads on.
    HalfClose,
    /// Reads its echo, then ends its stream.
    ReadThenClose,
    /// Closes, so that later bytes cause a reset.
    Close,
    /// Resets the connection.
    Reset,
    #[default]
    /// Stays silent, and ends its stream when the server has ended its own.
    Stay,
    /// Stays silent, and never ends its stream.
    Linger,
    /// Loses its network, so that the server's socket fails after a while or never.
    Vanish,
}

/// The script of a peer.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerPlan {
    pub(crate) kind: &'static str,
    pub(crate) connect_at: u64,
    pub(crate) bytes: u64,
    /// How much the peer writes at a time, and how long it waits after that.
    pub(crate) write: (u64, u64),
    pub(crate) write_gap: (u64, u64),
    /// Whether the peer waits for the echo of what it wrote before it writes on.
    pub(crate) lockstep: bool,
    /// How much the peer reads at a time, or (0, 0) if it never reads.
    pub(crate) read: (u64, u64),
    pub(crate) read_gap: (u64, u64),
    /// After how many bytes it stops reading for a while, and for how long.
    pub(crate) pause: Option<(u64, u64)>,
    pub(crate) finish: Finish,
    /// How long after it connected the peer resets the connection, whatever it is doing.
    pub(crate) reset_after: Option<u64>,
    /// The offset of an urgent byte.
    pub(crate) urgent_at: Option<u64>,
    /// Room in the server's socket for bytes from and to this peer.
    pub(crate) receive_room: u64,
    pub(crate) send_room: u64,
}

impl PeerPlan {
    /// Makes the peer read everything at once.
    pub(crate) fn that_reads(self) -> PeerPlan {
        PeerPlan { read: (1 << 20, 1 << 20), send_room: 64, reset_after: None, ..self }
    }

    /// A stream at full speed that is long enough for large buffers of the real size.
    pub(crate) fn draw_stream(dice: &mut Dice) -> PeerPlan {
        const MIB: u64 = 1 << 20;
        let bytes = dice.between((9 * MIB, 14 * MIB));
        PeerPlan {
            kind: "stream",
            bytes,
            write: (MIB / 8, MIB / 2),
            read: (MIB, MIB),
            read_gap: (0, 2 * MICROSECOND),
            pause: dice.chance(128).then(|| {
                (dice.between((8 * MIB, bytes)), dice.pick([20 * MICROSECOND, MILLISECOND, 50 * MILLISECOND]))
            }),
            finish: dice.pick([Finish::ReadThenClose, Finish::HalfClose, Finish::Linger]),
            receive_room: MIB,
            send_room: dice.pick([MIB, MIB, MIB / 5]),
            ..PeerPlan::default()
        }
    }

    /// Makes the peer read nothing, and fill a buffer of this many bytes with small messages.
    pub(crate) fn that_never_reads(self, buffer: u64) -> PeerPlan {
        PeerPlan {
            read: (0, 0),
            send_room: 7,
            bytes: self.bytes.max(3 * buffer),
            write: (1, buffer / 4 + 1),
            write_gap: (MICROSECOND, 60 * MICROSECOND),
            lockstep: false,
            finish: Finish::Stay,
            ..self
        }
    }

    pub(crate) fn draw(scene: Scene, most_bytes: u64, connected_within: u64, dice: &mut Dice) -> PeerPlan {
        let quick = (0, 2 * MICROSECOND);
        let plan = PeerPlan {
            kind: "chatty",
            connect_at: dice.below(connected_within + 1),
            bytes: dice.between((1, 64)) * dice.between((1, 900)),
            write: (1, 90),
            write_gap: (MICROSECOND, 60 * MICROSECOND),
            lockstep: true,
            read: (1 << 20, 1 << 20),
            read_gap: quick,
            pause: None,
            finish: dice.pick([Finish::ReadThenClose, Finish::HalfClose, Finish::Stay, Finish::ReadThenClose]),
            reset_after: None,
            urgent_at: if dice.chance(16) { Some(dice.below(500)) } else { None },
            receive_room: dice.pick([65_536, 4096, 16_384, 2048, 300, 65_536, 16_384, 65_536, 4096, 7]),
            send_room: dice.pick([65_536, 4096, 16_384, 2048, 300, 65_536, 16_384, 65_536, 4096, 7]),
        };
        let stream = PeerPlan {
            bytes: dice.between((most_bytes / 3, most_bytes)).min(dice.pick([100_000, 200_000, 400_000])),
            write: (most_bytes / 800, most_bytes / 80),
            write_gap: (0, dice.pick([2, 10, 40]) * MICROSECOND),
            lockstep: false,
            ..plan.clone()
        };
        let script = match match scene {
            Scene::Usual => dice.below(14),
            Scene::Storm => dice.pick([0, 7, 9, 0]),
            Scene::Crowd => 7,
            Scene::Waiting => 14,
        } {
            0 | 1 => plan,
            2 | 3 => PeerPlan { kind: "bulk", ..stream },
            4 => PeerPlan {
                kind: "slow reader",
                read: (1, most_bytes / 8),
                read_gap: (10 * MICROSECOND, dice.pick([100 * MICROSECOND, MILLISECOND])),
                ..stream
            },
            5 => PeerPlan { kind: "half-closer", finish: Finish::HalfClose, ..stream },
            6 => PeerPlan {
                kind: "resetter",
                reset_after: Some(dice.below(20 * MICROSECOND) * dice.pick([1, 20, 200])),
                ..stream
            },
            7 => PeerPlan {
                kind: "silent",
                bytes: 0,
                finish: match scene {
                    Scene::Crowd => Finish::Stay,
                    _ => dice.pick([Finish::Stay, Finish::Linger, Finish::HalfClose]),
                },
                reset_after: if scene != Scene::Crowd && dice.chance(64) {
                    Some(dice.below(MILLISECOND))
                } else {
                    None
                },
                ..plan
            },
            8 => PeerPlan { kind: "late", connect_at: dice.pick([5 * MILLISECOND, SECOND]), ..plan },
            9 => PeerPlan { kind: "one byte", bytes: dice.between((1, 40)), write: (1, 1), ..plan },
            10 => PeerPlan { kind: "leaver", finish: Finish::Close, read: (1, 64), ..stream },
            11 => PeerPlan {
                kind: "deaf",
                read: (0, 0),
                finish: dice.pick([Finish::Stay, Finish::HalfClose, Finish::Linger]),
                ..stream
            },
            14 => PeerPlan {
                kind: "waiter",
                bytes: dice.between((20, 40)),
                write: (20, 40),
                lockstep: false,
                read: dice.pick([(0, 0), (1, 64)]),
                send_room: 7,
                finish: Finish::HalfClose,
                reset_after: if dice.chance(16) { None } else { Some(10 * MILLISECOND + dice.below(MILLISECOND)) },
                ..plan
            },
            12 => PeerPlan { kind: "vanisher", bytes: stream.bytes / 2, finish: Finish::Vanish, ..stream },
            _ => {
                PeerPlan { kind: "abrupt", finish: dice.pick([Finish::Reset, Finish::Linger, Finish::Reset]), ..stream }
            }
        };
        // The number of bytes bounds the length of a run where there is little room or many peers share small buffers.
        let least_room = script.receive_room.min(script.send_room);
        let most = if scene == Scene::Storm { 2 * most_bytes } else { u64::MAX };
        PeerPlan {
            bytes: script.bytes.min(least_room * 500).min(most),
            write: (script.write.0.max(1), script.write.1.max(1)),
            ..script
        }
    }
}
