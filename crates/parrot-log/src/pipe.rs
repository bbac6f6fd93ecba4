//! Writes that never block, for a pipe that the log and the diagnostics share (`program 2>&1 | reader`).
//!
//! Asking whether the pipe has room and then writing takes two steps. A lock around both keeps the other writers of
//! this process from filling the pipe in between.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::pipe::PIPE_BUF;

/// Held during two system calls that do not block.
static WRITING: Mutex<()> = Mutex::new(());

/// Writes the first bytes of `bytes`, at most `PIPE_BUF`. A pipe that has room takes that many at once (pipe(7); 512
/// bytes on macOS and the BSDs, 4,096 on Linux).
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room, and the errors of write(2).
pub(crate) fn write_at_once(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    let (piece, _) = bytes.split_at(bytes.len().min(PIPE_BUF));
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    if !has_room(file) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    file.write(piece)
}

fn has_room(file: &File) -> bool {
    let mut descriptors = [PollFd::new(file, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // macOS reports NVAL for devices that it cannot poll (poll(2), BUGS), so those are written to without asking. A
    // pipe without a reader refuses a write at once, full or not.
    let room_or_refusal = PollFlags::OUT | PollFlags::NVAL | PollFlags::ERR | PollFlags::HUP;
    match poll(&mut descriptors, Some(&at_once)) {
        Ok(_) => descriptors.iter().all(|descriptor| descriptor.revents().intersects(room_or_refusal)),
        Err(_) => false,
    }
}

/// Whether two descriptors lead to the same pipe, socket or terminal, so that writing to one can fill the other. Two
/// descriptors of a regular file do not count, because a regular file is never full in this sense.
///
/// OpenBSD and NetBSD give all pipes the same number, so two different pipes count as one there. That costs some speed
/// and nothing else.
pub(crate) fn same_pipe(one: impl AsFd, other: impl AsFd) -> bool {
    let (Ok(one), Ok(other)) = (fstat(one), fstat(other)) else { return false };
    let regular = FileType::from_raw_mode(one.st_mode) == FileType::RegularFile;
    !regular && (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_one_thread_at_a_time_checks_for_room_and_writes() {
        let (_reader, end) = io::pipe().unwrap();
        let file = File::from(OwnedFd::from(end));
        let lock = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let (starting, started) = mpsc::channel();
        let writing = thread::spawn(move || {
            starting.send(()).unwrap();
            write_at_once(&file, b"x")
        });
        started.recv().unwrap();
        thread::sleep(Duration::from_millis(50)); // a write that ignores the lock would be done by then
        assert!(!writing.is_finished());
        drop(lock);
        assert_eq!(writing.join().unwrap().unwrap(), 1);
    }

    #[test]
    fn a_write_is_no_longer_than_what_fits() {
        let (_reader, end) = io::pipe().unwrap();
        let file = File::from(OwnedFd::from(end));
        let bytes = [b'x'; 3 * PIPE_BUF];
        while write_at_once(&file, &bytes).is_ok_and(|written| written == PIPE_BUF) {}
        assert_eq!(write_at_once(&file, b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_full_pipe_without_a_reader_is_an_error() {
        let (reader, end) = io::pipe().unwrap();
        let file = File::from(OwnedFd::from(end));
        while write_at_once(&file, &[b'x'; PIPE_BUF]).is_ok() {}
        drop(reader);
        assert_eq!(write_at_once(&file, b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn duplicates_share_a_pipe_and_regular_files_never_do() {
        let (reader, end) = io::pipe().unwrap();
        assert!(same_pipe(&end, end.try_clone().unwrap()));
        let path = std::env::current_exe().unwrap();
        assert!(!same_pipe(File::open(&path).unwrap(), File::open(&path).unwrap()));
        assert!(!same_pipe(&end, File::open(&path).unwrap()));
        drop(reader);
    }
}
