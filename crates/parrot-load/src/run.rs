//! A run from the outside: threads, a barrier between connecting and sending, and someone who watches.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::capacity;
use crate::latency::Latency;
use crate::pattern::Pattern;
use crate::plan::{Plan, nanoseconds};
use crate::report::Report;
use crate::tally::{Live, Tally};
use crate::worker::Worker;

/// Stops a run early from another thread; what was measured until then is still reported.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the run to end. It notices within a tenth of a second.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`stop`](Stop::stop) was called.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Is told how a run goes, on the thread that called [`run`]. `()` does not care.
pub trait Watch {
    /// So many connections are open, and it took this long.
    fn connected(&mut self, _open: usize, _took: Duration) {}
    /// The warm-up is over.
    fn window_opens(&mut self) {}
    /// The window has closed, and what happens from now on is not measured. It closed `late` ago: this thread took so
    /// long to hear of it.
    fn window_closes(&mut self, _late: Duration) {}
    /// How it went since the last time, once per [`Plan::interval`].
    fn interval(&mut self, _sample: &Sample) {}
}

impl Watch for () {}

/// How a run went in one interval.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Time since the first message was sent.
    pub elapsed: Duration,
    /// Whether the interval ended in the window, and not in the warm-up before it or the drain after it.
    pub measured: bool,
    /// Answers a second.
    pub messages_per_second: f64,
    /// The answers' latencies.
    pub latency: Latency,
    /// Failures since the beginning.
    pub failures: u64,
}

/// Why a run did not take place.
#[derive(Debug)]
pub enum Error {
    /// The plan contradicts itself.
    Plan(crate::Impossible),
    /// The machine has too little of something.
    Capacity(crate::Lacking),
    /// [`Stop::stop`] was called before the window opened, so that nothing was measured.
    Stopped,
    /// Not one connection could be opened.
    Unreachable(String),
    /// The system refused something that the load generator itself needs.
    System(io::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Plan(impossible) => impossible.fmt(formatter),
            Error::Capacity(lacking) => lacking.fmt(formatter),
            Error::Stopped => formatter.write_str("stopped before the window opened: nothing was measured"),
            Error::Unreachable(why) => formatter.write_str(why),
            Error::System(_) => formatter.write_str("the load generator could not go on"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::System(error) => Some(error),
            // These are told in the words of what they hold.
            Error::Plan(_) | Error::Capacity(_) | Error::Stopped | Error::Unreachable(_) => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::System(error)
    }
}

/// What the threads of a run have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    begun: Instant,
    stop: Stop,
    news: mpsc::Sender<News>,
    /// Why the first connection that could not be opened could not.
    refusal: OnceLock<String>,
    pub(crate) pattern: Pattern,
}

impl Shared {
    /// What the threads of `plan` have in common, and where their news come in.
    pub(crate) fn new(plan: &Plan, stop: &Stop) -> (Shared, mpsc::Receiver<News>) {
        let (news, heard) = mpsc::channel();
        let pattern = Pattern::new(plan.size.saturating_mul(plan.pipeline));
        let shared = Shared { begun: Instant::now(), stop: stop.clone(), news, refusal: OnceLock::new(), pattern };
        (shared, heard)
    }

    /// Nanoseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.stopped()
    }

    /// Keeps why a connection could not be opened, if it is the first.
    pub(crate) fn could_not_connect(&self, why: &impl std::fmt::Display) {
        self.refusal.get_or_init(|| why.to_string());
    }

    pub(crate) fn window_closed(&self, at: u64) {
        self.tell(News::WindowClosed(at));
    }

    fn tell(&self, news: News) {
        // It fails only when the run's caller has gone, who then does not want to know.
        let _ = self.news.send(news);
    }
}

/// What a thread tells whoever called [`run`].
#[derive(Debug)]
pub(crate) enum News {
    Connected(usize),
    /// When it was, in nanoseconds since the run began.
    WindowClosed(u64),
    Over,
}

