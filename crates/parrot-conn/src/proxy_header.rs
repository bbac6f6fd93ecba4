//! The PROXY protocol header at the start of a stream, in versions 1 and 2.
//!
//! The rules are those of `doc/proxy-protocol.txt` in HAProxy's repository, in the revision of 2026-04-27. Quotes below
//! are from there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::{self, FromStr};

/// The start of a header of version 1, which is a line of text.
const TEXT: &[u8] = b"PROXY ";

/// The start of a header of version 2, which is binary.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, with its CRLF. Version 2 needs less, because only its addresses are kept.
const MOST_TEXT: usize = 107;

/// The longest header of version 2, without its first 16 bytes. The protocol permits 65,535 bytes.
const MOST_BINARY: usize = 4096;

/// A PROXY protocol header at the start of a stream, read in any pieces.
///
/// A load balancer sends this header before the first byte of a client, to report the client's address. Create a
/// `ProxyHeader` only where a header must come. The protocol forbids guessing, because any client could then forge its
/// address. The caller decides which peers may send a header and how long to wait for it, and closes a connection whose
/// stream ends before the header is complete.
///
/// The parts of a header that matter are copied as they arrive, so no buffer is held while the rest is awaited. A
/// `ProxyHeader` takes at most 120 bytes and does not allocate.
///
/// ```
/// use parrot_conn::{BufferPool, Connection, Endpoints, HeaderProgress, ProxyHeader};
///
/// let mut pool = BufferPool::new(64, 1024);
/// let mut connection = Connection::new();
/// let mut header = Some(ProxyHeader::new());
/// let mut client = None;
///
/// // The header comes in two pieces, and the client's first message is glued to the second.
/// for piece in ["PROXY TCP4 192.0.2.7 198.51.100.1 50000", " 1512\r\nHello", ", Parrot"] {
///     let space = connection.receive_space(&mut pool)?;
///     let n = piece.len();
///     space[..n].copy_from_slice(piece.as_bytes()); // what a receive call does
///
///     let message = match &mut header {
///         None => n,
///         Some(reader) => match reader.received(&space[..n])? {
///             HeaderProgress::Incomplete => {
///                 connection.release(&mut pool);
///                 continue;
///             }
///             HeaderProgress::Complete { used, endpoints } => {
///                 header = None;
///                 client = Some(endpoints);
///                 space.copy_within(used..n, 0);
///                 n - used
///             }
///         },
///     };
///     connection.received(message);
/// }
///
/// let (source, destination) = ("192.0.2.7:50000".parse()?, "198.51.100.1:1512".parse()?);
/// assert_eq!(client, Some(Endpoints::Proxied { source, destination }));
/// assert_eq!(connection.to_send(), b"Hello, Parrot");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What is accepted
///
/// - Version 1 is a line of at most 107 bytes that ends in CRLF. `TCP4` and `TCP6` have two addresses and two ports,
///   with single spaces between them and no leading zeros in decimal numbers. After `UNKNOWN`, everything between a
///   space and the CRLF is ignored. An IPv6 address may end in an IPv4 address, as inet_ntop(3) writes mapped ones.
/// - Version 2 has at most 4,096 bytes after the first 16. `LOCAL` is accepted with any address family. `PROXY` has two
///   addresses of IPv4 or IPv6, for streams and datagrams alike. Addresses of Unix sockets are skipped, and so is
///   everything after an unspecified family or protocol. Extensions (TLVs) are skipped too, even a checksum.
///
/// Everything else is refused, at the first byte that no header can have in its place. The fields of a version 1 line
/// are read when the line is complete.
#[derive(Debug, Clone)]
pub struct ProxyHeader(State);

#[derive(Debug, Clone)]
enum State {
    /// The first `length` bytes of `kept` have arrived, and they decide nothing yet.
    Undecided { kept: [u8; MOST_TEXT], length: usize },
    /// The endpoints are known, and the next `skip` bytes still belong to the header.
    Decided { endpoints: Endpoints, skip: usize },
    /// The stream has no valid header.
    Refused(HeaderError),
}

/// How far a [`ProxyHeader`] is after some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderProgress {
    /// All of the bytes belong to the header, and it is not complete.
    Incomplete,
    /// The header is complete.
    Complete {
        /// How many of the bytes belong to the header. The others are the first of the stream.
        used: usize,
        /// The two ends of the stream.
        endpoints: Endpoints,
    },
}

/// The two ends of a stream, as its [`ProxyHeader`] reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoints {
    /// Those of the connection itself, because the proxy opened it for its own use, such as a health check, or did not
    /// report an address of IPv4 or IPv6.
    Own,
    /// A client, and the address that it connected to, which usually is the proxy's.
    Proxied {
        /// The address of the client.
        source: SocketAddr,
        /// The address that it connected to.
        destination: SocketAddr,
    },
}

