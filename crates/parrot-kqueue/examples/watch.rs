//! Prints what happens to files and directories until it is interrupted. Run `watch PATH...`.

use parrot_kqueue::{Change, Events, Kqueue, Token, VnodeEvents};
use std::{
    fs::File,
    io::{self, ErrorKind},
    os::fd::AsFd,
};

fn main() -> io::Result<()> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() {
        eprintln!("usage: watch PATH...");
        std::process::exit(2);
    }
    let files = paths.iter().map(File::open).collect::<io::Result<Vec<_>>>()?;
    let queue = Kqueue::new()?;
    for (index, file) in files.iter().enumerate() {
        // Linux does not report the removal of an open directory.
        let unsupported = if cfg!(target_os = "linux") && file.metadata()?.is_dir() {
            VnodeEvents::DELETE
        } else {
            VnodeEvents::empty()
        };
        let wanted = VnodeEvents::SUPPORTED.difference(unsupported);
        queue.apply(&[Change::add_vnode(file.as_fd(), wanted, Token(index))]).all()?;
    }
    let mut events = Events::with_capacity(64);
    loop {
        match queue.wait(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            waited => waited?,
        }
        for event in &events {
            println!("{}: {:?}", paths[event.token().0], event.vnode_events());
        }
    }
}
