//! The tools that people have at hand get their echo over each kind of socket.

use std::io::Write as _;
use std::process::{Command, Stdio};

use parrot_testkit::parrot::isolated;

use crate::support::{bare_parrot, scratch, skip, spawn};

/// Runs a tool with a line on its standard input, and returns what it prints.
fn talk(tool: &str, arguments: &[&str]) -> Option<String> {
    let mut command = isolated(Command::new(tool));
    let started = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = started else {
        skip(&format!("{tool} is not installed"));
        return None;
    };
    // The tool ends a moment after the end of its input.
    let _ = child.stdin.take().unwrap().write_all(b"Hello Parrot\n");
    let output = child.wait_with_output().unwrap();
    if !output.status.success() {
        skip(&format!("this {tool} has other options: {arguments:?}"));
        return None;
    }
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn nc_and_socat_get_their_echo_through_every_door() {
    let path = scratch("tools.sock");
    let unix = format!("unix:{}", path.display());
    let places = ["--listen", "tcp:127.0.0.1:0", "--listen", "udp:127.0.0.1:0", "--listen", &unix];
    let parrot = spawn(bare_parrot(&places).args(["--log", "off"]));
    let (tcp, udp) = (parrot.address().port().to_string(), parrot.udp_addresses()[0].port().to_string());
    let path = path.display().to_string();
    let (to_tcp, to_udp) = (format!("TCP:127.0.0.1:{tcp}"), format!("UDP:127.0.0.1:{udp}"));
    let to_unix = format!("UNIX-CONNECT:{path}");
    // -w bounds the wait for a reply, which UDP has no end for.
    for (tool, arguments) in [
        ("nc", &["-w", "2", "-N", "127.0.0.1", &tcp][..]),
        ("nc", &["-w", "1", "-u", "127.0.0.1", &udp]),
        ("nc", &["-w", "2", "-N", "-U", &path]),
        ("socat", &["-t", "2", "-", &to_tcp]),
        ("socat", &["-t", "1", "-", &to_udp]),
        ("socat", &["-t", "2", "-", &to_unix]),
    ] {
        if let Some(printed) = talk(tool, arguments) {
            assert_eq!(printed, "Hello Parrot\n", "{tool} {arguments:?}");
        }
    }
    parrot.stop().unwrap();
}
