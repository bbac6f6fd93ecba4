//! Replays the inputs that the fuzzer kept in `fuzz/corpus/story`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;

use parrot_simulator::Story;

#[test]
fn corpus_breaks_no_promise() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/story");
    let mut stories = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let failure = Story::of_bytes(&std::fs::read(&path).unwrap()).run(false).failure;
        assert_eq!(failure.map(|failure| failure.to_string()), None, "{}", path.display());
        stories += 1;
    }
    assert!(stories > 0, "the corpus is empty");
    println!("{stories} stories");
}

#[test]
fn monotonous_bytes_break_no_promise() {
    for bytes in [vec![], vec![0; 4000], vec![255; 4000], (0..=255).cycle().take(3000).collect::<Vec<u8>>()] {
        assert_eq!(Story::of_bytes(&bytes).run(false).failure.map(|failure| failure.to_string()), None);
    }
}
