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
];
