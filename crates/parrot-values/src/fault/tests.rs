//! Faults as people write them, and what is wrong with those that are refused.

use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

fn small(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn percent(n: u32) -> Share {
    Share::from_percent(n).unwrap()
}

#[test]
fn every_fault_of_the_table_is_read() {
    let second = Duration::from_secs;
    let latency = |jitter| Fault::Latency { delay: Chances::always(50 * MILLISECOND), jitter };
    let slice = |least, most, delay| Fault::Slice { least: small(least), most: small(most), delay };
    let stall = |length| Fault::Stall { after: 10_240, length };
    for (text, expected) in [
        ("latency=50ms", latency(Duration::ZERO)),
        ("latency=50ms,jitter=10ms", latency(10 * MILLISECOND)),
        ("bandwidth=64KiB", Fault::Bandwidth(NonZeroU64::new(65_536).unwrap())),
        ("slice=1", slice(1, 1, Duration::ZERO)),
        ("slice=1..7,delay=1ms", slice(1, 7, MILLISECOND)),
        ("slice=1..=7", slice(1, 7, Duration::ZERO)),
        ("limit-data=10KiB", Fault::LimitData(10_240)),
        ("timeout=5s", Fault::Timeout(Some(second(5)))),
        ("timeout=0", Fault::Timeout(None)),
        ("lifetime=5s", Fault::Lifetime(second(5))),
        ("reset=10KiB", Fault::Reset(After::Bytes(10_240))),
        ("reset=5s", Fault::Reset(After::Time(second(5)))),
        ("reset=5m", Fault::Reset(After::Time(second(300)))),
        ("reset=0", Fault::Reset(After::Bytes(0))),
        ("stall=10KiB", stall(None)),
        ("stall=10KiB,for=3s", stall(Some(second(3)))),
        ("slow-close=2s", Fault::SlowClose(second(2))),
        ("half-close-first", Fault::HalfCloseFirst),
        ("refuse=3", Fault::Refuse(3)),
        ("accept-delay=200ms", Fault::AcceptDelay(Chances::always(200 * MILLISECOND))),
        ("loss=10%", Fault::Loss(percent(10))),
        ("duplicate=1%", Fault::Duplicate(percent(1))),
        ("reorder=5%", Fault::Reorder(percent(5))),
        ("corrupt=0.5%", Fault::Corrupt(Share::from_millionths(5000).unwrap())),
    ] {
        let expected = FaultRule::from(expected);
        assert_eq!(fault(text).as_ref(), Ok(&expected), "{text}");
        assert_eq!(fault(&expected.to_string()), Ok(expected), "{text} is written as it is read");
    }
}

#[test]
fn a_distribution_is_written_as_for_fortio() {
    let delay = Chances::new([(50 * MILLISECOND, percent(80)), (2000 * MILLISECOND, percent(20))]).unwrap();
    let latency = Fault::Latency { delay, jitter: MILLISECOND };
    let expected = FaultRule { fault: latency, probability: percent(20) };
    assert_eq!(fault("latency=50ms:80,2s:20,jitter=1ms,probability=20%"), Ok(expected.clone()));
    assert_eq!(expected.to_string(), "latency=50ms:80,2s:20,jitter=1ms,probability=20%");
    assert_eq!(fault("latency=50ms:80%,2s:20%,probability=20%,jitter=1ms"), Ok(expected));
}

#[test]
fn what_is_no_fault_is_refused_with_the_right_form() {
    for (text, error) in [
        ("", "there is no fault \"\": expected latency, bandwidth, slice, limit-data,"),
        ("latncy=50ms", "there is no fault \"latncy\": expected latency,"),
        ("latency", "latency=: expected a duration"),
        ("latency=soon", "latency=soon: expected a duration such as"),
        ("latency=50ms,2s", "latency has one value: leave \"2s\" out"),
        ("latency=50ms:80,2s", "latency needs a share for \"2s\", such as 2s:20"),
        ("latency=50ms:80,2s:30", "the shares of latency are more than 100% in all"),
        ("latency=50ms:many", "latency=many: expected a share of up to 100"),
        ("latency=50ms,for=3s", "latency has no \"for\": expected jitter or probability"),
        ("latency=50ms,slice=1", "slice is a fault of its own: give it separately from latency"),
        ("latency=50ms,jitter=1ms,jitter=2ms", "latency has jitter twice"),
        ("latency=50ms,jitter", "latency has one value: leave \"jitter\" out"),
        ("latency=50ms,probability=0.2", "probability=0.2: expected a percentage up to 100%"),
        ("latency=50ms,probability=101%", "probability=101%: expected a percentage"),
        ("latency=50ms,probability=0%", "latency has a probability of 0%: leave it out"),
        ("bandwidth=0", "bandwidth=0: expected a size above zero"),
        ("bandwidth=fast", "bandwidth=fast: expected a size such as"),
        ("slice=0", "slice=0: expected a size from 1 up or a range"),
        ("slice=7..1", "slice goes from the smallest piece to the largest"),
        ("slice=1..7..9", "slice=1..7..9: expected a size from 1 up or a range"),
        ("lifetime=0", "lifetime needs a time above zero"),
        ("reset=never", "reset=never: expected a size or a duration"),
        ("slow-close=0", "slow-close needs a time above zero"),
        ("stall=10KiB,for=0", "stall needs a time above zero"),
        ("half-close-first=1", "half-close-first has no value"),
        ("half-close-first,2s", "half-close-first has no \"2s\": expected probability"),
        ("refuse=0", "refuse=0: expected a whole number from 1 up"),
        ("refuse=3,probability=20%", "refuse has no \"probability\" and nothing else behind its value"),
        ("loss=10", "loss=10: expected a percentage"),
        ("loss=1e1%", "loss=1e1%: expected a percentage"),
        ("loss=0.00001%", "loss=0.00001%: expected a percentage"),
        ("loss=99999999999%", "loss=99999999999%: expected a percentage"),
    ] {
        let refused = fault(text).err().unwrap_or_default();
        assert!(refused.starts_with(error), "{text:?} gives {refused:?} instead of {error:?}");
    }
}
