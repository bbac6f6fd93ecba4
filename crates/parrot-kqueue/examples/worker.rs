//! A thread that works while the main thread waits. It sends results through a channel and ends the wait with a waker.

use parrot_kqueue::{Events, Filter, Kqueue, Token};
use std::{
    io::{self, ErrorKind},
    sync::mpsc,
    thread,
};

const RESULTS: Token = Token(0);

fn main() -> io::Result<()> {
    let queue = Kqueue::new()?;
    let waker = queue.waker(RESULTS)?;
    let (results, received) = mpsc::channel();
    let worker = thread::spawn(move || -> io::Result<()> {
        for number in [27_u64, 97, 871, 6171, 77031] {
            let mut steps = 0;
            let mut value = number;
            while value != 1 {
                value = if value.is_multiple_of(2) { value / 2 } else { 3 * value + 1 };
                steps += 1;
            }
            // The result is sent before the waker is used, so it is there when the wait ends.
            if results.send((number, steps)).is_err() {
                break;
            }
            waker.wake()?;
        }
        Ok(())
    });
    let mut events = Events::with_capacity(8);
    let mut left = 5;
    while left > 0 {
        match queue.wait(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            waited => waited?,
        }
        if events.iter().any(|event| event.filter() == Filter::User) {
            // One event may stand for several results, so take all there are.
            for (number, steps) in received.try_iter() {
                println!("{number} comes down to 1 in {steps} steps");
                left -= 1;
            }
        }
    }
    worker.join().map_err(|_| io::Error::other("the worker panicked"))?
}
