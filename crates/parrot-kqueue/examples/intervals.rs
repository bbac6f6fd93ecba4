//! Three periodic timers, and one that ends the program. Run `intervals [SECONDS]`.

use parrot_kqueue::{Change, Events, Kqueue, Schedule, TimerId, Token};
use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

const END: Token = Token(99);

fn main() -> io::Result<()> {
    let seconds = std::env::args().nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(1.0);
    let queue = Kqueue::new()?;
    let every = |number, milliseconds| {
        let period = Schedule::Every(Duration::from_millis(milliseconds));
        Change::add_timer(TimerId(number), period, Token(number))
    };
    let end = Schedule::After(Duration::from_secs_f64(seconds));
    queue.apply(&[every(1, 100), every(2, 250), every(3, 330), Change::add_timer(TimerId(99), end, END)]).all()?;
    let start = Instant::now();
    let mut events = Events::with_capacity(8);
    loop {
        match queue.wait(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            waited => waited?,
        }
        for event in &events {
            if event.token() == END {
                return Ok(());
            }
            println!(
                "{:>5} ms: timer {}, {} expiration(s)",
                start.elapsed().as_millis(),
                event.token().0,
                event.count()
            );
        }
    }
}
