//! What holds for every request and every page.

use std::net::IpAddr;

use axum::extract::connect_info::Connected;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header};
use axum::response::Response;
use axum::serve::IncomingStream;

use crate::door::OpenDoor;

/// What is demanded of the requests of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard {
    /// A request has to name this machine in a way that nobody else can give to it.
    checks_host: bool,
}

/// A browser of this machine is the one to protect, and it comes by a loopback address.
impl Connected<IncomingStream<'_, OpenDoor>> for Guard {
    fn connect_info(connection: IncomingStream<'_, OpenDoor>) -> Guard {
        Guard { checks_host: connection.io().came_by_loopback() }
    }
}

/// The headers of every page. A connection serves one request, so that it holds its place no longer than it needs.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONNECTION, "close"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Why a request is refused.
pub(crate) type Refusal = (StatusCode, &'static str);

impl Guard {
    /// Refuses a request that may come from a foreign page.
    pub(crate) fn check(self, request: &Parts) -> Result<(), Refusal> {
        if self.checks_host { host(request) } else { Ok(()) }
    }

    /// Adds the headers of every page.
    pub(crate) fn add_headers(response: &mut Response) {
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        // The page itself has a policy that permits more.
        let policy = HeaderValue::from_static("default-src 'none'");
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    }
}

/// Checks the name that the client has for this machine. A browser sends the name from the address bar, and whoever
/// owns that name can have it point to 127.0.0.1. Nobody else decides what an address or `localhost` stands for.
fn host(request: &Parts) -> Result<(), Refusal> {
    let names = names(&request.uri, &request.headers);
    if names.is_empty() {
        // Only a client of HTTP/1.0 may leave the name out (RFC 9112, section 3.2), such as a load balancer's check.
        return match request.version {
            Version::HTTP_09 | Version::HTTP_10 => Ok(()),
            _ => Err((StatusCode::BAD_REQUEST, "the request has no Host header\n")),
        };
    }
    match names.into_iter().all(|name| name.is_some_and(is_safe)) {
        true => Ok(()),
        false => Err((
            StatusCode::MISDIRECTED_REQUEST,
            "this page is for this machine only, so use its address or localhost in the URL\n",
        )),
    }
}

/// Every name that the request has: in its target, and in its Host headers. `None` for one that is no text.
fn names<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Vec<Option<&'a str>> {
    let hosts = headers.get_all(header::HOST).iter().map(|host| host.to_str().ok());
    uri.authority().map(|authority| Some(authority.as_str())).into_iter().chain(hosts).collect()
}

/// Whether this is an address or `localhost`, with or without a port.
fn is_safe(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_safe_names() {
        for safe in ["localhost", "LocalHost:9512", "127.0.0.1", "127.0.0.1:9512", "[::1]", "[::1]:80", "192.0.2.1:1"] {
            assert!(is_safe(safe), "{safe}");
        }
        for foreign in [
            "example.com",
            "example.com:9512",
            "localhost.example.com",
            "127.0.0.1.example.com:80",
            "localhost.",
            "evil@localhost",
            "127.1",
            "0x7f.1",
            "",
            ":80",
            "[::1",
            "localhost:80:80",
        ] {
            assert!(!is_safe(foreign), "{foreign}");
        }
    }

    #[test]
    fn every_name_of_a_request_counts() {
        let request = |target: &str, hosts: &[&str], version| {
            let mut request = axum::http::Request::builder().uri(target).version(version);
            for name in hosts {
                request = request.header(header::HOST, *name);
            }
            host(&request.body(()).unwrap().into_parts().0).map_err(|(status, _)| status.as_u16())
        };
        assert_eq!(request("/", &["localhost"], Version::HTTP_11), Ok(()));
        assert_eq!(request("/", &[], Version::HTTP_11), Err(400));
        assert_eq!(request("/", &[], Version::HTTP_10), Ok(()));
        assert_eq!(request("/", &["example.com"], Version::HTTP_10), Err(421));
        assert_eq!(request("/", &["localhost", "example.com"], Version::HTTP_11), Err(421));
        assert_eq!(request("http://example.com/", &["localhost"], Version::HTTP_11), Err(421));
        assert_eq!(request("http://127.0.0.1/", &["127.0.0.1"], Version::HTTP_11), Ok(()));
    }
}
