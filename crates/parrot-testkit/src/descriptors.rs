//! The limit of open files.

use rustix::process::{Resource, getrlimit, setrlimit};

/// The most that macOS grants, though its hard limit is higher (OPEN_MAX in sys/syslimits.h, setrlimit(2)).
const OPEN_MAX: u64 = 10_240;

/// Raises this process's soft limit of open files to the hard one, or as far as the system lets it, and returns the
/// limit that then holds. Processes that are started later inherit it.
pub fn raise_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    for wanted in [hard, hard.min(OPEN_MAX)] {
        limit.current = (wanted < u64::MAX).then_some(wanted);
        if wanted > soft && setrlimit(Resource::Nofile, limit).is_ok() {
            return wanted;
        }
    }
    soft
}
