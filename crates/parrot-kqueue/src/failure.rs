//! Why a change was not made.

use std::io;

/// Why a change was not made. It is small and `Copy`, and becomes an `io::Error` on request.
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
                "nothing is registered there (it was never added, was deleted, or was a one-shot that fired)",
            ),
            #[cfg(target_os = "linux")]
            Failure::AlreadyExists(why) => io::Error::new(ErrorKind::AlreadyExists, why),
            Failure::Invalid(why) => io::Error::new(ErrorKind::InvalidInput, why),
            Failure::Unsupported(why) => io::Error::new(ErrorKind::Unsupported, why),
        }
    }
}
