//! The file of a Unix socket, from its start to its end.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The file of a Unix socket. Dropping it removes the file, unless another one has its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode, which tell this file from a later one with the same path.
    identity: (u64, u64),
}

impl SocketFile {
    /// The file that a bind has just made.
    pub(super) fn at(path: PathBuf) -> io::Result<SocketFile> {
        let identity = identity(&fs::symlink_metadata(&path)?);
        Ok(SocketFile { path, identity })
    }

    /// Whether the path still leads to this file.
    pub(super) fn is_ours(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_ours()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(target: "parrot_server", "cannot remove {}: {error}", self.path.display());
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
