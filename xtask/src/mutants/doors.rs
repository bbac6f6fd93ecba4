//! Faults in what the loop does for PROXY headers, greetings, prefixes, Unix sockets and given listeners.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a header is given to the log",
        file: "event_loop/extras.rs",
        old: "        extras.header_begun = true;\n",
        new: "        extras.header_begun = true;
        means.host.message(&self.peer, bytes.get(..received).unwrap_or_default());\n",
    },
    Mutant {
        name: "a header is echoed",
        file: "event_loop/extras.rs",
        old: "        extras.header_begun = true;\n",
        new: "        extras.header_begun = true;
        if let Ok(space) = self.connection.receive_space(&mut means.pool) {
            let n = received.min(space.len());
            space[..n].copy_from_slice(&bytes[..n]);
            self.connection.received(n);
        }\n",
    },
    Mutant {
        name: "bytes behind a header are received with it",
        file: "event_loop/extras.rs",
        old: "means.host.receive(&self.socket, bytes.get_mut(..used).unwrap_or_default())",
        new: "{ let _ = used; means.host.receive(&self.socket, &mut bytes) }",
    },
    Mutant {
        name: "a header does not count as activity",
        file: "event_loop/extras.rs",
        old: "        self.last_activity = means.now;\n        let _ = self.readiness.received(received, received);",
        new: "        let _ = self.readiness.received(received, received);",
    },
    Mutant {
        name: "the client that a header reports is not logged",
        file: "event_loop/extras.rs",
        old: "self.peer = Peer::from(source);",
        new: "",
    },
    Mutant {
        name: "a stream that ends in its header is not refused",
        file: "event_loop/extras.rs",
        old: "Ok(0) if !extras.header_begun => return self.end(),",
        new: "Ok(0) => return self.end(),",
    },
    Mutant {
        name: "the look before an idle close takes a cut header for an end",
        file: "event_loop/conversation.rs",
        old: "Ok(0) if !self.awaits_header() => Some(self.end()),",
        new: "Ok(0) => Some(self.end()),",
    },
    Mutant {
        name: "a header waits for a buffer",
        file: "event_loop/conversation.rs",
        old: "may_borrow || self.connection.has_pending() || self.awaits_header() {",
        new: "may_borrow || self.connection.has_pending() {",
    },
    Mutant {
        name: "a header may take any time",
        file: "event_loop/accepting.rs",
        old: "self.await_header(key, due);",
        new: "let _ = due;",
    },
    Mutant {
        name: "the rest of a late header is not looked for",
        file: "event_loop/idle.rs",
        old: "        conversation.readiness.suspect_input();
        self.serve(key, Borrow::InTurn);
        let Some(conversation) = self.connections.get_mut(key).filter(",
        new: "        let _ = &conversation.readiness;
        let Some(conversation) = self.connections.get_mut(key).filter(",
    },
    Mutant {
        name: "a header is late although it could not be looked at",
        file: "event_loop/idle.rs",
        old: "if conversation.pause.is_for_memory() || conversation.readiness.is_readable() {",
        new: "if false {",
    },
    Mutant {
        name: "every peer may send a header",
        file: "event_loop/accepting.rs",
        old: "if open.proxy_protocol && !self.proxy.permits(&peer) {",
        new: "if false {",
    },
    Mutant {
        name: "peers that may send no header are not counted",
        file: "event_loop/accepting.rs",
        old: "            self.means.counters().untrusted.add(1);\n",
        new: "",
    },
    Mutant {
        name: "a greeting is dropped if no buffer is free",
        file: "event_loop/extras.rs",
        old: "            let space = self.connection.receive_space(&mut means.pool)?;
            let n = greeting",
        new: "            let Ok(space) = self.connection.receive_space(&mut means.pool) else {
                extras.greeted = extras.greeting.len();
                return Ok(Step::Interrupted);
            };
            let n = greeting",
    },
    Mutant {
        name: "the input is looked at before the greeting",
        file: "event_loop/conversation.rs",
        old: "            Err(no_space) if self.owes_greeting() => Err(no_space),\n",
        new: "",
    },
    Mutant {
        name: "a greeting waits for a message",
        file: "event_loop/extras.rs",
        old: "        if !extras.greeting.is_empty() {\n",
        new: "        if false {\n",
    },
    Mutant {
        name: "a greeting is owed after the end that a drain has sent",
        file: "event_loop/extras.rs",
        old: "        !self.connection.discards_input() && self.extras.as_deref().is_some_and(owes)",
        new: "        self.extras.as_deref().is_some_and(owes)",
    },
    Mutant {
        name: "a greeting repeats its first part",
        file: "event_loop/extras.rs",
        old: "extras.greeting.get(extras.greeted..).unwrap_or_default();",
        new: "&extras.greeting[..extras.greeting.len() - extras.greeted];",
    },
    Mutant {
        name: "the prefix of a message is missing",
        file: "event_loop/extras.rs",
        old: "false => self.receive_behind(&prefix, faults, means),",
        new: "false => self.receive_behind(&[], faults, means),",
    },
    Mutant {
        name: "a prefix is logged",
        file: "event_loop/conversation.rs",
        old: "true => means.host.message(&self.peer, message),",
        new: "true => means.host.message(&self.peer, &[prefix, message].concat()),",
    },
    Mutant {
        name: "a prefix takes no room",
        file: "event_loop/conversation.rs",
        old: "self.connection.room().is_some_and(|room| room <= prefix)",
        new: "self.connection.room().is_some_and(|room| room == 0)",
    },
    Mutant {
        name: "a short receive empties a Unix socket",
        file: "event_loop/conversation.rs",
        old: "Peer::Unix { .. } => Readiness::of_unix_socket(),",
        new: "Peer::Unix { .. } => Readiness::default(),",
    },
    Mutant {
        name: "a Unix socket in doubt is not looked at again",
        file: "event_loop/serving.rs",
        old: "Served::Waiting if conversation.readiness.is_doubtful() => self.doubtful.push(key),",
        new: "",
    },
    Mutant {
        name: "the loop sleeps with a Unix socket in doubt",
        file: "event_loop.rs",
        old: "|| !self.doubtful.is_empty()",
        new: "",
    },
    Mutant {
        name: "a drain accepts from a given listener",
        file: "event_loop/drain.rs",
        old: "Some(open) if open.given => self.acceptor.close(index, &mut self.means.host),",
        new: "",
    },
];
