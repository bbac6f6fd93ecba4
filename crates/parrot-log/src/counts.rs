//! The numbers of a log, which any thread reads without making another one wait.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::writer::WriterStatistics;

/// The numbers so far. They change only under the lock of the state that they belong to.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) written: Count,
    pub(crate) dropped: Count,
    pub(crate) write_errors: Count,
}

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }
}

impl Counts {
    pub(crate) fn read(&self) -> WriterStatistics {
        let Counts { written, dropped, write_errors } = self;
        let [written, dropped, write_errors] = [written, dropped, write_errors].map(|count| count.0.load(Relaxed));
        WriterStatistics { written, dropped, write_errors }
    }
}
