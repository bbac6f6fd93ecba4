//! Processes as a source of events.

use std::{fmt, io, process::Child};

/// A process, by its number.
///
/// The number of a child stays its own until the child is reaped (`wait`), so register a child before reaping it.
/// The number of any other process may come to mean another one at any time.
///
/// ```
/// use parrot_kqueue::ProcessId;
///
/// let me = ProcessId::new(std::process::id())?;
/// assert_eq!(me.number(), std::process::id());
/// assert!(ProcessId::new(0).is_err());
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessId(rustix::process::Pid);

impl ProcessId {
    /// The process with this number.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for 0 and for what no system uses as the number of a process.
    ///
    /// ```
    /// # use parrot_kqueue::ProcessId;
    /// assert!(ProcessId::new(std::process::id()).is_ok());
    /// assert!(ProcessId::new(u32::MAX).is_err());
    /// ```
    pub fn new(number: u32) -> io::Result<ProcessId> {
        i32::try_from(number).ok().and_then(rustix::process::Pid::from_raw).map(ProcessId).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the number of a process is between 1 and 2147483647")
        })
    }

    /// The child's process.
    ///
    /// # Errors
    ///
    /// As [`ProcessId::new`]; a child that `std` started has a valid number.
    ///
    /// ```
    /// use parrot_kqueue::ProcessId;
    ///
    /// let mut child = std::process::Command::new("true").spawn()?;
    /// assert_eq!(ProcessId::of(&child)?.number(), child.id());
    /// child.wait()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn of(child: &Child) -> io::Result<ProcessId> {
        ProcessId::new(child.id())
    }

    /// The number as the system and `std` know it.
    ///
    /// ```
    /// # use parrot_kqueue::ProcessId;
    /// assert_eq!(ProcessId::new(1)?.number(), 1);
    /// # std::io::Result::Ok(())
    /// ```
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
    /// use parrot_kqueue::ProcessEvents;
    ///
    /// let wanted = ProcessEvents::EXIT | ProcessEvents::FORK;
    /// assert!(wanted.contains(ProcessEvents::EXIT));
    /// assert!(!wanted.contains(ProcessEvents::EXEC));
    /// ```
    pub ProcessEvents(EXIT, FORK) {
        /// The process has ended. Its registration is gone with this event.
        EXIT = 1;
        /// The process has started another one. `Unsupported` on Linux.
        #[cfg_attr(docsrs, doc(cfg(not(target_os = "linux"))))]
        FORK = 2;
        /// The process has become another program. `Unsupported` on Linux.
        #[cfg_attr(docsrs, doc(cfg(not(target_os = "linux"))))]
        EXEC = 4;
    }
}

impl ProcessEvents {
    /// What this system reports of processes: on Linux [`ProcessEvents::EXIT`], elsewhere everything.
    ///
    /// ```
    /// use parrot_kqueue::ProcessEvents;
    ///
    /// assert!(ProcessEvents::SUPPORTED.contains(ProcessEvents::EXIT));
    /// ```
    pub const SUPPORTED: ProcessEvents = if cfg!(target_os = "linux") { Self::EXIT } else { Self::all() };
}

/// A status in the encoding of wait(2), which `ExitStatus` is made from. rustix does not have it on every system.
#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
pub(crate) fn encoded(status: &rustix::process::WaitIdStatus) -> Option<i32> {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some((code & 0xff) << 8),
        (_, Some(signal)) => Some(signal | if status.dumped() { 0x80 } else { 0 }),
        _ => None,
    }
}