/// Runs a plan: connects, waits until every thread has, warms up, measures, and waits for the last answers.
///
/// It raises the process's soft limit of descriptors and starts [`Plan::threads`] threads, which end with it.
///
/// # Errors
///
/// If the run could not take place: see [`Error`]. What goes wrong with single messages or connections is no error but
/// part of the [`Report`].
pub fn run(plan: &Plan, stop: &Stop, watch: &mut dyn Watch) -> Result<Report, Error> {
    plan.check().map_err(Error::Plan)?;
    capacity::check(plan).map_err(Error::Capacity)?;
    let (shared, heard) = Shared::new(plan, stop);
    let live: Option<Vec<Mutex<Live>>> = plan.interval.map(|_| (0..plan.threads).map(|_| Mutex::default()).collect());

    thread::scope(|scope| {
        let mut starts = Vec::new();
        let mut threads = Vec::new();
        for number in 0..plan.threads {
            let (start, begin) = mpsc::channel();
            starts.push(start);
            let (shared, live) = (&shared, live.as_ref().and_then(|live| live.get(number)));
            let work = move || {
                let _over = Over(shared);
                work(plan, shared, live, number, &begin)
            };
            threads.push(thread::Builder::new().name(format!("load-{number}")).spawn_scoped(scope, work)?);
        }
        let mut conduct = Conduct { plan, shared: &shared, heard: &heard, live: live.as_deref(), watch };
        let connecting = conduct.connect();
        let start = shared.now();
        if connecting.is_some() {
            for begin in &starts {
                // A thread that has gone tells why when it is joined.
                let _ = begin.send(start);
            }
            conduct.follow(start);
        }
        drop(starts); // threads that were not told to start end instead
        let mut tallies = Vec::new();
        for thread in threads {
            let tally = thread.join().map_err(|_| io::Error::other("a thread of the load panicked"))?;
            tallies.extend(tally?);
        }
        let refusal = shared.refusal.get();
        match connecting {
            None if stop.stopped() => Err(Error::Stopped),
            Some(_) if tallies.iter().any(|tally| tally.closed.is_none()) => Err(Error::Stopped),
            Some(connecting) if tallies.iter().any(|tally| tally.connecting.count() > 0) => {
                Ok(Report::new(plan, tallies, connecting, refusal.cloned()))
            }
            _ => Err(Error::Unreachable(format!(
                "not one connection to {} could be opened{}: is a server listening there?",
                plan.target,
                refusal.map(|why| format!(" ({why})")).unwrap_or_default()
            ))),
        }
    })
}

/// Tells that a thread is done, even if it panics: the run would wait for it forever.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.tell(News::Over);
    }
}

/// What a thread does; `None` if it was never told to start.
fn work(
    plan: &Plan,
    shared: &Shared,
    live: Option<&Mutex<Live>>,
    number: usize,
    begin: &mpsc::Receiver<u64>,
) -> io::Result<Option<Tally>> {
    let mut worker = Worker::new(plan, shared, live, number)?;
    shared.tell(News::Connected(worker.connect()?));
    begin.recv().ok().map(|start| worker.run(start)).transpose()
}

/// The calling thread's part in a run.
struct Conduct<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    heard: &'a mpsc::Receiver<News>,
    live: Option<&'a [Mutex<Live>]>,
    watch: &'a mut dyn Watch,
}

impl Conduct<'_> {
    /// Waits until every thread has connected and says how many connections are open and how long it took; `None` if
    /// there is nothing to go on with.
    fn connect(&mut self) -> Option<(usize, Duration)> {
        let mut open = 0;
        for _ in 0..self.plan.threads {
            match self.heard.recv() {
                Ok(News::Connected(count)) => open += count,
                _ => return None,
            }
        }
        let took = self.shared.begun.elapsed();
        if self.shared.stopped() {
            return None;
        }
        self.watch.connected(open, took);
        (open > 0 || self.plan.reconnect.is_some()).then_some((open, took))
    }

    /// Tells the watcher what happens until the last thread is done.
    fn follow(&mut self, start: u64) {
        let interval = self.plan.interval.map(nanoseconds);
        let opens = start.saturating_add(nanoseconds(self.plan.warmup));
        let (mut opened, mut closed, mut over) = (false, false, 0);
        let mut sampled = start;
        while over < self.plan.threads {
            let sample = interval.map_or(u64::MAX, |interval| sampled.saturating_add(interval));
            let until = if opened { sample } else { sample.min(opens) };
            match self.heard.recv_timeout(Duration::from_nanos(until.saturating_sub(self.shared.now()))) {
                Ok(News::WindowClosed(at)) if !closed => {
                    closed = true;
                    self.watch.window_closes(Duration::from_nanos(self.shared.now().saturating_sub(at)));
                }
                Ok(News::Over) => over += 1,
                Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            let now = self.shared.now();
            if !opened && now >= opens {
                opened = true;
                self.watch.window_opens();
            }
            if now >= sample {
                self.sample(now - start, now - sampled, opened && !closed);
                sampled = now;
            }
        }
    }

    fn sample(&mut self, elapsed: u64, since: u64, measured: bool) {
        let mut all = Live::default();
        for live in self.live.unwrap_or_default() {
            let Ok(mut live) = live.lock() else { continue };
            all.latencies.add(&live.latencies);
            all.failures += live.failures;
            live.latencies.clear();
        }
        self.watch.interval(&Sample {
            elapsed: Duration::from_nanos(elapsed),
            measured,
            messages_per_second: all.latencies.count() as f64 / Duration::from_nanos(since.max(1)).as_secs_f64(),
            latency: all.latencies.summary(),
            failures: all.failures,
        });
    }
}
