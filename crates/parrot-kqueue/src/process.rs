//! Processes as a source of events.

use std::{fmt, io, process::Child};

/// A process, by its number.
///
/// A child keeps its number until it is reaped (`wait`), so register a child before reaping it. The number of any other
/// process may stand for a new one at any time.
///
/// ```
/// use parrot_kqueue::ProcessId;
///
/// let me = ProcessId::new(std::process::id())?;
/// assert_eq!(me.number(), std::process::id());
/// assert!(ProcessId::new(0).is_err());
///
/// let mut child = std::process::Command::new("true").spawn()?;
/// assert_eq!(ProcessId::of(&child)?.number(), child.id());
/// child.wait()?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessId(rustix::process::Pid);

impl ProcessId {
    /// The process with this number.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for 0 and for numbers above 2147483647, which no system uses.
    pub fn new(number: u32) -> io::Result<ProcessId> {
        i32::try_from(number).ok().and_then(rustix::process::Pid::from_raw).map(ProcessId).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "a process number must be between 1 and 2147483647")
        })
    }

    /// The child's process.
    ///
    /// # Errors
    ///
    /// As [`ProcessId::new`], though a child that `std` started has a valid number.
    pub fn of(child: &Child) -> io::Result<ProcessId> {
        ProcessId::new(child.id())
    }

    /// The number as the system and `std` know it.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0.as_raw_nonzero().get().unsigned_abs()
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn pid(self) -> rustix::process::Pid {
        self.0
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ProcessId").field(&self.number()).finish()
    }
}

flag_set! {
    /// What a process can do that a queue reports.
    ///
    /// ```
    /// use parrot_kqueue::{Change, Events, Kqueue, ProcessEvents, ProcessId, Token};
    ///
    /// let queue = Kqueue::new()?;
    /// let mut child = std::process::Command::new("sleep").arg("0.1").spawn()?;
    /// let wanted = ProcessEvents::SUPPORTED.difference(ProcessEvents::FORK | ProcessEvents::EXEC);
    /// assert_eq!(wanted, ProcessEvents::EXIT);
    /// queue.apply(&[Change::add_process(ProcessId::of(&child)?, wanted, Token(5))]).all()?;
    ///
    /// let mut events = Events::with_capacity(8);
    /// queue.wait(&mut events, None)?;
    /// for event in &events {
    ///     assert!(event.process_events().contains(ProcessEvents::EXIT));
    ///     assert!(event.exit_status().is_none_or(|status| status.success()));
    /// }
    /// child.wait()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub ProcessEvents {
        /// The process has ended. This event deletes the registration.
        EXIT = 1;
        /// The process has forked. `Unsupported` on Linux.
        #[cfg_attr(docsrs, doc(cfg(not(target_os = "linux"))))]
        FORK = 2;
        /// The process has become another program. `Unsupported` on Linux.
        #[cfg_attr(docsrs, doc(cfg(not(target_os = "linux"))))]
        EXEC = 4;
    }
}

impl ProcessEvents {
    /// What this system reports of processes: [`ProcessEvents::EXIT`] on Linux, everything elsewhere.
    pub const SUPPORTED: ProcessEvents = if cfg!(target_os = "linux") { Self::EXIT } else { Self::all() };
}

/// A status in the encoding of wait(2), which `ExitStatus` is made from. rustix has no status on NetBSD and OpenBSD.
#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
pub(crate) fn encoded(status: &rustix::process::WaitIdStatus) -> Option<i32> {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some((code & 0xff) << 8),
        (_, Some(signal)) => Some(signal | if status.dumped() { 0x80 } else { 0 }),
        _ => None,
    }
}
