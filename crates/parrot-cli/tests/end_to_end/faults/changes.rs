//! Faults of single listeners, in the file of `--config`, and through a reload.

use std::fs;
use std::time::Instant;

use parrot_testkit::client::{echo, expect_end};
use parrot_testkit::wait_until;
use rustix::process::Signal;

use super::{Client, End, bytes};
use crate::support::{bare_parrot, scratch, spawn};

#[test]
fn a_listener_has_faults_of_its_own() {
    let places = ["--listen", "tcp:127.0.0.1:0,fault=limit-data=5,fault=slice=1", "--listen", "tcp:127.0.0.1:0"];
    let parrot = spawn(bare_parrot(&places).args(["--log", "off", "--fault", "limit-data=9"]));
    for (address, length) in parrot.addresses().iter().zip([5, 9]) {
        let mut client = Client::tcp(*address);
        client.send(bytes(100));
        let received = client.receive_all(Instant::now());
        assert_eq!((received.bytes().as_slice(), received.end), (bytes(length), Some(End::Finished)));
    }
    parrot.stop().unwrap();
}

#[test]
fn a_reload_gives_later_connections_other_faults() {
    let path = scratch("faults.toml");
    let write = |fault: &str| {
        let place = "listen = [\"tcp:127.0.0.1:0\", \"tcp:127.0.0.1:0,fault=limit-data=3\"]";
        fs::write(&path, format!("{place}\nlog = \"off\"\nseed = 7\nfault = [{fault}]\n")).unwrap();
    };
    write("\"limit-data=5\"");
    let parrot = spawn(bare_parrot(&["--config"]).arg(&path));
    let before = parrot.connect();
    echo(&before, b"1234");
    write("\"limit-data=9\", \"latency=1ms\"");
    parrot.signal(Signal::HUP).unwrap();
    wait_until("the file was read", || parrot.stderr().contains("reloaded"));
    for (address, length) in [(parrot.addresses()[0], 9), (parrot.addresses()[1], 3)] {
        let mut client = Client::tcp(address);
        client.send(bytes(100));
        assert_eq!(client.receive_all(Instant::now()).bytes(), bytes(length));
    }
    // The connection that was open keeps its faults.
    echo(&before, b"5");
    expect_end(&before);
    drop(before);
    parrot.stop().unwrap();
}

#[test]
fn a_reload_cannot_change_the_faults_of_a_listener() {
    let path = scratch("own_faults.toml");
    let socket = scratch("own_faults.sock");
    let write = |options: &str| {
        let places = format!("listen = [\"tcp:127.0.0.1:0\", \"unix:{}{options}\"]", socket.display());
        fs::write(&path, format!("{places}\nlog = \"off\"\n")).unwrap();
    };
    write(",fault=limit-data=5");
    let parrot = spawn(bare_parrot(&["--config"]).arg(&path));
    write(",fault=limit-data=9");
    parrot.signal(Signal::HUP).unwrap();
    wait_until("the file was read", || parrot.stderr().contains("reloaded"));
    assert!(parrot.stderr().contains("keeps its own faults, or none, until parrot is started again"));
    let mut client = Client::unix(&socket);
    client.send(bytes(100));
    assert_eq!(client.receive_all(Instant::now()).bytes(), bytes(5));
}

#[test]
fn a_reload_names_the_seed_and_who_keeps_another() {
    let (path, socket) = (scratch("seeds.toml"), scratch("seeds.sock"));
    let write = |options: &str| {
        let places = format!("listen = [\"tcp:127.0.0.1:0\", \"unix:{},fault=limit-data=5\"]", socket.display());
        fs::write(&path, format!("{places}\nlog = \"off\"\n{options}\n")).unwrap();
    };
    write("seed = 7");
    let parrot = spawn(bare_parrot(&["--config"]).arg(&path));
    write("seed = 8\nfault = [\"latency=1ms\"]");
    parrot.signal(Signal::HUP).unwrap();
    wait_until("the file was read", || parrot.stderr().contains(", with the faults of --seed 8\n"));
    assert!(parrot.stderr().contains("keeps its own faults of --seed 7 until parrot is started again"));
    parrot.stop().unwrap();
}
