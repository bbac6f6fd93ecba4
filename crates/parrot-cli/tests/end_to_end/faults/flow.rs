//! Faults that hold bytes back and lose none.

use std::time::{Duration, Instant};

use super::{End, bytes, milliseconds, over_each};

#[test]
fn latency_delays_every_answer_and_the_end() {
    over_each(&["latency=150ms"], |connect| {
        let mut client = connect();
        for round in 0..2 {
            let begin = Instant::now();
            client.send(b"squawk");
            let received = client.receive_up_to(6, begin);
            assert_eq!(received.bytes(), b"squawk", "round {round}");
            assert!(received.pieces[0].0 >= milliseconds(150), "{received:?}");
        }
        let begin = Instant::now();
        client.send(b"last");
        client.end();
        let received = client.receive_all(begin);
        assert_eq!((received.bytes().as_slice(), received.end), (&b"last"[..], Some(End::Finished)));
        assert!(received.pieces[0].0 >= milliseconds(150), "{received:?}");
    });
}

#[test]
fn messages_that_are_late_keep_their_distance() {
    over_each(&["latency=300ms"], |connect| {
        let mut client = connect();
        let begin = Instant::now();
        client.send(b"first");
        let mut other = client.try_clone();
        let sender = std::thread::spawn(move || {
            let apart = milliseconds(150);
            std::thread::sleep(apart);
            other.send(b"second");
            begin.elapsed()
        });
        let received = client.receive_up_to(11, begin);
        let sent = sender.join().unwrap();
        assert_eq!(received.bytes(), b"firstsecond");
        let last = received.pieces.last().unwrap().0;
        assert!(received.pieces[0].0 >= milliseconds(300) && last >= sent, "{received:?}");
        assert!(last >= milliseconds(450), "the second one is as late as the first: {received:?}");
    });
}

#[test]
fn jitter_makes_a_latency_differ() {
    over_each(&["latency=60ms,jitter=50ms"], |connect| {
        let mut client = connect();
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..12 {
            let begin = Instant::now();
            client.send(b"squawk");
            times.push(client.receive_up_to(6, begin).pieces[0].0);
        }
        let (least, most) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
        assert!(least >= milliseconds(10), "{times:?}");
        // By this seed, the delays are up to 46 ms apart.
        assert!(most - least >= milliseconds(20), "{times:?}");
    });
}

#[test]
fn the_seed_says_which_messages_have_the_other_latency() {
    use parrot_server::fault::FaultPlan;
    let spec = "latency=0s:50,200ms:50";
    let plan = FaultPlan::new(1512, [parrot_values::fault(spec).unwrap()]).unwrap();
    over_each(&[spec], |connect| {
        let mut client = connect();
        let mut faults = plan.connection(1).unwrap();
        let (mut prompt, mut late) = (0, 0);
        for second in 0..10 {
            let received_at = Duration::from_secs(second);
            faults.received(6, received_at);
            let is_late = faults.permit(6, received_at).send == 0;
            faults.permit(6, received_at + milliseconds(200));
            faults.sent(6, received_at + milliseconds(200));
            let begin = Instant::now();
            client.send(b"squawk");
            let took = client.receive_up_to(6, begin).pieces[0].0;
            assert!(!is_late || took >= milliseconds(200), "message {second} is to be late and took {took:?}");
            late += usize::from(is_late);
            prompt += usize::from(took < milliseconds(200));
        }
        assert!(late > 0 && prompt > 0, "{late} of 10 are to be late, and {prompt} were prompt");
    });
}

#[test]
fn bandwidth_bounds_the_bytes_of_each_second() {
    over_each(&["bandwidth=64KiB"], |connect| {
        let mut client = connect();
        let begin = Instant::now();
        client.send(bytes(64 << 10));
        client.end();
        let received = client.receive_all(begin);
        assert!(received.bytes() == bytes(64 << 10) && received.end == Some(End::Finished));
        // 20 ms of them may leave ahead.
        assert!(received.pieces.last().unwrap().0 >= milliseconds(970), "{:?}", received.ended);
        let early: usize =
            received.pieces.iter().filter(|(at, _)| *at <= milliseconds(500)).map(|(_, piece)| piece.len()).sum();
        assert!(early <= (64 << 10) * 530 / 1000, "{early} bytes in the first half of a second");
    });
}

