//! Why a run did not take place.

use std::{error, fmt, io};

use crate::capacity::Shortage;
use crate::plan::Impossible;

/// Why a run did not take place.
#[derive(Debug)]
pub enum Error {
    /// The plan contradicts itself.
    Plan(Impossible),
    /// The machine has too few descriptors or ports, or not the source address.
    Capacity(Shortage),
    /// [`Stop::stop`](crate::Stop::stop) was called before the window opened, so that nothing was measured.
    Stopped,
    /// No connection could be opened.
    Unreachable(String),
    /// The system refused something that the load generator itself needs.
    System(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Plan(impossible) => impossible.fmt(formatter),
            Error::Capacity(shortage) => shortage.fmt(formatter),
            Error::Stopped => formatter.write_str("stopped before the window opened, so nothing was measured"),
            Error::Unreachable(why) => formatter.write_str(why),
            Error::System(_) => formatter.write_str("the load generator could not continue"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::System(error) => Some(error),
            // `Display` already prints what these hold.
            Error::Plan(_) | Error::Capacity(_) | Error::Stopped | Error::Unreachable(_) => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::System(error)
    }
}
