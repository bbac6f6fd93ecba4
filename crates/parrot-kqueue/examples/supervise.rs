//! A process supervisor. `supervise PROGRAM [ARGUMENT...]` starts the program again whenever it fails, a little later
//! each time. It ends when the program succeeds. On Ctrl-C or SIGTERM it ends the program and itself.
//!
//! A program inherits the blocked signals of the one that starts it. So the supervisor blocks signals only while the
//! program runs or a restart waits. A signal at any other moment ends the supervisor alone, or has to be sent again.

use parrot_kqueue::{
    Change, Events, Filter, Kqueue, ProcessEvents, ProcessId, Schedule, Signal, SignalGuard, TimerId, Token,
};
use std::{
    io::{self, ErrorKind},
    process::{Child, Command, ExitCode},
    time::Duration,
};

const CHILD: Token = Token(0);
const STOP: Token = Token(1);
const RESTART: Token = Token(2);

fn main() -> io::Result<ExitCode> {
    let command: Vec<String> = std::env::args().skip(1).collect();
    if command.is_empty() {
        eprintln!("usage: supervise PROGRAM [ARGUMENT...]");
        return Ok(ExitCode::from(2));
    }
    let queue = Kqueue::new()?;
    let mut child = start(&queue, &command)?;
    let mut delay = Duration::from_millis(100);
    let mut events = Events::with_capacity(8);
    loop {
        let guard = SignalGuard::block(&[Signal::Terminate, Signal::Interrupt])?;
        guard.add_to(&queue, &[(Signal::Terminate, STOP), (Signal::Interrupt, STOP)])?;
        loop {
            match queue.wait(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                waited => waited?,
            }
            let happened = |token| events.iter().any(|event| event.token() == token);
            if happened(STOP) {
                child.kill()?;
                child.wait()?;
                return Ok(ExitCode::SUCCESS);
            }
            if let Some(event) = events.iter().find(|event| event.filter() == Filter::Process) {
                // Some systems report the status with the event. The child has to be reaped anyway.
                eprintln!("supervise: the queue reports {:?}", event.exit_status());
                let status = child.wait()?;
                if status.success() {
                    return Ok(ExitCode::SUCCESS);
                }
                eprintln!("supervise: {status}, starting again in {delay:?}");
                queue.apply(&[Change::add_timer(TimerId(0), Schedule::After(delay), RESTART)]).all()?;
                delay = (delay * 2).min(Duration::from_secs(10));
            }
            if happened(RESTART) {
                break;
            }
        }
        // The next child must not inherit blocked signals.
        drop(guard);
        child = start(&queue, &command)?;
    }
}

fn start(queue: &Kqueue, command: &[String]) -> io::Result<Child> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let child = Command::new(program).args(arguments).spawn()?;
    queue.apply(&[Change::add_process(ProcessId::of(&child)?, ProcessEvents::EXIT, CHILD)]).all()?;
    Ok(child)
}
