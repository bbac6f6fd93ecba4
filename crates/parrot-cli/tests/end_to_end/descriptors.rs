//! Few descriptors: served as far as they go, and everyone in turn.

use std::io::Write;
use std::net::TcpStream;

use crate::support::{expect, is_silent, with_sixteen_descriptors};

#[test]
fn sixteen_descriptors_serve_some_at_once_and_everyone_in_turn() {
    let parrot = with_sixteen_descriptors();
    let warning = parrot.stderr_line("limit of descriptors");
    let mut clients: Vec<TcpStream> = (0..20).map(|_| parrot.connect()).collect();
    for client in &mut clients {
        client.write_all(b"squawk").unwrap();
    }
    let fit = clients.iter().take_while(|client| !is_silent(client)).count();
    assert!((1..16).contains(&fit), "{fit} connections fit");
    assert!(warning.contains(&format!("room for {fit} connections")), "{fit} fit: {warning}");

    // Each that leaves makes room for one that waits.
    for client in clients {
        expect(&client, b"squawk");
    }
    assert!(parrot.stop().contains("20 accepted"));
}
