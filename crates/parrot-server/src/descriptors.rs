//! How many descriptors the process may have open, and so how many connections fit.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// macOS has hard limits of "unlimited" that setrlimit refuses above this (OPEN_MAX in its sys/syslimits.h).
const OPEN_MAX: rlim_t = 10_240;

/// Raises the soft limit of descriptors to the hard one, or as near as the system lets it.
pub(crate) fn raise_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    for limit in [hard, OPEN_MAX.min(hard)] {
        if limit > soft && setrlimit(Resource::RLIMIT_NOFILE, limit, hard).is_ok() {
            return;
        }
    }
}

/// How many more descriptors the process can open, with `last` being the one opened last.
///
/// The system gives out the lowest free number, so all below the next one are in use, and none above it unless the
/// process was handed down descriptors with gaps between them, or has closed some: then fewer are left than this says.
///
/// # Errors
///
/// When not even one more can be opened.
pub(crate) fn left(last: &impl AsFd) -> io::Result<u64> {
    let next = last.as_fd().try_clone_to_owned()?;
    let in_use = u64::try_from(next.as_raw_fd()).unwrap_or_default();
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // rlim_t is signed on FreeBSD and DragonFly.
    #[allow(clippy::useless_conversion, reason = "the type differs per system")]
    let soft = u64::try_from(soft).unwrap_or(u64::MAX);
    Ok(soft.saturating_sub(in_use))
}
