//! Faults in what the loop does for datagrams.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "answers its own ports",
        file: "event_loop/datagrams.rs",
        old: "self.answers.rules.own_ports = own_ports;",
        new: "self.answers.rules.own_ports = Vec::new();",
    },
    Mutant {
        name: "answers what was sent to many",
        file: "event_loop/datagrams.rs",
        old: "let sent_to_many = destination.is_some_and(|to| to.is_multicast() || to.is_broadcast());",
        new: "let sent_to_many = destination.is_some_and(|to| to.is_multicast());",
    },
    Mutant {
        name: "answers low ports",
        file: "event_loop/datagrams.rs",
        old: "answer_low_ports: udp.answer_low_ports }",
        new: "answer_low_ports: true }",
    },
    Mutant {
        name: "answers a datagram that is refused",
        file: "event_loop/datagrams.rs",
        old: "                means.counters().refused_datagram(refusal);
                datagram.refuse();",
        new: "                means.counters().refused_datagram(refusal);",
    },
    Mutant {
        name: "refused datagrams are not counted",
        file: "event_loop/datagrams.rs",
        old: "means.counters().refused_datagram(refusal);",
        new: "let _ = refusal;",
    },
    Mutant {
        name: "datagrams that are refused use up the rate",
        file: "event_loop/datagrams.rs",
        old: "        self.rules.check(&Datagram {",
        new: "        if let Some(rate) = &mut self.rate { let _ = rate.take(received.source().ip(), now); }
        self.rules.check(&Datagram {",
    },
    Mutant {
        name: "the rate is not bounded",
        file: "event_loop/datagrams.rs",
        old: "Some(rate) => rate.take(received.source().ip(), now),",
        new: "Some(rate) => { let _ = rate.take(received.source().ip(), now); Ok(()) }",
    },
    Mutant {
        name: "the rate goes by an old clock",
        file: "event_loop/datagrams.rs",
        old: "Some(rate) => rate.take(received.source().ip(), now),",
        new: "Some(rate) => rate.take(received.source().ip(), now - Duration::from_millis(50)),",
    },
    Mutant {
        name: "datagrams without limit in a turn",
        file: "event_loop/datagrams.rs",
        old: "const DATAGRAMS_PER_TURN: usize = 256;",
        new: "const DATAGRAMS_PER_TURN: usize = usize::MAX;",
    },
    Mutant {
        name: "bytes of datagrams without limit in a turn",
        file: "event_loop/datagrams.rs",
        old: "const BYTES_PER_TURN: usize = 512 * 1024;",
        new: "const BYTES_PER_TURN: usize = usize::MAX;",
    },
    Mutant {
        name: "one batch of datagrams in a turn",
        file: "event_loop/datagrams.rs",
        old: "received == Batch::CAPACITY);",
        new: "received > Batch::CAPACITY);",
    },
    Mutant {
        name: "a failed receive of datagrams is tried again at once",
        file: "event_loop/datagrams.rs",
        old: "const PAUSE: Duration = Duration::from_millis(20);",
        new: "const PAUSE: Duration = Duration::ZERO;",
    },
    Mutant {
        name: "a UDP socket that is ready in vain spins",
        file: "event_loop/datagrams.rs",
        old: "let spins = self.empty_events == EMPTY_EVENTS;",
        new: "let spins = false;",
    },
    Mutant {
        name: "a UDP socket that failed is forgotten",
        file: "event_loop/datagrams.rs",
        old: "            if !watched.watched {",
        new: "            if false {",
    },
    Mutant {
        name: "an interrupted receive of datagrams ends the turn",
        file: "event_loop/datagrams.rs",
        old: "                    datagrams += 1;
                    continue;",
        new: "                    return;",
    },
    Mutant {
        name: "replies that were not taken are not counted",
        file: "event_loop/datagrams.rs",
        old: "counters.datagrams_dropped_out.add(replied.dropped as u64);",
        new: "",
    },
    Mutant {
        name: "drops of the system are not counted",
        file: "event_loop/datagrams.rs",
        old: "means.counters().datagrams_dropped_in.add(dropped);",
        new: "let _ = dropped;",
    },
    Mutant {
        name: "the system is never asked for drops",
        file: "event_loop/datagrams.rs",
        old: "self.check_at = earlier(self.check_at, Some(means.now + DROPS_INTERVAL));",
        new: "",
    },
    Mutant {
        name: "drops are asked for all the time",
        file: "event_loop/datagrams.rs",
        old: "        self.check_at = None;
        for (index,",
        new: "        self.check_at = Some(means.now + DROPS_INTERVAL);
        for (index,",
    },
    Mutant {
        name: "datagrams are not logged",
        file: "event_loop/datagrams.rs",
        old: "means.host.message(&Peer::from(source), payload);",
        new: "",
    },
    Mutant {
        name: "refused datagrams are logged",
        file: "event_loop/datagrams.rs",
        old: "            if let Err(refusal) = self.permit(",
        new: "            means.host.message(&Peer::from(received.source()), received.payload());
            if let Err(refusal) = self.permit(",
    },
    Mutant {
        name: "replies are sent twice",
        file: "event_loop/datagrams.rs",
        old: "            let counters = means.counters();
            counters.bytes_out",
        new: "            let _ = means.host.reply_datagrams(&mut watched.open.socket, batch);
            let counters = means.counters();
            counters.bytes_out",
    },
    Mutant {
        name: "a full batch is left for the next turn",
        file: "event_loop/datagrams.rs",
        old: "            let replied = means.host.reply_datagrams(",
        new: "            if batch.len() == Batch::CAPACITY { return; }
            let replied = means.host.reply_datagrams(",
    },
    Mutant {
        name: "the prefix is missing in a datagram",
        file: "event_loop/datagrams.rs",
        old: "if datagram.prepend(&self.prefix).is_err() {",
        new: "if false {",
    },
    Mutant {
        name: "the prefix of the last datagram stays",
        file: "event_loop/datagrams.rs",
        old: "                self.prefix.clear();
",
        new: "",
    },
    Mutant {
        name: "a drain forgets the last datagrams",
        file: "event_loop/datagrams.rs",
        old: "self.serve_while(index, means, |_| true);",
        new: "",
    },
    Mutant {
        name: "a drain trusts a short batch",
        file: "event_loop/datagrams.rs",
        old: "self.serve_while(index, means, |_| true);",
        new: "self.serve(index, means);",
    },
    Mutant {
        name: "a drain takes datagrams from a given socket",
        file: "event_loop/datagrams.rs",
        old: "chosen(&watched.open) && !watched.open.given)",
        new: "chosen(&watched.open))",
    },
    Mutant {
        name: "UDP goes on in a drain",
        file: "event_loop/drain.rs",
        old: "        self.datagrams.close(&mut self.means, |_| true);
",
        new: "",
    },
];
