//! The inputs that the fuzzer found, in `fuzz/corpus`, through the same checks.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use parrot_checks::connection::Checked;
use parrot_checks::{check_datagram, check_log_lines, check_proxy_header, check_rate_limit, check_template};

fn replay(target: &str, check: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(inputs.len() > 100, "{} inputs", inputs.len());
    for input in inputs {
        check(&std::fs::read(input).unwrap());
    }
}

#[test]
fn every_message_of_the_corpus_is_one_line_that_decodes_back() {
    replay("clf", check_log_lines);
}

#[test]
fn the_sequences_of_the_corpus_break_no_invariant() {
    replay("connection", Checked::play);
}

#[test]
fn the_headers_of_the_corpus_read_alike_in_any_pieces() {
    replay("proxy_header", check_proxy_header);
}

#[test]
fn the_templates_of_the_corpus_are_what_their_model_says() {
    replay("template", check_template);
}

#[test]
fn the_datagrams_of_the_corpus_are_refused_by_the_rules() {
    replay("datagram", check_datagram);
}

#[test]
fn the_traffic_of_the_corpus_stays_within_its_bound() {
    replay("rate_limit", check_rate_limit);
}
