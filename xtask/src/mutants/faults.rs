//! Faults in how the loop serves connections that misbehave on request.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "what a fault holds back is forgotten",
        file: "event_loop/faults.rs",
        old: "self.deadlines.push(again, Due::Extras(key));",
        new: "let _ = again;",
    },
    Mutant {
        name: "a fault is asked again only once",
        file: "event_loop/faults.rs",
        old: "faulty.asks.pop_if(|ask| *ask == at).is_some()",
        new: "faulty.asks.contains(&at)",
    },
    Mutant {
        name: "a connection with faults has no share of a turn",
        file: "event_loop/faults.rs",
        old: "        *budget = budget.saturating_sub(used);\n",
        new: "        let _ = used;\n",
    },
    Mutant {
        name: "a connection with faults throws away what it owes",
        file: "event_loop/faults.rs",
        old: "        if input == Input::Discard {\n            self.connection.discard();",
        new: "        if input != Input::Wait {\n            self.connection.discard();",
    },
    Mutant {
        name: "a fault resets nothing",
        file: "event_loop/serving.rs",
        old: "CloseReason::ResetFault => self.means.host.reset(socket),",
        new: "CloseReason::ResetFault => self.means.host.close(socket),",
    },
    Mutant {
        name: "a corrupt answer is right",
        file: "event_loop/held_datagrams.rs",
        old: "                fate.corrupt(&mut payload);\n",
        new: "",
    },
    Mutant {
        name: "late answers wait for another datagram",
        file: "event_loop/datagrams.rs",
        old: "                held.send_due(&mut watched.open.socket, means);\n",
        new: "",
    },
    Mutant {
        name: "a doubled answer leaves three times",
        file: "event_loop/held_datagrams.rs",
        old: "for copy in (0..fate.copies).rev() {",
        new: "for copy in (0..fate.copies + u8::from(fate.copies == 2)).rev() {",
    },
];
