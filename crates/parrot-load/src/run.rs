//! Conducts a run on the calling thread. It starts the threads, lets none send before all have connected, and reports
//! to the watcher.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::advice;
use crate::capacity;
use crate::change::Change;
use crate::datagrams::DatagramWorker;
use crate::error::Error;
use crate::plan::{Pace, Plan, nanoseconds};
use crate::report::{Load, Report};
use crate::sampler::Sampler;
use crate::shared::{Notice, Shared};
use crate::tally::Tally;
use crate::watch::{Part, Sample, Stop, Watch};
use crate::worker::Worker;

/// How long to sleep before looking again whether the run was stopped.
const PATIENCE: Duration = Duration::from_millis(50);

/// Runs a plan. Every thread connects and waits for the others, then all warm up, measure, and wait for the last
/// answers.
///
/// It raises the process's soft limit of descriptors and starts [`Plan::threads`] threads, which it joins before it
/// returns.
///
/// # Errors
///
/// [`Error`] says why the run could not take place. A message or a connection that fails is no error. It is counted in
/// the [`Report`].
pub fn run(plan: &Plan, stop: &Stop, watch: &mut dyn Watch) -> Result<Report, Error> {
    plan.check().map_err(Error::Plan)?;
    capacity::check(plan).map_err(Error::Capacity)?;
    let (shared, notices) = Shared::new(plan, stop);
    thread::scope(|scope| {
        let mut starts = Vec::new();
        let mut threads = Vec::new();
        for number in 0..plan.threads {
            let (start, begin) = mpsc::channel();
            starts.push(start);
            let shared = &shared;
            let work = move || work(shared, number, &begin);
            threads.push(thread::Builder::new().name(format!("load-{number}")).spawn_scoped(scope, work)?);
        }
        let mut conductor = Conductor { shared: &shared, notices: &notices, watch };
        let connecting = conductor.connect().filter(|_| conductor.wait_for_start());
        let start = shared.now();
        if connecting.is_some() {
            for begin in &starts {
                // If its thread has failed, joining it returns the reason.
                let _ = begin.send(start);
            }
            conductor.follow(start);
        }
        drop(starts); // ends the threads that have not been started
        let mut tallies = Vec::new();
        for thread in threads {
            let tally = thread.join().map_err(|_| io::Error::other("a thread of the load panicked"))?;
            tallies.extend(tally?);
        }
        match connecting {
            None if stop.stopped() => Err(Error::Stopped),
            Some(_) if tallies.iter().any(|tally| tally.closed.is_none()) => Err(Error::Stopped),
            Some(connecting) if tallies.iter().any(|tally| tally.connecting.count() > 0) => {
                Ok(Report::new(plan, tallies, connecting, (shared.started_at, &shared.targets)))
            }
            _ => Err(Error::Unreachable(advice::unreachable(plan, &shared.targets))),
        }
    })
}

/// Reports that a thread is done, even if it panics. Without that the run would wait for it forever.
struct Done<'a>(&'a Shared<'a>);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.notify(Notice::Done);
    }
}

/// One thread's part in the run; `None` if the run ended before it began to send.
fn work(shared: &Shared<'_>, number: usize, begin: &mpsc::Receiver<u64>) -> io::Result<Option<Tally>> {
    let _done = Done(shared);
    if shared.plan.is_udp() {
        let mut worker = DatagramWorker::new(shared, number)?;
        shared.notify(Notice::Connected { open: worker.connect()?, ended: 0 });
        return begin.recv().ok().map(|start| worker.run(start)).transpose();
    }
    let mut worker = Worker::new(shared, number)?;
    let open = worker.connect()?;
    shared.notify(Notice::Connected { open, ended: worker.ended() });
    begin.recv().ok().map(|start| worker.run(start)).transpose()
}

/// The calling thread's part in the run.
struct Conductor<'a> {
    shared: &'a Shared<'a>,
    notices: &'a mpsc::Receiver<Notice>,
    watch: &'a mut dyn Watch,
}

