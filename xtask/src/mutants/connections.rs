//! Faults in what the loop does for TCP connections.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a short send is ignored",
        file: "event_loop/conversation.rs",
        old: "self.connection.sent(n);",
        new: "self.connection.sent(wanted);",
    },
    Mutant {
        name: "a receive that would block closes",
        file: "event_loop/conversation.rs",
        old: "ErrorKind::WouldBlock => return Step::Blocked,",
        new: "ErrorKind::WouldBlock => return Step::Failed(CloseReason::Reset),",
    },
    Mutant {
        name: "the end-of-file flag closes, with bytes pending",
        file: "event_loop/serving.rs",
        old: "conversation.readiness.report_readable(read_on, available);",
        new: "conversation.readiness.report_readable(read_on, available); if read_on { conversation.connection.received_end(); }",
    },
    Mutant {
        name: "accept without limit",
        file: "event_loop/accepting.rs",
        old: "const ACCEPTS_PER_TURN: usize = 256;",
        new: "const ACCEPTS_PER_TURN: usize = usize::MAX;",
    },
    Mutant {
        name: "no back-off without descriptors",
        file: "event_loop/acceptor.rs",
        old: "const PAUSE: Duration = Duration::from_millis(250);",
        new: "const PAUSE: Duration = Duration::ZERO;",
    },
    Mutant {
        name: "write interest is never taken back",
        file: "event_loop/serving.rs",
        old: "let want_write = ",
        new: "let want_write = conversation.write_watched || ",
    },
    Mutant {
        name: "no generation in the token",
        file: "event_loop.rs",
        old: "self.receive_ahead(connection, read_on, available),",
        new: "{
                let slot = |key| {
                    parrot_kqueue::Token::from(crate::host::Target::Connection(key)).0 & u32::MAX as usize
                };
                let same = self.connections.keys().find(|other| slot(*other) == slot(connection));
                self.receive_ahead(same.unwrap_or(connection), read_on, available);
            }",
    },
    Mutant {
        name: "the end is sent only in a drain",
        file: "event_loop/conversation.rs",
        old: "if self.connection.wants_shut_down() {",
        new: "if self.connection.wants_shut_down() && self.connection.is_draining() {",
    },
    Mutant {
        name: "an idle server wakes up",
        file: "event_loop.rs",
        old: "due.map(|due| due.saturating_duration_since(now))",
        new: "Some(due.map_or(Duration::MAX, |due| due.saturating_duration_since(now)).min(Duration::from_millis(10)))",
    },
    Mutant {
        name: "the clock is read every second turn",
        file: "event_loop.rs",
        old: "self.means.now = self.means.read_clock();",
        new: "if self.means.counters().turns.get() % 2 == 0 { self.means.now = self.means.read_clock(); }",
    },
    Mutant {
        name: "interrupted calls cost nothing",
        file: "event_loop/conversation.rs",
        old: "Ok(Step::Interrupted) => budget = budget.saturating_sub(LEAST_PER_CALL),",
        new: "Ok(Step::Interrupted) => {}",
    },
    Mutant {
        name: "leftovers without limit",
        file: "event_loop.rs",
        old: "let leftovers = self.lists.unfinished().min(LEFTOVERS_PER_TURN);",
        new: "let leftovers = self.lists.unfinished();",
    },
    Mutant {
        name: "a stream is served twice in a turn",
        file: "event_loop/serving.rs",
        old: "Listed::Served if borrow == Borrow::InTurn => self.lists",
        new: "Listed::Served if false => self.lists",
    },
    Mutant {
        name: "deadlines of closed connections are kept",
        file: "event_loop/deadlines.rs",
        old: "if self.len() > 3 * live + SLACK {",
        new: "if self.len() > usize::MAX / 2 + live {",
    },
    Mutant {
        name: "the list of those that wait keeps closed connections",
        file: "event_loop/lists.rs",
        old: "if self.waiting.len() > 2 * open + LEFTOVERS_PER_TURN {",
        new: "if false {",
    },
    Mutant {
        name: "a drain does not accept",
        file: "event_loop/drain.rs",
        old: "if !self.acceptor.is_paused() && self.accept(index, None) == Backlog::Empty {",
        new: "if true {",
    },
    Mutant {
        name: "the drain is not delayed",
        file: "event_loop/drain.rs",
        old: "Stage::Serving if signal == Signal::Terminate && !self.limits.drain_delay.is_zero() => self.leave(),",
        new: "Stage::Serving if false => self.leave(),",
    },
    Mutant {
        name: "the delay of the drain has no end",
        file: "event_loop/drain.rs",
        old: "if self.stage == Stage::Leaving && self.stage_until.is_some_and(|until| until <= self.means.now) {",
        new: "if false {",
    },
    Mutant {
        name: "a signal does not skip the delay of the drain",
        file: "event_loop/drain.rs",
        old: "Stage::Draining if self.signalled =>",
        new: "Stage::Leaving => {}\n            Stage::Draining if self.signalled =>",
    },
    Mutant {
        name: "the backlog is not asked for",
        file: "event_loop/drain.rs",
        old: "Some(open) => matches!(self.means.host.has_backlog(&open.listener), Ok(false)),",
        new: "Some(_) => true,",
    },
    Mutant {
        name: "a close does not resume accepting",
        file: "event_loop/serving.rs",
        old: "        self.acceptor.resume(self.means.now, &mut self.means.host);\n",
        new: "",
    },
    Mutant {
        name: "no send is tried before an idle close",
        file: "event_loop/idle.rs",
        old: "&& conversation.connection.has_pending()",
        new: "&& false",
    },
    Mutant {
        name: "the input is not looked at before an idle close",
        file: "event_loop/idle.rs",
        old: "match conversation.look_for_input(&mut self.means) {",
        new: "match Look::None {",
    },
    Mutant {
        name: "closed connections wake an idle server",
        file: "event_loop/deadlines.rs",
        old: "if wanted(due, kind(key)) {",
        new: "if true || wanted(due, kind(key)) {",
    },
    Mutant {
        name: "a long turn counts as idle time",
        file: "event_loop/long_turns.rs",
        old: "if ended.saturating_duration_since(began) > idle / PARTS_OF_IDLE {",
        new: "if false {",
    },
    Mutant {
        name: "another try for memory expects no room",
        file: "event_loop/idle.rs",
        old: "conversation.readiness.report_writable();\n                    self.serve(key, Borrow::InTurn);\n                }",
        new: "self.serve(key, Borrow::InTurn);\n                }",
    },
    Mutant {
        name: "a drain trusts a short receive",
        file: "event_loop/readiness.rs",
        old: "        self.readable = true;\n        self.read_on = true;\n",
        new: "        self.readable = true;\n",
    },
    Mutant {
        name: "those that wait are served without limit",
        file: "event_loop/serving.rs",
        old: "if served == LEFTOVERS_PER_TURN || !self.means.pool.can_lend() {",
        new: "if served == usize::MAX || !self.means.pool.can_lend() {",
    },
    Mutant {
        name: "the loop does not busy-poll when told to",
        file: "event_loop.rs",
        old: "let busy = self.busy_until.is_some_and(|until| now < until);",
        new: "let busy = false;",
    },
    Mutant {
        name: "a peer that falls behind is a stream still",
        file: "../../parrot-conn/src/connection.rs",
        old: "None => self.takes = 0,",
        new: "None => {}",
    },
    Mutant {
        name: "a large buffer is kept after its peer fell behind",
        file: "../../parrot-conn/src/connection.rs",
        old: "if !is_stream && self",
        new: "if false && self",
    },
    Mutant {
        name: "a peer gets a large buffer too early",
        file: "../../parrot-conn/src/connection.rs",
        old: "const TAKES_BEFORE_LARGE: u8 = 64;",
        new: "const TAKES_BEFORE_LARGE: u8 = 63;",
    },
    Mutant {
        name: "large buffers are lent without room for others",
        file: "../../parrot-conn/src/buffer.rs",
        old: "<= self.capacity / 2",
        new: "<= usize::MAX",
    },
    Mutant {
        name: "what is pending uses up the share of a turn",
        file: "event_loop/conversation.rs",
        old: "let mut budget = BYTES_PER_SERVING;",
        new: "let mut budget = (2 * BYTES_PER_SERVING).saturating_sub(self.connection.to_send().len());",
    },
    Mutant {
        name: "the end is looked for without a reason",
        file: "event_loop/conversation.rs",
        old: "if !self.readiness.must_read_on() && !self.connection.is_draining() {",
        new: "if false {",
    },
];
