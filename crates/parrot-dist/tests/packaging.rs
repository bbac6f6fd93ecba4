//! The files of `packaging` are what the systems around Parrot expect. A checker that is not installed is a reason to
//! skip.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{printed, run, run_with};
use tempfile::TempDir;

fn packaging(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(packaging(path)).unwrap()
}

/// The units in a directory of their own, with a program that is there.
fn units() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for unit in ["parrot.service", "parrot.socket", "parrot@.service", "parrot@.socket"] {
        let text = read(&format!("systemd/{unit}")).replace("\nExecStart=parrot ", "\nExecStart=/bin/true ");
        fs::write(directory.path().join(unit), text).unwrap();
    }
    directory
}

#[test]
fn systemd_finds_nothing_wrong_in_the_units() {
    let directory = units();
    // With the colon, the units of the system are there too.
    let path = format!("{}:", directory.path().display());
    for unit in ["parrot.service", "parrot.socket", "parrot@9512.service", "parrot@9512.socket"] {
        let arguments = ["verify", "--man=no", unit];
        let Some(output) = run_with("systemd-analyze", &arguments, &[("SYSTEMD_UNIT_PATH", &path)]) else { return };
        assert_eq!(printed(output), "", "{unit}");
    }
}

#[test]
fn the_services_expose_little() {
    let directory = tempfile::tempdir().unwrap();
    // A port below 1024 takes a capability.
    let low_port = directory.path().join("port-7.service");
    fs::write(&low_port, read("systemd/parrot.service") + &read("systemd/port-7.conf")).unwrap();
    let systemd = packaging("systemd");
    for (unit, exposure) in
        [(systemd.join("parrot.service"), "1.5"), (systemd.join("parrot@.service"), "1.5"), (low_port, "1.7")]
    {
        let threshold = format!("--threshold={}", exposure.replace('.', ""));
        let unit = unit.display().to_string();
        let arguments = ["security", "--offline=true", &threshold, "--no-pager", &unit];
        let Some(output) = run("systemd-analyze", &arguments) else { return };
        let text = String::from_utf8_lossy(&output.stderr);
        if text.contains("unrecognized option") {
            eprintln!("SKIPPED: this systemd-analyze cannot judge a file");
            return;
        }
        printed(output);
    }
}

#[test]
fn the_template_is_confined_as_the_service_is() {
    let confinement = |unit: &str| {
        let text = read(unit);
        let (_, after) = text.split_once("\nDynamicUser=").unwrap();
        after.to_owned()
    };
    assert_eq!(confinement("systemd/parrot.service"), confinement("systemd/parrot@.service"));
}

#[test]
fn kubernetes_accepts_the_manifests() {
    for manifest in ["deployment", "service", "autoscaler", "load-job"] {
        let path = packaging("kubernetes").join(format!("{manifest}.yaml")).display().to_string();
        let Some(output) = run("kubernetes-validate", &["--strict", &path]) else { return };
        printed(output);
    }
}

#[test]
fn a_pod_has_time_for_its_delay_and_its_drain() {
    let deployment = read("kubernetes/deployment.yaml");
    let after = |name: &str| {
        let (_, rest) = deployment.split_once(name).unwrap_or_else(|| panic!("no {name}"));
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        Duration::from_secs(digits.parse().unwrap())
    };
    let stop =
        after("              sleep:\n                seconds:") + after("--drain-delay=") + after("--drain-timeout=");
    // The log has a second at the end.
    assert!(stop + Duration::from_secs(1) < after("terminationGracePeriodSeconds:"), "{stop:?}");
}

#[test]
fn a_property_list_for_launchd_can_be_parsed() {
    let path = packaging("launchd/parrot.plist").display().to_string();
    let script = "import plistlib, sys; print(plistlib.load(open(sys.argv[1], 'rb'))['ProgramArguments'][0])";
    if let Some(output) = run("python3", &["-c", script, &path]) {
        assert_eq!(printed(output).trim(), "/usr/local/bin/parrot");
    }
}

#[test]
fn shells_can_parse_every_script() {
    for script in ["freebsd/parrot", "debian/postinst", "debian/prerm", "debian/postrm"] {
        let path = packaging(script).display().to_string();
        if let Some(output) = run("sh", &["-n", &path]) {
            assert_eq!(printed(output), "", "{script}");
        }
        if let Some(output) = run("shellcheck", &["-s", "sh", &path]) {
            assert_eq!(printed(output), "", "{script}");
        }
    }
}

#[test]
fn logrotate_accepts_its_snippet() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state").display().to_string();
    let snippet = packaging("logrotate/parrot").display().to_string();
    let tool = if Path::new("/usr/sbin/logrotate").exists() { "/usr/sbin/logrotate" } else { "logrotate" };
    if let Some(output) = run(tool, &["--debug", "--state", &state, &snippet]) {
        let text = printed(output);
        assert!(text.contains("/var/log/parrot/*.log") && !text.contains("error:"), "{text}");
    }
}

#[test]
fn the_dockerfile_makes_the_image_that_dist_makes() {
    let dockerfile = read("container/Dockerfile");
    for line in ["FROM scratch", "USER 65532:65532", "ENTRYPOINT [\"/parrot\"]", "STOPSIGNAL SIGTERM"] {
        assert!(dockerfile.lines().any(|found| found == line), "{line}");
    }
}
