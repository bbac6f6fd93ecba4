//! What differs between the families of systems, as far as the loop can see it.

use std::fmt;
use std::str::FromStr;

/// A family of systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// macOS and the BSDs: events count the bytes that wait and say when the peer has finished; they do not tell urgent
    /// data. Accept may give no address, the set-up of a connection that was reset in the backlog may fail, and a send
    /// may answer EPROTOTYPE.
    Kqueue,
    /// Linux: events do not count, and say when the peer has finished, the socket has failed or data is urgent. Errors
    /// of the network come out of accept.
    Epoll,
}

impl Profile {
    /// Each of them.
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
        found.ok_or_else(|| format!("there is no profile {name}: say kqueue or epoll"))
    }
}
