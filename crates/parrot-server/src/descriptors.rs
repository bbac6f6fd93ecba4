//! How many descriptors the process may have open, and so how many connections fit.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// macOS reports a hard limit of "unlimited", but setrlimit accepts no more than this (OPEN_MAX in its
/// sys/syslimits.h).
const OPEN_MAX: u64 = 10_240;

/// Raises the soft limit of descriptors to the hard one, or as near as the system allows.
pub(crate) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(soft) = current else { return };
    let capped = maximum.map_or(OPEN_MAX, |hard| hard.min(OPEN_MAX));
    for wanted in [maximum, Some(capped)] {
        let is_higher = wanted.is_none_or(|wanted| wanted > soft);
        if is_higher && setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum }).is_ok() {
            return;
        }
    }
}

/// How many more descriptors the process can open, where `last` is the one opened last.
///
/// The system gives out the lowest free number, so every number below the next one is in use, and none above it. After
/// the process has closed some, or inherited numbers with gaps between them, fewer are left than this returns.
///
/// # Errors
///
/// When not even one more can be opened.
pub(crate) fn left(last: &impl AsFd) -> io::Result<u64> {
    let next = last.as_fd().try_clone_to_owned()?;
    let in_use = u64::try_from(next.as_raw_fd()).unwrap_or_default();
    let soft = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    Ok(soft.saturating_sub(in_use))
}
