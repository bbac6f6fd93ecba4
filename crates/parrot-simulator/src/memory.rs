//! Memory for the loop's buffers, which may lack.
//!
//! The loop asks for it without saying for whom, and without the kernel at hand: so what is decided is kept by thread.

use std::cell::RefCell;

use parrot_server::simulation::Pages;

use crate::coverage::Point;
use crate::dice::Dice;
use crate::host::{SimulatedHost, note};

/// Whether there is memory the next time that it is asked for.
#[derive(Debug)]
pub(crate) struct Memory {
    dice: Dice,
    /// How often in 256 there is none.
    rate: u8,
    /// How often there was none since the kernel last looked.
    refused: u64,
}

thread_local! {
    static MEMORY: RefCell<Option<Memory>> = const { RefCell::new(None) };
}

impl Memory {
    /// From here on this thread asks for memory of the story whose dice these are.
    pub(crate) fn begin(dice: Dice, rate: u8) {
        MEMORY.set(Some(Memory { dice, rate, refused: 0 }));
    }

    pub(crate) fn allocate(size: usize) -> Option<Pages> {
        let refused = MEMORY.with_borrow_mut(|memory| {
            let Some(memory) = memory else { return false };
            let refused = memory.dice.chance(memory.rate);
            memory.refused += u64::from(refused);
            refused
        });
        if refused { None } else { Pages::allocate(size) }
    }

    fn take_refused() -> u64 {
        MEMORY.with_borrow_mut(|memory| memory.as_mut().map_or(0, |memory| std::mem::take(&mut memory.refused)))
    }
}

impl SimulatedHost {
    /// Finds out whether memory was refused since the last call. Each time, the loop leaves a connection alone for a
    /// while, but for the last time if it now looks for this connection's end instead.
    pub(crate) fn settle_refused(&mut self, looks_for_end: bool) {
        let refused = Memory::take_refused();
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

    /// The loop has looked for the end of a connection. If bytes wait, the connection is left alone after all.
    pub(crate) fn settle_peek(&mut self, bytes_wait: bool) {
        let looked = std::mem::take(&mut self.looks_for_end);
        self.tally.retries += u64::from(looked && bytes_wait);
    }
}