impl Conductor<'_> {
    /// Waits until every thread has connected. Returns the number of open connections and the time that took, or
    /// `None` if there is nothing to send on and nothing to
    /// report.
    fn connect(&mut self) -> Option<(usize, Duration)> {
        let (mut open, mut ended) = (0, 0);
        let patience = self.shared.plan.interval.unwrap_or(Duration::MAX);
        let mut connected = 0;
        while connected < self.shared.plan.threads {
            match self.notices.recv_timeout(patience) {
                Ok(Notice::Connected { open: opened, ended: gone }) => {
                    open += opened;
                    ended += gone;
                    connected += 1;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.watch.connecting(Duration::from_nanos(self.shared.now()));
                }
                _ => return None,
            }
        }
        let took = Duration::from_nanos(self.shared.now());
        if self.shared.stopped() {
            return None;
        }
        self.watch.connected(&Load::of(self.shared.plan, self.shared.targets.next().1), open, took);
        // With one target, connections for each message may fare better later.
        let hopeful = self.shared.plan.targets.len() == 1 || !self.shared.targets.undecided();
        // Without an open one, the report still shows how the server ended them.
        (open > 0 || ended > 0 || (self.shared.plan.reconnect.is_some() && hopeful)).then_some((open, took))
    }

    /// Waits until [`Plan::start_at`]. False if the run was stopped before that.
    fn wait_for_start(&mut self) -> bool {
        while let Some(left) = self.shared.plan.start_at.and_then(|at| at.duration_since(SystemTime::now()).ok())
            && !self.shared.stopped()
        {
            self.watch.waiting(left);
            // In small parts, since the system's clock can be set meanwhile and the run can be stopped.
            thread::sleep(left.min(PATIENCE));
        }
        !self.shared.stopped()
    }

    /// Reports to the watcher until the last thread is done.
    fn follow(&mut self, start: u64) {
        let plan = self.shared.plan;
        let interval = plan.interval.map(nanoseconds);
        let opens = start.saturating_add(nanoseconds(plan.warmup));
        let (mut opened, mut closed, mut done) = (false, None, 0);
        let (mut sampled, mut sampler) = (start, Sampler::default());
        while done < plan.threads {
            let sample = interval.map_or(u64::MAX, |interval| sampled.saturating_add(interval));
            let until = if opened { sample } else { sample.min(opens) };
            match self.notices.recv_timeout(Duration::from_nanos(until.saturating_sub(self.shared.now()))) {
                Ok(Notice::WindowClosed(at)) if closed.is_none() => {
                    closed = Some(at);
                    self.watch.window_closes(Duration::from_nanos(self.shared.now().saturating_sub(at)));
                }
                Ok(Notice::Done) => done += 1,
                Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            let now = self.shared.now();
            if !opened && now >= opens {
                opened = true;
                self.watch.window_opens();
            }
            if now >= sample {
                let part = match sampled + (now - sampled) / 2 {
                    middle if middle < opens => Part::Warmup,
                    middle if closed.is_some_and(|closed| middle >= closed) => Part::Drain,
                    _ => Part::Window,
                };
                let asked = self.asked(now - start, now - sampled).filter(|_| part != Part::Drain);
                let sample = sampler.sample(&self.shared.live, (start, sampled, now), part);
                self.watch.interval(&Sample { asked, ..sample });
                sampled = now;
            }
        }
    }

    /// Messages a second that are due on average in the `since` nanoseconds up to `elapsed`.
    fn asked(&self, elapsed: u64, since: u64) -> Option<f64> {
        let plan = self.shared.plan;
        match (plan.pace, Change::of(plan.pace)) {
            (Pace::Rate(rate), _) => Some(rate),
            (_, change) => change.map(|change| {
                let due = |time: u64| change.due_within(time as f64, plan.warmup);
                (due(elapsed) - due(elapsed - since)) * 1e9 / since as f64
            }),
        }
    }
}
