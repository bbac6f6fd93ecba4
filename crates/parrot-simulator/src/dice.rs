//! The source of all decisions of a run, which is a seed or the input of a fuzzer.

use std::cell::RefCell;
use std::rc::Rc;

/// Makes decisions. The same source always gives the same decisions.
#[derive(Debug, Clone)]
pub(crate) struct Dice(Source);

#[derive(Debug, Clone)]
enum Source {
    Seed { seed: u64, state: u64 },
    Bytes(Rc<RefCell<Bytes>>),
}

#[derive(Debug)]
struct Bytes {
    bytes: Vec<u8>,
    next: usize,
}

/// What dice are thrown for.
///
/// Each purpose has dice of its own, so that leaving out a peer or a fault does not change what happens to the others.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// The plan without its peers.
    Plan,
    /// A peer's script.
    Script,
    /// What a peer does during the run.
    Peer,
    /// The results of calls on a peer's socket.
    Calls,
    /// Time, and the order of events.
    World,
    /// Whether a fault happens, by the number of the fault.
    Fault(usize),
    /// The part of the plan that is about more than TCP.
    Doors,
    /// Streams at full speed.
    Stream,
    /// What a sender of datagrams does during the run.
    Sender,
    /// A peer's PROXY header.
    Header,
    /// How long the drain is delayed.
    Delay,
    /// What changes in the run.
    Change,
    /// The faults on request.
    Misbehaviour,
}

impl Purpose {
    fn number(self) -> u64 {
        match self {
            Purpose::Plan => 0,
            Purpose::Script => 1,
            Purpose::Peer => 2,
            Purpose::Calls => 3,
            Purpose::World => 4,
            Purpose::Fault(fault) => 5 + fault as u64,
            // Below these is room for more faults.
            Purpose::Misbehaviour => 249,
            Purpose::Change => 250,
            Purpose::Stream => 251,
            Purpose::Delay => 252,
            Purpose::Header => 253,
            Purpose::Doors => 254,
            Purpose::Sender => 255,
        }
    }
}

impl Default for Dice {
    fn default() -> Dice {
        Dice::seeded(0)
    }
}

impl Dice {
    /// Makes the dice that all decisions of a seed come from.
    pub(crate) fn seeded(seed: u64) -> Dice {
        // Without this, neighbouring seeds would share dice once a purpose is mixed in.
        let seed = mix(seed);
        Dice(Source::Seed { seed, state: seed })
    }

    /// Makes dice that read `bytes`. Once they have run out, every decision is 0, the plain case.
    pub(crate) fn bytes(bytes: &[u8]) -> Dice {
        Dice(Source::Bytes(Rc::new(RefCell::new(Bytes { bytes: bytes.to_vec(), next: 0 }))))
    }

    /// Makes the `which`th dice for a purpose.
    ///
    /// The dice of a seed do not depend on each other. The bytes of a fuzzer are one stream for all dice.
    #[inline]
    pub(crate) fn of(&self, purpose: Purpose, which: u64) -> Dice {
        match &self.0 {
            Source::Seed { seed, .. } => {
                let seed = mix(*seed ^ (purpose.number() << 56 | which));
                Dice(Source::Seed { seed, state: seed })
            }
            Source::Bytes(bytes) => Dice(Source::Bytes(Rc::clone(bytes))),
        }
    }

    /// Draws a number below `n`, which must not be 0.
    #[inline]
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        match &mut self.0 {
            Source::Seed { state, .. } => {
                // This is wyrand. Its upper bits are good, and the scaling below takes those.
                *state = state.wrapping_add(0xa076_1d64_78bd_642f);
                let product = u128::from(*state) * u128::from(*state ^ 0xe703_7ed1_a0b4_28db);
                let random = (product >> 64) as u64 ^ product as u64;
                ((u128::from(random) * u128::from(n)) >> 64) as u64
            }
            Source::Bytes(bytes) => {
                let mut source = bytes.borrow_mut();
                let width = if n <= 0x100 { 1 } else { 3 };
                let mut value = 0;
                for _ in 0..width {
                    value = value << 8 | u64::from(source.bytes.get(source.next).copied().unwrap_or(0));
                    source.next += 1;
                }
                value % n.max(1)
            }
        }
    }

    /// Draws a number from `low` to `high`, both included.
    #[inline]
    pub(crate) fn between(&mut self, (low, high): (u64, u64)) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Returns true `per_256` times in 256. A 0 from the source is false.
    #[inline]
    pub(crate) fn chance(&mut self, per_256: u8) -> bool {
        per_256 > 0 && self.below(256) >= 256 - u64::from(per_256)
    }

    /// Picks one of these.
    pub(crate) fn pick<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        from[self.below(N as u64) as usize]
    }
}

/// Spreads neighbouring seeds over all numbers (splitmix64).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn dice_of_one_purpose_do_not_change_others() {
        let all = Dice::seeded(1512);
        let numbers = |mut dice: Dice| (0..8).map(|_| dice.below(1000)).collect::<Vec<u64>>();
        let alone = numbers(all.of(Purpose::Peer, 1));
        numbers(all.of(Purpose::Peer, 0));
        assert_eq!(numbers(all.of(Purpose::Peer, 1)), alone);
        assert_ne!(numbers(all.of(Purpose::Peer, 2)), alone);
        assert_ne!(numbers(all.of(Purpose::Calls, 1)), alone);
    }

    #[test]
    fn seeds_share_no_dice() {
        let first = |seed, which| Dice::seeded(seed).of(Purpose::Script, which).below(u64::MAX);
        let all: HashSet<u64> = (0..64).flat_map(|seed| (0..64).map(move |which| first(seed, which))).collect();
        assert_eq!(all.len(), 64 * 64);
    }

    #[test]
    fn bytes_are_one_stream_for_all_purposes() {
        let all = Dice::bytes(&[1, 2, 3]);
        let (mut one, mut other) = (all.of(Purpose::Peer, 0), all.of(Purpose::Plan, 0));
        assert_eq!([one.below(256), other.below(256), one.below(256), other.below(256)], [1, 2, 3, 0]);
    }
}
