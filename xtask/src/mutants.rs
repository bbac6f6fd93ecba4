//! `cargo xtask mutants`: puts known faults into the source of the loop, one at a time, in a copy of the workspace. The
//! simulator has to find each of them, and nothing in the unchanged copy.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::root;
use crate::say::say;

/// How many seeds of each profile have to be enough to find a fault.
const SEEDS: &str = "20000";

/// A run that takes this many times as long as the one without a fault is taken to have no end.
const PATIENCE: u32 = 10;

/// The faults that can keep the loop in a turn forever, by name. For these a run without end counts as found. For any other
/// fault it proves nothing.
const MAY_HANG: &[&str] = &["interrupted calls cost nothing"];

/// A fault: `new` in place of `old`, in a file of `parrot-server`.
struct Mutant {
    name: &'static str,
    file: &'static str,
    old: &'static str,
    new: &'static str,
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a short send is ignored",
        file: "event_loop/conversation.rs",
        old: "self.connection.sent(n, means.now);",
        new: "self.connection.sent(wanted, means.now);",
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
        old: "self.receive_ahead(key, read_on, available);",
        new: "let slot = |key| parrot_kqueue::Token::from(Target::Connection(key)).0 & u32::MAX as usize;
                let same = self.connections.keys().find(|other| slot(*other) == slot(key));
                self.receive_ahead(same.unwrap_or(key), read_on, available);",
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
        old: "next.map(|due| due.saturating_duration_since(now))",
        new: "Some(next.map_or(Duration::MAX, |due| due.saturating_duration_since(now)).min(Duration::from_millis(10)))",
    },
    Mutant {
        name: "the clock is read every second turn",
        file: "event_loop.rs",
        old: "self.means.now = self.means.host.now();",
        new: "if self.means.counters().turns.get() % 2 == 0 { self.means.now = self.means.host.now(); }",
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
        name: "deadlines of closed connections are kept",
        file: "event_loop/deadlines.rs",
        old: "if self.0.len() > 2 * live + SLACK {",
        new: "if self.0.len() > usize::MAX / 2 + live {",
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
        name: "the backlog is not asked for",
        file: "event_loop/drain.rs",
        old: "Some(listener) => matches!(self.means.host.has_backlog(listener), Ok(false)),",
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
        old: "if is_due(&conversation.connection) && !conversation.connection.to_send().is_empty() {",
        new: "if false {",
    },
    Mutant {
        name: "the input is not looked at before an idle close",
        file: "event_loop/idle.rs",
        old: "match conversation.look_for_input(&mut self.means.host) {",
        new: "match Look::None {",
    },
    Mutant {
        name: "closed connections wake an idle server",
        file: "event_loop/deadlines.rs",
        old: "if wanted(what) {",
        new: "if true || wanted(what) {",
    },
    Mutant {
        name: "a long turn counts as idle time",
        file: "event_loop/idle.rs",
        old: "if now.saturating_duration_since(began) > idle / PARTS_OF_IDLE {",
        new: "if false && now > began {",
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
        old: "        self.readable = true;\n        self.read_on = true;\n    }",
        new: "        self.readable = true;\n    }",
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
        name: "the end is looked for without a reason",
        file: "event_loop/conversation.rs",
        old: "if !self.readiness.must_read_on() && !self.connection.is_draining() {",
        new: "if false {",
    },
];

