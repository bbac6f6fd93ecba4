//! What a client sees of each fault, in virtual time.
#![allow(clippy::unwrap_used)]

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use parrot_checks::faults::{Act, World};
use parrot_conn::fault::{After, Arrival, Chances, Ending, Fault, FaultKind, FaultPlan, FaultRule, Share};

const BUFFER: usize = 64 * 1024;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn world<const N: usize>(faults: [Fault; N]) -> World {
    let plan = FaultPlan::new(1512, faults.map(FaultRule::from)).unwrap();
    World::new(plan.connection(1).unwrap(), BUFFER)
}

fn latency(milliseconds: u64) -> Fault {
    Fault::Latency { delay: Chances::always(ms(milliseconds)), jitter: Duration::ZERO }
}

fn slice(least: u32, most: u32, delay: Duration) -> Fault {
    Fault::Slice { least: NonZeroU32::new(least).unwrap(), most: NonZeroU32::new(most).unwrap(), delay }
}

#[test]
fn latency_delays_each_message_by_as_much() {
    let mut world = world([latency(50)]);
    world.act([Act::Send(10), Act::Wait(ms(20)), Act::Send(5), Act::Wait(ms(1000))]);
    assert_eq!(world.sent, [(ms(50), 10), (ms(70), 5)]);
    assert_eq!(world.again, None, "nothing is left to wait for");
}

#[test]
fn latency_delays_the_bytes_before_an_end_too() {
    let mut world = world([latency(50)]);
    world.act([Act::Send(10), Act::End, Act::Wait(ms(1000))]);
    assert_eq!((world.sent.as_slice(), world.closed), ([(ms(50), 10)].as_slice(), Some(ms(50))));
}

#[test]
fn a_flood_of_late_messages_waits_in_the_socket() {
    let mut world = world([latency(1000)]);
    let messages = (0..300).flat_map(|_| [Act::Send(1), Act::Wait(Duration::from_micros(1))]);
    world.act(messages);
    assert_eq!((world.received.len(), world.unread()), (256, 44));
    world.act([Act::Wait(ms(5000))]);
    assert_eq!((world.bytes_sent(), world.received.len()), (300, 257));
}

#[test]
fn bandwidth_makes_a_megabyte_take_its_time() {
    let mut world = world([Fault::Bandwidth(NonZeroU64::new(100_000).unwrap())]);
    world.act([Act::Send(1_000_000), Act::Wait(Duration::from_secs(20))]);
    let (last, _) = *world.sent.last().unwrap();
    assert_eq!(world.bytes_sent(), 1_000_000);
    assert!((ms(9950)..=ms(10_000)).contains(&last), "{last:?}");
}

#[test]
fn a_slice_of_one_sends_each_byte_alone() {
    let mut world = world([slice(1, 1, ms(1))]);
    world.act([Act::Send(4), Act::Wait(ms(100))]);
    assert_eq!(world.sent, [(ms(0), 1), (ms(1), 1), (ms(2), 1), (ms(3), 1)]);
}

#[test]
fn limit_data_ends_the_stream_after_so_many_bytes() {
    let mut world = world([Fault::LimitData(10)]);
    world.act([Act::Send(7), Act::Wait(ms(1)), Act::Send(7), Act::Wait(ms(1))]);
    assert_eq!(
        (world.sent.as_slice(), world.endings.as_slice()),
        ([(ms(0), 7), (ms(1), 3)].as_slice(), [(ms(1), Ending::Finish)].as_slice())
    );
    world.act([Act::Send(100), Act::End]);
    assert_eq!((world.discarded, world.closed), (100, Some(ms(2))));
}

#[test]
fn a_peer_that_does_not_end_is_closed_five_seconds_later() {
    let mut world = world([Fault::LimitData(0)]);
    world.act([Act::Wait(Duration::from_secs(60))]);
    assert_eq!(world.endings, [(ms(0), Ending::Finish), (ms(5000), Ending::Close)]);
}

