//! `cargo xtask mutants`: the faults of the program that Parrot re-implements, put into the source of the loop, one at a
//! time, in a copy of the workspace. The simulator has to find each of them, and nothing in the copy as it is.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::root;
use crate::wrong_usage;

/// So many seeds of each profile are to show a fault.
const SEEDS: &str = "20000";

/// A fault may keep the loop in a turn for ever.
const PATIENCE: Duration = Duration::from_secs(300);

/// A fault: in a file of `parrot-server`, `new` in place of `old`.
struct Mutant {
    name: &'static str,
    file: &'static str,
    old: &'static str,
    new: &'static str,
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a short write is ignored",
        file: "conversation.rs",
        old: "self.connection.sent(n, turn.now);",
        new: "self.connection.sent(wanted, turn.now);",
    },
    Mutant {
        name: "a read that would block closes",
        file: "conversation.rs",
        old: "ErrorKind::WouldBlock => return Step::Blocked,",
        new: "ErrorKind::WouldBlock => return Step::Failed(CloseReason::Reset),",
    },
    Mutant {
        name: "the end-of-file flag closes, with bytes pending",
        file: "conversation.rs",
        old: "self.read_on |= read_on;",
        new: "self.read_on |= read_on; if read_on { let _ = self.end(); }",
    },
    Mutant {
        name: "accept without limit",
        file: "acceptor.rs",
        old: "const ACCEPTS_PER_TURN: usize = 64;",
        new: "const ACCEPTS_PER_TURN: usize = usize::MAX;",
    },
    Mutant {
        name: "no back-off without descriptors",
        file: "acceptor.rs",
        old: "const PAUSE: Duration = Duration::from_millis(250);",
        new: "const PAUSE: Duration = Duration::ZERO;",
    },
    Mutant {
        name: "the wish to write is never taken back",
        file: "event_loop.rs",
        old: "let want_write = ",
        new: "let want_write = conversation.write_watched || ",
    },
    Mutant {
        name: "no generation in the token",
        file: "event_loop.rs",
        old: "Event::Readable { token, read_on, available } => self.receive_ahead(token.into(), read_on, available),",
        new: "Event::Readable { token, read_on, available } => {
                    let slot = |token: usize| token & u32::MAX as usize;
                    let same = |key: &ConnectionKey| slot(parrot_kqueue::Token::from(*key).0) == slot(token.0);
                    let key = self.connections.keys().find(same).unwrap_or_else(|| token.into());
                    self.receive_ahead(key, read_on, available);
                }",
    },
    Mutant {
        name: "the end is sent only in a drain",
        file: "conversation.rs",
        old: "if self.connection.wants_shut_down() {",
        new: "if self.connection.wants_shut_down() && self.connection.is_draining() {",
    },
    Mutant {
        name: "an idle server wakes up",
        file: "event_loop.rs",
        old: "next.map(|due| due.saturating_duration_since(self.now))",
        new: "Some(next.map_or(Duration::MAX, |due| due.saturating_duration_since(self.now)).min(Duration::from_millis(10)))",
    },
    Mutant {
        name: "the clock is read every second turn",
        file: "event_loop.rs",
        old: "        self.now = self.system.now();\n        self.shared",
        new: "        if self.shared.counters.turns.get() % 2 == 0 { self.now = self.system.now(); }\n        self.shared",
    },
    Mutant {
        name: "interrupted calls cost nothing",
        file: "conversation.rs",
        old: "Ok(Step::Interrupted) => budget = budget.saturating_sub(LEAST_PER_CALL),",
        new: "Ok(Step::Interrupted) => {}",
    },
    Mutant {
        name: "leftovers without limit",
        file: "event_loop.rs",
        old: "let leftovers = self.unfinished.len().min(LEFTOVERS_PER_TURN);",
        new: "let leftovers = self.unfinished.len();",
    },
    Mutant {
        name: "deadlines of the dead are kept",
        file: "deadlines.rs",
        old: "if self.0.len() > 2 * live + SLACK {",
        new: "if self.0.len() > usize::MAX / 2 + live {",
    },
    Mutant {
        name: "the line for a buffer keeps the dead",
        file: "event_loop.rs",
        old: "if self.starved.len() > 2 * self.connections.len() + LEFTOVERS_PER_TURN {",
        new: "if false {",
    },
    Mutant {
        name: "a drain does not accept",
        file: "event_loop/drain.rs",
        old: "if !self.acceptor.is_paused() && self.accept(index) == Backlog::Empty {",
        new: "if true {",
    },
    Mutant {
        name: "the backlog is not asked for",
        file: "event_loop/drain.rs",
        old: "Some(listener) => matches!(self.system.is_waiting(listener), Ok(false)),",
        new: "Some(_) => true,",
    },
    Mutant {
        name: "a close does not resume accepting",
        file: "event_loop.rs",
        old: "        // A descriptor is free again.\n        self.acceptor.resume(self.now, &mut self.system, &mut self.queue);\n",
        new: "",
    },
    Mutant {
        name: "no send is tried before an idle close",
        file: "event_loop/due.rs",
        old: "if is_due(&conversation.connection) && !conversation.connection.to_send().is_empty() {",
        new: "if false {",
    },
    Mutant {
        name: "no look at the input before an idle close",
        file: "event_loop/due.rs",
        old: "match conversation.look_for_input(&mut self.system) {",
        new: "match Input::None {",
    },
    Mutant {
        name: "the dead wake an idle server",
        file: "deadlines.rs",
        old: "if wanted(what) {",
        new: "if true || wanted(what) {",
    },
    Mutant {
        name: "a drain trusts a short receive",
        file: "conversation.rs",
        old: "        self.readable = true;\n        self.read_on = true;\n    }",
        new: "        self.readable = true;\n    }",
    },
    Mutant {
        name: "the line for a buffer is served without limit",
        file: "event_loop.rs",
        old: "if served == LEFTOVERS_PER_TURN || !self.pool.can_lend() {",
        new: "if served == usize::MAX || !self.pool.can_lend() {",
    },
    Mutant {
        name: "the loop does not poll when told to",
        file: "event_loop.rs",
        old: "let busy = self.busy_until.is_some_and(|until| self.now < until);",
        new: "let busy = false;",
    },
    Mutant {
        name: "the end is looked for without a reason",
        file: "conversation.rs",
        old: "if !self.read_on && !self.connection.is_draining() {",
        new: "if false {",
    },
];

