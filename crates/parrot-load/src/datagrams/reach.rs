//! Finds the target that answers, and opens a thread's sockets.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use parrot_kqueue::{Change, Events, Kqueue, Token};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::{DatagramWorker, message};
use crate::course::TICK;
use crate::dial;
use crate::plan::nanoseconds;
use crate::sizes::Sizes;
use crate::target::Target;
use crate::worker::wait;

/// How often a target is asked before it counts as silent, because a datagram may be lost.
const ATTEMPTS: usize = 3;

impl DatagramWorker<'_> {
    /// Opens the sockets and returns how many there are.
    ///
    /// UDP has no connections, so a datagram is sent first, to learn whether anybody answers there and which target that
    /// is. Otherwise a load on a closed port would end with nothing but losses.
    pub(crate) fn connect(&mut self) -> io::Result<usize> {
        if !self.reach()? {
            return Ok(0);
        }
        let (_, target) = self.shared.targets.next();
        for index in 0..self.wanted {
            match self.open(target, index) {
                Ok(socket) => self.add(socket)?,
                Err(error) => return self.refused(error),
            }
        }
        Ok(self.flows.len())
    }

    fn open(&self, target: &Target, index: usize) -> io::Result<OwnedFd> {
        dial::start(self.plan, target, self.first + index)
    }

    /// Gives the sockets up, because one of them could not be opened.
    fn refused(&mut self, error: io::Error) -> io::Result<usize> {
        self.flows.clear();
        self.shared.targets.refused(self.shared.targets.next().0, error);
        Ok(0)
    }

    /// Asks the targets in turn until one of them answers to this thread or to another one.
    fn reach(&mut self) -> io::Result<bool> {
        while self.is_looking() {
            let (number, target) = self.shared.targets.next();
            let asked = self.course.now();
            match self.ask(target) {
                Ok(()) if self.shared.targets.choose(number) => {
                    self.course.tally.connecting.record(self.course.now() - asked);
                }
                Ok(()) => {}
                Err(error) => {
                    if self.is_looking() && !self.shared.targets.refused(number, error) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(!self.shared.targets.undecided())
    }

    /// Whether no thread has found a target yet.
    fn is_looking(&self) -> bool {
        self.shared.targets.undecided() && !self.shared.stopped()
    }

    /// Asks a target for an answer, whatever it says.
    fn ask(&self, target: &Target) -> io::Result<()> {
        let socket = self.open(target, 0)?;
        let kqueue = Kqueue::new()?;
        kqueue.apply(&[Change::add_read(socket.as_fd(), Token(0))]).all()?;
        let sizes = Sizes::of(self.plan);
        let check = message::check(&self.shared.pattern, self.first, 0, sizes);
        let datagram = [&message::number(0)[..], check].concat();
        let (mut events, mut answer) = (Events::with_capacity(1), vec![0; sizes.most() + 1]);
        for _ in 0..ATTEMPTS {
            if !self.is_looking() {
                break;
            }
            send(&socket, &datagram, SendFlags::empty())?;
            let until = self.course.now().saturating_add(nanoseconds(self.plan.datagram_timeout));
            while self.course.now() < until && self.is_looking() {
                wait(&kqueue, &mut events, TICK.min(until.saturating_sub(self.course.now())))?;
                match recv(&socket, &mut answer[..], RecvFlags::empty()) {
                    Ok(_) => return Ok(()),
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        let silence = format!("no answer to {ATTEMPTS} datagrams within {:?} each", self.plan.datagram_timeout);
        Err(io::Error::new(io::ErrorKind::TimedOut, silence))
    }

    /// How many answers the sockets had no room for.
    pub(super) fn overflowed(&self) -> Option<u64> {
        self.flows.iter().map(|flow| parrot_udp::count_drops(&flow.socket).map(u64::from)).sum()
    }
}
