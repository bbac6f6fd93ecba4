//! The machine, the system and the versions, without which a figure means nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

/// Where and with what the servers were measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Environment {
    pub(crate) date: String,
    pub(crate) system: String,
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    /// Cores that this process may use.
    pub(crate) cores: usize,
    pub(crate) virtual_machine: bool,
    /// How the frequency of the cores is chosen, if the system reports it.
    pub(crate) governor: Option<String>,
    pub(crate) descriptors: Option<u64>,
    /// Network settings that matter here.
    pub(crate) network: Vec<(String, String)>,
    /// Runnable processes on average at the start, which shows how busy the machine was.
    pub(crate) load_average: Option<f64>,
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) commit: String,
    /// The profile that the servers were compiled with, and what the caller changed of it.
    #[serde(default)]
    pub(crate) build: String,
    /// The command line.
    pub(crate) arguments: Vec<String>,
}

impl Environment {
    /// Reads the environment of servers whose programs are in the directory `programs`.
    pub(crate) fn read(programs: &Path) -> Environment {
        let system = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Environment {
            date: jiff::ZonedDateTime::now().strftime("%Y-%m-%d %H:%M %Z").to_string(),
            system: format!("{} {}", text(system.sysname()), text(system.machine())),
            kernel: text(system.release()),
            cpu: model(&cpuinfo)
                .or_else(|| first_line("sysctl", &["-n", "machdep.cpu.brand_string"]))
                .or_else(|| first_line("sysctl", &["-n", "hw.model"]))
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
    "/proc/sys/net/core/rmem_default",
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

/// The arguments that a person typed. The directory of programs is left out, because xtask adds it.
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

/// The first line that a program prints, if it succeeds.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_string)
}

/// The first line with a digit that `program` prints when it is asked for its version. socat prints a title before it, and
/// xinetd prints to standard error.
fn version(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok().filter(|output| output.status.success())?;
    let lines = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let numbered = |line: &&str| line.contains(|letter: char| letter.is_ascii_digit());
    lines.iter().flat_map(|text| text.lines()).find(numbered).map(str::to_string)
}

fn versions() -> Vec<(String, String)> {
    let locked = include_str!("../../../Cargo.lock");
    let mut versions = vec![("parrot".to_string(), env!("CARGO_PKG_VERSION").to_string())];
    for name in ["mio", "tokio", "compio"] {
        versions.extend(locked_version(locked, name).map(|version| (name.to_string(), version)));
    }
    let programs =
        [("rustc", "--version"), ("go", "version"), ("node", "--version"), ("socat", "-V"), ("xinetd", "-version")];
    for (name, argument) in programs {
        versions.extend(version(name, argument).map(|version| (name.to_string(), version)));
    }
    versions
}

/// Cargo's profile by the name of its directory, its settings in the workspace, and the variables that change it.
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

/// The commit of the source, and whether the files differ from it.
fn commit() -> String {
    let root = concat!("--git-dir=", env!("CARGO_MANIFEST_DIR"), "/../../.git");
    let tree = concat!("--work-tree=", env!("CARGO_MANIFEST_DIR"), "/../..");
    let Some(commit) = first_line("git", &[root, "rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    let changed = first_line("git", &[root, tree, "status", "--porcelain", "--untracked-files=no"]).is_some();
    if changed { format!("{commit} with changes") } else { commit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_of_libraries_come_from_the_lock_file() {
        let locked = "[[package]]\nname = \"mio\"\nversion = \"1.2.5\"\n";
        assert_eq!(locked_version(locked, "mio").as_deref(), Some("1.2.5"));
        assert_eq!(locked_version(locked, "tokio"), None);
        assert!(versions().iter().any(|(name, _)| name == "tokio"));
    }

    #[test]
    fn the_build_lists_the_settings_of_the_profile() {
        let build = build(Path::new("target/release"));
        assert!(build.starts_with("release, ") && build.contains("lto = "), "{build}");
    }

    #[test]
    fn the_arguments_are_those_that_a_person_typed() {
        let words = ["--programs", "/somewhere/release", "--only", "c50"].map(String::from);
        assert_eq!(typed(words.into_iter()), ["--only", "c50"]);
    }

    #[test]
    fn a_cpu_is_named_by_its_model() {
        assert_eq!(model("processor\t: 0\nmodel name\t: Parrot 3000\n").as_deref(), Some("Parrot 3000"));
    }
}
