//! Takes what is pending on OpenBSD, one signal at a time.
//!
//! OpenBSD's sigwait unblocks its whole set until the thread is back in user mode, and a second pending signal of the
//! set is delivered on the way (`sys___thrsigdivert`, `dosigsuspend` and `userret` in sys/kern/kern_sig.c). So this
//! waits for each signal alone. An ignored signal is posted and never becomes pending, so a thread sends the last
//! signal as well if the awaited one does not come.

use nix::sys::{
    pthread::{Pthread, pthread_kill, pthread_self},
    signal::{SigSet, Signal},
};
use std::{sync::mpsc, thread, time::Duration};

/// How long to wait for a signal that was posted. It is pending unless it is ignored.
const PATIENCE: Duration = Duration::from_millis(100);

/// Takes those of the `seen` signals that are pending. They are blocked, as is `last`.
pub(super) fn pending(_signals: SigSet, seen: SigSet, last: Signal) -> nix::Result<()> {
    // A number, because a thread's handle may be a pointer, which cannot be sent to a thread.
    let this_thread = pthread_self() as usize;
    for signal in &seen {
        let (taken, is_taken) = mpsc::channel::<()>();
        let rescue = thread::spawn(move || {
            let late = is_taken.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
            late && pthread_kill(this_thread as Pthread, last).is_ok()
        });
        let got = SigSet::from_iter([signal, last]).wait()?;
        drop(taken);
        if rescue.join().unwrap_or(false) && got != last {
            SigSet::from_iter([last]).wait()?;
        }
    }
    Ok(())
}
