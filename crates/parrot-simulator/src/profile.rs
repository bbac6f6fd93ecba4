//! The families of systems, whose differences the loop can see.

use std::fmt;
use std::str::FromStr;

/// A family of systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// macOS and the BSDs.
    ///
    /// Events count the bytes that wait and say when the peer has ended its stream, but do not report urgent data.
    /// Accept may return no address, the set-up of a connection that was reset in the backlog may fail, and a send may
    /// fail with EPROTOTYPE.
    Kqueue,
    /// Linux.
    ///
    /// Events do not count bytes. They say when the peer has ended its stream, the socket has failed or data is urgent.
    /// Accept may return errors of the network.
    Epoll,
}

impl Profile {
    /// Both profiles.
    pub const ALL: [Profile; 2] = [Profile::Kqueue, Profile::Epoll];
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Profile::Kqueue => "kqueue",
            Profile::Epoll => "epoll",
        })
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Profile, String> {
        let found = Profile::ALL.into_iter().find(|profile| profile.to_string() == name);
        found.ok_or_else(|| format!("there is no profile {name}: want kqueue or epoll"))
    }
}
