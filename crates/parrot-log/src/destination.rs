//! What a log leads to, and what helps when it cannot be written.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal as _};

use rustix::fs::{FileType, fstat};

/// What an open log leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    File,
    /// A pipe with a name in the file system. After its reader has gone, another one can open it.
    NamedPipe,
    /// A pipe between processes. After its reader has gone, nobody can open it.
    Pipe,
    Socket,
    Terminal,
    Device,
}

impl Destination {
    pub(crate) fn of(file: &File) -> Destination {
        let Ok(status) = fstat(file) else { return Destination::File };
        // All pipes without a name are on a device of their own, and the others on that of their file system.
        let has_name = || io::pipe().and_then(|(other, _)| Ok(fstat(other)?.st_dev != status.st_dev)).unwrap_or(true);
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Fifo if has_name() => Destination::NamedPipe,
            FileType::Fifo => Destination::Pipe,
            FileType::Socket => Destination::Socket,
            FileType::CharacterDevice if file.is_terminal() => Destination::Terminal,
            FileType::CharacterDevice | FileType::BlockDevice => Destination::Device,
            _ => Destination::File,
        }
    }

    /// What has happened, if the error says so, and what to do about it. A log with a path is opened again at SIGHUP.
    pub(crate) fn next_step(self, error: ErrorKind, has_path: bool) -> &'static str {
        match (self, error) {
            (Destination::NamedPipe, _) => "its reader has gone, so start another one",
            (Destination::Pipe, _) => "its reader has gone, so start the program again with another log",
            (Destination::Socket, _) => "its other end has gone, so start the program again with another log",
            (Destination::Terminal, _) => "its terminal has gone, so start the program again with another log",
            (Destination::Device, ErrorKind::StorageFull) => {
                "the device is full, so start the program again with another log"
            }
            (Destination::Device, _) => "check the device, or start the program again with another log",
            (Destination::File, ErrorKind::StorageFull) => "its disk is full, so make room",
            (Destination::File, ErrorKind::QuotaExceeded) => "the quota on its disk is used up, so make room",
            (Destination::File, ErrorKind::FileTooLarge) if has_path => {
                "it has reached the limit on a file's size, so move it away and send SIGHUP"
            }
            (Destination::File, ErrorKind::FileTooLarge) => {
                "it has reached the limit on a file's size, so start the program again with another log"
            }
            (Destination::File, _) if has_path => "check its disk, or move it away and send SIGHUP",
            (Destination::File, _) => "check its disk, or start the program again with another log",
        }
    }

    /// Whether the log may work again without a new start.
    pub(crate) fn may_recover(self) -> bool {
        matches!(self, Destination::File | Destination::NamedPipe | Destination::Device)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    #[test]
    fn pipes_with_and_without_a_name_are_told_apart() {
        let (_reader, end) = io::pipe().unwrap();
        assert_eq!(Destination::of(&File::from(OwnedFd::from(end))), Destination::Pipe);
        let path = std::env::temp_dir().join(format!("parrot-log-named-{}", std::process::id()));
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let pipe = File::options().read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Destination::of(&pipe), Destination::NamedPipe);
    }

    #[test]
    fn files_devices_and_sockets_are_what_they_are() {
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(Destination::of(&file), Destination::File);
        assert_eq!(Destination::of(&File::open("/dev/null").unwrap()), Destination::Device);
        let (socket, _other) = UnixStream::pair().unwrap();
        assert_eq!(Destination::of(&File::from(OwnedFd::from(socket))), Destination::Socket);
    }
}
