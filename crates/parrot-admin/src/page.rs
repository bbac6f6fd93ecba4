//! The page, in one piece, so that it needs no further request to be drawn.

use std::hash::{BuildHasher as _, RandomState};

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// The parts of the page.
const HTML: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The page, and the policy that nothing runs in it or is loaded by it but what it brings.
pub(crate) fn page() -> Response {
    // Style and script are known by a number that nobody can guess.
    let nonce = format!("{:016x}", RandomState::new().hash_one(()));
    let html = HTML.replace("{style}", STYLE).replace("{script}", SCRIPT).replace("{nonce}", &nonce);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, &policy)];
    (headers, html).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_nobody_else() {
        for text in [HTML, STYLE, SCRIPT] {
            let others = text.match_indices("//").filter(|(at, _)| text[..*at].ends_with([':', '"', '\'', '(']));
            let others: Vec<&str> = others.map(|(at, _)| text[at..].lines().next().unwrap_or_default()).collect();
            assert!(others.iter().all(|other| other.starts_with("//www.w3.org/2000/svg")), "{others:?}");
        }
    }

    #[test]
    fn every_page_has_a_nonce_of_its_own() {
        let policy = || page().headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let (one, other) = (policy(), policy());
        assert!(one.contains("script-src 'nonce-") && !one.contains("unsafe"), "{one}");
        assert_ne!(one, other);
    }
}
