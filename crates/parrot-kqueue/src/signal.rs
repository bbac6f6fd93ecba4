//! Signals as a source of events.

/// Defines the signals once, each with the system's name and what it is.
macro_rules! signals {
    ($($(#[doc = $about:literal])* $(#[cfg($where:meta)])? $name:ident = $system:ident;)+) => {
        /// A signal that a queue can report.
        ///
        /// Left out are signals that stand for a fault of the program itself (SIGSEGV and its kin) and signals that
        /// cannot be blocked (SIGKILL, SIGSTOP).
        ///
        /// ```
        /// use parrot_kqueue::Signal;
        ///
        /// assert_eq!(Signal::Terminate.number(), 15);
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Signal {
            $(
                $(#[doc = $about])*
                $(#[cfg($where)] #[cfg_attr(docsrs, doc(cfg($where)))])?
                $name,
            )+
        }

        impl Signal {
            pub(crate) fn system(self) -> nix::sys::signal::Signal {
                match self {
                    $($(#[cfg($where)])? Signal::$name => nix::sys::signal::Signal::$system,)+
                }
            }
        }
    };
}

signals! {
    /// SIGHUP: the terminal is gone. By custom, a daemon reloads its configuration.
    Hangup = SIGHUP;
    /// SIGINT: Ctrl-C.
    Interrupt = SIGINT;
    /// SIGQUIT: Ctrl-\.
    Quit = SIGQUIT;
    /// SIGPIPE: a write to a pipe or socket without a reader. `std` ignores it in a Rust program.
    Pipe = SIGPIPE;
    /// SIGALRM: `alarm` or `setitimer`.
    Alarm = SIGALRM;
    /// SIGTERM: the polite request to end.
    Terminate = SIGTERM;
    /// SIGURG: urgent data on a socket.
    Urgent = SIGURG;
    /// SIGTSTP: Ctrl-Z.
    TerminalStop = SIGTSTP;
    /// SIGCONT: continue after a stop.
    Continue = SIGCONT;
    /// SIGCHLD: a child ended, stopped or continued.
    Child = SIGCHLD;
    /// SIGTTIN: a read from the terminal in the background.
    TerminalInput = SIGTTIN;
    /// SIGTTOU: a write to the terminal in the background.
    TerminalOutput = SIGTTOU;
    /// SIGIO: input or output is possible.
    Io = SIGIO;
    /// SIGXCPU: the limit of processor time was reached.
    ProcessorTime = SIGXCPU;
    /// SIGXFSZ: the limit of a file's size was reached.
    FileSize = SIGXFSZ;
    /// SIGVTALRM: the process's timer of processor time.
    VirtualAlarm = SIGVTALRM;
    /// SIGPROF: the profiling timer.
    Profile = SIGPROF;
    /// SIGWINCH: the terminal's size changed.
    WindowChange = SIGWINCH;
    /// SIGINFO: Ctrl-T. Not on Linux.
    #[cfg(not(target_os = "linux"))]
    Info = SIGINFO;
    /// SIGUSR1: free for the program to use.
    User1 = SIGUSR1;
    /// SIGUSR2: free for the program to use.
    User2 = SIGUSR2;
}

impl Signal {
    /// The system's number of the signal.
    #[must_use]
    pub fn number(self) -> i32 {
        self.system() as i32
    }
}
