//! What became of each change.

use std::io;

/// Why a change was not made. Small and `Copy`; it becomes an `io::Error` when somebody asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    /// The system's error number.
    System(i32),
    NotFound,
    #[cfg(target_os = "linux")]
    AlreadyExists(&'static str),
    Invalid(&'static str),
    Unsupported(&'static str),
}

impl From<rustix::io::Errno> for Failure {
    fn from(errno: rustix::io::Errno) -> Self {
        Failure::System(errno.raw_os_error())
    }
}

impl From<nix::errno::Errno> for Failure {
    fn from(errno: nix::errno::Errno) -> Self {
        Failure::System(errno as i32)
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        use io::ErrorKind;
        match failure {
            Failure::System(number) => io::Error::from_raw_os_error(number),
            Failure::NotFound => io::Error::new(
                ErrorKind::NotFound,
                "nothing is registered there: it was never added, was deleted, or was a one-shot that fired",
            ),
            #[cfg(target_os = "linux")]
            Failure::AlreadyExists(why) => io::Error::new(ErrorKind::AlreadyExists, why),
            Failure::Invalid(why) => io::Error::new(ErrorKind::InvalidInput, why),
            Failure::Unsupported(why) => io::Error::new(ErrorKind::Unsupported, why),
        }
    }
}

/// The answers to a list of changes: one for each, in order.
///
/// An error of one change does not hide the others, which are made all the same. Receipts of changes that were all
/// made hold no memory.
///
/// ```
/// use parrot_kqueue::{Change, Kqueue, Source, Token};
/// use std::{io::ErrorKind, net::UdpSocket, os::fd::AsFd};
///
/// let queue = Kqueue::new()?;
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// let receipts = queue.apply(&[
///     Change::add_read(socket.as_fd(), Token(1)),
///     Change::delete(Source::Write(socket.as_fd())), // was never added
/// ]);
/// let answers: Vec<_> = receipts.iter().map(|answer| answer.map_err(|error| error.kind())).collect();
/// assert_eq!(answers, [Ok(()), Err(ErrorKind::NotFound)]);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a change may have failed: `.all()?` reports the first failure"]
pub struct Receipts {
    changes: usize,
    /// Index of the change and why it failed, by rising index. Empty in the ordinary case, and then unallocated.
    failures: Vec<(usize, Failure)>,
}

impl Receipts {
    pub(crate) fn new(changes: usize) -> Self {
        Receipts { changes, failures: Vec::new() }
    }

    /// Notes a failure; indices rise from call to call.
    pub(crate) fn fail(&mut self, change: usize, failure: Failure) {
        self.failures.push((change, failure));
    }

    /// Failures in the order of their changes, wherever they were noticed.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn sort(&mut self) {
        self.failures.sort_unstable_by_key(|&(change, _)| change);
    }

    /// `Ok` if every change was made.
    ///
    /// # Errors
    ///
    /// The error of the first change that failed. The kinds the crate itself gives are `NotFound` (nothing is
    /// registered there), `AlreadyExists` (Linux: another queue has the signal), `InvalidInput` and `Unsupported`
    /// (the message names what is missing); all others are the system's own.
    pub fn all(&self) -> io::Result<()> {
        match self.failures.first() {
            None => Ok(()),
            Some(&(_, failure)) => Err(failure.into()),
        }
    }

    /// The changes that failed: the index of each in the list, and its error.
    pub fn failures(&self) -> impl Iterator<Item = (usize, io::Error)> + '_ {
        self.failures.iter().map(|&(change, failure)| (change, failure.into()))
    }

    /// How many changes were answered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes
    }

    /// Whether the list of changes was empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes == 0
    }

    /// The answer to each change, in the order of the changes.
    pub fn iter(&self) -> impl Iterator<Item = io::Result<()>> + '_ {
        let mut failures = self.failures.iter().peekable();
        (0..self.changes).map(move |change| match failures.next_if(|&&(failed, _)| failed == change) {
            None => Ok(()),
            Some(&(_, failure)) => Err(failure.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_has_its_own_answer_in_order() {
        let mut receipts = Receipts::new(4);
        receipts.fail(1, Failure::NotFound);
        receipts.fail(3, Failure::Unsupported("no such filter here"));
        let kinds: Vec<_> = receipts.iter().map(|answer| answer.map_err(|error| error.kind())).collect();
        assert_eq!(kinds, [Ok(()), Err(io::ErrorKind::NotFound), Ok(()), Err(io::ErrorKind::Unsupported)]);
        assert_eq!(receipts.all().map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
        let failures: Vec<_> = receipts.failures().map(|(index, error)| (index, error.kind())).collect();
        assert_eq!(failures, [(1, io::ErrorKind::NotFound), (3, io::ErrorKind::Unsupported)]);
    }
}
