//! What the fuzz target for log lines found worth keeping, through the same check.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../../../fuzz/checks/clf.rs"]
mod check;

#[test]
fn every_message_of_the_corpus_is_one_line_that_decodes_back() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/clf");
    let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(inputs.len() > 100, "{} inputs", inputs.len());
    for input in inputs {
        check::check(&std::fs::read(input).unwrap());
    }
}
