//! Takes what is pending, up to a signal that the thread has sent to itself.
//!
//! sigwait takes the lowest number first. Signals for the process come before or together with signals that are pending
//! for the thread (`kern_sigtimedwait` in FreeBSD and DragonFly kern_sig.c, `sigtimedwait1` in NetBSD sys_sig.c,
//! `__sigwait_nocancel` in XNU kern_sig.c). So the last signal comes last.

use nix::sys::{
    pthread::{pthread_kill, pthread_self},
    signal::{SigSet, Signal},
};

/// Takes what is pending of `signals`, which are blocked, as is `last`.
pub(super) fn pending(mut signals: SigSet, _seen: SigSet, last: Signal) -> nix::Result<()> {
    signals.add(last);
    pthread_kill(pthread_self(), last)?;
    while signals.wait()? != last {}
    Ok(())
}
