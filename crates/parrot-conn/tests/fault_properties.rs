//! Arbitrary faults and peers, compared with what each fault promises.
#![allow(clippy::unwrap_used)]

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use parrot_checks::faults::{Act, Moved, World};
use parrot_conn::fault::{After, Chances, Fate, Fault, FaultPlan, FaultRule, Held, REORDER_WAIT, Share};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

/// Longer than any fault here lasts.
const LONG: Duration = Duration::from_secs(1_000_000);

fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![0..100_000_u64, 0..5_000_000_000_u64].prop_map(Duration::from_nanos)
}

fn share() -> impl Strategy<Value = Share> {
    (0..=100_u32).prop_map(|percent| Share::from_percent(percent).unwrap())
}

fn delay() -> impl Strategy<Value = Chances<Duration>> {
    let distribution = (time(), share(), time()).prop_map(|(one, share, other)| {
        let rest = Share::from_millionths(Share::ALL.millionths() - share.millionths()).unwrap();
        Chances::new([(one, share), (other, rest)]).unwrap()
    });
    prop_oneof![time().prop_map(Chances::always), distribution]
}

fn stream_fault() -> [BoxedStrategy<Fault>; 10] {
    let size = || (1..50_u32).prop_map(|size| NonZeroU32::new(size).unwrap());
    let after = prop_oneof![(1..500_u64).prop_map(After::Bytes), time().prop_map(After::Time)];
    [
        (delay(), time()).prop_map(|(delay, jitter)| Fault::Latency { delay, jitter }).boxed(),
        (1..100_000_u64).prop_map(|rate| Fault::Bandwidth(NonZeroU64::new(rate).unwrap())).boxed(),
        (size(), size(), time())
            .prop_map(|(one, other, delay)| Fault::Slice { least: one.min(other), most: one.max(other), delay })
            .boxed(),
        (0..500_u64).prop_map(Fault::LimitData).boxed(),
        (time().prop_map(|time| time + Duration::from_nanos(1))).prop_map(Fault::Lifetime).boxed(),
        after.prop_map(Fault::Reset).boxed(),
        (0..500_u64, proptest::option::of(time().prop_map(|time| time + Duration::from_nanos(1))))
            .prop_map(|(after, length)| Fault::Stall { after, length })
            .boxed(),
        time().prop_map(Fault::SlowClose).boxed(),
        proptest::option::of(time().prop_map(|time| time + Duration::from_nanos(1))).prop_map(Fault::Timeout).boxed(),
        Just(Fault::HalfCloseFirst).boxed(),
    ]
}

/// One to three faults that do not contradict each other.
fn faults() -> impl Strategy<Value = Vec<Fault>> {
    subsequence(stream_fault().to_vec(), 1..=3)
        .prop_flat_map(|faults| faults)
        .prop_filter("a contradiction", |faults| FaultPlan::new(0, faults.iter().cloned().map(FaultRule::from)).is_ok())
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1..200_usize).prop_map(Act::Send),
        4 => time().prop_map(Act::Wait),
        1 => (0..30_usize).prop_map(Act::Room),
        1 => Just(Act::Room(usize::MAX)),
    ];
    vec(act, 0..40)
}

fn world(seed: u64, number: u64, faults: &[Fault], buffer_size: usize) -> World {
    let plan = FaultPlan::new(seed, faults.iter().cloned().map(FaultRule::from)).unwrap();
    World::new(plan.connection(number).unwrap(), buffer_size)
}

