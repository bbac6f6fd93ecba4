//! Compares a connection with a model under arbitrary chunks, short sends, stalls, half-closes and drains.

use parrot_checks::connection::{Checked, Step};
use proptest::collection::vec;
use proptest::prelude::*;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1usize..100).prop_map(Step::Receive),
        1 => (1usize..100).prop_map(Step::ReceiveWithoutMemory),
        6 => (0usize..100).prop_map(Step::Send),
        2 => Just(Step::FindEmpty),
        3 => Just(Step::Release),
        2 => Just(Step::ShutDown),
        1 => Just(Step::ReceiveEnd),
        1 => Just(Step::ToggleOtherBorrower),
        1 => Just(Step::Drain),
        1 => Just(Step::Reset),
        2 => (1u8..80).prop_map(Step::Stream),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn connection_behaves_as_its_model(
        steps in vec(step(), 0..200),
        buffer_size in 1usize..80,
        buffers in prop_oneof![1usize..3, 8usize..11],
    ) {
        let mut checked = Checked::new(buffer_size, buffers);
        for step in steps {
            checked.step(step);
        }
        checked.finish();
    }
}
