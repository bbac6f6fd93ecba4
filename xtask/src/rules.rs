//! The dependency rules, which say what each crate may depend on. They are the architecture, so xtask checks them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cargo;

/// What a crate of the workspace may depend on. Dev-dependencies are free, except that nothing may depend on xtask.
struct Rule {
    name: &'static str,
    /// The crates of this workspace that it may use.
    ours: &'static [&'static str],
    others: Others,
}

/// Which crates from outside the workspace a crate may use.
enum Others {
    /// None at all.
    Nothing,
    /// All except those in these groups.
    AllBut(&'static [&'static [&'static str]]),
}

/// Sockets. `crate/feature` excludes that feature of a crate that is allowed otherwise.
const SOCKETS: &[&str] = &["socket2", "nix/socket", "nix/net", "rustix/net"];
/// Event queues other than parrot-kqueue.
const LOOPS: &[&str] = &["mio", "polling", "tokio", "nix/event"];
/// Features that contain poll(2).
///
/// The log polls a pipe for room, and a server without descriptors polls its listeners for waiting connections.
/// Both ask about one descriptor at a time, which is not an event loop.
const POLL: &[&str] = &["rustix/event"];
/// System calls other than through std.
const SYSTEM: &[&str] = &["libc", "nix", "rustix"];
/// The same, except for those on files. `--check` asks access(2), which std has no call for.
const SYSTEM_BUT_FILES: &[&str] = &["libc", "nix", "rustix/process", "rustix/system", "rustix/thread"];
/// The format of log records.
const WRITING: &[&str] = &["tracing-subscriber", "jiff"];
const TRACING: &[&str] = &["tracing"];
const ARGUMENTS: &[&str] = &["clap"];

/// The rule of every crate. A crate without one fails the check.
const RULES: &[Rule] = &[
    Rule { name: "parrot-kqueue", ours: &[], others: Others::AllBut(&[SOCKETS, WRITING, TRACING, ARGUMENTS]) },
    Rule { name: "parrot-conn", ours: &[], others: Others::Nothing },
    Rule {
        name: "parrot-checks",
        ours: &["parrot-conn", "parrot-log"],
        others: Others::AllBut(&[SYSTEM, SOCKETS, LOOPS, POLL]),
    },
    Rule { name: "parrot-udp", ours: &[], others: Others::AllBut(&[LOOPS, POLL, WRITING, TRACING, ARGUMENTS]) },
    Rule { name: "parrot-log", ours: &[], others: Others::AllBut(&[SOCKETS, LOOPS, ARGUMENTS]) },
    Rule {
        name: "parrot-server",
        ours: &["parrot-kqueue", "parrot-conn", "parrot-udp"],
        others: Others::AllBut(&[LOOPS, WRITING, ARGUMENTS]),
    },
    Rule {
        name: "parrot-admin",
        ours: &["parrot-server"],
        others: Others::AllBut(&[SOCKETS, POLL, WRITING, ARGUMENTS]),
    },
    Rule {
        name: "parrot-cli",
        ours: &["parrot-server", "parrot-admin", "parrot-log", "parrot-values"],
        others: Others::AllBut(&[SYSTEM_BUT_FILES, SOCKETS, LOOPS, POLL]),
    },
    Rule {
        name: "parrot-load",
        ours: &["parrot-kqueue", "parrot-udp", "parrot-values"],
        others: Others::AllBut(&[LOOPS, POLL]),
    },
    Rule {
        name: "parrot-bench",
        ours: &["parrot-kqueue", "parrot-load", "parrot-testkit"],
        others: Others::AllBut(&[SOCKETS, LOOPS, POLL]),
    },
    Rule { name: "parrot-dist", ours: &["parrot-cli", "parrot-load"], others: Others::AllBut(&[SOCKETS, LOOPS, POLL]) },
    Rule { name: "parrot-rivals", ours: &[], others: Others::AllBut(&[]) },
    Rule {
        name: "parrot-simulator",
        ours: &["parrot-server", "parrot-kqueue", "parrot-udp"],
        others: Others::AllBut(&[SOCKETS, LOOPS, POLL, WRITING]),
    },
    Rule { name: "parrot-testkit", ours: &[], others: Others::AllBut(&[LOOPS, POLL]) },
    Rule { name: "parrot-values", ours: &["parrot-conn"], others: Others::AllBut(&[LOOPS, POLL, TRACING, ARGUMENTS]) },
    Rule { name: "parrot-torture", ours: &["parrot-testkit"], others: Others::AllBut(&[]) },
    Rule { name: "xtask", ours: &[], others: Others::AllBut(&[]) },
];

/// Build scripts that call a C compiler or a C library. No target needs one.
const C_TOOLS: &[&str] = &["bindgen", "cc", "cmake", "pkg-config"];
/// The systems that the rules are checked for. What a dependency needs on others, or for tests of its own, is not built.
const TARGETS: [&str; 6] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-apple-darwin",
    "x86_64-unknown-freebsd",
    "x86_64-unknown-openbsd",
    "x86_64-unknown-netbsd",
    "x86_64-unknown-dragonfly",
];

/// Checks every rule. The error lists all that are broken.
pub(crate) fn check() -> Result<()> {
    let targets = TARGETS.iter().flat_map(|target| ["--filter-platform", target]);
    let metadata = cargo::metadata(&std::iter::once("--locked").chain(targets).collect::<Vec<_>>())?;
    let mut broken = violations(&metadata);
    for package in members(&metadata) {
        let path = text(&package["manifest_path"]);
        if !inherits_lints(&read(Path::new(path))?) {
            broken.push(format!("{path} has no `[lints]` with `workspace = true`"));
        }
    }
    if !forbids_unsafe(&read(&cargo::root().join("Cargo.toml"))?) {
        broken.push("the workspace's Cargo.toml does not forbid unsafe_code".into());
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("{}\nthe rules are in xtask/src/rules.rs", broken.join("\n"));
}

/// The violations of the rules in `metadata`, one sentence each.
fn violations(metadata: &Value) -> Vec<String> {
    let names: Vec<&str> = members(metadata).map(|package| text(&package["name"])).collect();
    let mut broken = Vec::new();
    for package in members(metadata) {
        let name = text(&package["name"]);
        let Some(rule) = RULES.iter().find(|rule| rule.name == name) else {
            broken.push(format!("{name} has no rule"));
            continue;
        };
        for dependency in list(&package["dependencies"]) {
            let wanted = text(&dependency["name"]);
            let wrong = if wanted == "xtask" {
                true
            } else if dependency["kind"] == "dev" {
                false
            } else if names.contains(&wanted) {
                !rule.ours.contains(&wanted)
            } else {
                !rule.others.allow(dependency)
            };
            if wrong {
                broken.push(format!("{name} must not depend on {wanted} ({})", features(dependency)));
            }
        }
    }
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        if C_TOOLS.contains(&name) {
            broken.push(format!("{name} is among the dependencies, but none may need a C compiler"));
        }
    }
    broken
}

impl Others {
    fn allow(&self, dependency: &Value) -> bool {
        let Others::AllBut(groups) = self else {
            return false;
        };
        let wanted = text(&dependency["name"]);
        groups.iter().flat_map(|group| group.iter()).all(|forbidden| match forbidden.split_once('/') {
            None => wanted != *forbidden,
            Some((name, feature)) => wanted != name || list(&dependency["features"]).iter().all(|used| used != feature),
        })
    }
}

fn features(dependency: &Value) -> String {
    let features: Vec<&str> = list(&dependency["features"]).iter().map(text).collect();
    format!("features: {}", features.join(", "))
}

/// Whether a crate's manifest inherits the workspace's lints.
fn inherits_lints(manifest: &str) -> bool {
    section(manifest, "[lints]").any(|line| line == "workspace = true")
}

/// Whether the workspace's manifest forbids unsafe code, which no `allow` can override.
fn forbids_unsafe(manifest: &str) -> bool {
    section(manifest, "[workspace.lints.rust]").any(|line| line == r#"unsafe_code = "forbid""#)
}

/// The lines between `header` and the next section.
fn section<'a>(manifest: &'a str, header: &'a str) -> impl Iterator<Item = &'a str> {
    manifest
        .lines()
        .map(str::trim)
        .skip_while(move |line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
}

/// The workspace's own packages, which have no source.
fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    list(&metadata["packages"]).iter().filter(|package| package["source"].is_null())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A workspace in which the crate `name` depends on `dependency`.
    fn workspace(name: &str, dependency: Value) -> Value {
        json!({ "packages": [
            { "name": name, "source": null, "dependencies": [dependency] },
            { "name": "xtask", "source": null, "dependencies": [] },
            { "name": "parrot-kqueue", "source": null, "dependencies": [] },
        ]})
    }

    fn dependency(name: &str) -> Value {
        json!({ "name": name, "kind": null, "features": [] })
    }

    #[test]
    fn a_layer_may_depend_on_those_below_it() {
        let layers = workspace("parrot-server", dependency("parrot-kqueue"));
        assert_eq!(violations(&layers), [""; 0]);
    }

    #[test]
    fn the_command_line_must_not_depend_on_the_queue() {
        let layers = workspace("parrot-cli", dependency("parrot-kqueue"));
        assert_eq!(violations(&layers), ["parrot-cli must not depend on parrot-kqueue (features: )"]);
    }

    #[test]
    fn the_connection_has_dependencies_only_in_its_tests() {
        let mut proptest = dependency("proptest");
        assert_eq!(violations(&workspace("parrot-conn", proptest.clone())).len(), 1);
        proptest["kind"] = "dev".into();
        assert_eq!(violations(&workspace("parrot-conn", proptest)), [""; 0]);
    }

    #[test]
    fn an_allowed_crate_may_have_a_forbidden_feature() {
        let mut rustix = dependency("rustix");
        assert_eq!(violations(&workspace("parrot-log", rustix.clone())), [""; 0]);
        rustix["features"] = json!(["net"]);
        assert_eq!(violations(&workspace("parrot-log", rustix)).len(), 1);
    }

    #[test]
    fn nothing_depends_on_xtask_not_even_a_test() {
        let mut xtask = dependency("xtask");
        xtask["kind"] = "dev".into();
        assert_eq!(violations(&workspace("parrot-server", xtask)).len(), 1);
    }

    #[test]
    fn a_crate_without_a_rule_is_reported() {
        let layers = workspace("parrot-new", dependency("anyhow"));
        assert_eq!(violations(&layers), ["parrot-new has no rule"]);
    }

    #[test]
    fn a_dependency_that_calls_a_c_compiler_is_reported() {
        let metadata = json!({ "packages": [
            { "name": "cc", "source": "registry", "dependencies": [] },
        ]});
        assert_eq!(violations(&metadata).len(), 1);
    }

    #[test]
    fn lints_count_only_in_their_own_sections() {
        assert!(inherits_lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
        assert!(!inherits_lints("[lints]\n[package.metadata]\nworkspace = true\n"));
        assert!(forbids_unsafe("[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"));
        assert!(!forbids_unsafe("[workspace.lints.rust]\nunsafe_code = \"deny\"\n"));
    }
}