pub(crate) fn task(arguments: Vec<OsString>) -> Result<()> {
    if let Some(argument) = arguments.first() {
        return Err(wrong_usage(format!("mutants takes no argument, and was given {}", argument.display())));
    }
    let copy = root().join("target/mutants/workspace");
    copy_workspace(&copy)?;
    if let Some(how) = simulate(&copy, "no fault")? {
        bail!("without any fault the simulator says: {how}");
    }
    let mut survived = 0;
    for mutant in MUTANTS {
        let path = copy.join("crates/parrot-server/src").join(mutant.file);
        let source = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let times = source.matches(mutant.old).count();
        ensure!(times == 1, "{}: {} has its place {times} times: adapt the list", mutant.name, mutant.file);
        fs::write(&path, source.replace(mutant.old, mutant.new))?;
        let found = simulate(&copy, mutant.name);
        fs::write(&path, source)?;
        match found? {
            Some(how) => println!("found     {}: {how}", mutant.name),
            None => {
                survived += 1;
                println!("SURVIVED  {}", mutant.name);
            }
        }
    }
    ensure!(survived == 0, "{survived} of {} survived {SEEDS} seeds of each profile", MUTANTS.len());
    Ok(())
}

/// What the simulator says of the copy; `None`: nothing.
fn simulate(copy: &Path, name: &str) -> Result<Option<String>> {
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--profile", "simulate", "--package", "parrot-simulator"]);
    build.current_dir(copy).env("CARGO_TARGET_DIR", copy.with_file_name("target"));
    let built = build.stdout(Stdio::null()).output().context("cannot start cargo")?;
    if !built.status.success() {
        bail!("{name}: does not build: {}", String::from_utf8_lossy(&built.stderr));
    }
    let simulator = copy.with_file_name("target").join("simulate/parrot-simulator");
    let mut command = Command::new(&simulator);
    command.args(["--seeds", SEEDS]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = command.spawn().with_context(|| format!("cannot start {}", simulator.display()))?;
    let deadline = Instant::now() + PATIENCE;
    while running.try_wait()?.is_none() {
        if Instant::now() > deadline {
            running.kill()?;
            running.wait()?;
            return Ok(Some(format!("it does not end within {PATIENCE:?}")));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = running.wait_with_output()?;
    if output.status.success() {
        return Ok(None);
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let says = |line: &&str| line.contains(" broken in turn ") || line.contains(" panicked at ");
    match told.lines().find(says) {
        Some(how) => Ok(Some(how.to_owned())),
        None => bail!("{name}: the simulator neither finds it nor ends well: {}", told.trim_end()),
    }
}

/// What git knows of the workspace, as it is in the work tree.
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
