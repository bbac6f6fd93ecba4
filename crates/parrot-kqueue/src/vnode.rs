//! Files as a source of events.

flag_set! {
    /// What can happen to a file that a queue reports.
    ///
    /// ```
    /// use parrot_kqueue::VnodeEvents;
    ///
    /// let wanted = VnodeEvents::WRITE | VnodeEvents::DELETE;
    /// assert!(wanted.contains(VnodeEvents::WRITE));
    /// assert_eq!(format!("{wanted:?}"), "{DELETE, WRITE}");
    /// ```
    pub VnodeEvents(WRITE, DELETE) {
        /// A name of the file was removed. Of a directory this is `Unsupported` on Linux, where nothing tells those who
        /// have it open.
        DELETE = 1;
        /// The file was written to; a directory gained, lost or renamed an entry.
        WRITE = 2;
        /// The file has grown. What it comes with differs: most systems report it together with `WRITE`.
        EXTEND = 4;
        /// Owner, mode, times or another attribute changed; on Linux, also the number of links.
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
    /// What this system reports of files: on Linux all but [`VnodeEvents::REVOKE`], elsewhere everything.
    ///
    /// ```
    /// use parrot_kqueue::VnodeEvents;
    ///
    /// let wanted = VnodeEvents::SUPPORTED.difference(VnodeEvents::DELETE);
    /// assert!(wanted.contains(VnodeEvents::WRITE | VnodeEvents::RENAME));
    /// ```
    pub const SUPPORTED: VnodeEvents =
        if cfg!(target_os = "linux") { Self::all().difference(Self::REVOKE) } else { Self::all() };
}