/// Why a stream does not begin with a valid PROXY protocol header, in words that a log can show.
///
/// ```
/// use parrot_conn::{HeaderError, ProxyHeader};
///
/// let error = ProxyHeader::new().received(b"GET / HTTP/1.1\r\n").unwrap_err();
/// assert_eq!(error, HeaderError::Missing);
/// assert_eq!(error.to_string(), "no PROXY header");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HeaderError {
    /// The stream begins with something else.
    Missing,
    /// A line of version 1 has no CRLF in its first 107 bytes, or version 2 announces more than 4,096 bytes.
    TooLong,
    /// The protocol of version 1 is not `TCP4`, `TCP6` or `UNKNOWN`.
    Protocol,
    /// A line of version 1 has a CR or an LF alone, or not exactly four fields after its protocol.
    Line,
    /// An address of version 1 is not one of its family.
    Address,
    /// A port of version 1 is not a number up to 65,535 without leading zeros.
    Port,
    /// The signature is that of version 2, and the version is not.
    Version,
    /// The command of version 2 is unassigned.
    Command,
    /// The address family or the transport protocol of version 2 is unassigned.
    Family,
    /// The header of version 2 is shorter than the addresses of its family.
    TooShort,
}

impl HeaderError {
    /// Every reason, in declaration order.
    pub const ALL: [HeaderError; 10] = [
        HeaderError::Missing,
        HeaderError::TooLong,
        HeaderError::Protocol,
        HeaderError::Line,
        HeaderError::Address,
        HeaderError::Port,
        HeaderError::Version,
        HeaderError::Command,
        HeaderError::Family,
        HeaderError::TooShort,
    ];

    /// The reason as a few words.
    pub fn as_str(self) -> &'static str {
        match self {
            HeaderError::Missing => "no PROXY header",
            HeaderError::TooLong => "PROXY header too long",
            HeaderError::Protocol => "unknown protocol in PROXY header",
            HeaderError::Line => "malformed line in PROXY header",
            HeaderError::Address => "bad address in PROXY header",
            HeaderError::Port => "bad port in PROXY header",
            HeaderError::Version => "unknown version of PROXY header",
            HeaderError::Command => "unassigned command in PROXY header",
            HeaderError::Family => "unassigned address family in PROXY header",
            HeaderError::TooShort => "PROXY header too short for its addresses",
        }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for HeaderError {}

impl Default for ProxyHeader {
    fn default() -> ProxyHeader {
        ProxyHeader::new()
    }
}

impl ProxyHeader {
    /// Creates the reader of a header of which nothing has arrived.
    pub const fn new() -> ProxyHeader {
        ProxyHeader(State::Undecided { kept: [0; MOST_TEXT], length: 0 })
    }

