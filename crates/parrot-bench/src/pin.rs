//! Pins the server and the load to different cores, so that neither slows the other down.

use std::collections::BTreeMap;

use anyhow::Result;

/// The cores of the machine, divided between server and client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cores {
    pub(crate) server: Vec<usize>,
    pub(crate) client: Vec<usize>,
    /// Whether these are hardware threads of a single core, which share its execution units.
    pub(crate) same_core: bool,
}

impl Cores {
    /// Gives half of the cores to the server and half to the client. Returns `None` if there is only one.
    ///
    /// `first_of` returns the first hardware thread of the core that a thread belongs to. Threads of a core stay
    /// together, unless it is the only core.
    fn share(available: &[usize], first_of: impl Fn(usize) -> usize) -> Option<Cores> {
        let mut by_core: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for thread in available {
            by_core.entry(first_of(*thread)).or_default().push(*thread);
        }
        let same_core = by_core.len() == 1;
        let parts: Vec<Vec<usize>> = if same_core {
            available.iter().map(|thread| vec![*thread]).collect()
        } else {
            by_core.into_values().collect()
        };
        let (server, client) = parts.split_at_checked(parts.len() / 2).filter(|(server, _)| !server.is_empty())?;
        Some(Cores { server: server.concat(), client: client.concat(), same_core })
    }
}

#[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "dragonfly"))]
mod system {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use super::{Cores, Result};

    /// Divides the cores that this process may use. Returns `None` if there is only one.
    pub(crate) fn cores() -> Option<Cores> {
        let set = sched_getaffinity(None).ok()?;
        let available: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
        Cores::share(&available, first_of)
    }

    /// The first hardware thread of the core that `thread` belongs to.
    ///
    /// Linux lists them (Documentation/ABI/stable/sysfs-devices-system-cpu). On other systems every thread counts as a
    /// core.
    fn first_of(thread: usize) -> usize {
        let list = format!("/sys/devices/system/cpu/cpu{thread}/topology/thread_siblings_list");
        let list = std::fs::read_to_string(list).unwrap_or_default();
        list.split([',', '-']).next().and_then(|first| first.trim().parse().ok()).unwrap_or(thread)
    }

    /// Pins the calling thread to `cores`, along with the threads and processes that it starts from now on.
    pub(crate) fn pin(cores: &[usize]) -> Result<()> {
        let mut set = CpuSet::new();
        cores.iter().for_each(|core| set.set(*core));
        Ok(sched_setaffinity(None, &set)?)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "dragonfly")))]
mod system {
    use super::{Cores, Result};

    /// On this system, programs without privileges cannot pin threads to cores.
    pub(crate) fn cores() -> Option<Cores> {
        Cores::share(&[], |thread| thread)
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
        let shared =
            |available: &[usize]| Cores::share(available, |thread| thread).map(|cores| (cores.server, cores.client));
        assert_eq!(shared(&[0, 1]), Some((vec![0], vec![1])));
        assert_eq!(shared(&[2, 3, 6, 7, 9]), Some((vec![2, 3], vec![6, 7, 9])));
        assert_eq!(shared(&[4]), None);
        assert_eq!(shared(&[]), None);
    }

    #[test]
    fn threads_of_a_core_stay_together_unless_it_is_the_only_one() {
        let share = |available: &[usize], cores| Cores::share(available, |thread| thread % cores).expect("two halves");
        let two = share(&[0, 1, 2, 3], 2);
        assert_eq!((two.server, two.client, two.same_core), (vec![0, 2], vec![1, 3], false));
        let one = share(&[0, 1], 1);
        assert_eq!((one.server, one.client, one.same_core), (vec![0], vec![1], true));
    }
}
