//! A bare client: wait, one receive, one send of what was received. It checks nothing and times nothing.
//!
//! `rival-plain-client PORT CONNECTIONS WARMUP WINDOW [edge]`, with times in milliseconds, puts 12 bytes on the way on
//! each connection and prints the figures of the window in the form of the reports of `parrot-load`. With `edge` its
//! events are edge-triggered.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use parrot_rivals::queue::Queue;

const MESSAGE: &[u8; 12] = b"Hello Parrot";

/// Bytes that have come back. The loop writes them and the main thread reads them.
static RECEIVED: AtomicU64 = AtomicU64::new(0);

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| arguments.get(place).and_then(|text| text.parse::<u64>().ok());
    let (Some(port), Some(connections), Some(warmup), Some(window)) =
        (number(0).and_then(|port| u16::try_from(port).ok()), number(1), number(2), number(3))
    else {
        eprintln!("usage: rival-plain-client PORT CONNECTIONS WARMUP WINDOW [edge]");
        return Ok(ExitCode::from(2));
    };
    let edge = arguments.get(4).is_some_and(|argument| argument == "edge");
    let streams = (0..connections).map(|_| connect(port)).collect::<io::Result<Vec<TcpStream>>>()?;
    let mut queue = Queue::new()?;
    for (token, stream) in streams.iter().enumerate() {
        if edge { queue.add_edge(stream.as_fd(), token) } else { queue.add(stream.as_fd(), token) }?;
    }
    thread::scope(|scope| {
        scope.spawn(move || match run(&mut queue, &streams) {
            Ok(never) => never,
            Err(error) => {
                eprintln!("{error}");
                std::process::exit(1)
            }
        });
        thread::sleep(Duration::from_millis(warmup));
        let (opened, before) = (Instant::now(), read()?);
        thread::sleep(Duration::from_millis(window));
        let (time, after) = (opened.elapsed(), read()?);
        let messages = (after.0 - before.0) as f64 / MESSAGE.len() as f64;
        if messages == 0.0 {
            eprintln!("nothing came back");
            std::process::exit(1)
        }
        let (rate, cpu) = (messages / time.as_secs_f64(), (after.1 - before.1).as_secs_f64() * 1e6 / messages);
        println!(
            "{{\"messages\": {messages:.0}, \"messages_per_second\": {rate:.1}, \
             \"client\": {{\"cpu_per_message\": {cpu:.4}}}}}"
        );
        std::process::exit(0) // the loop has no end
    })
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// The bytes received so far, and the CPU time of this process.
fn read() -> io::Result<(u64, Duration)> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let cpu = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok((RECEIVED.load(Ordering::Relaxed), Duration::from_micros(cpu.unsigned_abs())))
}

/// Sends a message on each stream, and what comes back again and again.
fn run(queue: &mut Queue, streams: &[TcpStream]) -> io::Result<std::convert::Infallible> {
    let mut buffer = vec![0; parrot_rivals::RECEIVE];
    let mut received = 0;
    for mut stream in streams {
        stream.write_all(MESSAGE)?;
    }
    loop {
        for event in 0..queue.wait(None)? {
            let Some(mut stream) = streams.get(queue.token(event)) else { continue };
            let count = match stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            stream.write_all(buffer.get(..count).unwrap_or_default())?;
            received += count as u64;
        }
        RECEIVED.store(received, Ordering::Relaxed);
    }
}
