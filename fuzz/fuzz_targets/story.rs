//! The simulator with a fuzzer's bytes in place of a seed: `cargo +nightly fuzz run -s none story`.
#![no_main]

use parrot_simulator::Story;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let story = Story::of_bytes(bytes);
    if let Some(failure) = story.run(false).failure {
        panic!("{failure}\n{}", story.described());
    }
});
