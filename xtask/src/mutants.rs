//! `cargo xtask mutants [WORDS]`: puts known faults into the source of the loop, one at a time, in a copy of the
//! workspace. The simulator has to find each of them, and nothing in the unchanged copy.

mod changes;
mod connections;
mod datagrams;
mod doors;
mod faults;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::root;
use crate::say::say;
use crate::usage::WrongUsage;

/// All known faults, by what they are in.
const MUTANTS: [&[Mutant]; 5] =
    [connections::MUTANTS, datagrams::MUTANTS, doors::MUTANTS, changes::MUTANTS, faults::MUTANTS];

const HELP: &str = "\
usage: cargo xtask mutants [WORDS]...

Plants known faults in a copy of the loop, one at a time, which the simulator must find. With WORDS, only the faults
whose names contain one of them.";

/// How many seeds of each profile have to be enough to find a fault.
const SEEDS: &str = "20000";

/// A run that takes this many times as long as the one without a fault is taken to have no end.
const PATIENCE: u32 = 10;

/// The faults that can keep the loop in a turn forever, by name. For these a run without end counts as found. For any other
/// fault it proves nothing.
const MAY_HANG: &[&str] = &["interrupted calls cost nothing"];

/// A fault: `new` in place of `old`, in a file below the sources of `parrot-server`, or beside them.
struct Mutant {
    name: &'static str,
    file: &'static str,
    old: &'static str,
    new: &'static str,
}

impl Mutant {
    /// The file that it is planted in, in a workspace.
    fn path(&self, workspace: &Path) -> PathBuf {
        workspace.join("crates/parrot-server/src").join(self.file)
    }

    /// The text of the file with the fault.
    fn planted_in(&self, source: &str) -> Result<String> {
        let times = source.matches(self.old).count();
        let (name, file) = (self.name, self.file);
        ensure!(
            times == 1,
            "{name}: {file} has the text to replace {times} times, so the list of mutants needs an update"
        );
        Ok(source.replace(self.old, self.new))
    }
}

pub(crate) fn task(arguments: Vec<OsString>) -> Result<()> {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return say(HELP);
    }
    let mutants = selected(&arguments)?;
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
    for mutant in &mutants {
        let path = mutant.path(&copy);
        let source = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        fs::write(&path, mutant.planted_in(&source)?)?;
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
    ensure!(survived == 0, "{survived} of {} mutants survived {SEEDS} seeds of each profile", mutants.len());
    Ok(())
}

/// The faults whose names contain one of these words, or all of them if there is no word.
fn selected(words: &[OsString]) -> Result<Vec<&'static Mutant>> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    if let Some(unknown) = words.iter().find(|word| !all().any(|mutant| mutant.name.contains(word.as_ref()))) {
        return Err(WrongUsage(format!("there is no fault whose name contains {unknown:?}")).into());
    }
    let wanted = |mutant: &&Mutant| words.is_empty() || words.iter().any(|word| mutant.name.contains(word.as_ref()));
    Ok(all().filter(wanted).collect())
}

fn all() -> impl Iterator<Item = &'static Mutant> {
    MUTANTS.into_iter().flatten()
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
            assert!(all().any(|mutant| mutant.name == *name), "there is no fault {name}");
        }
    }

    #[test]
    fn every_fault_has_its_place_in_the_source() {
        for mutant in all() {
            let source = fs::read_to_string(mutant.path(root())).unwrap();
            assert_ne!(mutant.planted_in(&source).unwrap(), source, "{}", mutant.name);
        }
    }

    #[test]
    fn words_select_faults_by_name() {
        let names = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            selected(&words).map(|mutants| mutants.iter().map(|mutant| mutant.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["short send"]).unwrap(), ["a short send is ignored"]);
        assert_eq!(names(&[]).unwrap().len(), all().count());
        assert!(names(&["short send", "no such fault"]).unwrap_err().is::<WrongUsage>());
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
