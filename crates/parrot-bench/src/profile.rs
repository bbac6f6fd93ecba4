//! Draws a flame graph of Parrot under load, with perf and inferno.

use std::io::BufReader;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use inferno::collapse::Collapse;
use inferno::collapse::perf::{Folder, Options};
use parrot_testkit::output::{say, warn};
use parrot_testkit::wait_for;

use crate::interrupt::INTERRUPTED;
use crate::measure::{Measure, Timing};
use crate::server::Server;
use crate::suite::Suite;

const NOT_LINUX: &str = "--profile needs perf, which only Linux has; use `xctrace record --template 'Time Profiler'` \
     (Instruments) on macOS, \
     and pmcstat or `dtrace -n 'profile-997 /pid == $target/ { @[ustack()] = count(); }' -p PID` on FreeBSD";

const NO_PERF: &str = "perf is not installed (on Debian: apt install linux-perf)";

/// Checks that a flame graph can be drawn on this machine.
///
/// # Errors
///
/// If this is not Linux, or perf is not installed.
pub(crate) fn check() -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!(NOT_LINUX);
    }
    Command::new("perf").arg("--version").output().context(NO_PERF)?;
    Ok(())
}

/// Runs `server` under the load of `suite` and writes a flame graph to `output`/profile.svg.
///
/// The exit code reports an interruption, and a run in which something failed.
///
/// # Errors
///
/// If the run fails, or perf is not allowed to trace the process.
pub(crate) fn flame_graph(
    measure: &Measure<'_>,
    suite: &Suite,
    server: &Server,
    timing: Timing,
    output: &Path,
) -> Result<ExitCode> {
    let data = output.join("perf.data");
    let mut recording = None;
    let run = measure.run(suite, server, timing, &mut |process| recording = Some(record(process, &data)));
    if measure.interrupt.stop.stopped() {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let run = run?;
    finish(recording.context("the server never echoed anything")??)?;
    warn(format_args!("profiled at {:.0} messages/s", run.messages_per_second));
    let folded = fold(&data)?;
    let path = output.join("profile.svg");
    let mut options = inferno::flamegraph::Options::default();
    options.title = format!("Parrot: {}", suite.title);
    options.subtitle = Some("width is CPU time, of Parrot and of the kernel on its behalf".into());
    let picture = std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let folded = String::from_utf8_lossy(&folded);
    inferno::flamegraph::from_lines(&mut options, folded.lines(), picture).context("cannot draw the flame graph")?;
    say(path.display())?;
    if let Some(trouble) = run.trouble() {
        warn(format_args!("this profile is worthless, because the run failed: {trouble}"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts perf on `process`. It records until that process ends.
fn record(process: u32, data: &Path) -> Result<Child> {
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-F", "1999", "-g", "-o"]).arg(data).args(["-p", &process.to_string()]);
    perf.stdin(Stdio::null()).stdout(Stdio::null());
    perf.spawn().context(NO_PERF)
}

/// Waits until perf has written its data, which it does after the server has ended.
fn finish(mut perf: Child) -> Result<()> {
    let status = wait_for("perf to write its data", || Ok(perf.try_wait()?)).inspect_err(|_| drop(perf.kill()))?;
    if !status.success() {
        bail!("perf record failed ({status}); it may need `sysctl kernel.perf_event_paranoid=1` or root");
    }
    Ok(())
}

/// Reads perf's stacks, one line each.
fn fold(data: &Path) -> Result<Vec<u8>> {
    let mut script = Command::new("perf");
    script.args(["script", "-i"]).arg(data).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut script = script.spawn().context("cannot start perf script")?;
    let stacks = script.stdout.take().context("perf script has no output")?;
    let mut folded = Vec::new();
    Folder::from(Options::default())
        .collapse(BufReader::new(stacks), &mut folded)
        .context("cannot read perf's stacks")?;
    script.wait()?;
    Ok(folded)
}