    /// Reads the bytes of one receive call, as far as they belong to the header.
    ///
    /// After a complete header, further calls use no bytes and return the same endpoints.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] says why the stream has no valid header. The connection must then be closed, and further calls
    /// return the same reason.
    pub fn received(&mut self, bytes: &[u8]) -> Result<HeaderProgress, HeaderError> {
        let mut rest = bytes;
        loop {
            match &mut self.0 {
                State::Undecided { kept, length } => {
                    let Some((byte, after)) = rest.split_first() else { return Ok(HeaderProgress::Incomplete) };
                    rest = after;
                    if let Some(place) = kept.get_mut(*length) {
                        *place = *byte;
                        *length += 1;
                    }
                    match decide(kept.get(..*length).unwrap_or(kept)) {
                        Ok(None) => {}
                        Ok(Some((endpoints, skip))) => self.0 = State::Decided { endpoints, skip },
                        Err(error) => self.0 = State::Refused(error),
                    }
                }
                State::Decided { endpoints, skip } => {
                    let skipped = rest.len().min(*skip);
                    *skip -= skipped;
                    if *skip > 0 {
                        return Ok(HeaderProgress::Incomplete);
                    }
                    let used = bytes.len() - rest.len() + skipped;
                    return Ok(HeaderProgress::Complete { used, endpoints: *endpoints });
                }
                State::Refused(error) => return Err(*error),
            }
        }
    }
}

/// The endpoints in a header and how many bytes of it are still to be skipped, or `None` to ask for another byte.
type Decision = Result<Option<(Endpoints, usize)>, HeaderError>;

/// Decides by the first bytes of a stream. Without the last of them it was undecided.
fn decide(kept: &[u8]) -> Decision {
    if let Some(line) = kept.strip_prefix(TEXT) {
        match decide_text(line) {
            Ok(None) if kept.len() >= MOST_TEXT => Err(HeaderError::TooLong),
            decision => decision,
        }
    } else if let Some(block) = kept.strip_prefix(SIGNATURE) {
        decide_binary(block)
    } else if TEXT.starts_with(kept) || SIGNATURE.starts_with(kept) {
        Ok(None)
    } else {
        Err(HeaderError::Missing)
    }
}

/// Decides by a line after its `PROXY `.
fn decide_text(line: &[u8]) -> Decision {
    if let Some(fields) = line.strip_prefix(b"TCP4 ") {
        decide_fields::<Ipv4Addr>(fields)
    } else if let Some(fields) = line.strip_prefix(b"TCP6 ") {
        decide_fields::<Ipv6Addr>(fields)
    } else if let Some(ignored) = line.strip_prefix(b"UNKNOWN") {
        match ignored {
            // "the receiver must ignore anything presented before the CRLF is found"
            [b' ', ..] | [b'\r', b'\n'] => Ok(ignored.ends_with(b"\r\n").then_some((Endpoints::Own, 0))),
            [] | [b'\r'] => Ok(None),
            [b'\r', ..] => Err(HeaderError::Line),
            _ => Err(HeaderError::Protocol),
        }
    } else if [&b"TCP4 "[..], b"TCP6 ", b"UNKNOWN"].iter().any(|name| name.starts_with(line)) {
        Ok(None)
    } else {
        Err(HeaderError::Protocol)
    }
}

/// Decides by the two addresses and two ports of a line.
fn decide_fields<Address: FromStr + Into<IpAddr>>(fields: &[u8]) -> Decision {
    let Some(fields) = fields.strip_suffix(b"\r\n") else {
        // "The receiver must not tolerate a single CR or LF character to end the line"
        return match fields {
            [.., b'\n'] | [.., b'\r', _] => Err(HeaderError::Line),
            _ => Ok(None),
        };
    };
    let mut fields = fields.split(|byte| *byte == b' ');
    let four = (fields.next(), fields.next(), fields.next(), fields.next());
    let ((Some(from), Some(to), Some(from_port), Some(to_port)), None) = (four, fields.next()) else {
        return Err(HeaderError::Line);
    };
    let address = |field| parsed::<Address>(field).map(Into::into).ok_or(HeaderError::Address);
    let (from, to) = (address(from)?, address(to)?);
    let source = SocketAddr::new(from, port(from_port)?);
    let destination = SocketAddr::new(to, port(to_port)?);
    Ok(Some((Endpoints::Proxied { source, destination }, 0)))
}

/// The port in a field. Unlike the parser of `u16`, this accepts no sign and no leading zero.
fn port(field: &[u8]) -> Result<u16, HeaderError> {
    match field {
        [b'0'] | [b'1'..=b'9', ..] => parsed(field).ok_or(HeaderError::Port),
        _ => Err(HeaderError::Port),
    }
}

fn parsed<T: FromStr>(field: &[u8]) -> Option<T> {
    str::from_utf8(field).ok()?.parse().ok()
}

/// Decides by a binary header after its signature: version and command, family and protocol, length, addresses.
fn decide_binary(block: &[u8]) -> Decision {
    const NONE: usize = 0;
    const IPV4: usize = 2 * (4 + 2);
    const IPV6: usize = 2 * (16 + 2);
    const UNIX: usize = 2 * 108;

    let [version_and_command, block @ ..] = block else { return Ok(None) };
    if version_and_command >> 4 != 2 {
        return Err(HeaderError::Version);
    }
    let local = match version_and_command & 0xF {
        0 => true,
        1 => false,
        _ => return Err(HeaderError::Command),
    };
    let [family, block @ ..] = block else { return Ok(None) };
    let size = match (family >> 4, family & 0xF) {
        // "discard the protocol block including the family which is ignored"
        _ if local => NONE,
        (4.., _) | (_, 3..) => return Err(HeaderError::Family),
        (0, _) | (_, 0) => NONE,
        (1, _) => IPV4,
        (2, _) => IPV6,
        (3, _) => UNIX,
    };
    let [high, low, block @ ..] = block else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > MOST_BINARY {
        return Err(HeaderError::TooLong);
    }
    if length < size {
        return Err(HeaderError::TooShort);
    }
    let proxied = match size {
        IPV4 => proxied::<4>(block),
        IPV6 => proxied::<16>(block),
        _ => return Ok(Some((Endpoints::Own, length))),
    };
    Ok(proxied.map(|endpoints| (endpoints, length - size)))
}

/// The endpoints in a binary header, if all of their bytes have arrived.
fn proxied<const ADDRESS: usize>(block: &[u8]) -> Option<Endpoints>
where
    [u8; ADDRESS]: Into<IpAddr>,
{
    let (from, block) = block.split_first_chunk::<ADDRESS>()?;
    let (to, block) = block.split_first_chunk::<ADDRESS>()?;
    let (from_port, block) = block.split_first_chunk()?;
    let (to_port, _) = block.split_first_chunk()?;
    let source = SocketAddr::new((*from).into(), u16::from_be_bytes(*from_port));
    let destination = SocketAddr::new((*to).into(), u16::from_be_bytes(*to_port));
    Some(Endpoints::Proxied { source, destination })
}
