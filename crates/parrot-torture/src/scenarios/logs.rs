//! A log that fails, stalls or disappears. Peers notice nothing, and every message is written or counted as dropped.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use parrot_testkit::{PATIENCE, wait_for};
use rustix::process::Signal;

use crate::ending::Ending;
use crate::peer::{Peer, Sockets};
use crate::scenario::{Log, Scenario, Storm};

use super::slow::all_back;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "log-device-full",
        story: "the log is /dev/full, which refuses every byte",
        log: Log::Device("/dev/full"),
        storm: chatter_throughout,
        after: nothing_written,
        ..Scenario::PLAIN
    },
    Scenario {
        name: "log-disk-full",
        story: "the log's disk of 64 KiB fills up, is emptied, and fills up again",
        log: Log::TinyDisk,
        storm: full_disk,
        after: some_written_some_dropped,
        ..Scenario::PLAIN
    },
    Scenario {
        name: "log-pipe-stalled",
        story: "the log is a pipe that nobody reads until the storm has ended",
        log: Log::Pipe,
        storm: stalled_pipe,
        after: Ending::reports_all_gaps,
        ..Scenario::PLAIN
    },
    Scenario {
        name: "log-removed",
        story: "the log file is renamed or removed over and over, with SIGHUP after it",
        log: Log::File,
        storm: removed,
        ..Scenario::PLAIN
    },
];

/// Sends short messages from many peers while `goes_on` returns true, so that the log has much to write.
fn chatter(peers: &mut [Peer], mut goes_on: impl FnMut() -> bool) -> Result<()> {
    while goes_on() {
        for peer in &mut *peers {
            peer.push(40)?;
        }
        for peer in &mut *peers {
            peer.receive_all()?;
        }
    }
    Ok(())
}

fn chatter_throughout(storm: &mut Storm<'_>) -> Result<()> {
    let mut peers = storm.flock(50, Sockets::Usual)?;
    chatter(&mut peers, || storm.goes_on())?;
    all_back(peers)
}

fn nothing_written(ending: &Ending) -> Result<()> {
    ensure!(ending.written() == 0 && ending.write_errors() > 0, "the log should have failed: {}", ending.summary);
    Ok(())
}

fn some_written_some_dropped(ending: &Ending) -> Result<()> {
    let partly = ending.written() > 0 && ending.dropped() > 0 && ending.write_errors() > 0;
    ensure!(partly, "the disk was never full or always full: {}", ending.summary);
    Ok(())
}

#[cfg(target_os = "linux")]
fn full_disk(storm: &mut Storm<'_>) -> Result<()> {
    let mut peers = storm.flock(50, Sockets::Usual)?;
    let log = storm.server.log_inside()?;
    let length = || fs::metadata(&log).map_or(0, |log| log.len());
    let mut times = 0;
    while storm.goes_on() || times < 2 {
        let filled = Instant::now();
        chatter(&mut peers, || length() < 64 * 1024 && filled.elapsed() < PATIENCE)?;
        ensure!(length() >= 64 * 1024, "the disk did not fill up: {} bytes", length());
        let after = Instant::now();
        chatter(&mut peers, || after.elapsed() < Duration::from_millis(50))?;
        check_lines(&log)?;
        fs::File::options().write(true).open(&log)?.set_len(0)?;
        times += 1;
    }
    ensure!(storm.server.stderr().contains("its disk is full"), "the server printed no warning of the full disk");
    storm.report(format!("the disk was full {times} times"));
    all_back(peers)
}

#[cfg(not(target_os = "linux"))]
fn full_disk(_: &mut Storm<'_>) -> Result<()> {
    anyhow::bail!("a small disk needs Linux")
}

fn stalled_pipe(storm: &mut Storm<'_>) -> Result<()> {
    chatter_throughout(storm)?;
    storm.server_rests()?;
    storm.server.read_stdout();
    Ok(())
}

fn removed(storm: &mut Storm<'_>) -> Result<()> {
    let mut peers = storm.flock(50, Sockets::Usual)?;
    let log = storm.server.log()?.to_owned();
    let (mut moved, mut removed) = (0, 0);
    while storm.goes_on() || moved < 2 {
        // A second link to the file, so that the lines of a removed one are counted at the end too.
        let kept = storm.folder.join(format!("messages.{}.log", moved + removed));
        if storm.random.once_in(2) || moved < 2 {
            fs::rename(&log, &kept)?;
            moved += 1;
        } else {
            fs::hard_link(&log, &kept)?;
            fs::remove_file(&log)?;
            removed += 1;
        }
        let mut rounds = 0..5;
        chatter(&mut peers, || rounds.next().is_some())?;
        storm.server.signal(Signal::HUP)?;
        // The new file is there once the server has taken the signal. Messages go on meanwhile.
        let start = Instant::now();
        chatter(&mut peers, || !log.exists() && start.elapsed() < PATIENCE)?;
        wait_for("a new log file after SIGHUP", || Ok(log.exists().then_some(())))?;
        thread::sleep(Duration::from_millis(20));
        check_lines(&kept)?;
    }
    storm.report(format!("{moved} renames and {removed} removals of the log"));
    all_back(peers)?;
    check_lines(&log)
}

/// Checks that the whole lines of the log are in Common Log Format.
fn check_lines(log: &Path) -> Result<()> {
    let text = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    let whole = text.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
    for (number, line) in whole.enumerate() {
        // The end of a line whose beginning was in a file that is gone.
        let rest = number == 0 && line == b"\n";
        let ok = rest || line.starts_with(b"127.0.0.1:") || line.starts_with(b"- dropped - ");
        let printable = line.iter().all(|&byte| byte == b'\n' || (b' '..=b'~').contains(&byte));
        // A full disk cuts a line off, and the next message begins on a line of its own.
        ensure!(ok && printable, "a strange line in {}: {}", log.display(), String::from_utf8_lossy(line));
    }
    Ok(())
}