#[test]
fn timeout_answers_nothing_and_then_ends() {
    let mut world = world([Fault::Timeout(Some(ms(5000)))]);
    world.act([Act::Send(1_000_000), Act::Wait(ms(4999)), Act::Send(1), Act::Wait(ms(1))]);
    assert_eq!((world.bytes_sent(), world.discarded), (0, 1_000_001));
    assert_eq!(world.endings, [(ms(5000), Ending::Finish)]);
}

#[test]
fn a_timeout_holds_when_its_peer_has_ended() {
    let mut world = world([Fault::Timeout(Some(ms(5000)))]);
    world.act([Act::Send(100), Act::End, Act::Wait(ms(4999))]);
    assert_eq!((world.endings.as_slice(), world.again), ([].as_slice(), Some(ms(5000))));
    world.act([Act::Wait(ms(1))]);
    assert_eq!((world.discarded, world.closed), (100, Some(ms(5000))));
}

#[test]
fn timeout_of_zero_never_ends() {
    let mut world = world([Fault::Timeout(None)]);
    world.act([
        Act::Send(100),
        Act::Wait(Duration::from_secs(86_400)),
        Act::End,
        Act::Wait(Duration::from_secs(86_400)),
    ]);
    assert_eq!((world.bytes_sent(), world.discarded), (0, 100));
    assert_eq!((world.endings.as_slice(), world.closed, world.again), ([].as_slice(), None, None));
}

#[test]
fn lifetime_ends_a_connection_in_which_data_flows() {
    let mut world = world([Fault::Lifetime(ms(5000))]);
    world.act((0..100).flat_map(|_| [Act::Send(10), Act::Wait(ms(100))]));
    assert_eq!((world.bytes_sent(), world.endings[0]), (500, (ms(5000), Ending::Finish)));
}

#[test]
fn reset_comes_after_bytes_or_time_or_at_once() {
    let run = |after| {
        let mut world = world([Fault::Reset(after)]);
        world.act((0..100).flat_map(|_| [Act::Send(10), Act::Wait(ms(100))]));
        (world.bytes_sent(), world.endings)
    };
    assert_eq!(run(After::Bytes(25)), (25, vec![(ms(200), Ending::Reset)]));
    assert_eq!(run(After::Time(ms(5000))), (500, vec![(ms(5000), Ending::Reset)]));
    assert_eq!(run(After::Bytes(0)), (0, vec![(ms(0), Ending::Reset)]));
}

#[test]
fn a_stall_stops_both_directions_until_it_is_over() {
    let mut world = world([Fault::Stall { after: 10, length: Some(ms(3000)) }]);
    world.act([Act::Send(15), Act::Wait(ms(1000)), Act::Send(1_000_000), Act::Wait(ms(1999))]);
    assert_eq!((world.bytes_sent(), world.unread()), (10, 1_000_000), "the peer cannot go on either");
    world.act([Act::Wait(ms(1))]);
    assert_eq!((world.bytes_sent(), world.unread()), (1_000_015, 0));
}

#[test]
fn a_stall_without_an_end_lasts() {
    let mut world = world([Fault::Stall { after: 0, length: None }]);
    world.act([Act::Send(100), Act::Wait(Duration::from_secs(86_400))]);
    assert_eq!((world.unread(), world.again), (100, None));
}

#[test]
fn slow_close_answers_the_end_of_the_peer_late() {
    let mut world = world([Fault::SlowClose(ms(2000))]);
    world.act([Act::Send(10), Act::Wait(ms(500)), Act::End, Act::Wait(ms(5000))]);
    assert_eq!((world.sent.as_slice(), world.closed), ([(ms(0), 10)].as_slice(), Some(ms(2500))));
}

