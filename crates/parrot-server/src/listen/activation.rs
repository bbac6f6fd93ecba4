//! Sockets that a service manager passes to the process, as sd_listen_fds(3) describes.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::process;
use std::str::FromStr;

use listenfd::ListenFd;

use super::{Listen, given, local_ip};

/// The first descriptor that is passed, `SD_LISTEN_FDS_START`.
const FIRST_DESCRIPTOR: u16 = 3;

/// What a service manager has passed to this process.
#[derive(Debug, Default)]
pub struct Activation {
    /// The sockets, in their order and with their names.
    pub sockets: Vec<Listen>,
    /// The process that the sockets are for, if it is another one. Then there are none for this process. A program that
    /// starts others and leaves the variables in their environment is the usual cause.
    pub meant_for: Option<u32>,
}

/// Why the sockets that a service manager has passed cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActivationError {
    /// LISTEN_FDS is set and LISTEN_PID is not, so it is not known which process the sockets are for.
    NoProcess,
    /// A variable is not a number, or a number that it cannot be.
    NotANumber {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// LISTEN_FDNAMES does not have one name for each descriptor.
    NamesDiffer {
        /// How many names there are.
        names: usize,
        /// How many descriptors there are.
        descriptors: usize,
    },
    /// A connection was passed. The service manager accepts connections itself and starts a process for each
    /// (`Accept=yes` of systemd.socket(5)).
    Connection(Descriptor),
    /// A descriptor cannot be served, for this reason.
    Unfit(Descriptor, &'static str),
}

/// A descriptor that was passed. `Display` gives its number and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its number.
    pub number: u32,
    /// The name that the service manager gave it.
    pub name: Option<String>,
}

impl Listen {
    /// The sockets that a service manager such as systemd has passed to this process (socket activation). There are
    /// none if LISTEN_FDS is not set.
    ///
    /// TCP listeners, Unix stream listeners and UDP sockets may come in any mix. The variables have the meaning of
    /// sd_listen_fds(3):
    ///
    /// - LISTEN_FDS is the number of descriptors. They begin at 3, or at LISTEN_FDS_FIRST_FD, which systemfd sets.
    /// - LISTEN_PID is the process that they are for. If it is another one, they are left alone. Unlike
    ///   sd_listen_fds(3), which then reports no sockets, this function fails if the variable is missing.
    /// - LISTEN_FDNAMES has a name for each descriptor, with colons in between. `unknown` means that there is none.
    ///
    /// Call it at the start of `main`. If it is called after the program has opened a socket, a wrong LISTEN_FDS can
    /// make it take that one. If the sockets are for this process, it removes LISTEN_FDS and LISTEN_PID from the
    /// environment. So a second call finds nothing, and no other thread may be running ([`std::env::remove_var`]).
    ///
    /// Each socket is closed on exec from then on. It no longer blocks once a server is bound with it.
    ///
    /// ```
    /// use parrot_server::{Addresses, Listen};
    ///
    /// let mut listen = Listen::from_environment()?.sockets;
    /// if listen.is_empty() {
    ///     listen.push(Listen::tcp(Addresses::everywhere(1512)));
    /// }
    /// # Ok::<(), parrot_server::ActivationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When a variable is wrong, and when a descriptor is neither a stream socket that listens nor a UDP socket that is
    /// bound and has no peer. On macOS a stream socket that neither listens nor is connected looks like one that
    /// listens (getsockopt(2)).
    pub fn from_environment() -> Result<Activation, ActivationError> {
        let (first, names) = match Passed::read(|name| env::var_os(name), process::id())? {
            Passed::Nothing => return Ok(Activation::default()),
            Passed::To(process) => return Ok(Activation { sockets: Vec::new(), meant_for: Some(process) }),
            Passed::Here { first, names } => (first, names),
        };
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for (index, name) in names.into_iter().enumerate() {
            let number = u32::from(first) + index as u32;
            sockets.push(take(&mut passed, index, Descriptor { number, name })?);
        }
        Ok(Activation { sockets, meant_for: None })
    }
}

