//! Files as a source of events.

flag_set! {
    /// What can happen to a file that a queue reports.
    ///
    /// ```
    /// use parrot_kqueue::{Change, Events, Kqueue, Token, VnodeEvents};
    /// use std::{io::Write, os::fd::AsFd};
    ///
    /// let queue = Kqueue::new()?;
    /// let path = std::env::temp_dir().join(format!("parrot-kqueue-{}", std::process::id()));
    /// let mut file = std::fs::File::create(&path)?;
    /// let wanted = VnodeEvents::WRITE | VnodeEvents::RENAME;
    /// assert!(VnodeEvents::SUPPORTED.contains(wanted));
    /// queue.apply(&[Change::add_vnode(file.as_fd(), wanted, Token(5))]).all()?;
    /// file.write_all(b"squawk")?;
    ///
    /// let mut events = Events::with_capacity(8);
    /// queue.wait(&mut events, None)?;
    /// for event in &events {
    ///     assert_eq!(event.vnode_events(), VnodeEvents::WRITE);
    /// }
    /// std::fs::remove_file(path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub VnodeEvents {
        /// A name of the file was removed. `Unsupported` for a directory on Linux, which does not report that to those
        /// who have the directory open.
        DELETE = 1;
        /// The file was written to, or the directory gained, lost or renamed an entry.
        WRITE = 2;
        /// The file has grown. Most systems report this together with `WRITE`.
        EXTEND = 4;
        /// Owner, mode, times or another attribute changed, or on Linux the number of links.
        ATTRIBUTES = 8;
        /// The number of the file's links changed.
        LINK = 16;
        /// The file was renamed.
        RENAME = 32;
        /// Access was revoked, or the file system was unmounted. `Unsupported` on Linux.
        #[cfg_attr(docsrs, doc(cfg(not(target_os = "linux"))))]
        REVOKE = 64;
    }
}

impl VnodeEvents {
    /// What this system reports of files: all but [`VnodeEvents::REVOKE`] on Linux, everything elsewhere.
    pub const SUPPORTED: VnodeEvents =
        if cfg!(target_os = "linux") { Self::all().difference(Self::REVOKE) } else { Self::all() };
}
