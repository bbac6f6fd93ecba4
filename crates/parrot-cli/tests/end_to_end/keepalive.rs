//! Peers that are gone without a word, in a network namespace of the test's own.

use std::process::{Child, Command, Stdio};

use parrot_testkit::parrot::{Parrot, isolated, number};
use parrot_testkit::wait_until;

use crate::support::{parrot, skip, spawn};

/// A server in a network of its own, of which only loopback is up.
fn start_apart(arguments: &[&str]) -> Option<Parrot> {
    let ready = Command::new("unshare").args(["-n", "bash", "-c", "ip link set lo up"]).stderr(Stdio::null()).status();
    if !ready.is_ok_and(|status| status.success()) {
        skip("a network namespace takes root, unshare, ip and bash");
        return None;
    }
    let server = parrot(arguments);
    let mut command = isolated(Command::new("unshare"));
    command.args(["-n", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
    Some(spawn(command.arg(server.get_program()).args(server.get_args())))
}

/// A peer in the server's network that has got an echo, and then runs `script`.
fn peer(parrot: &Parrot, script: &str) -> Child {
    let port = parrot.address().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; echo squawk >&3; read -u 3 reply; {script}; sleep 60");
    let network = format!("--net=/proc/{}/ns/net", parrot.pid().as_raw_nonzero());
    Command::new("nsenter").args([&network, "bash", "-c", &script]).spawn().unwrap()
}

fn closed(parrot: &Parrot, reason: &str) -> u64 {
    number(&parrot.statistics().unwrap(), reason).unwrap_or(0)
}

#[test]
fn a_peer_whose_cable_is_cut_is_closed() {
    let Some(parrot) = start_apart(&["--log", "off", "--keepalive", "1s"]) else { return };
    let mut peer = peer(&parrot, "ip link set lo down");
    wait_until("the connection is closed", || closed(&parrot, "reset") == 1);
    peer.kill().unwrap();
    peer.wait().unwrap();
    parrot.stop().unwrap();
}

#[test]
fn a_quiet_peer_that_is_there_stays() {
    let Some(parrot) = start_apart(&["--log", "off", "--keepalive", "1s"]) else { return };
    let mut quiet = peer(&parrot, "true");
    wait_until("it is served", || number(&parrot.statistics().unwrap(), "messages").is_ok_and(|n| n == 1));
    // Time for every probe of a peer that does not reply.
    let start = std::time::Instant::now();
    wait_until("probes are due", || start.elapsed() > std::time::Duration::from_secs(6));
    assert_eq!((closed(&parrot, "reset"), closed(&parrot, "peer finished")), (0, 0));
    quiet.kill().unwrap();
    quiet.wait().unwrap();
    parrot.stop().unwrap();
}