#[test]
fn half_close_first_ends_after_the_first_answer() {
    let mut world = world([Fault::HalfCloseFirst]);
    world.act([Act::Wait(ms(500)), Act::Send(10), Act::Wait(ms(60_000)), Act::Send(7)]);
    assert_eq!((world.bytes_sent(), world.discarded), (10, 7));
    assert_eq!(world.endings, [(ms(500), Ending::Finish)], "the peer has all the time it wants");
    world.act([Act::End]);
    assert_eq!(world.closed, Some(ms(60_500)));
}

#[test]
fn a_lifetime_also_ends_a_half_closed_connection() {
    let mut world = world([Fault::HalfCloseFirst, Fault::Lifetime(ms(60_000))]);
    world.act([Act::Send(10), Act::Wait(ms(100_000))]);
    assert_eq!(world.endings, [(ms(0), Ending::Finish), (ms(60_000), Ending::Close)]);
}

#[test]
fn the_earlier_of_two_times_ends_a_connection() {
    let some = |fault| FaultRule { fault, probability: Share::from_percent(90).unwrap() };
    let rules = [some(Fault::Timeout(Some(ms(5000)))), some(Fault::Lifetime(ms(2000)))];
    let plan = FaultPlan::new(1512, rules).unwrap();
    let both = (1..100).filter_map(|number| plan.connection(number)).find(|faults| faults.kinds().len() == 2);
    let mut world = World::new(both.unwrap(), BUFFER);
    world.act([Act::Wait(ms(3000))]);
    assert_eq!(world.endings, [(ms(2000), Ending::Finish)]);
}

#[test]
fn a_greeting_that_a_timeout_holds_back_delays_no_end() {
    let plan = FaultPlan::new(1512, [Fault::Timeout(Some(ms(5000))).into()]).unwrap();
    let mut faults = plan.connection(1).unwrap();
    faults.received(30, ms(0));
    assert_eq!((faults.permit(30, ms(0)).send, faults.permit(30, ms(0)).ending), (0, None));
    faults.received_end();
    assert_eq!(faults.permit(30, ms(5000)).ending, Some(Ending::Finish));
}

#[test]
fn faults_of_a_connection_add_up() {
    let mut world = world([latency(50), slice(5, 5, ms(10)), Fault::LimitData(12), Fault::SlowClose(ms(100))]);
    world.act([Act::Send(20), Act::Wait(ms(1000))]);
    assert_eq!(world.sent, [(ms(50), 5), (ms(60), 5), (ms(70), 2)]);
    assert_eq!(world.endings, [(ms(170), Ending::Finish)]);
}

#[test]
fn the_first_connections_are_refused_and_others_late() {
    let delay = Fault::AcceptDelay(Chances::always(ms(200)));
    let plan = FaultPlan::new(1512, [Fault::Refuse(3).into(), delay.into()]).unwrap();
    let arrivals: Vec<Arrival> = (1..=5).map(|number| plan.arrival(number)).collect();
    let (refused, late) = (Arrival::Refused, Arrival::Accepted(ms(200)));
    assert_eq!(arrivals, [refused, refused, refused, late, late]);
    assert_eq!(plan.connection(4).unwrap().kinds(), [FaultKind::AcceptDelay]);
}

#[test]
fn a_probability_chooses_as_many_connections() {
    let some = |fault| FaultRule { fault, probability: Share::from_percent(20).unwrap() };
    let plan = FaultPlan::new(1512, [some(latency(50)), some(Fault::Reset(After::Bytes(0)))]).unwrap();
    let has = |number, kind: FaultKind| plan.connection(number).is_some_and(|faults| faults.kinds().contains(&kind));
    let times = |chosen: &dyn Fn(u64) -> bool| (1..=100_000).filter(|number| chosen(*number)).count();
    let late = times(&|number| has(number, FaultKind::Latency));
    let both = times(&|number| has(number, FaultKind::Latency) && has(number, FaultKind::Reset));
    // The standard deviations are 126 and 62, and two faults do not depend on each other.
    assert!(late.abs_diff(20_000) < 800 && both.abs_diff(4000) < 400, "{late} are late, {both} of them are reset");
}
