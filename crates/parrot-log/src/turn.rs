//! Writing at once or not at all, where the log and the diagnostics go to the same pipe (`program 2>&1 | reader`).
//!
//! To ask whether there is room and then to write are two steps. Everyone in this process who writes to such a pipe takes
//! turns for the pair of them, so none fills it in between and makes another wait.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::pipe::PIPE_BUF;

/// Held for as long as two system calls take that do not wait.
static TURN: Mutex<()> = Mutex::new(());

/// Writes the first bytes, as many as surely find room: at most `PIPE_BUF`, which a pipe that has room takes whole
/// (pipe(7); 512 bytes on BSD and macOS, 4096 on Linux).
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room, and what write(2) answers.
pub(crate) fn write_at_once(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    let (piece, _) = bytes.split_at(bytes.len().min(PIPE_BUF));
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if !has_room(file) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    file.write(piece)
}

fn has_room(file: &File) -> bool {
    let mut descriptors = [PollFd::new(file, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // macOS answers NVAL for devices it cannot poll (poll(2), BUGS): those are written to without asking. A pipe whose
    // reader has gone refuses at once, full or not.
    let answered = PollFlags::OUT | PollFlags::NVAL | PollFlags::ERR | PollFlags::HUP;
    match poll(&mut descriptors, Some(&at_once)) {
        Ok(_) => descriptors.iter().all(|descriptor| descriptor.revents().intersects(answered)),
        Err(_) => false,
    }
}

/// Whether two descriptors lead to one pipe, socket or terminal, so that who fills it by the one finds it full by the
/// other. A regular file is never full in this sense.
///
/// OpenBSD and NetBSD number all pipes alike: there two pipes count as one, which costs some speed and nothing else.
pub(crate) fn is_shared(one: impl AsFd, other: impl AsFd) -> bool {
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
    fn nobody_asks_for_room_while_another_has_the_turn() {
        let (_reader, end) = io::pipe().unwrap();
        let file = File::from(OwnedFd::from(end));
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let (starting, started) = mpsc::channel();
        let writing = thread::spawn(move || {
            starting.send(()).unwrap();
            write_at_once(&file, b"x")
        });
        started.recv().unwrap();
        thread::sleep(Duration::from_millis(50)); // a write that takes no turn would be done by then
        assert!(!writing.is_finished());
        drop(turn);
        assert_eq!(writing.join().unwrap().unwrap(), 1);
    }

    #[test]
    fn no_more_is_written_than_surely_fits() {
        let (_reader, end) = io::pipe().unwrap();
        let file = File::from(OwnedFd::from(end));
        let bytes = [b'x'; 3 * PIPE_BUF];
        while write_at_once(&file, &bytes).is_ok_and(|written| written == PIPE_BUF) {}
        assert_eq!(write_at_once(&file, b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_full_pipe_whose_reader_has_gone_is_an_error() {
        let (reader, end) = io::pipe().unwrap();
        let file = File::from(OwnedFd::from(end));
        while write_at_once(&file, &[b'x'; PIPE_BUF]).is_ok() {}
        drop(reader);
        assert_eq!(write_at_once(&file, b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_pipe_is_shared_by_its_duplicates_and_a_regular_file_by_none() {
        let (reader, end) = io::pipe().unwrap();
        assert!(is_shared(&end, end.try_clone().unwrap()));
        let path = std::env::current_exe().unwrap();
        assert!(!is_shared(File::open(&path).unwrap(), File::open(&path).unwrap()));
        assert!(!is_shared(&end, File::open(&path).unwrap()));
        drop(reader);
    }
}
