//! Prints the signals that it gets, and ends when it is ready to. Run `signals`, then press Ctrl-C, or send another
//! signal with `kill -HUP`.

use parrot_kqueue::{Events, Kqueue, Signal, SignalGuard, Token};
use std::io::{self, ErrorKind};

const SIGNALS: [Signal; 5] =
    [Signal::Hangup, Signal::User1, Signal::WindowChange, Signal::Interrupt, Signal::Terminate];

fn main() -> io::Result<()> {
    // Before any thread starts, because the signals could be delivered to it instead.
    let guard = SignalGuard::block(&SIGNALS)?;
    let queue = Kqueue::new()?;
    let tokens: Vec<_> = SIGNALS.iter().enumerate().map(|(index, &signal)| (signal, Token(index))).collect();
    guard.add_to(&queue, &tokens)?;
    println!("process {} waits for {SIGNALS:?}", std::process::id());
    let mut events = Events::with_capacity(8);
    'running: loop {
        match queue.wait(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            waited => waited?,
        }
        for event in &events {
            let signal = SIGNALS[event.token().0];
            println!("{signal:?} (number {}), {} time(s)", signal.number(), event.count());
            if matches!(signal, Signal::Interrupt | Signal::Terminate) {
                break 'running;
            }
        }
    }
    println!("the program ends in its own time");
    drop(guard);
    Ok(())
}
