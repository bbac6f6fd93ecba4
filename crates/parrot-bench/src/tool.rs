//! What some servers need and a machine may lack: other languages, other servers, and a feature of the kernel.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::server::Server;

/// Something that may not be installed or permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    Go,
    Node,
    IoUring,
    Socat,
    Xinetd,
}

/// The program of the servers in Go.
pub(crate) const GO: &str = "rival-go";

/// The program of the server on io_uring.
pub(crate) const IO_URING: &str = "rival-compio";

impl Tool {
    /// Prepares the servers that need this tool. Compiled programs go to `programs`.
    fn prepare(self, programs: &Path) -> Result<()> {
        match self {
            Tool::Go => build_go(&programs.join(GO)),
            Tool::Node => installed("Node", "node", "--version"),
            Tool::IoUring => permitted(&programs.join(IO_URING)),
            Tool::Socat => installed("socat", "socat", "-V"),
            Tool::Xinetd => installed("xinetd", "xinetd", "-version"),
        }
    }
}

/// Prepares `servers` and returns those that cannot take part, with the reason.
pub(crate) fn missing(servers: &[Server], programs: &Path) -> BTreeMap<String, String> {
    let mut prepared: BTreeMap<Tool, Option<String>> = BTreeMap::new();
    let mut why = |tool: Tool| {
        let prepare = || tool.prepare(programs).err().map(|error| format!("{error:#}"));
        prepared.entry(tool).or_insert_with(prepare).clone()
    };
    servers.iter().filter_map(|server| Some((server.name.clone(), why(server.needs?)?))).collect()
}

/// Checks that `program` runs when it is called with `argument`, which makes it print its version.
fn installed(name: &str, program: &str, argument: &str) -> Result<()> {
    match Command::new(program).arg(argument).output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => bail!("{name} is not installed"),
    }
}

/// Checks that the rival on io_uring can start, because a kernel may lack io_uring, and a container may forbid it.
fn permitted(program: &Path) -> Result<()> {
    let output = Command::new(program).arg("check").output();
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!("io_uring cannot be used: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn build_go(program: &Path) -> Result<()> {
    let mut command = Command::new("go");
    // Use the installed toolchain and fetch nothing. The source needs no newer one and no module.
    command.env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=mod").env("GOPROXY", "off");
    command.arg("build").arg("-o").arg(program).arg(".").current_dir(rivals().join("go"));
    let output = match command.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("Go is not installed"),
        output => output.context("cannot start go build")?,
    };
    if !output.status.success() {
        bail!("go build failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The directory with the sources of the rivals in other languages.
pub(crate) fn rivals() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../parrot-rivals")
}
