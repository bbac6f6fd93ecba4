//! Every sequence of steps up to a depth, on the smallest buffers that can be empty, part full and full.

mod support;

use std::time::Duration;

use support::{Checked, Step};

/// Every kind of step, with amounts that leave a buffer of two bytes empty, part full or full.
const STEPS: [Step; 12] = [
    Step::Receive(1),
    Step::Receive(2),
    Step::FindEmpty,
    Step::ReceiveEnd,
    Step::Send(1),
    Step::Send(2),
    Step::ShutDown,
    Step::Release,
    Step::ToggleOtherBorrower,
    Step::Drain,
    Step::Wait(Duration::from_secs(6)),
    Step::Reset,
];

const DEPTH: u32 = 6;

#[test]
fn no_sequence_of_six_steps_breaks_an_invariant() {
    let sequences = STEPS.len().pow(DEPTH);
    for number in 0..sequences {
        let mut checked = Checked::new(2, 1);
        let mut rest = number;
        for _ in 0..DEPTH {
            checked.step(STEPS[rest % STEPS.len()]);
            rest /= STEPS.len();
        }
        checked.finish();
    }
    println!("{sequences} sequences of {DEPTH} steps");
}
