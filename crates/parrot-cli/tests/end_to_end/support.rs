//! What the topics share: a running server, clients with time-outs, data that differs everywhere, and waiting.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, getrlimit, kill_process, setrlimit, waitpid};

/// How long anything may take that should happen soon, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; killed when dropped.
pub struct Parrot {
    child: Child,
    addresses: Vec<SocketAddr>,
    stderr: Arc<Mutex<String>>,
}

/// What a server has counted so far.
pub struct Bytes {
    pub received: usize,
    pub sent: usize,
}

/// The binary, on any free port of 127.0.0.1 and with the tester's own environment kept out.
pub fn parrot(arguments: &[&str]) -> Command {
    let mut command = bare_parrot(&["--port", "0", "--bind", "127.0.0.1"]);
    command.args(arguments);
    command
}

/// The binary without any argument but these.
pub fn bare_parrot(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parrot"));
    command.args(arguments);
    command.env_remove("RUST_LOG").env_remove("PARROT_PORT");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

impl Parrot {
    /// A server with these arguments, on a free port of 127.0.0.1 unless they say otherwise, and without a log.
    pub fn start(arguments: &[&str]) -> Parrot {
        Parrot::spawn(parrot(&["--log", "off"]).args(arguments))
    }

    /// Starts the command and waits until the banner says where it listens.
    pub fn spawn(command: &mut Command) -> Parrot {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let collected = Arc::clone(&stderr);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                collected.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let mut parrot = Parrot { child, addresses: Vec::new(), stderr };
        let banner = parrot.stderr_line("listening on ");
        let (_, addresses) = banner.split_once("listening on ").unwrap();
        let (addresses, _) = addresses.split_once(" (").unwrap();
        parrot.addresses = addresses.split(" and ").map(|address| address.parse().unwrap()).collect();
        parrot
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// A new connection, whose calls fail rather than wait for ever.
    pub fn connect(&self) -> TcpStream {
        with_timeouts(TcpStream::connect_timeout(&self.address(), PATIENCE).unwrap())
    }

    /// A new connection with the smallest socket buffers that the system grants the client.
    pub fn connect_with_tiny_buffers(&self) -> TcpStream {
        let socket = socket_of_its_own();
        sockopt::set_socket_send_buffer_size(&socket, 1024).unwrap();
        // Before the connection is made: the window that it starts with depends on it.
        sockopt::set_socket_recv_buffer_size(&socket, 1024).unwrap();
        rustix::net::connect(&socket, &self.address()).unwrap();
        with_timeouts(socket.into())
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// So many connections, each of which has been served.
    pub fn connect_many(&self, count: usize) -> Option<Vec<TcpStream>> {
        if !raise_descriptor_limit(count as u64 + 1000) {
            skip(&format!("the limit of descriptors is too low for {count} connections in one process"));
            return None;
        }
        let mut streams: Vec<TcpStream> = Vec::new();
        while streams.len() < count {
            let known = streams.len();
            // Fewer at a time than the smallest backlog holds.
            streams.extend((0..100).map(|_| self.connect()));
            streams.iter().skip(known).for_each(|stream| echo(stream, b"squawk"));
        }
        Some(streams)
    }

    /// Stops the process, until SIGCONT.
    pub fn stop_for_a_while(&self) {
        self.signal(Signal::STOP);
        let (_, status) = waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it has printed on stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits for a line on stderr that contains `text`.
    pub fn stderr_line(&self, text: &str) -> String {
        let mut found = None;
        let start = Instant::now();
        while found.is_none() {
            found = self.stderr().lines().find(|line| line.contains(text)).map(str::to_owned);
            assert!(start.elapsed() < PATIENCE, "no {text:?} on stderr: {}", self.stderr());
            thread::sleep(Duration::from_millis(2));
        }
        found.unwrap()
    }

    /// Asks for the line of statistics and waits for it.
    pub fn bytes(&self) -> Bytes {
        let lines = || self.stderr().lines().filter(|line| line.contains(" bytes in, ")).count();
        let before = lines();
        self.signal(Signal::USR1);
        eventually("it tells its statistics", || lines() > before);
        let stderr = self.stderr();
        let line = stderr.lines().rfind(|line| line.contains(" bytes in, ")).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let count = |what: &str| {
            let at = words.windows(2).position(|pair| pair[0] == "bytes" && pair[1].starts_with(what)).unwrap();
            words[at - 1].parse().unwrap()
        };
        Bytes { received: count("in,"), sent: count("out") }
    }

    pub fn stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("started with a pipe for stdout")
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the server ends", || self.has_ended());
        self.child.wait().unwrap()
    }

    /// Asks it to end, waits, and returns what the last line on stderr says.
    pub fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        assert_eq!(self.wait().code(), Some(0));
        self.stderr_line("drained: ")
    }
}

/// The same command under a limit of descriptors, in the words of the shell's `ulimit`, such as `-n 16`.
pub fn limited(limit: &str, plain: &Command) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")])
        .arg(plain.get_program())
        .args(plain.get_args());
    command.env_remove("RUST_LOG").env_remove("PARROT_PORT");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The number that stands before these words.
pub fn number(line: &str, words: &str) -> u64 {
    let (head, _) = line.split_once(&format!(" {words}")).unwrap_or_else(|| panic!("no {words:?} in: {line}"));
    head.rsplit(|character: char| !character.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// What Linux tells of a process.
#[cfg(target_os = "linux")]
impl Parrot {
    /// A line of `/proc/PID/status` as a number.
    pub fn status(&self, name: &str) -> u64 {
        status_of(&format!("/proc/{}/status", self.pid()), name)
    }

    /// Voluntary context switches of all its threads, so how often they went to sleep.
    pub fn sleeps(&self) -> u64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        threads
            .map(|thread| thread.unwrap().path().join("status"))
            .map(|status| status_of(status.to_str().unwrap(), "voluntary_ctxt_switches"))
            .sum()
    }

    /// Processor time used so far.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // proc_pid_stat(5): user and system time are fields 14 and 15, counted behind the name, which may hold blanks.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(target_os = "linux")]
fn status_of(path: &str, name: &str) -> u64 {
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.split(':').next() == Some(name)).expect("a line of that name");
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A socket that no server inherits when another test starts it meanwhile.
fn socket_of_its_own() -> OwnedFd {
    #[cfg(not(target_os = "macos"))]
    {
        let flags = rustix::net::SocketFlags::CLOEXEC;
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap()
    }
    // macOS has no such flag for socket(2): a moment remains in which a server can inherit it.
    #[cfg(target_os = "macos")]
    {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).unwrap();
        socket
    }
}

fn with_timeouts(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `message` and expects it back.
pub fn echo(stream: &TcpStream, message: &[u8]) {
    let mut stream = stream;
    stream.write_all(message).unwrap();
    expect(stream, message);
}

/// Expects these bytes next.
pub fn expect(stream: &TcpStream, bytes: &[u8]) {
    let mut stream = stream;
    let mut received = vec![0; bytes.len()];
    stream.read_exact(&mut received).unwrap();
    assert!(received == bytes, "the bytes received differ from those sent");
}

/// Expects the end of the stream next.
pub fn expect_end(stream: &TcpStream) {
    let mut stream = stream;
    let mut rest = [0; 64];
    assert_eq!(stream.read(&mut rest).unwrap(), 0, "bytes where the end of the stream should be");
}

/// Whether nothing arrives for a moment. A server that is late looks as one that is silent: only good as a premise.
pub fn is_silent(stream: &TcpStream) -> bool {
    let mut byte = [0];
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let silent = stream.peek(&mut byte).is_err_and(|error| blocked(error.kind()));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    silent
}

/// Writes from `data` until neither the socket nor the server takes more, and returns how much they took.
pub fn fill(stream: &TcpStream, data: &[u8]) -> usize {
    let mut stream = stream;
    let mut written = 0;
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    loop {
        assert!(written < data.len(), "all of it was taken: nothing holds the server back");
        match stream.write(&data[written..]) {
            Ok(n) => written += n,
            Err(error) if blocked(error.kind()) => break,
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    written
}

fn blocked(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Ends the connection by a reset in place of an orderly end.
pub fn reset(stream: TcpStream) {
    sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO)).unwrap();
}

/// 32 MiB without a pattern, so that no byte can stand in for another.
pub fn data() -> &'static [u8] {
    static DATA: OnceLock<Vec<u8>> = OnceLock::new();
    DATA.get_or_init(|| {
        let mut random = Random(1);
        (0..32 << 17).flat_map(|_| random.next().to_le_bytes()).collect()
    })
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 1 to `most`.
    pub fn up_to(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize + 1
    }
}

/// Waits until the condition holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "still waiting: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A path for a file of this test run.
pub fn scratch(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}.{number}", std::process::id()))
}

/// Makes room for this many descriptors in the tests' own process; false where the system grants fewer.
pub fn raise_descriptor_limit(wanted: u64) -> bool {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return true;
    }
    maximum.is_none_or(|maximum| maximum >= wanted)
        && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok()
}

/// Whether this machine has IPv6 on its loopback interface.
pub fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port()
}

/// Says why a test did not run.
pub fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

/// The IPv4 loopback address.
pub const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
