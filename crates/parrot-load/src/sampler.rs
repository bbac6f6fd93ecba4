//! Collects what the threads of a run have handed over, for the watcher.

use std::sync::Mutex;
use std::time::Duration;

use crate::clock::Account;
use crate::failure::Failures;
use crate::latency::Latencies;
use crate::tally::{Live, Punctuality};
use crate::watch::{Part, Sample, Usage};

/// What is known of the threads until now.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    latencies: Latencies,
    punctuality: Punctuality,
    accounts: Vec<Option<(u64, Account)>>,
    threads: Vec<Usage>,
}

impl Sampler {
    /// What happened from `since` to `now`, with times in nanoseconds since the run began. Sending began at `start`. What
    /// was asked for is left out.
    pub(crate) fn sample(
        &mut self,
        live: &[Mutex<Live>],
        (start, since, now): (u64, u64, u64),
        part: Part,
    ) -> Sample<'_> {
        self.latencies.clear();
        self.accounts.resize(live.len(), None);
        self.threads.resize(live.len(), Usage::default());
        let (mut failures, mut lost, mut punctuality) = (Failures::default(), 0, Punctuality::default());
        for ((live, account), usage) in live.iter().zip(&mut self.accounts).zip(&mut self.threads) {
            let Ok(mut live) = live.lock() else { continue };
            self.latencies.add(&live.latencies);
            live.latencies.clear();
            failures.add(&live.failures);
            lost += live.lost;
            punctuality.due += live.punctuality.due;
            punctuality.late += live.punctuality.late;
            // An account that was not read again says nothing new.
            if let (Some((then, earlier)), Some((at, later))) = (*account, live.account)
                && at > then
            {
                *usage = usage_between(later.since(earlier), at - then);
            }
            *account = live.account;
        }
        let before = std::mem::replace(&mut self.punctuality, punctuality);
        let length = Duration::from_nanos((now - since).max(1));
        Sample {
            elapsed: Duration::from_nanos(now - start),
            length,
            part,
            asked: None,
            messages_per_second: self.latencies.count() as f64 / length.as_secs_f64(),
            latency: self.latencies.summary(),
            latencies: &self.latencies,
            failures,
            lost,
            due: punctuality.due - before.due,
            late: punctuality.late - before.late,
            threads: &self.threads,
        }
    }
}

/// The shares of so many nanoseconds.
fn usage_between(account: Account, nanoseconds: u64) -> Usage {
    let whole = Duration::from_nanos(nanoseconds).as_secs_f64();
    let share = |time: Option<Duration>| time.map(|time| time.as_secs_f64() / whole);
    Usage { used: share(account.cpu), waited: share(account.waited) }
}
