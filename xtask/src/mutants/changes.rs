//! Faults in what the loop does when its limits or its listeners change.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "another limit of connections does not hold",
        file: "event_loop/changes.rs",
        old: "Limits { max_output: self.limits.max_output, ..limits }",
        new: "Limits { max_output: self.limits.max_output, max_connections: self.limits.max_connections, ..limits }",
    },
    Mutant {
        name: "another idle timeout does not hold for open connections",
        file: "event_loop/changes.rs",
        old: "            self.restart_idle_timeouts();\n",
        new: "",
    },
    Mutant {
        name: "another limit of memory does not hold",
        file: "event_loop/changes.rs",
        old: "        self.means.pool.set_max_bytes(self.limits.max_buffered);\n",
        new: "",
    },
    Mutant {
        name: "a removed listener resets its backlog",
        file: "event_loop/changes.rs",
        old: "                self.close_listener(index, until);\n",
        new: "                let _ = until;\n                self.acceptor.close(index, &mut self.means.host);\n",
    },
    Mutant {
        name: "a removed listener stays open",
        file: "event_loop/changes.rs",
        old: "                self.close_listener(index, until);\n",
        new: "                let _ = (index, until);\n",
    },
    Mutant {
        name: "an added listener is not watched",
        file: "event_loop/acceptor.rs",
        old: "        if !self.is_paused() {\n            self.watch_all(now, host);\n        }\n",
        new: "        let _ = (now, host);\n",
    },
];