/// What the variables say.
#[derive(Debug, PartialEq, Eq)]
enum Passed {
    Nothing,
    /// The descriptors are for the process with this number.
    To(u32),
    /// The descriptors are for this process. There are as many as names.
    Here {
        first: u16,
        names: Vec<Option<String>>,
    },
}

impl Passed {
    fn read(variable: impl Fn(&str) -> Option<OsString>, this_process: u32) -> Result<Passed, ActivationError> {
        let text = |name| variable(name).map(|value| value.to_string_lossy().into_owned());
        let Some(count) = text("LISTEN_FDS") else { return Ok(Passed::Nothing) };
        let Some(process) = text("LISTEN_PID") else { return Err(ActivationError::NoProcess) };
        let process = number("LISTEN_PID", process, 1)?;
        if process != this_process {
            return Ok(Passed::To(process));
        }
        // 16 bits bound the memory for the list. No process has as many descriptors.
        let count: u16 = number("LISTEN_FDS", count, 1)?;
        let first = text("LISTEN_FDS_FIRST_FD")
            .map_or(Ok(FIRST_DESCRIPTOR), |first| number("LISTEN_FDS_FIRST_FD", first, FIRST_DESCRIPTOR))?;
        let names = names(text("LISTEN_FDNAMES"), usize::from(count))?;
        Ok(Passed::Here { first, names })
    }
}

fn number<N: FromStr + PartialOrd>(variable: &'static str, value: String, least: N) -> Result<N, ActivationError> {
    match value.parse() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(ActivationError::NotANumber { variable, value }),
    }
}

/// As many names as there are descriptors. `unknown` stands for none in sd_listen_fds(3).
fn names(listed: Option<String>, descriptors: usize) -> Result<Vec<Option<String>>, ActivationError> {
    let Some(listed) = listed.filter(|listed| !listed.is_empty()) else { return Ok(vec![None; descriptors]) };
    let name = |name: &str| (!name.is_empty() && name != "unknown").then(|| name.to_owned());
    let names: Vec<Option<String>> = listed.split(':').map(name).collect();
    match names.len() == descriptors {
        true => Ok(names),
        false => Err(ActivationError::NamesDiffer { names: names.len(), descriptors }),
    }
}

/// Takes over a descriptor. One that is of another kind stays open and is nobody's.
fn take(passed: &mut ListenFd, index: usize, descriptor: Descriptor) -> Result<Listen, ActivationError> {
    if descriptor.name.as_deref() == Some("connection") {
        return Err(ActivationError::Connection(descriptor));
    }
    let listen = if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
        check_listening(&listener, &descriptor)?;
        Listen::from(listener)
    } else if let Ok(Some(listener)) = passed.take_unix_listener(index) {
        check_listening(&listener, &descriptor)?;
        Listen::from(listener)
    } else if let Ok(Some(socket)) = passed.take_udp_socket(index) {
        check_bound(&socket, &descriptor)?;
        Listen::from(socket)
    } else {
        return Err(ActivationError::Unfit(descriptor, "neither a TCP, UDP nor Unix stream socket"));
    };
    Ok(match descriptor.name {
        Some(name) => listen.named(name),
        None => listen,
    })
}

fn check_listening(socket: &impl AsFd, descriptor: &Descriptor) -> Result<(), ActivationError> {
    if rustix::net::getpeername(socket).is_ok() {
        return Err(ActivationError::Connection(descriptor.clone()));
    }
    match given::is_listening(socket) {
        Ok(true) => Ok(()),
        _ => Err(ActivationError::Unfit(descriptor.clone(), "a socket that does not listen")),
    }
}

/// A socket with a peer would drop the datagrams of all others (udp(7)).
fn check_bound(socket: &UdpSocket, descriptor: &Descriptor) -> Result<(), ActivationError> {
    let reason = if socket.peer_addr().is_ok() {
        "a UDP socket that is connected"
    } else if local_ip(socket).is_ok_and(|address| address.port() != 0) {
        return Ok(());
    } else {
        "a UDP socket that is not bound"
    };
    Err(ActivationError::Unfit(descriptor.clone(), reason))
}

