//! Unix stream sockets: binding their files, and replacing those that a server has left behind.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use super::listener::{Listener, effective_backlog};
use super::socket_file::SocketFile;
use super::{BindError, ListenOptions, LocalAddress, sockets};

/// How often the lock of a directory is tried, and how long after each other.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// Listens on a path.
pub(super) fn listen_at(path: PathBuf, options: &ListenOptions) -> Result<(Listener, LocalAddress), BindError> {
    match bind_file(&path, options) {
        Ok(listener) => Ok((listener, LocalAddress::Unix(path))),
        Err(error) => Err(BindError::listen(LocalAddress::Unix(path), error)),
    }
}

/// Listens on an abstract name.
#[cfg(target_os = "linux")]
pub(super) fn listen_at_name(name: Vec<u8>, options: &ListenOptions) -> Result<(Listener, LocalAddress), BindError> {
    let bind = || -> io::Result<Listener> {
        let socket = sockets::new(AddressFamily::UNIX, SocketType::STREAM)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new_abstract_name(&name)?)?;
        rustix::net::listen(&socket, effective_backlog(options.backlog))?;
        Ok(Listener::unix(socket, None))
    };
    match bind() {
        Ok(listener) => Ok((listener, LocalAddress::UnixAbstract(name))),
        Err(error) => Err(BindError::listen(LocalAddress::UnixAbstract(name), error)),
    }
}

fn bind_file(path: &Path, options: &ListenOptions) -> io::Result<Listener> {
    let address = SocketAddrUnix::new(path)?;
    let socket = sockets::new(AddressFamily::UNIX, SocketType::STREAM)?;
    #[cfg(target_os = "macos")]
    sockets::set_flags(&socket)?;
    // Between its bind and its listen a server cannot be told from one that has gone. The lock keeps a second server from
    // looking then.
    let _lock = lock_directory(path);
    match rustix::net::bind(&socket, &address) {
        Err(Errno::ADDRINUSE) => {
            if is_in_use(path, &address, SocketType::STREAM)? {
                return Err(Errno::ADDRINUSE.into());
            }
            fs::remove_file(path)
                .or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
            rustix::net::bind(&socket, &address)?;
        }
        bound => bound?,
    }
    let file = SocketFile::at(path.to_owned())?;
    // Nobody can connect before the listen, so nobody can be quicker than the permissions.
    if let Some(mode) = options.unix_mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    rustix::net::listen(&socket, effective_backlog(options.backlog))?;
    Ok(Listener::unix(socket, Some(file)))
}

/// Finds out by connecting a socket of this kind whether a server listens on a path, or another file has it.
pub(super) fn is_in_use(path: &Path, address: &SocketAddrUnix, kind: SocketType) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "a file that is no socket has this path"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let client: OwnedFd = sockets::new(AddressFamily::UNIX, kind)?;
    match rustix::net::connect(&client, address) {
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        // A full backlog (EAGAIN) and a socket of another kind (EPROTOTYPE) have a server too.
        Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS | Errno::PROTOTYPE | Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Locks the directory of a path for as long as the result lives. There is no lock without permission to read the
/// directory, and after a second, because another program may lock it for its own reasons. Two servers that start at the
/// same moment may then both take the path.
fn lock_directory(path: &Path) -> Option<File> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = File::open(parent).ok()?;
    for _ in 0..LOCK_ATTEMPTS {
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(directory),
            Err(_) => std::thread::sleep(LOCK_INTERVAL),
        }
    }
    None
}
