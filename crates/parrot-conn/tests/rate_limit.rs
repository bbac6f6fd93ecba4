//! The limit of answers: each promise in one test, and arbitrary traffic.
#![allow(clippy::unwrap_used)]

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use parrot_checks::{Request, check_rate_limit, check_requests};
use parrot_conn::{RateLimit, Refusal};
use proptest::collection::vec;
use proptest::prelude::*;

/// A limit without a secret key, so that every run has the same networks share buckets.
fn limit(rate: u32, start: Instant) -> RateLimit<BuildHasherDefault<DefaultHasher>> {
    RateLimit::with_hasher(NonZeroU32::new(rate).unwrap(), start, BuildHasherDefault::new())
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The number of answers to this many datagrams at this time.
fn answers(
    limit: &mut RateLimit<BuildHasherDefault<DefaultHasher>>,
    source: IpAddr,
    now: Instant,
    datagrams: u32,
) -> u32 {
    (0..datagrams).map(|_| u32::from(limit.take(source, now).is_ok())).sum()
}

#[test]
fn a_quiet_network_gets_the_answers_of_a_second_at_once() {
    let start = Instant::now();
    for rate in [1, 2, 3, 7, 100, 999_999] {
        let mut limit = limit(rate, start);
        assert_eq!(answers(&mut limit, address("192.0.2.7"), start, rate + 5), rate);
        let quiet = start + Duration::from_secs(3600);
        assert_eq!(answers(&mut limit, address("192.0.2.7"), quiet, rate + 5), rate);
    }
}

#[test]
fn answers_come_back_one_by_one() {
    let start = Instant::now();
    let mut limit = limit(10, start);
    assert_eq!(answers(&mut limit, address("192.0.2.7"), start, 20), 10);
    for tenth in 1..50 {
        let due = start + Duration::from_millis(100) * tenth;
        assert_eq!(limit.take(address("192.0.2.7"), due - Duration::from_nanos(1)), Err(Refusal::RateLimited));
        assert_eq!(answers(&mut limit, address("192.0.2.7"), due, 5), 1);
    }
}

#[test]
fn a_third_of_a_second_is_rounded_up() {
    let start = Instant::now();
    let mut limit = limit(3, start);
    assert_eq!(answers(&mut limit, address("192.0.2.7"), start, 10), 3);
    assert_eq!(answers(&mut limit, address("192.0.2.7"), start + Duration::from_nanos(333_333_333), 10), 0);
    assert_eq!(answers(&mut limit, address("192.0.2.7"), start + Duration::from_nanos(333_333_334), 10), 1);
}

#[test]
fn refused_datagrams_do_not_count() {
    let start = Instant::now();
    let mut limit = limit(2, start);
    for _ in 0..1000 {
        answers(&mut limit, address("192.0.2.7"), start, 1000);
    }
    assert_eq!(limit.take(address("192.0.2.7"), start + Duration::from_millis(500)), Ok(()));
}

#[test]
fn a_network_is_a_24_or_a_56() {
    for (one, other, same) in [
        ("192.0.2.0", "192.0.2.255", true),
        ("192.0.2.0", "192.0.3.0", false),
        ("192.0.2.7", "::ffff:192.0.2.200", true),
        ("192.0.2.7", "::192.0.2.7", false),
        ("2001:db8:0:100::", "2001:db8:0:1ff:ffff:ffff:ffff:ffff", true),
        ("2001:db8:0:100::", "2001:db8:0:200::", false),
        ("fe80::1", "fe80::2", true),
        ("127.0.0.1", "127.0.0.2", true),
        ("127.0.0.1", "::1", false),
        ("0.0.0.0", "::", false),
    ] {
        let start = Instant::now();
        let mut limit = limit(1, start);
        assert_eq!(limit.take(address(one), start), Ok(()));
        let expected = if same { Err(Refusal::RateLimited) } else { Ok(()) };
        assert_eq!(limit.take(address(other), start), expected, "{one} and {other}");
    }
}

#[test]
fn the_highest_rate_is_still_a_limit() {
    let start = Instant::now();
    let mut limit = limit(u32::MAX, start);
    assert_eq!(answers(&mut limit, address("192.0.2.7"), start, 1000), 1000);
}

#[test]
fn a_clock_that_goes_back_gives_nothing_back() {
    let start = Instant::now();
    let mut limit = limit(5, start);
    let later = start + Duration::from_secs(10);
    assert_eq!(answers(&mut limit, address("192.0.2.7"), later, 10), 5);
    assert_eq!(answers(&mut limit, address("192.0.2.7"), start, 10), 0);
    assert_eq!(answers(&mut limit, address("192.0.2.7"), later, 10), 0);
    let before = start.checked_sub(Duration::from_secs(1)).unwrap_or(start);
    assert_eq!(answers(&mut limit, address("198.51.100.7"), before, 10), 5);
}

#[test]
fn forged_networks_get_a_victim_no_answers() {
    let start = Instant::now();
    let mut limit = limit(5, start);
    let victim = address("192.0.2.7");
    assert_eq!(answers(&mut limit, victim, start, 10), 5);
    // Every network of 11.0.0.0/8 to 20.0.0.0/8, with the victim in between.
    for forged in (0x0B00_0000_u32..0x1500_0000).step_by(256) {
        let _ = limit.take(Ipv4Addr::from_bits(forged).into(), start);
        assert_eq!(limit.take(victim, start), Err(Refusal::RateLimited));
    }
}

#[test]
fn a_thousand_loud_networks_hurt_few_others() {
    const RATE: u32 = 1000;
    let start = Instant::now();
    let mut limit = limit(RATE, start);
    for loud in 0..1000 {
        answers(&mut limit, Ipv4Addr::from_bits(0x0A00_0000 + loud * 256).into(), start, RATE + 1);
    }
    let quiet = |number: u32| Ipv4Addr::from_bits(0x0B00_0000 + number * 256).into();
    let refused = (0..43_000).filter(|number| limit.take(quiet(*number), start).is_err()).count();
    assert!((1..30).contains(&refused), "{refused} of 43,000, where about 10 share both of their buckets");
}

fn request() -> impl Strategy<Value = Request> {
    let wait =
        prop_oneof![Just(0), 0..1_000_u64, 0..1_000_000_u64, 0..3_000_000_000_u64].prop_map(Duration::from_nanos);
    (wait, 0..8_u8, any::<u8>()).prop_map(|(wait, network, host)| Request { wait, network, host })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_network_gets_more_than_its_bound(
        rate in prop_oneof![1..20_u32, any::<u32>().prop_map(|rate| rate.max(1))],
        masks in (0..8_u64, 0..8_u64),
        requests in vec(request(), 0..300),
    ) {
        check_requests(rate, masks.into(), requests);
    }

    #[test]
    fn a_network_with_its_own_buckets_gets_its_rate(
        rate in prop::sample::select(vec![1, 2, 4, 5, 8, 10, 100, 1000]),
        requests in vec(request(), 0..300),
    ) {
        check_requests(rate, [7, 7], requests);
    }

    #[test]
    fn any_bytes_keep_the_bound(bytes in vec(any::<u8>(), 0..400)) {
        check_rate_limit(&bytes);
    }
}
