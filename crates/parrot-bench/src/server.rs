//! A server while it runs: started, asked until it answers, stopped.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::peer::Peer;

/// How long a server may take to answer for the first time.
const START: Duration = Duration::from_secs(10);
/// How long it may take to end once it is asked to.
const END: Duration = Duration::from_secs(3);
/// How often its state is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// A server that answers. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `peer` on a free port and waits until it has echoed something. What it says on standard error goes to
    /// `errors`.
    ///
    /// # Errors
    ///
    /// If it cannot be started, ends, or does not answer in time; with the end of what it said.
    pub(crate) fn start(peer: &Peer, errors: &Path) -> Result<Server> {
        let address = free_address()?;
        let said = File::create(errors).with_context(|| format!("cannot write {}", errors.display()))?;
        let mut command = peer.command(address.port());
        // A group of its own: Ctrl-C is for us, and we end the server.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let mut server = Server { child, address };
        let deadline = Instant::now() + START;
        while echoes(address).is_err() {
            let ended = server.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let what = ended.map_or("does not answer".to_string(), |status| format!("ended ({status})"));
                let said = std::fs::read_to_string(errors).unwrap_or_default();
                bail!("{} {what}: {}", peer.name, said.lines().last().unwrap_or("it said nothing"));
            }
            thread::sleep(LOOK);
        }
        Ok(server)
    }

    /// Its process, for the accounting.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn end(&mut self) -> Result<()> {
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no such process")?;
        if self.child.try_wait()?.is_none() {
            kill_process(process, Signal::TERM)?;
        }
        let deadline = Instant::now() + END;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
                break;
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("the server of process {} could not be ended: {error:#}", self.child.id());
        }
    }
}

/// A port of loopback that nobody listens on at the moment.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?)
}

/// Whether a server at `address` echoes a word.
fn echoes(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, START)?;
    stream.set_read_timeout(Some(START))?;
    stream.write_all(b"polly\n")?;
    let mut answer = [0; 6];
    stream.read_exact(&mut answer)?;
    if &answer == b"polly\n" { Ok(()) } else { Err(std::io::Error::other("it answers something else")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_at_once_is_reported_with_its_last_words() {
        let peer = Peer::custom("sulky=cat /nonexistent/{port}").expect("a peer");
        let errors = std::env::temp_dir().join(format!("parrot-bench-sulky-{}", std::process::id()));
        let error = Server::start(&peer, &errors).expect_err("no server").to_string();
        std::fs::remove_file(errors).expect("what it said was kept");
        assert!(error.contains("sulky ended") && error.contains("/nonexistent/"), "{error}");
    }
}
