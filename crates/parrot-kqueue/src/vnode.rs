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
    pub VnodeEvents {
        /// A name of the file was removed. On Linux not of a directory: nothing tells those who have it open.
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
        /// Access was revoked, or the file system was unmounted. Not on Linux.
        REVOKE = 64;
    }
}