pub(crate) fn task() -> Result<()> {
    let copy = root().join("target/mutants/workspace");
    copy_workspace(&copy)?;
    build(&copy, "no fault")?;
    let start = Instant::now();
    if let Found::Broken(how) = simulate(&copy, "no fault", None)? {
        bail!("the simulator reports a broken promise without any fault: {how}");
    }
    let limit = start.elapsed() * PATIENCE;
    say(format_args!(
        "{SEEDS} seeds of each profile hold without a fault. A run counts as endless after {limit:.0?}."
    ))?;
    let mut survived = 0;
    for mutant in MUTANTS {
        let path = copy.join("crates/parrot-server/src").join(mutant.file);
        let source = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let times = source.matches(mutant.old).count();
        ensure!(
            times == 1,
            "{}: {} has the text to replace {times} times, so the list of mutants needs an update",
            mutant.name,
            mutant.file
        );
        fs::write(&path, source.replace(mutant.old, mutant.new))?;
        let found = build(&copy, mutant.name).and_then(|()| simulate(&copy, mutant.name, Some(limit)));
        fs::write(&path, source)?;
        match judged(mutant.name, found?, limit) {
            Ok(how) => say(format_args!("found     {}: {how}", mutant.name))?,
            Err(why) => {
                survived += 1;
                say(format_args!("SURVIVED  {}: {why}", mutant.name))?;
            }
        }
    }
    ensure!(survived == 0, "{survived} of {} mutants survived {SEEDS} seeds of each profile", MUTANTS.len());
    Ok(())
}

/// What the simulator finds in a copy.
enum Found {
    Nothing,
    Broken(String),
    NoEnd,
}

/// How a fault was found, or why it was not.
fn judged(name: &str, found: Found, limit: Duration) -> Result<String, String> {
    match found {
        Found::Broken(how) => Ok(how),
        Found::NoEnd if MAY_HANG.contains(&name) => Ok(format!("no end within {limit:.0?}")),
        Found::NoEnd => Err(format!("no end within {limit:.0?}, but it is not among those that may hang")),
        Found::Nothing => Err("no promise is broken".to_owned()),
    }
}

fn build(copy: &Path, name: &str) -> Result<()> {
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--profile", "simulate", "--package", "parrot-simulator"]);
    build.current_dir(copy).env("CARGO_TARGET_DIR", copy.with_file_name("target"));
    let built = build.stdout(Stdio::null()).output().context("cannot start cargo")?;
    ensure!(built.status.success(), "{name}: does not build: {}", String::from_utf8_lossy(&built.stderr));
    Ok(())
}

/// Runs the simulator of the copy, within a limit or to its end.
fn simulate(copy: &Path, name: &str, limit: Option<Duration>) -> Result<Found> {
    let simulator = copy.with_file_name("target").join("simulate/parrot-simulator");
    let mut command = Command::new(&simulator);
    command.args(["--seeds", SEEDS]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = command.spawn().with_context(|| format!("cannot start {}", simulator.display()))?;
    let start = Instant::now();
    while running.try_wait()?.is_none() {
        if limit.is_some_and(|limit| start.elapsed() > limit) {
            running.kill()?;
            running.wait()?;
            return Ok(Found::NoEnd);
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = running.wait_with_output()?;
    if output.status.success() {
        return Ok(Found::Nothing);
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let says = |line: &&str| line.contains(" broken in turn ") || line.contains(" panicked at ");
    match told.lines().find(says) {
        Some(how) => Ok(Found::Broken(how.to_owned())),
        None => bail!("{name}: the simulator failed without a finding: {}", told.trim_end()),
    }
}

/// Copies the files that git tracks, as they are in the work tree.
fn copy_workspace(to: &Path) -> Result<()> {
    let listed =
        Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().context("cannot start git")?;
    ensure!(listed.status.success(), "git does not list the workspace's files");
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    for file in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let (from, to) = (root().join(file), to.join(file));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        if from.is_file() {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {file}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_may_hang_are_among_the_faults() {
        for name in MAY_HANG {
            assert!(MUTANTS.iter().any(|mutant| mutant.name == *name), "there is no fault {name}");
        }
    }

    #[test]
    fn a_run_without_end_finds_only_what_may_hang() {
        let limit = Duration::from_secs(40);
        assert_eq!(judged(MAY_HANG[0], Found::NoEnd, limit).unwrap(), "no end within 40s");
        assert!(judged("a short send is ignored", Found::NoEnd, limit).unwrap_err().contains("may hang"));
        assert!(judged(MAY_HANG[0], Found::Nothing, limit).is_err());
        assert_eq!(judged("a short send is ignored", Found::Broken("squawk".into()), limit).unwrap(), "squawk");
    }
}
