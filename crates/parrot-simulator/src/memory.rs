//! Memory for the loop's buffers, which may run out.
//!
//! The loop allocates without access to the host, so each thread keeps this state for itself.

use std::cell::RefCell;
use std::mem;

use parrot_server::simulation::Pages;

use crate::coverage::Point;
use crate::dice::{Dice, Purpose};
use crate::host::{SimulatedHost, note};
use crate::rates::Rates;
use crate::time::MILLISECOND;

/// The longest pause of a connection for which there was no memory.
pub(crate) const LONGEST_MEMORY_PAUSE: u64 = 100 * MILLISECOND;

/// Decides whether there is memory for the next buffer.
#[derive(Debug)]
pub(crate) struct Memory {
    dice: Dice,
    /// How often an allocation fails in 256.
    rate: u8,
    /// The size of the loop's usual buffers.
    usual: usize,
    /// The number of allocations that failed since the host last looked.
    refused: u64,
    /// The same of large buffers, in whose place the loop takes a usual one.
    refused_large: u64,
}

thread_local! {
    static MEMORY: RefCell<Option<Memory>> = const { RefCell::new(None) };
}

impl Memory {
    /// Starts a story on this thread.
    pub(crate) fn begin(source: &Dice, rates: &Rates, usual: usize) {
        let fault = Point::BufferNoMemory;
        let (dice, rate) = (source.of(Purpose::Fault(fault as usize), 0), rates.of(fault));
        MEMORY.set(Some(Memory { dice, rate, usual, refused: 0, refused_large: 0 }));
    }

    pub(crate) fn allocate(size: usize) -> Option<Pages> {
        let refused = MEMORY.with_borrow_mut(|memory| {
            let Some(memory) = memory else { return false };
            let refused = memory.dice.chance(memory.rate);
            let counted = if size > memory.usual { &mut memory.refused_large } else { &mut memory.refused };
            *counted += u64::from(refused);
            refused
        });
        if refused { None } else { Pages::allocate(size) }
    }

    /// The refusals of usual and of large buffers.
    fn take_refused() -> (u64, u64) {
        MEMORY.with_borrow_mut(|memory| {
            let Some(memory) = memory else { return (0, 0) };
            (mem::take(&mut memory.refused), mem::take(&mut memory.refused_large))
        })
    }
}

impl SimulatedHost {
    /// Counts the allocations that failed since the last call. The loop pauses a connection after each, except after
    /// the last one if it now looks for the end of that connection.
    pub(crate) fn settle_refused(&mut self, looks_for_end: bool) {
        let (refused, refused_large) = Memory::take_refused();
        if refused_large > 0 {
            self.coverage.count(Point::LargeNoMemory);
        }
        if refused == 0 {
            return;
        }
        for _ in 0..refused {
            self.coverage.count(Point::BufferNoMemory);
            note!(self, "  fault: {}", Point::BufferNoMemory.name());
        }
        self.last_refused = Some(self.turn_time);
        self.last_shortage = Some(self.turn_time);
        self.looks_for_end = looks_for_end;
        self.tally.retries += refused - u64::from(looks_for_end);
    }

    /// Records that the loop has looked for the end of a connection. If bytes wait, the connection pauses after all.
    pub(crate) fn settle_peek(&mut self, bytes_wait: bool) {
        let looked = std::mem::take(&mut self.looks_for_end);
        self.tally.retries += u64::from(looked && bytes_wait);
    }
}
