//! A bound on the answers to each network, in a fixed amount of memory.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Instant;

use crate::datagram::Refusal;

/// The buckets in a row, as many as a `u16` can tell apart.
const BUCKETS: usize = 1 << u16::BITS;

// The documentation promises 1 MiB for the two rows.
const _: () = assert!(2 * BUCKETS * size_of::<u64>() == 1 << 20);

const SECOND: u64 = 1_000_000_000;

/// At most so many answers per second to a source network, which is a /24 of IPv4 or a /56 of IPv6.
///
/// These are the networks of BIND's response rate limiting. IPv4-mapped IPv6 addresses count as IPv4. All of
/// 127.0.0.0/24 is one network, so clients on the same machine share its answers.
///
/// ```
/// use std::num::NonZeroU32;
/// use std::time::{Duration, Instant};
/// use parrot_conn::{RateLimit, Refusal};
///
/// let start = Instant::now();
/// let mut limit = RateLimit::new(NonZeroU32::new(2).ok_or("zero")?, start);
/// let (source, neighbour, other) = ("192.0.2.7".parse()?, "192.0.2.8".parse()?, "198.51.100.7".parse()?);
/// assert_eq!(limit.take(source, start), Ok(()));
/// assert_eq!(limit.take(neighbour, start), Ok(()));
/// assert_eq!(limit.take(source, start), Err(Refusal::RateLimited));
/// assert_eq!(limit.take(other, start), Ok(()));
/// assert_eq!(limit.take(source, start + Duration::from_millis(500)), Ok(()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What is promised
///
/// - **Bound.** With a rate of N, a network gets at most N × (t + 1) answers in any t seconds: N at once after a quiet
///   second, and then N per second. No traffic from other networks, forged or not, changes that.
/// - **Memory.** 1 MiB, allocated once. The system may provide its pages only as they are used.
/// - **Time.** Each datagram costs one hash and a look at two buckets.
/// - **Rate.** A network that has its buckets for itself gets its N per second to within 0.1 %, up to a million.
///
/// # What a flood can do
///
/// Buckets are never evicted, because a forged source could then evict the bucket of a victim and fill it again. Networks
/// share them instead. Each network has one bucket in each of two rows, by a hash that nobody outside can predict, and is
/// refused only when both are used up. So a flood cannot get more answers for a network, but it can get others refused.
/// If 1,000 networks ask for too much, about one in 4,300 others shares both of its buckets with them. An echo server
/// that answers less is the smaller harm than one that floods a victim.
///
/// The two rows are a count-min sketch with conservative update (Estan and Varghese, "New Directions in Traffic
/// Measurement and Accounting", 2002), and each bucket holds one time, as in the generic cell rate algorithm.
#[derive(Debug, Clone)]
pub struct RateLimit<Hasher = RandomState> {
    /// The nanoseconds in which a bucket gets another answer.
    interval: u64,
    /// The nanoseconds in which an empty bucket becomes full.
    burst: u64,
    start: Instant,
    hasher: Hasher,
    /// When each bucket is full again, in nanoseconds after `start`.
    rows: [Box<[u64]>; 2],
}

impl RateLimit {
    /// Creates a limit of `rate` answers per second, from `start` on.
    pub fn new(rate: NonZeroU32, start: Instant) -> RateLimit {
        RateLimit::with_hasher(rate, start, RandomState::new())
    }
}

impl<Hasher: BuildHasher> RateLimit<Hasher> {
    /// Creates a limit whose networks share buckets by this hasher. This is for simulations, which must be repeatable.
    /// A hasher without a secret key lets a flood choose the networks that it hurts.
    pub fn with_hasher(rate: NonZeroU32, start: Instant, hasher: Hasher) -> RateLimit<Hasher> {
        let rate = u64::from(rate.get());
        // Rounded up, so that the rate is never exceeded.
        let interval = SECOND.div_ceil(rate);
        let row = || vec![0; BUCKETS].into_boxed_slice();
        RateLimit { interval, burst: interval * rate, start, hasher, rows: [row(), row()] }
    }

    /// Takes one answer from the share of the source's network.
    ///
    /// A `now` before an earlier one gives nothing back.
    ///
    /// # Errors
    ///
    /// [`Refusal::RateLimited`] if the network has had its answers for the moment. Refused datagrams do not count.
    #[expect(clippy::indexing_slicing, reason = "a u16 is an index into 65,536 buckets")]
    pub fn take(&mut self, source: IpAddr, now: Instant) -> Result<(), Refusal> {
        let now = now.saturating_duration_since(self.start).as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let hash = self.hasher.hash_one(network(source));
        let [first, second] = &mut self.rows;
        let first = &mut first[usize::from(hash as u16)];
        let second = &mut second[usize::from((hash >> 16) as u16)];
        // The bucket with more answers left is the better estimate, because others can only have taken from it.
        let full = (*first).min(*second).max(now).saturating_add(self.interval);
        if full > now.saturating_add(self.burst) {
            return Err(Refusal::RateLimited);
        }
        *first = (*first).max(full);
        *second = (*second).max(full);
        Ok(())
    }
}

/// The network of an address as a number that no other network has.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits() >> 8),
        // Numbers of 56 bits, from which the highest bit keeps those of IPv4 apart.
        IpAddr::V6(address) => (address.to_bits() >> 72) as u64 | 1 << 63,
    }
}
