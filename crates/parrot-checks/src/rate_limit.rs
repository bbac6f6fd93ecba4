//! A limit of answers beside one bucket per network, and beside the history of the answers.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use parrot_conn::{RateLimit, Refusal};

const SECOND: u128 = 1_000_000_000;

/// The networks that ask, half of them of IPv4.
const NETWORKS: usize = 8;

/// Puts a network into the bucket of its own number, of which only the bits in two masks are left.
#[derive(Debug, Clone, Copy)]
struct Places {
    masks: [u64; 2],
    network: u64,
}

impl BuildHasher for Places {
    type Hasher = Places;

    fn build_hasher(&self) -> Places {
        *self
    }
}

impl Hasher for Places {
    fn write(&mut self, _: &[u8]) {
        panic!("a network is one number");
    }

    fn write_u64(&mut self, number: u64) {
        // The lowest bits count networks up, and the highest is set for IPv6.
        self.network = number & 3 | number >> 63 << 2;
    }

    fn finish(&self) -> u64 {
        (self.network & self.masks[0]) | (self.network & self.masks[1]) << 16
    }
}

/// A datagram that asks for an answer.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The time since the one before.
    pub wait: Duration,
    /// The network that it comes from.
    pub network: u8,
    /// Its host in this network.
    pub host: u8,
}

/// Lets the datagrams in an input ask for answers: the rate, which networks share buckets, then two bytes for each.
pub fn check_rate_limit(input: &[u8]) {
    let [rate, masks, rest @ ..] = input else { return };
    let requests = rest.chunks_exact(2).map(|pair| Request {
        wait: Duration::from_micros(u64::from(pair[0]).pow(3)),
        network: pair[1] & 7,
        host: pair[1],
    });
    check_requests(u32::from(*rate) + 1, [u64::from(masks & 7), u64::from(masks >> 3 & 7)], requests);
}

/// Compares a limit of this rate with its model. The masks are the bits of a network's number that choose its buckets.
pub fn check_requests(rate: u32, masks: [u64; 2], requests: impl IntoIterator<Item = Request>) {
    let start = Instant::now();
    let places = Places { masks, network: 0 };
    let mut limit = RateLimit::with_hasher(NonZeroU32::new(rate).expect("a rate"), start, places);
    let exact = masks.contains(&7) && SECOND.is_multiple_of(rate.into());
    let mut models = vec![Model::new(rate); NETWORKS];
    let mut elapsed = Duration::ZERO;
    for request in requests {
        elapsed += request.wait;
        let model = &mut models[usize::from(request.network) % NETWORKS];
        let has_answer = model.has_answer(elapsed);
        match limit.take(address(request), start + elapsed) {
            Ok(()) => {
                assert!(has_answer, "more than {rate} answers per second: {request:?} after {elapsed:?}");
                model.take(elapsed);
            }
            Err(reason) => {
                assert_eq!(reason, Refusal::RateLimited);
                assert!(!(exact && has_answer), "refused without need: {request:?} after {elapsed:?}");
            }
        }
    }
}

fn address(request: Request) -> IpAddr {
    let Request { network, host, .. } = request;
    let four = Ipv4Addr::new(192, 0, network & 3, host);
    match network & 4 {
        0 if host & 1 == 0 => four.into(),
        0 => four.to_ipv6_mapped().into(),
        _ => Ipv6Addr::new(0x2001, 0xDB8, 0, u16::from_be_bytes([network & 3, host]), 0, 0, 0, host.into()).into(),
    }
}

/// A network that shares nothing with others.
#[derive(Debug, Clone)]
struct Model {
    rate: u128,
    /// Its answers left, in billionths.
    left: u128,
    /// When `left` was right.
    at: Duration,
    /// The times of its answers.
    answers: Vec<Duration>,
}

impl Model {
    fn new(rate: u32) -> Model {
        let rate = u128::from(rate);
        Model { rate, left: rate * SECOND, at: Duration::ZERO, answers: Vec::new() }
    }

    fn has_answer(&mut self, now: Duration) -> bool {
        self.left = (self.left + (now - self.at).as_nanos() * self.rate).min(self.rate * SECOND);
        self.at = now;
        self.left >= SECOND
    }

    /// Takes an answer and checks the bound over every time that ends now.
    fn take(&mut self, now: Duration) {
        self.left -= SECOND;
        self.answers.push(now);
        for (answers, since) in (1..).zip(self.answers.iter().rev()) {
            let time = (now - *since).as_nanos();
            assert!(
                answers * SECOND <= self.rate * (time + SECOND),
                "{answers} answers in {time} ns at {}/s",
                self.rate
            );
        }
    }
}
