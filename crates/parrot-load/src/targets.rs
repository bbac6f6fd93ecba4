//! Which of a plan's targets the load goes to: the first that takes a connection.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::target::Target;

/// A plan's targets, which all threads dial in the same order until one of them takes a connection.
///
/// Invariant: there is at least one target, and every number is one of a target.
#[derive(Debug)]
pub(crate) struct Targets<'a> {
    targets: &'a [Target],
    /// Why the first connection that failed to open failed, for each target.
    refusals: Vec<OnceLock<io::Error>>,
    /// The number of the target to dial while none is chosen.
    trying: AtomicUsize,
    chosen: OnceLock<usize>,
}

impl<'a> Targets<'a> {
    pub(crate) fn new(targets: &'a [Target]) -> Targets<'a> {
        let refusals = targets.iter().map(|_| OnceLock::new()).collect();
        Targets { targets, refusals, trying: AtomicUsize::new(0), chosen: OnceLock::new() }
    }

    /// The number of the target to dial.
    fn number(&self) -> usize {
        self.chosen.get().copied().unwrap_or_else(|| self.trying.load(Ordering::Relaxed))
    }

    /// The target to dial, with its number.
    pub(crate) fn next(&self) -> (usize, &'a Target) {
        let number = self.number();
        (number, self.at(number))
    }

    /// Target `number`.
    pub(crate) fn at(&self, number: usize) -> &'a Target {
        &self.targets[number]
    }

    /// Chooses target `number`, which has taken a connection. False if another one is chosen already.
    pub(crate) fn choose(&self, number: usize) -> bool {
        *self.chosen.get_or_init(|| number) == number
    }

    /// Whether no target is chosen.
    pub(crate) fn undecided(&self) -> bool {
        self.chosen.get().is_none()
    }

    /// Moves on from target `number`, to which no connection could be opened, unless it is chosen or the last one. True
    /// if there is another target to dial.
    pub(crate) fn refused(&self, number: usize, error: io::Error) -> bool {
        let _ = self.refusals[number].set(error); // only the first is kept
        if self.undecided() && number + 1 < self.targets.len() {
            // Another thread may have moved on already.
            let _ = self.trying.compare_exchange(number, number + 1, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.number() != number
    }

    /// Why the first connection to the target in use that failed to open failed.
    pub(crate) fn refusal(&self) -> Option<&io::Error> {
        self.refusals[self.number()].get()
    }

    /// Every target, with why no connection to it could be opened.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&Target, Option<&io::Error>)> {
        self.targets.iter().zip(self.refusals.iter().map(OnceLock::get))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn refused() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }

    fn local<const N: usize>(ports: [u16; N]) -> [Target; N] {
        ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)).into())
    }

    #[test]
    fn a_target_that_refuses_gives_way_to_the_next_once() {
        let addresses = local([1, 2, 3]);
        let targets = Targets::new(&addresses);
        assert!(targets.refused(0, refused()) && targets.refused(0, refused()), "a second thread was refused as well");
        assert_eq!(targets.next().0, 1);
        assert!(targets.choose(1) && !targets.undecided());
        assert!(!targets.refused(1, refused()), "a chosen target stays");
        assert!(targets.refused(0, refused()) && !targets.choose(0), "a late one of the first target dials again");
        assert_eq!(targets.next().0, 1);
    }

    #[test]
    fn the_last_target_is_not_followed_by_another() {
        let addresses = local([1, 2]);
        let targets = Targets::new(&addresses);
        assert!(targets.refused(0, refused()) && !targets.refused(1, refused()) && targets.undecided());
        assert_eq!(targets.refusals().filter(|(_, why)| why.is_some()).count(), 2);
    }
}
