//! Visits every state that any sequence of steps can reach, with buffers of one to three bytes.

use std::collections::{HashSet, VecDeque};

use parrot_checks::connection::{Checked, Step};

/// Every kind of step. The amounts can leave a buffer of two bytes empty, partly full or full.
const STEPS: [Step; 13] = [
    Step::Receive(1),
    Step::Receive(2),
    Step::ReceiveWithoutMemory(1),
    Step::FindEmpty,
    Step::ReceiveEnd,
    Step::Send(1),
    Step::Send(2),
    Step::ShutDown,
    Step::Release,
    Step::Stream(64),
    Step::ToggleOtherBorrower,
    Step::Drain,
    Step::Reset,
];

/// Takes every step from every state reached so far, the nearest first, until no step leads to a new state. Returns the
/// number of states and the number of steps to the furthest.
fn explore(buffer_size: usize, buffers: usize) -> (usize, usize) {
    let reach = |path: &[Step]| {
        let mut checked = Checked::new(buffer_size, buffers);
        path.iter().for_each(|step| checked.step(*step));
        checked
    };
    let mut seen = HashSet::from([reach(&[]).state()]);
    let mut paths = VecDeque::from([Vec::new()]);
    let mut furthest = 0;
    while let Some(path) = paths.pop_front() {
        furthest = path.len();
        for step in STEPS {
            let path = [path.as_slice(), &[step]].concat();
            let checked = reach(&path);
            if seen.insert(checked.state()) {
                paths.push_back(path);
            }
            checked.finish();
        }
    }
    (seen.len(), furthest)
}

#[test]
fn no_sequence_of_steps_breaks_an_invariant() {
    for (buffer_size, buffers) in [(1, 1), (2, 1), (3, 1), (3, 2), (1, 9)] {
        let (states, furthest) = explore(buffer_size, buffers);
        println!("{buffers} buffers of {buffer_size} bytes: {states} states, the furthest {furthest} steps away");
        assert!(states > 50 && furthest > 6, "only {states} states, the furthest {furthest} steps away");
    }
}
