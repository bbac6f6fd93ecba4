//! Tells what happens to files and directories: `watch PATH...`, until it is interrupted.

use parrot_kqueue::{Change, Events, Kqueue, Token, VnodeEvents};
use std::{fs::File, io, os::fd::AsFd};

fn main() -> io::Result<()> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() {
        eprintln!("usage: watch PATH...");
        std::process::exit(2);
    }
    let files = paths.iter().map(File::open).collect::<io::Result<Vec<_>>>()?;
    let wanted = VnodeEvents::DELETE
        | VnodeEvents::WRITE
        | VnodeEvents::EXTEND
        | VnodeEvents::ATTRIBUTES
        | VnodeEvents::LINK
        | VnodeEvents::RENAME;
    let queue = Kqueue::new()?;
    let changes: Vec<_> =
        files.iter().enumerate().map(|(index, file)| Change::add_vnode(file.as_fd(), wanted, Token(index))).collect();
    queue.apply(&changes).all()?;
    let mut events = Events::with_capacity(64);
    loop {
        queue.wait(&mut events, None)?;
        for event in &events {
            println!("{}: {:?}", paths[event.token().0], event.vnode_events());
        }
    }
}
