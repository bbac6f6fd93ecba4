//! What the fuzzer found interesting, played again: `fuzz/corpus/connection` has the inputs.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use support::Checked;

#[test]
fn the_sequences_of_the_corpus_break_no_invariant() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/connection");
    let mut sequences = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        Checked::play(&std::fs::read(entry.unwrap().path()).unwrap());
        sequences += 1;
    }
    assert!(sequences > 0, "the corpus is empty");
    println!("{sequences} sequences");
}
