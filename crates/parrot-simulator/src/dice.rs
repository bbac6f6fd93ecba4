//! Where all decisions of a run come from: a seed, or the bytes that a fuzzer gives.

/// Makes decisions. Whatever it is made from, the same source gives the same decisions.
#[derive(Debug, Clone)]
pub(crate) struct Dice(Source);

#[derive(Debug, Clone)]
enum Source {
    Seed(u64),
    Bytes { bytes: Vec<u8>, next: usize },
}

impl Dice {
    /// `purpose` tells apart the decisions of one seed that must not depend on each other's number.
    pub(crate) fn seeded(seed: u64, purpose: u64) -> Dice {
        Dice(Source::Seed(mix(mix(seed) ^ purpose)))
    }

    /// When the bytes have run out, every decision is 0: the plain case.
    pub(crate) fn bytes(bytes: &[u8]) -> Dice {
        Dice(Source::Bytes { bytes: bytes.to_vec(), next: 0 })
    }

    /// A number below `n`, which is above 0.
    #[inline]
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        match &mut self.0 {
            Source::Seed(state) => {
                // The generator wyrand: one multiplication, and good in the upper bits that the scaling takes.
                *state = state.wrapping_add(0xa076_1d64_78bd_642f);
                let product = u128::from(*state) * u128::from(*state ^ 0xe703_7ed1_a0b4_28db);
                let random = (product >> 64) as u64 ^ product as u64;
                ((u128::from(random) * u128::from(n)) >> 64) as u64
            }
            Source::Bytes { bytes, next } => {
                let width = if n <= 0x100 { 1 } else { 3 };
                let mut value = 0;
                for _ in 0..width {
                    value = value << 8 | u64::from(bytes.get(*next).copied().unwrap_or(0));
                    *next += 1;
                }
                value % n.max(1)
            }
        }
    }

    /// A number from `low` to `high`, both included.
    #[inline]
    pub(crate) fn between(&mut self, (low, high): (u64, u64)) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True `per_256` times in 256. A 0 from the source is false.
    #[inline]
    pub(crate) fn chance(&mut self, per_256: u8) -> bool {
        per_256 > 0 && self.below(256) >= 256 - u64::from(per_256)
    }

    /// One of these.
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
