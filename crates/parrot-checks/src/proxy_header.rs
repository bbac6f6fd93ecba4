//! A PROXY protocol header in pieces, and what another crate makes of it.

use std::slice;

use ::proxy_header::{Error, ParseConfig};
use parrot_conn::{Endpoints, HeaderError, HeaderProgress, ProxyHeader};

/// The length of a header and what it says, or `None` while it is incomplete.
pub type Outcome = Result<Option<(usize, Endpoints)>, HeaderError>;

/// Reads the header of a stream that arrives in these pieces.
pub fn read_header<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut header = ProxyHeader::new();
    let mut length = 0;
    for piece in pieces {
        match header.received(piece)? {
            HeaderProgress::Incomplete => length += piece.len(),
            HeaderProgress::Complete { used, endpoints } => {
                let again = Ok(HeaderProgress::Complete { used: 0, endpoints });
                assert_eq!(header.received(b"more"), again, "it takes bytes after the header");
                return Ok(Some((length + used, endpoints)));
            }
        }
    }
    Ok(None)
}

/// Reads the header of a stream in any pieces and compares it with the other crate.
///
/// The first byte of the input says where the stream is split in two, and the rest is the stream.
pub fn check_proxy_header(input: &[u8]) {
    let [split, stream @ ..] = input else { return };
    let outcome = read_header([stream]);
    let (first, second) = stream.split_at(usize::from(*split).min(stream.len()));
    assert_eq!(read_header([first, second]), outcome, "split after {split} bytes");
    assert_eq!(read_header(stream.iter().map(slice::from_ref)), outcome, "in single bytes");
    if let Ok(Some((length, _))) = outcome {
        assert_eq!(read_header([&stream[..length]]), outcome, "the header alone");
        assert_eq!(read_header([&stream[..length - 1]]), Ok(None), "without its last byte");
    }
    compare(stream, outcome);
}

/// Compares with proxy-header 0.1.3, except where it is known to differ.
fn compare(stream: &[u8], ours: Outcome) {
    let theirs = ::proxy_header::ProxyHeader::parse(stream, ParseConfig::default());
    match (ours, theirs) {
        (Ok(Some(ours)), Ok((header, length))) => {
            let endpoints = header.proxied_address().map_or(Endpoints::Own, |proxied| Endpoints::Proxied {
                source: proxied.source,
                destination: proxied.destination,
            });
            assert_eq!(ours, (length, endpoints));
        }
        (Ok(Some(_)), Err(_)) => assert!(they_are_stricter(stream), "accepted: {stream:x?}"),
        (Err(reason), Ok(_)) => assert!(they_are_laxer(stream, reason), "refused as {reason:?}: {stream:x?}"),
        (Ok(None), Ok(_)) => panic!("incomplete: {stream:x?}"),
        // They read the addresses of version 1 before the line is complete.
        (Ok(None), Err(error)) => assert!(error == Error::BufferTooShort || stream[0] == b'P', "{stream:x?}"),
        // They wait for at least 15 bytes and for the whole of version 2 before they refuse.
        (Err(_), Err(_)) => {}
    }
}

fn they_are_stricter(stream: &[u8]) -> bool {
    match stream {
        // They end the line of an unknown protocol at the first CR, which may not be followed by an LF.
        [b'P', ..] => stream.starts_with(b"PROXY UNKNOWN "),
        // They refuse LOCAL with an unassigned family or without the addresses of its family, and PROXY in which only
        // one of family and protocol is unspecified.
        [b'\r', ..] => match stream[12..14] {
            [0x20, _] => true,
            [_, family] => family & 0xF0 == 0 || family & 0xF == 0,
            _ => false,
        },
        _ => false,
    }
}

fn they_are_laxer(stream: &[u8], reason: HeaderError) -> bool {
    match reason {
        // They accept any byte after PROXY, and any bytes after UNKNOWN.
        HeaderError::Missing => stream.starts_with(b"PROXY") && stream[5] != b' ',
        HeaderError::Protocol => stream.starts_with(b"PROXY UNKNOWN"),
        // They accept a plus sign and leading zeros.
        HeaderError::Port => stream.windows(2).any(|pair| pair == b" 0" || pair == b" +"),
        // They accept lines of any length that arrive whole, and do not limit version 2.
        HeaderError::TooLong => true,
        _ => false,
    }
}
