//! Draws flame graphs of servers under load, with perf and inferno.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use inferno::collapse::Collapse;
use inferno::collapse::perf::Folder;
use inferno::flamegraph::color::MultiPalette;
use inferno::flamegraph::{Options, Palette};
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

/// Runs each of `servers` that takes part in `suite` under its load, and writes flame graphs to
/// `output`/profile-NAME.svg.
///
/// The exit code reports an interruption, and a run in which something failed.
///
/// # Errors
///
/// If no server takes part, a run fails, or perf is not allowed to trace the process.
pub(crate) fn flame_graphs(
    measure: &Measure<'_>,
    suite: &Suite,
    servers: &[Server],
    timing: Timing,
    output: &Path,
) -> Result<ExitCode> {
    let mut exit_code = ExitCode::SUCCESS;
    let field: Vec<&Server> = servers.iter().filter(|server| server.takes_part(suite)).collect();
    ensure!(!field.is_empty(), "--profile is for one suite, and none of these servers takes part in {}", suite.name);
    for server in field {
        let data = output.join(format!("perf-{}.data", server.name));
        let mut recording = None;
        let run = measure.run(suite, server, timing, &mut |process| recording = Some(record(process, &data)));
        if measure.interrupt.stop.stopped() {
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let run = run.with_context(|| format!("cannot profile {}", server.name))?;
        finish(recording.with_context(|| format!("{} never echoed anything", server.name))??)?;
        warn(format_args!("{}: profiled at {:.0} messages/s", server.name, run.messages_per_second));
        let path = output.join(format!("profile-{}.svg", server.name));
        draw(&fold(&data)?, &format!("{}: {}", server.name, suite.title), &path)?;
        say(path.display())?;
        if let Some(trouble) = run.trouble() {
            warn(format_args!("this profile is worthless, because the run failed: {trouble}"));
            exit_code = ExitCode::FAILURE;
        }
    }
    Ok(exit_code)
}

/// Draws `stacks`, one a line, with Rust code in one colour and the kernel and C in another. A function has the same
/// shade in every picture, so that two of them can be compared.
fn draw(stacks: &[u8], title: &str, path: &Path) -> Result<()> {
    let mut options = Options::default();
    options.title = title.into();
    options.subtitle = Some("width is the share of the server's CPU time, in user space and in the kernel".into());
    options.colors = Palette::Multi(MultiPalette::Rust);
    options.hash = true;
    options.min_width = 0.1; // per cent, about a pixel
    let picture = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let stacks = String::from_utf8_lossy(stacks);
    inferno::flamegraph::from_lines(&mut options, stacks.lines(), picture).context("cannot draw the flame graph")
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
    Folder::from(inferno::collapse::perf::Options::default())
        .collapse(BufReader::new(stacks), &mut folded)
        .context("cannot read perf's stacks")?;
    script.wait()?;
    Ok(folded)
}
