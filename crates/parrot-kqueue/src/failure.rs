//! Why a change was not made.

use nix::libc;
use std::{error::Error, fmt, io};

/// Why a change was not made. It is small and `Copy`, and becomes an `io::Error` on request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    /// The system's error number.
    System(i32),
    /// The system's error number, and the limit or the rule behind it.
    Explained(i32, &'static str),
    NotFound,
    #[cfg(target_os = "linux")]
    AlreadyExists(&'static str),
    Invalid(&'static str),
    Unsupported(&'static str),
}

impl Failure {
    /// The failure of a system call. Limits of the user or of the whole system are explained, unless the error number
    /// means something else in another call.
    pub(crate) fn of(number: i32) -> Self {
        match number {
            libc::ENFILE => Failure::Explained(number, OPEN_FILES),
            // Only epoll_ctl(2) and inotify_add_watch(2) return it, and the latter has a reason of its own.
            #[cfg(target_os = "linux")]
            libc::ENOSPC => Failure::Explained(
                number,
                "the user's epoll sets watch as many descriptors as fs.epoll.max_user_watches allows, so raise it with \
                 sysctl",
            ),
            number => Failure::System(number),
        }
    }
}

const OPEN_FILES: &str = if cfg!(target_os = "linux") {
    "the whole system has as many open files as fs.file-max allows, so raise it with sysctl"
} else {
    "the whole system has as many open files as kern.maxfiles allows, so raise it with sysctl"
};

impl From<rustix::io::Errno> for Failure {
    fn from(errno: rustix::io::Errno) -> Self {
        Failure::of(errno.raw_os_error())
    }
}

impl From<nix::errno::Errno> for Failure {
    fn from(errno: nix::errno::Errno) -> Self {
        Failure::of(errno as i32)
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        use io::ErrorKind;
        match failure {
            Failure::System(number) => io::Error::from_raw_os_error(number),
            Failure::Explained(number, why) => {
                let source = io::Error::from_raw_os_error(number);
                io::Error::new(source.kind(), Explained { why, source })
            }
            Failure::NotFound => io::Error::new(
                ErrorKind::NotFound,
                "nothing is registered there (it was never added, was deleted, or was a one-shot that fired)",
            ),
            #[cfg(target_os = "linux")]
            Failure::AlreadyExists(why) => io::Error::new(ErrorKind::AlreadyExists, why),
            Failure::Invalid(why) => io::Error::new(ErrorKind::InvalidInput, why),
            Failure::Unsupported(why) => io::Error::new(ErrorKind::Unsupported, why),
        }
    }
}

/// The system's error with its reason.
#[derive(Debug)]
struct Explained {
    why: &'static str,
    source: io::Error,
}

impl fmt::Display for Explained {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.why)
    }
}

impl Error for Explained {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explained_failure_has_the_system_error_as_its_source() {
        let error = io::Error::from(Failure::of(libc::ENFILE));
        assert!(error.to_string().contains("as many open files"), "{error}");
        assert_eq!(error.kind(), io::Error::from_raw_os_error(libc::ENFILE).kind());
        let source = error.get_ref().and_then(|why| why.source()?.downcast_ref::<io::Error>());
        assert_eq!(source.and_then(io::Error::raw_os_error), Some(libc::ENFILE));
    }

    #[test]
    fn the_limit_of_the_process_is_the_error_of_the_system() {
        let error = io::Error::from(Failure::of(libc::EMFILE));
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    }
}