#[test]
fn slices_arrive_as_segments_of_their_size() {
    over_each(&["slice=7,delay=20ms"], |connect| {
        let mut client = connect();
        let begin = Instant::now();
        client.send(bytes(70));
        client.end();
        let received = client.receive_all(begin);
        assert_eq!((received.bytes().as_slice(), received.end), (bytes(70), Some(End::Finished)));
        let lengths: Vec<usize> = received.pieces.iter().map(|(_, piece)| piece.len()).collect();
        // A client that was not running for a while receives several at once.
        assert!(lengths.iter().all(|length| length % 7 == 0), "{lengths:?}");
        assert!(lengths.iter().filter(|length| **length == 7).count() >= 3, "{lengths:?}");
        assert!(received.pieces.last().unwrap().0 >= milliseconds(180), "{:?}", received.ended);
    });
}

#[test]
fn slices_of_a_range_have_the_sizes_of_the_seed() {
    let sizes = || {
        let sizes = std::cell::RefCell::new(Vec::new());
        over_each(&["slice=1..40,delay=30ms"], |connect| {
            let mut client = connect();
            client.send(bytes(200));
            client.end();
            let received = client.receive_all(Instant::now());
            assert_eq!(received.bytes(), bytes(200));
            let places = received.pieces.iter().scan(0, |place, (_, piece)| {
                *place += piece.len();
                Some(*place)
            });
            sizes.borrow_mut().push(places.collect::<Vec<usize>>());
        });
        sizes.into_inner()
    };
    let runs = [sizes(), sizes()].concat();
    // Pieces may have arrived together, so a boundary may be missing in a run, and one is never elsewhere.
    let most = runs.iter().max_by_key(|run| run.len()).unwrap();
    assert!(most.len() >= 5, "{runs:?}");
    let missing = runs.iter().flatten().filter(|place| !most.contains(place)).count();
    assert!(missing <= 2, "boundaries differ: {runs:?}");
}

#[test]
fn one_byte_at_a_time_loses_none() {
    over_each(&["slice=1"], |connect| {
        let mut client = connect();
        client.send(bytes(40_000));
        client.end();
        let received = client.receive_all(Instant::now());
        assert!(received.bytes() == bytes(40_000) && received.end == Some(End::Finished));
    });
}

#[test]
fn each_byte_arrives_alone_if_there_is_a_delay() {
    over_each(&["slice=1,delay=5ms"], |connect| {
        let mut client = connect();
        let begin = Instant::now();
        client.send(bytes(60));
        client.end();
        let received = client.receive_all(begin);
        assert_eq!((received.bytes().as_slice(), received.end), (bytes(60), Some(End::Finished)));
        // A client that was not running for a while receives several at once.
        let alone = received.pieces.iter().filter(|(_, piece)| piece.len() == 1).count();
        assert!(alone >= 20, "{alone} of 60 came alone");
        assert!(received.pieces.last().unwrap().0 >= milliseconds(290), "{:?}", received.ended);
    });
}

#[test]
fn a_stall_reaches_the_sender_and_ends() {
    const LENGTH: usize = 24 << 20;
    over_each(&["stall=1000,for=700ms"], |connect| {
        let mut client = connect();
        let mut other = client.try_clone();
        let begin = Instant::now();
        let sender = std::thread::spawn(move || {
            other.send(bytes(LENGTH));
            other.end();
            begin.elapsed()
        });
        let received = client.receive_all(begin);
        // No socket holds as much, so the sender could only go on when the stall was over.
        assert!(sender.join().unwrap() >= milliseconds(700));
        assert!(received.bytes() == bytes(LENGTH) && received.end == Some(End::Finished));
        let before: usize =
            received.pieces.iter().filter(|(at, _)| *at < milliseconds(700)).map(|(_, piece)| piece.len()).sum();
        assert!(before <= 1000, "{before} bytes before the end of the stall");
    });
}

#[test]
fn a_connection_is_accepted_late() {
    over_each(&["accept-delay=250ms"], |connect| {
        let begin = Instant::now();
        let mut client = connect();
        client.send(b"squawk");
        let received = client.receive_up_to(6, begin);
        assert_eq!(received.bytes(), b"squawk");
        assert!(received.pieces[0].0 >= milliseconds(250), "{received:?}");
        let begin = Instant::now();
        client.send(b"again");
        client.end();
        assert_eq!(client.receive_all(begin).bytes(), b"again", "it is served like any other then");
    });
}
