//! The paths, and what is behind each of them. All are read-only, so GET and HEAD are the only methods.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::exposition::Format;
use crate::guard::Guard;
use crate::health::{Verdict, health, readiness};
use crate::metrics::open_metrics;
use crate::page::page;
use crate::report::Report;
use crate::watch::Watch;

const NOT_FOUND: &str = "not found; there are /, /metrics, /healthz, /readyz and /statistics\n";
const UNKNOWN_QUERY: &str =
    "unknown query; there are /statistics, /statistics?history and /statistics?history=NUMBER\n";

/// Answers a request, or refuses it. Its body is not looked at.
pub(crate) async fn respond(watch: Arc<Watch>, guard: Guard, request: Parts) -> Response {
    let mut response = match guard.check(&request) {
        Ok(()) => answer(&watch, &request).await,
        Err(refusal) => refusal.into_response(),
    };
    Guard::add_headers(&mut response);
    response
}

/// The HTTP of axum leaves the body out in the response to HEAD.
async fn answer(watch: &Watch, request: &Parts) -> Response {
    if ![Method::GET, Method::HEAD].contains(&request.method) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    match request.uri.path() {
        "/" => page(),
        "/metrics" => metrics(watch, &request.headers),
        "/healthz" => health(watch).await.into_response(),
        "/readyz" => readiness(watch.server.stage()).into_response(),
        "/statistics" => statistics(watch, request.uri.query().unwrap_or_default()),
        _ => (StatusCode::NOT_FOUND, NOT_FOUND).into_response(),
    }
}

fn metrics(watch: &Watch, headers: &HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept);
    match open_metrics(watch) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], format.write(text)).into_response(),
        Err(error) => failed(&error),
    }
}

/// The numbers, with the history if the query is `history`, or the part of it from a sample on with `history=NUMBER`.
fn statistics(watch: &Watch, query: &str) -> Response {
    let from = match (query, query.strip_prefix("history=").map(str::parse)) {
        ("", _) => None,
        ("history", _) => Some(0),
        (_, Some(Ok(number))) => Some(number),
        _ => return (StatusCode::BAD_REQUEST, UNKNOWN_QUERY).into_response(),
    };
    let history = from.map(|from| watch.history().from(from));
    match serde_json::to_string(&Report::new(watch, history)) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => failed(&error),
    }
}

/// Numbers that cannot be written, of which no case is known.
fn failed(error: &dyn std::error::Error) -> Response {
    tracing::warn!(target: "parrot_admin", %error, "cannot write the statistics");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

impl IntoResponse for Verdict {
    fn into_response(self) -> Response {
        let status = if self.good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, format!("{}\n", self.reason)).into_response()
    }
}