impl fmt::Display for ActivationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ActivationError::NoProcess => f.write_str("LISTEN_FDS is set and LISTEN_PID is not"),
            ActivationError::NotANumber { variable, value } => {
                write!(f, "{variable}={value:?} is not a valid number")
            }
            ActivationError::NamesDiffer { names, descriptors } => {
                write!(f, "LISTEN_FDS is {descriptors}, and the number of names in LISTEN_FDNAMES is {names}")
            }
            ActivationError::Connection(descriptor) => write!(f, "{descriptor} is a connection, not a listener"),
            ActivationError::Unfit(descriptor, reason) => write!(f, "{descriptor} is {reason}"),
        }
    }
}

impl Error for ActivationError {}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "descriptor {} ({name})", self.number),
            None => write!(f, "descriptor {}", self.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 1512;

    fn read(variables: &[(&str, &str)]) -> Result<Passed, ActivationError> {
        let find = |name: &str| variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.into());
        Passed::read(find, OWN)
    }

    fn here(more: &[(&str, &str)]) -> Result<Passed, ActivationError> {
        read(&[&[("LISTEN_PID", "1512")], more].concat())
    }

    #[test]
    fn without_listen_fds_nothing_is_passed() {
        assert_eq!(read(&[]), Ok(Passed::Nothing));
        assert_eq!(read(&[("LISTEN_PID", "x"), ("LISTEN_FDNAMES", "web")]), Ok(Passed::Nothing));
    }

    #[test]
    fn listen_pid_decides_whose_the_sockets_are() {
        assert_eq!(read(&[("LISTEN_FDS", "1")]), Err(ActivationError::NoProcess));
        assert_eq!(read(&[("LISTEN_FDS", "x"), ("LISTEN_PID", "1")]), Ok(Passed::To(1)));
        assert_eq!(here(&[("LISTEN_FDS", "1")]), Ok(Passed::Here { first: 3, names: vec![None] }));
        for value in ["", "0", "-1", "self", "1512 "] {
            let variable = "LISTEN_PID";
            let refused = ActivationError::NotANumber { variable, value: value.to_owned() };
            assert_eq!(read(&[("LISTEN_FDS", "1"), (variable, value)]), Err(refused));
        }
    }

    #[test]
    fn numbers_that_no_manager_sets_are_refused() {
        for (variable, value) in [
            ("LISTEN_FDS", ""),
            ("LISTEN_FDS", "0"),
            ("LISTEN_FDS", "-1"),
            ("LISTEN_FDS", "one"),
            ("LISTEN_FDS", "65536"),
            ("LISTEN_FDS_FIRST_FD", "2"),
            ("LISTEN_FDS_FIRST_FD", "2147483647"),
        ] {
            let refused = ActivationError::NotANumber { variable, value: value.to_owned() };
            assert_eq!(here(&[(variable, value), ("LISTEN_FDS", "1")]), Err(refused), "{variable}={value}");
        }
    }

    #[test]
    fn each_descriptor_has_its_name() {
        let named = |names: &[&str]| {
            let name = |name: &&str| (!name.is_empty()).then(|| (*name).to_owned());
            Ok(Passed::Here { first: 3, names: names.iter().map(name).collect() })
        };
        let two = |names: &str| here(&[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", names)]);
        assert_eq!(two("web:local"), named(&["web", "local"]));
        assert_eq!(two("unknown:web"), named(&["", "web"]));
        assert_eq!(two(":web"), named(&["", "web"]));
        assert_eq!(two(""), named(&["", ""]));
        for (wrong, names) in [("web", 1), ("web:local:more", 3), ("web:local:", 3)] {
            assert_eq!(two(wrong), Err(ActivationError::NamesDiffer { names, descriptors: 2 }), "{wrong}");
        }
    }

    #[test]
    fn the_first_descriptor_may_be_another() {
        let from_seven = here(&[("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "7")]);
        assert_eq!(from_seven, Ok(Passed::Here { first: 7, names: vec![None] }));
    }
}
