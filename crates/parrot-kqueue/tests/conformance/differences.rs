//! Where systems differ, in one table that the crate's documentation shows as well.

use std::fmt::Write;

/// What a test may ask about its system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// `Event::available` is the number of bytes.
    Available,
    /// An event carries the socket's error.
    SocketError,
    /// A pipe without a reader is reported to its writer as an end of stream (else as an error).
    BrokenPipeIsEof,
    /// A pipe without a reader is reported to its writer for as long as the writer is registered.
    BrokenPipeStays,
    /// Adding a pipe that has no reader may be refused.
    BrokenPipeRefused,
    LowWater,
    RegularFiles,
    /// `Event::count` of a signal counts posts.
    SignalCounts,
    ManyQueuesASignal,
    /// A signal that is not blocked can be added.
    UnblockedSignal,
    /// A signal that is pending when it is added is reported.
    PendingSignal,
    /// A guard can have SIGUSR2 among its signals.
    GuardOfUser2,
    /// `Event::count` of a waker counts uses.
    WakerCounts,
    WallClock,
    FineTimers,
    /// A periodic timer keeps its pace while it is disabled.
    PeriodGoesOn,
    ForkAndExec,
    /// The status of a child that ended before it was added is reported.
    EndedChildStatus,
    Revoke,
    /// A file can be watched that the process may not read.
    UnreadableFiles,
    /// The removal of a directory is a `DELETE`.
    DirectoryDelete,
    /// The removal of one name of several is a `DELETE`.
    OneNameOfSeveral,
    /// More than four queues can hold each other in a row.
    DeepQueues,
    /// A closed descriptor that lives on in a duplicate is still reported to its queue.
    StaleEvents,
}

struct Row {
    difference: Difference,
    what: &'static str,
    /// In the order of `SYSTEMS`.
    systems: [bool; 6],
    why: &'static str,
}

const SYSTEMS: [(&str, &str); 6] = [
    ("Linux", "linux"),
    ("macOS", "macos"),
    ("FreeBSD", "freebsd"),
    ("NetBSD 10", "netbsd"),
    ("OpenBSD", "openbsd"),
    ("DragonFly", "dragonfly"),
];

const ALL_BUT_LINUX: [bool; 6] = [false, true, true, true, true, true];
const ONLY_LINUX: [bool; 6] = [true, false, false, false, false, false];

