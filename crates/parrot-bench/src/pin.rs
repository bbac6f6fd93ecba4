//! Which cores the server and the load run on, so that neither takes the other's.

use anyhow::Result;

/// The machine's cores, shared out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cores {
    pub(crate) server: Vec<usize>,
    pub(crate) client: Vec<usize>,
}

impl Cores {
    /// Half for the server and half for the client; `None` if there is just one.
    fn share(available: &[usize]) -> Option<Cores> {
        let (server, client) =
            available.split_at_checked(available.len() / 2).filter(|(server, _)| !server.is_empty())?;
        Some(Cores { server: server.to_vec(), client: client.to_vec() })
    }
}

#[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "dragonfly"))]
mod system {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use super::{Cores, Result};

    /// The cores this process may use, shared out; `None` if there is just one.
    pub(crate) fn cores() -> Option<Cores> {
        let set = sched_getaffinity(None).ok()?;
        let available: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
        Cores::share(&available)
    }

    /// Keeps the calling thread, and every thread and process it starts from here on, on `cores`.
    pub(crate) fn pin(cores: &[usize]) -> Result<()> {
        let mut set = CpuSet::new();
        cores.iter().for_each(|core| set.set(*core));
        Ok(sched_setaffinity(None, &set)?)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "dragonfly")))]
mod system {
    use super::{Cores, Result};

    /// This system has no call for it that a program without privileges can use.
    pub(crate) fn cores() -> Option<Cores> {
        Cores::share(&[])
    }

    pub(crate) fn pin(_cores: &[usize]) -> Result<()> {
        Ok(())
    }
}

pub(crate) use system::{cores, pin};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_and_client_get_different_cores() {
        let shared = |available: &[usize]| Cores::share(available).map(|cores| (cores.server, cores.client));
        assert_eq!(shared(&[0, 1]), Some((vec![0], vec![1])));
        assert_eq!(shared(&[2, 3, 6, 7, 9]), Some((vec![2, 3], vec![6, 7, 9])));
        assert_eq!(shared(&[4]), None);
        assert_eq!(shared(&[]), None);
    }
}
