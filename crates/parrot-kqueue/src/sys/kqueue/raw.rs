//! Small pieces around kqueue that nix does not have.

use crate::failure::Failure;
use nix::{
    errno::Errno,
    libc,
    sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue},
};
use rustix::io::FdFlags;
use std::time::Duration;

/// The name of a registration in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) ident: usize,
    pub(super) filter: EventFilter,
}

impl Name {
    /// The registration of a change or an event, unless nix does not know its filter.
    pub(super) fn of(raw: &KEvent) -> Option<Name> {
        raw.filter().ok().map(|filter| Name { ident: raw.ident(), filter })
    }
}

/// A kqueue that is closed on exec. Setting the flag after the fact is safe, because no child inherits a kqueue over
/// fork.
pub(super) fn kqueue() -> Result<Kqueue, Failure> {
    #[cfg(target_os = "netbsd")]
    crate::sys::netbsd::check(&rustix::system::uname().release().to_string_lossy())?;
    let kqueue = Kqueue::new().map_err(|errno| match errno {
        // This is RLIMIT_KQUEUES (kern_kqueue in FreeBSD sys/kern/kern_event.c).
        Errno::ENOMEM if cfg!(target_os = "freebsd") => Failure::Explained(
            errno as i32,
            "the user has as many kqueues as the limit allows, so raise it with limits -k or in login.conf(5)",
        ),
        errno => errno.into(),
    })?;
    rustix::io::fcntl_setfd(&kqueue, FdFlags::CLOEXEC)?;
    Ok(kqueue)
}

/// An event about nothing, to fill lists with.
pub(super) fn nothing() -> KEvent {
    KEvent::new(0, EventFilter::EVFILT_READ, EvFlags::empty(), FilterFlag::empty(), 0, 0)
}

/// The timeout of a call that does not wait.
pub(super) const NOW: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 0 };

pub(super) fn timespec(timeout: Duration) -> libc::timespec {
    // Below a day and below a second, both fit whatever types the system has.
    libc::timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos() as _ }
}

/// Makes one change of the queue's own, outside of any list.
pub(super) fn change_one(kqueue: &Kqueue, change: KEvent) -> Result<(), Failure> {
    match kqueue.kevent(&[change], &mut [], Some(NOW)) {
        // Interrupted after the change was made (kqueue(2), EINTR).
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