/// What each fault alone promises about the pieces that were sent.
fn check(world: &World, fault: &Fault, has_room: bool) {
    let sent = world.sent.as_slice();
    let bytes = world.bytes_sent() as u64;
    match fault {
        Fault::Latency { delay, jitter } => check_latency(world, delay, *jitter),
        Fault::Bandwidth(rate) => check_bandwidth(sent, rate.get()),
        Fault::Slice { least: _, most, delay } => {
            assert!(sent.iter().all(|(_, n)| *n <= most.get() as usize));
            // A socket without room cuts pieces, and the rest of one follows at once.
            let in_pieces = sent.windows(2).all(|pair| pair[1].0 - pair[0].0 >= *delay);
            assert!(in_pieces || !has_room, "pieces come faster than {delay:?}: {sent:?}");
        }
        Fault::LimitData(limit) | Fault::Reset(After::Bytes(limit)) => assert!(bytes <= *limit),
        Fault::Lifetime(time) | Fault::Reset(After::Time(time)) => {
            assert!(sent.iter().all(|(at, _)| at < time), "sent after its end");
            assert!(world.is_over() || !world.endings.is_empty(), "it has not ended");
        }
        Fault::Stall { after, length } => check_stall(world, *after, length.unwrap_or(LONG * 2)),
        Fault::Timeout(time) => {
            assert_eq!((bytes, world.received.len()), (0, 0), "something was answered");
            let has_ended = world.is_over() || !world.endings.is_empty();
            assert!(time.is_none() || has_ended, "it has not ended");
        }
        _ => {}
    }
}

/// Each byte leaves between the shortest and the longest delay after it was received.
fn check_latency(world: &World, delay: &Chances<Duration>, jitter: Duration) {
    let delays = || delay.values().iter().filter(|(_, share)| *share > Share::NONE).map(|(delay, _)| *delay);
    let shortest = delays().min().unwrap().saturating_sub(jitter);
    let mut received = world.received.iter().flat_map(|(at, n)| std::iter::repeat_n(*at, *n));
    for (at, n) in &world.sent {
        for since in received.by_ref().take(*n) {
            assert!(*at >= since + shortest, "received at {since:?}, sent at {at:?}");
        }
    }
}

/// In any time no more bytes leave than the rate allows.
fn check_bandwidth(sent: &[Moved], rate: u64) {
    for (first, (since, _)) in sent.iter().enumerate() {
        let mut sum = 0;
        for (at, n) in &sent[first..] {
            sum += *n as u128;
            let time = (*at - *since).as_nanos() + 20_000_000;
            assert!(sum <= u128::from(rate) * time / 1_000_000_000 + 1, "{sum} bytes from {since:?} to {at:?}");
        }
    }
}

