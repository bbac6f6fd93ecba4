//! Whether each change was made.

use crate::failure::Failure;
use std::io;

/// The results of a list of changes, one for each, in order.
///
/// If one change fails, the others are made all the same. If all were made, the receipts allocate no memory.
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
/// let results: Vec<_> = receipts.iter().map(|result| result.map_err(|error| error.kind())).collect();
/// assert_eq!(results, [Ok(()), Err(ErrorKind::NotFound)]);
/// for (index, error) in receipts.failures() {
///     eprintln!("change {index} was not made: {error}");
/// }
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a change may have failed, and `.all()?` returns the first failure"]
pub struct Receipts {
    changes: usize,
    /// Index of the change and why it failed, by rising index.
    failures: Vec<(usize, Failure)>,
}

impl Receipts {
    pub(crate) fn new(changes: usize) -> Self {
        Receipts { changes, failures: Vec::new() }
    }

    /// Notes a failure. Indices rise from call to call.
    pub(crate) fn fail(&mut self, change: usize, failure: Failure) {
        self.failures.push((change, failure));
    }

    /// Puts failures in the order of their changes.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn sort(&mut self) {
        self.failures.sort_unstable_by_key(|&(change, _)| change);
    }

    /// `Ok` if every change was made.
    ///
    /// # Errors
    ///
    /// The error of the first change that failed. The crate's own kinds are:
    ///
    /// - `NotFound`: nothing is registered there.
    /// - `AlreadyExists`: another queue has the signal (Linux only).
    /// - `InvalidInput`: the change makes no sense, and the message names the reason.
    /// - `Unsupported`: the system does not have this, and the message names what is missing.
    ///
    /// All others have the kind of the system's own error. They are that error, or explain it and have it as their
    /// [`source`](std::error::Error::source). Errors that name a [limit of the system](crate#limits-of-the-system)
    /// explain.
    pub fn all(&self) -> io::Result<()> {
        match self.failures.first() {
            None => Ok(()),
            Some(&(_, failure)) => Err(failure.into()),
        }
    }

    /// The changes that failed, each with its index in the list and its error.
    pub fn failures(&self) -> impl Iterator<Item = (usize, io::Error)> + '_ {
        self.failures.iter().map(|&(change, failure)| (change, failure.into()))
    }

    /// How many changes were in the list.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes
    }

    /// Whether the list of changes was empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes == 0
    }

    /// The result of each change, in the order of the changes.
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
    fn each_change_has_its_own_result_in_order() {
        let mut receipts = Receipts::new(4);
        receipts.fail(1, Failure::NotFound);
        receipts.fail(3, Failure::Unsupported("no such filter here"));
        let kinds: Vec<_> = receipts.iter().map(|result| result.map_err(|error| error.kind())).collect();
        assert_eq!(kinds, [Ok(()), Err(io::ErrorKind::NotFound), Ok(()), Err(io::ErrorKind::Unsupported)]);
        assert_eq!(receipts.all().map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
        let failures: Vec<_> = receipts.failures().map(|(index, error)| (index, error.kind())).collect();
        assert_eq!(failures, [(1, io::ErrorKind::NotFound), (3, io::ErrorKind::Unsupported)]);
    }
}
