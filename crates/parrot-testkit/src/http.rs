//! A small HTTP client: one request on a connection, and the response to it. Besides, what bad clients do.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use anyhow::{Context as _, Result, ensure};

use crate::patience::PATIENCE;

/// A response, read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// What follows the headers.
    pub body: String,
}

impl Response {
    /// The value of the first header with this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What a bad client does once it is connected. It then keeps its connection.
pub type Misdeed = fn(&mut TcpStream) -> io::Result<()>;

/// Silence, requests whose answers are not read, half a request, endless ones, other protocols and a foreign name.
pub const MISDEEDS: [Misdeed; 9] = [
    |_| Ok(()),
    |stream| stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    |stream| stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: loc"),
    |stream| stream.write_all(b"GET /statistics?history HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    |stream| stream.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\nmuch"),
    |stream| stream.write_all(&[&b"GET / HTTP/1.1\r\nX: "[..], &[b'x'; 200_000]].concat()),
    |stream| stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP at all"),
    |stream| stream.shutdown(Shutdown::Write),
    |stream| stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: rebound.example\r\n\r\nGET /healthz HTTP/1.1\r\n"),
];

/// Asks for a path of this server. The connection and each receive may take [`PATIENCE`].
pub fn get(address: SocketAddr, path: &str) -> Result<Response> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    request(stream, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

/// Sends these bytes, which are a whole request, and reads the response until the connection ends or the response does.
pub fn request(mut stream: impl Read + Write, text: &str) -> Result<Response> {
    stream.write_all(text.as_bytes())?;
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        if let Some(response) = read(&bytes)? {
            return Ok(response);
        }
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(piece.get(..n).unwrap_or_default()),
            // On Linux, a receive with a timeout fails so after the process was stopped (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (head, body) = split(&bytes).context("the connection ended before the response")?;
    parse(head, body)
}

/// The response, if all of it is there. Without a length it ends with the connection.
fn read(bytes: &[u8]) -> Result<Option<Response>> {
    let Some((head, body)) = split(bytes) else { return Ok(None) };
    let response = parse(head, body)?;
    let Some(length) = response.header("content-length") else { return Ok(None) };
    let length: usize = length.parse().context("a wrong Content-Length")?;
    Ok((body.len() >= length).then_some(response))
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((bytes.get(..end)?, bytes.get(end + 4..)?))
}

fn parse(head: &[u8], body: &[u8]) -> Result<Response> {
    let head = std::str::from_utf8(head).context("the response has a head that is no text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    ensure!(status.starts_with("HTTP/1."), "no response of HTTP: {status}");
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status")?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = lines.filter_map(header).collect();
    Ok(Response { status, headers, body: String::from_utf8_lossy(body).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_ends_at_its_length() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\nabc";
        let response = read(bytes).unwrap().unwrap();
        assert_eq!((response.status, response.header("x"), response.body.as_str()), (200, Some("y"), "abc"));
        assert_eq!(read(&bytes[..bytes.len() - 1]).unwrap(), None);
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n\r\nabc").unwrap(), None);
        assert!(read(b"nonsense\r\n\r\n").is_err());
    }
}