/// From the byte that starts the stall nothing moves for its length.
fn check_stall(world: &World, after: u64, length: Duration) {
    let mut sum = 0;
    let last = world.sent.iter().find(|(_, n)| {
        sum += *n as u64;
        sum >= after
    });
    let begun = if after == 0 { Some(Duration::ZERO) } else { last.map(|(at, _)| *at) };
    let Some(begun) = begun else { return };
    let within = |at: &Duration| *at > begun && *at < begun + length;
    assert!(!world.sent.iter().chain(&world.received).any(|(at, _)| within(at)), "something moved in the stall");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_fault_keeps_what_it_promises(
        seed in any::<u64>(),
        faults in faults(),
        acts in acts(),
        buffer_size in 1..300_usize,
    ) {
        // The order and the values of the bytes, spins and the size of the buffer are checked on the way.
        let mut world = world(seed, 1, &faults, buffer_size);
        let has_room = !acts.iter().any(|act| matches!(act, Act::Room(_)));
        world.act(acts.iter().copied());
        world.act([Act::Room(usize::MAX), Act::Wait(LONG)]);
        for fault in &faults {
            check(&world, fault, has_room);
        }
        let sent: usize = acts.iter().map(|act| if let Act::Send(n) = act { *n } else { 0 }).sum();
        let is_silent = faults.iter().any(|fault| matches!(fault, Fault::Timeout(_)));
        let bytes_sent = world.bytes_sent() as u64;
        let is_stalled = faults.iter().any(|fault| {
            matches!(fault, Fault::Stall { after, length: None } if *after == bytes_sent)
        });
        if world.endings.is_empty() && !is_silent && !is_stalled {
            prop_assert_eq!(world.bytes_sent(), sent, "bytes are stuck");
        }
        let is_endless = is_stalled || faults.iter().any(|fault| matches!(fault, Fault::Timeout(None)));
        world.act([Act::End, Act::Wait(LONG)]);
        prop_assert!(world.is_over() || is_endless, "it does not end with its peer");
    }

    #[test]
    fn one_latency_is_exact(seed in any::<u64>(), delay in time(), jitter in time(), acts in acts()) {
        prop_assume!(delay > Duration::ZERO);
        let fault = Fault::Latency { delay: Chances::always(delay), jitter };
        let mut world = world(seed, 1, &[fault], 1 << 20);
        let acts = acts.into_iter().filter(|act| !matches!(act, Act::Room(_)));
        world.act(acts.chain([Act::Wait(LONG)]));
        let mut received = world.received.iter().flat_map(|(at, n)| std::iter::repeat_n(*at, *n));
        for (at, n) in &world.sent {
            for since in received.by_ref().take(*n) {
                prop_assert!(*at - since >= delay.saturating_sub(jitter));
                prop_assert!(*at - since <= delay + jitter, "the messages before it are no later");
            }
        }
        prop_assert_eq!(received.next(), None);
    }

    #[test]
    fn the_same_seed_and_number_give_the_same_connection(
        seed in any::<u64>(),
        number in any::<u64>(),
        faults in faults(),
        acts in acts(),
    ) {
        let run = |seed| {
            let mut world = world(seed, number, &faults, 1000);
            world.act(acts.iter().copied().chain([Act::Wait(LONG)]));
            (world.sent, world.received, world.endings)
        };
        prop_assert_eq!(run(seed), run(seed));
    }

    #[test]
    fn another_fault_changes_no_choice(seed in any::<u64>(), percent in 1..=100_u32) {
        let probability = Share::from_percent(percent).unwrap();
        let rule = |fault| FaultRule { fault, probability };
        let latency = || rule(Fault::Latency { delay: Chances::always(LONG), jitter: LONG });
        let alone = FaultPlan::new(seed, [latency()]).unwrap();
        let both = FaultPlan::new(seed, [rule(Fault::HalfCloseFirst), latency()]).unwrap();
        for number in 1..50 {
            let late = |plan: &FaultPlan| plan.connection(number).is_some_and(|faults| {
                faults.kinds().contains(&parrot_conn::fault::FaultKind::Latency)
            });
            prop_assert_eq!(late(&alone), late(&both));
            prop_assert_eq!(alone.datagram(number).delay, both.datagram(number).delay);
        }
    }

    #[test]
    fn held_datagrams_leave_once_and_in_time(
        datagrams in vec((time(), time(), any::<bool>(), 0..1000_usize), 0..60),
        most in 0..20_000_usize,
    ) {
        let mut held = Held::new(most);
        let (mut now, mut left) = (Duration::ZERO, Vec::new());
        let mut taken = Vec::new();
        for (number, (wait, delay, reordered, size)) in datagrams.into_iter().enumerate() {
            let until = now + wait;
            while let Some(due) = held.next().filter(|due| *due <= until) {
                prop_assert!(due >= now, "it was due before");
                now = due;
                left.extend(std::iter::from_fn(|| held.pop(now)).map(|datagram| (datagram, now)));
            }
            now = until;
            let fate = Fate { delay, reordered, ..Fate::PLAIN };
            if held.hold(number, size, fate, now).is_ok() {
                taken.push((number, now + delay, reordered));
            }
            prop_assert!(held.bytes() <= most);
        }
        while let Some(due) = held.next() {
            left.extend(std::iter::from_fn(|| held.pop(due)).map(|datagram| (datagram, due)));
        }
        left.sort_unstable();
        prop_assert_eq!(left.len(), taken.len());
        prop_assert_eq!(held.bytes(), 0);
        for ((number, due, reordered), (datagram, at)) in taken.into_iter().zip(left) {
            prop_assert_eq!(number, datagram);
            prop_assert!(at >= due);
            prop_assert!(at == due || reordered, "only a reordered datagram waits for another");
        }
    }
}

#[test]
fn a_reordered_datagram_waits_at_most_for_the_next() {
    let mut held = Held::new(10_000);
    let ms = Duration::from_millis;
    held.hold('a', 1, Fate { reordered: true, ..Fate::PLAIN }, ms(0)).unwrap();
    held.hold('b', 1, Fate { delay: ms(500), ..Fate::PLAIN }, ms(0) + REORDER_WAIT / 2).unwrap();
    assert_eq!(held.next(), Some(ms(550)), "it leaves behind the next, however late that is");
    assert_eq!((held.pop(ms(550)), held.pop(ms(550))), (Some('b'), Some('a')));
}