static TABLE: [Row; 24] = [
    Row {
        difference: Difference::Available,
        what: "`available` of Read and Write",
        systems: ALL_BUT_LINUX,
        why: "epoll reports readiness, not amounts (epoll_wait(2))",
    },
    Row {
        difference: Difference::SocketError,
        what: "`socket_error` of an event",
        systems: ALL_BUT_LINUX,
        why: "epoll reports that there is an error, and `take_error` of the socket returns it (socket(7), SO_ERROR)",
    },
    Row {
        difference: Difference::BrokenPipeIsEof,
        what: "`is_eof` for the writer of a pipe without a reader (Linux: `is_error`)",
        systems: ALL_BUT_LINUX,
        why: "poll(2), POLLERR; kqueue(2), EVFILT_WRITE",
    },
    Row {
        difference: Difference::BrokenPipeStays,
        what: "such a pipe is reported until its registration is deleted (FreeBSD: once, and the registration is gone)",
        systems: ONLY_LINUX,
        why: "pipeclose in FreeBSD sys/kern/sys_pipe.c clears the list; not promised elsewhere",
    },
    Row {
        difference: Difference::BrokenPipeRefused,
        what: "adding Write of a pipe without a reader may fail with `BrokenPipe`",
        systems: [false, false, true, true, false, true],
        why: "pipe_kqfilter in sys/kern/sys_pipe.c of each; XNU and OpenBSD accept it and report the end",
    },
    Row {
        difference: Difference::LowWater,
        what: "low-water marks (macOS: between 1 and the size of the buffer)",
        systems: ALL_BUT_LINUX,
        why: "epoll has none; XNU bsd/kern/uipc_socket.c clamps them",
    },
    Row {
        difference: Difference::RegularFiles,
        what: "Read and Write of regular files",
        systems: ALL_BUT_LINUX,
        why: "EPERM (epoll_ctl(2)); Vnode is the filter for files",
    },
    Row {
        difference: Difference::SignalCounts,
        what: "`count` of a signal is the number of posts (Linux: 1)",
        systems: ALL_BUT_LINUX,
        why: "pending standard signals do not queue (signalfd(2), signal(7))",
    },
    Row {
        difference: Difference::ManyQueuesASignal,
        what: "several queues watch one signal (Linux: `AlreadyExists`)",
        systems: ALL_BUT_LINUX,
        why: "reading a signalfd consumes the signal (signalfd(2))",
    },
    Row {
        difference: Difference::UnblockedSignal,
        what: "a signal that is not blocked can be added (Linux: `InvalidInput`)",
        systems: ALL_BUT_LINUX,
        why: "a signalfd gets what is blocked and pending (signalfd(2)); EVFILT_SIGNAL sees every post (kqueue(2))",
    },
    Row {
        difference: Difference::PendingSignal,
        what: "a signal that is already pending is reported when it is added (`SignalGuard::add_to`: everywhere)",
        systems: ONLY_LINUX,
        why: "EVFILT_SIGNAL counts what is sent after it was added (kqueue(2))",
    },
    Row {
        difference: Difference::GuardOfUser2,
        what: "a `SignalGuard` of `User2`",
        systems: ONLY_LINUX,
        why: "neither nix nor rustix has sigpending or sigtimedwait, so the guard needs a last signal for sigwait(2)",
    },
    Row {
        difference: Difference::WakerCounts,
        what: "`count` of a waker is the number of uses (else 1)",
        systems: ONLY_LINUX,
        why: "EVFILT_USER and pipes are latches (kqueue(2)), an eventfd adds up (eventfd(2))",
    },
    Row {
        difference: Difference::WallClock,
        what: "`Schedule::At` (only Linux follows later changes of the clock)",
        systems: [true, true, true, true, true, false],
        why: "DragonFly sys/sys/event.h has no absolute timers; timerfd_create(2), TFD_TIMER_ABSTIME",
    },
    Row {
        difference: Difference::FineTimers,
        what: "timers finer than a tick of the system's clock (10 ms at the usual 100 Hz)",
        systems: [true, true, true, false, false, false],
        why: "timers go by ticks: filt_timercompute in NetBSD, filt_timeradd in OpenBSD, filt_timerreset in DragonFly \
              sys/kern/kern_event.c; DragonFly takes whole milliseconds only",
    },
    Row {
        difference: Difference::PeriodGoesOn,
        what: "a periodic timer keeps its pace while it is disabled (macOS: each change starts its period again)",
        systems: [true, false, true, true, true, true],
        why: "filt_timertouch in XNU bsd/kern/kern_event.c",
    },
    Row {
        difference: Difference::ForkAndExec,
        what: "fork and exec of a process",
        systems: ALL_BUT_LINUX,
        why: "a pidfd reports only the exit (pidfd_open(2))",
    },
    Row {
        difference: Difference::EndedChildStatus,
        what: "the `exit_status` of a child that ended before it was added (else `None`)",
        systems: [true, true, true, false, false, true],
        why: "NetBSD and OpenBSD sys/kern/kern_event.c no longer find it; rustix has no status of waitid(2) there",
    },
    Row {
        difference: Difference::Revoke,
        what: "revoke of a file",
        systems: ALL_BUT_LINUX,
        why: "Linux has no revoke(2)",
    },
    Row {
        difference: Difference::UnreadableFiles,
        what: "watching an open file or directory that the process may not read (Linux: `PermissionDenied`)",
        systems: ALL_BUT_LINUX,
        why: "inotify_add_watch(2) asks for read permission when the watch is added, whatever the descriptor allows",
    },
    Row {
        difference: Difference::DirectoryDelete,
        what: "the removal of a directory is a `DELETE` (Linux: `Unsupported`; DragonFly: not on tmpfs)",
        systems: [false, true, true, true, true, false],
        why: "an open descriptor holds back IN_DELETE_SELF (inotify(7)); DragonFly sys/vfs/tmpfs/tmpfs_vnops.c",
    },
    Row {
        difference: Difference::OneNameOfSeveral,
        what: "the removal of one name of several is a `DELETE` (DragonFly's HAMMER2: only that of the last)",
        systems: [true, true, true, true, true, false],
        why: "DragonFly sys/vfs/hammer2/hammer2_inode.c; its UFS and tmpfs report it",
    },
    Row {
        difference: Difference::DeepQueues,
        what: "a queue that holds four in a row (Linux: `Unsupported`)",
        systems: ALL_BUT_LINUX,
        why: "epoll limits the nesting of its sets (epoll_ctl(2), ELOOP)",
    },
    Row {
        difference: Difference::StaleEvents,
        what: "a descriptor closed while registered stays in the queue if a duplicate lives",
        systems: ONLY_LINUX,
        why: "an epoll entry lives as long as the open file (epoll(7), question 6); a knote goes with its descriptor",
    },
];

/// Whether this system has the feature.
pub(crate) fn here(difference: Difference) -> bool {
    let system = SYSTEMS.iter().position(|(_, target)| *target == std::env::consts::OS).unwrap();
    row(difference).systems[system]
}

/// The same, and if it has not, reports that the test has nothing to check here, and why.
pub(crate) fn testable(difference: Difference) -> bool {
    let Row { what, why, .. } = row(difference);
    if !here(difference) {
        eprintln!("skipped here: {what} ({why})");
    }
    here(difference)
}

fn row(difference: Difference) -> &'static Row {
    TABLE.iter().find(|row| row.difference == difference).unwrap()
}

/// The table as the crate's documentation shows it.
pub(crate) fn as_markdown() -> String {
    let mut text = String::from("| what |");
    for (name, _) in SYSTEMS {
        write!(text, " {name} |").unwrap();
    }
    text.push_str(" why |\n|---|");
    text.push_str(&":-:|".repeat(SYSTEMS.len()));
    text.push_str("---|\n");
    for row in &TABLE {
        write!(text, "| {} |", row.what).unwrap();
        for has in row.systems {
            text.push_str(if has { " yes |" } else { " – |" });
        }
        writeln!(text, " {} |", row.why).unwrap();
    }
    text
}
