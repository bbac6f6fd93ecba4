//! Where and with what it was measured: without it a figure means nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

/// The machine, the system and the versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Environment {
    pub(crate) date: String,
    pub(crate) system: String,
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    /// Cores this process may use.
    pub(crate) cores: usize,
    pub(crate) virtual_machine: bool,
    /// How the cores' frequency is chosen, where the system tells.
    pub(crate) governor: Option<String>,
    pub(crate) descriptors: Option<u64>,
    /// Settings of the network that matter here.
    pub(crate) network: Vec<(String, String)>,
    /// Runnable processes on average when it began: whoever else was at work.
    pub(crate) load_average: Option<f64>,
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) commit: String,
    /// How the servers were compiled: the profile, and what the caller changed of it.
    #[serde(default)]
    pub(crate) build: String,
    /// The command line.
    pub(crate) arguments: Vec<String>,
}

impl Environment {
    /// Reads it, for servers whose programs are in the directory `programs`.
    pub(crate) fn read(programs: &Path) -> Environment {
        let system = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Environment {
            date: jiff::ZonedDateTime::now().strftime("%Y-%m-%d %H:%M %Z").to_string(),
            system: format!("{} {}", text(system.sysname()), text(system.machine())),
            kernel: text(system.release()),
            cpu: model(&cpuinfo)
                .or_else(|| said("sysctl", &["-n", "machdep.cpu.brand_string"]))
                .or_else(|| said("sysctl", &["-n", "hw.model"]))
                .unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            virtual_machine: cpuinfo.contains(" hypervisor"),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            descriptors: getrlimit(Resource::Nofile).current,
            network: NETWORK.iter().filter_map(|path| Some((name(path), read(path)?))).collect(),
            load_average: read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
            versions: versions(),
            commit: commit(),
            build: build(programs),
            arguments: typed(std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned())),
        }
    }
}

const NETWORK: &[&str] = &[
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/net/ipv4/ip_local_port_range",
    "/proc/sys/net/ipv4/tcp_congestion_control",
    "/proc/sys/net/ipv4/tcp_rmem",
    "/proc/sys/net/ipv4/tcp_wmem",
];

fn name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_string()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().replace('\t', " "))
}

fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(": ").map(|(_, model)| model.to_string())
}

/// The arguments that a person typed: without the directory of programs, which xtask adds.
fn typed(mut arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut typed = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--programs" {
            arguments.next();
        } else {
            typed.push(argument);
        }
    }
    typed
}

/// The first line of what a program prints, if it can be run.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_string)
}

fn versions() -> Vec<(String, String)> {
    let locked = include_str!("../../../Cargo.lock");
    let mut versions = vec![("parrot".to_string(), env!("CARGO_PKG_VERSION").to_string())];
    for name in ["mio", "tokio"] {
        versions.extend(locked_version(locked, name).map(|version| (name.to_string(), version)));
    }
    for (name, arguments) in [("rustc", ["--version"]), ("go", ["version"]), ("node", ["--version"])] {
        versions.extend(said(name, &arguments).map(|version| (name.to_string(), version)));
    }
    versions
}

/// Cargo's profile, as the directory it builds into is called; what the workspace says of it; and the caller's variables
/// that change it.
fn build(programs: &Path) -> String {
    let profile = programs.file_name().map_or("unknown".into(), |name| name.to_string_lossy().into_owned());
    let workspace = include_str!("../../../Cargo.toml");
    let settings = workspace.split_once(&format!("[profile.{profile}]\n")).map_or("", |(_, rest)| rest);
    let settings = settings.lines().take_while(|line| !line.is_empty()).map(str::to_string);
    let relevant = |name: &str| name.starts_with("CARGO_PROFILE_") || name.ends_with("RUSTFLAGS");
    let changed = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let changed = changed.filter(|(name, _)| relevant(name)).map(|(name, value)| format!("{name}={}", value.display()));
    std::iter::once(profile.clone()).chain(settings).chain(changed).collect::<Vec<_>>().join(", ")
}

/// The version of package `name` in a lock file.
fn locked_version(locked: &str, name: &str) -> Option<String> {
    let (_, package) = locked.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    package.split_once('"').map(|(version, _)| version.to_string())
}

/// The commit that was measured, and whether the files differ from it.
fn commit() -> String {
    let root = concat!("--git-dir=", env!("CARGO_MANIFEST_DIR"), "/../../.git");
    let tree = concat!("--work-tree=", env!("CARGO_MANIFEST_DIR"), "/../..");
    let Some(commit) = said("git", &[root, "rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    let changed = said("git", &[root, tree, "status", "--porcelain", "--untracked-files=no"]).is_some();
    if changed { format!("{commit} with changes") } else { commit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_of_libraries_are_those_that_were_built() {
        let locked = "[[package]]\nname = \"mio\"\nversion = \"1.2.5\"\n";
        assert_eq!(locked_version(locked, "mio").as_deref(), Some("1.2.5"));
        assert_eq!(locked_version(locked, "tokio"), None);
        assert!(versions().iter().any(|(name, _)| name == "tokio"));
    }

    #[test]
    fn the_build_is_told_as_the_workspace_has_it() {
        let build = build(Path::new("target/release"));
        assert!(build.starts_with("release, ") && build.contains("lto = "), "{build}");
    }

    #[test]
    fn the_arguments_are_those_that_were_typed() {
        let words = ["--programs", "/somewhere/release", "--only", "c50"].map(String::from);
        assert_eq!(typed(words.into_iter()), ["--only", "c50"]);
    }

    #[test]
    fn a_cpu_is_named_by_its_model() {
        assert_eq!(model("processor\t: 0\nmodel name\t: Parrot 3000\n").as_deref(), Some("Parrot 3000"));
    }
}
