//! Errors that say that the system has run out of something, so that a later try may succeed.

use std::io;

use rustix::io::Errno;

/// Whether a call failed because descriptors, memory or a limit of the event queue ran out.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NOSPC];
    errno(error).is_some_and(|errno| shortages.contains(&errno))
}

/// The error number, also of an error that explains another one.
pub(super) fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error).or_else(|| errno(error.get_ref()?.source()?.downcast_ref()?))
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[derive(Debug)]
    struct Explained(io::Error);

    impl std::fmt::Display for Explained {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the limit of watches is reached")
        }
    }

    impl Error for Explained {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_explained_shortage_is_one_too() {
        let error = io::Error::other(Explained(Errno::NOSPC.into()));
        assert!(is_shortage(&error));
        assert!(!is_shortage(&io::Error::other(Explained(Errno::BADF.into()))));
        assert!(!is_shortage(&io::Error::other("no number")));
    }
}
