//! What a seed decides about PROXY headers: their bytes, what becomes of them, and the pieces that they come in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::dice::Dice;
use crate::time::{MICROSECOND, MILLISECOND};

/// The start of a header of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What becomes of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is complete, and reports these addresses of a client and of the server, or none.
    Complete(Option<(SocketAddr, SocketAddr)>),
    /// It is refused at its byte of this number, from 1 on.
    Refused(u64),
    /// The peer ends its stream before the header is complete.
    Ends,
    /// The peer sends nothing more before the header is complete.
    Stops,
}

/// A header, and how the peer sends it.
#[derive(Debug, Clone)]
pub(crate) struct HeaderPlan {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fate: Fate,
    /// How much the peer writes at a time, and how long it waits after that.
    pub(crate) piece: (u64, u64),
    pub(crate) gap: (u64, u64),
    /// Whether the first bytes of the stream come with its last piece.
    pub(crate) glued: bool,
}

impl HeaderPlan {
    /// Draws the header of a client with this port, on a server with this idle timeout. If there is a crowd, the header is
    /// short and comes in few pieces, because their number determines how long a run takes.
    pub(crate) fn draw(port: u16, idle: Option<u64>, crowd: bool, dice: &mut Dice) -> HeaderPlan {
        let extensions = if crowd { 5 } else { dice.pick([0, 0, 5, 300, 3800]) };
        let late = idle.filter(|_| dice.chance(96));
        let (bytes, fate) = match dice.below(8) {
            0 | 1 => complete(port, extensions, dice),
            2..5 if late.is_none() => complete(port, extensions, dice),
            5 => refused(dice),
            _ => {
                let (mut bytes, _) = complete(port, extensions, dice);
                bytes.truncate(dice.below(bytes.len() as u64) as usize);
                (bytes, dice.pick([Fate::Ends, Fate::Stops]))
            }
        };
        let most = bytes.len().max(1) as u64;
        HeaderPlan {
            bytes,
            fate,
            piece: match crowd || late.is_some() {
                true => (most.div_ceil(2), most),
                false => dice.pick([(most, most), (most, most), (1, most), (1, 20), (1, 1)]),
            },
            gap: match late {
                // What comes next arrives while the loop is about to close the connection, too late for an event.
                Some(idle) => (idle + MICROSECOND, idle + 6 * MICROSECOND),
                None => (0, dice.pick([MICROSECOND, 20 * MICROSECOND, 500 * MICROSECOND, 5 * MILLISECOND])),
            },
            glued: late.is_none() && dice.chance(160),
        }
    }
}

/// A header that is accepted, with this many bytes of extensions if it is of version 2.
fn complete(port: u16, extensions: usize, dice: &mut Dice) -> (Vec<u8>, Fate) {
    let host = 1 + dice.below(250) as u8;
    let four = (Ipv4Addr::new(203, 0, 113, host), Ipv4Addr::new(198, 51, 100, 1));
    let six =
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)), Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1));
    // Addresses of IPv4 in the form of IPv6 are shown as what they are.
    let mapped = (four.0.to_ipv6_mapped(), four.1.to_ipv6_mapped());
    let client =
        |from: IpAddr, to: IpAddr| Fate::Complete(Some((SocketAddr::new(from, port), SocketAddr::new(to, 1512))));
    let (as_four, as_six) = (client(four.0.into(), four.1.into()), client(six.0.into(), six.1.into()));
    let text =
        |family: &str, from: IpAddr, to: IpAddr| format!("PROXY {family} {from} {to} {port} 1512\r\n").into_bytes();
    let ports = [port.to_be_bytes(), 1512_u16.to_be_bytes()].concat();
    let block4 = [&four.0.octets()[..], &four.1.octets(), &ports].concat();
    let block6 = |(from, to): (Ipv6Addr, Ipv6Addr)| [&from.octets()[..], &to.octets(), &ports].concat();
    let extensions = vec![b'x'; extensions];
    match dice.below(10) {
        0 | 1 => (text("TCP4", four.0.into(), four.1.into()), as_four),
        2 => (text("TCP6", six.0.into(), six.1.into()), as_six),
        3 => (b"PROXY UNKNOWN\r\n".to_vec(), Fate::Complete(None)),
        4 => (b"PROXY UNKNOWN ff:: 1.2.3.4 anything at all\r\n".to_vec(), Fate::Complete(None)),
        5 | 6 => (binary(0x21, 0x11, &[block4, extensions].concat()), as_four),
        7 => (binary(0x21, 0x21, &[block6(six), extensions].concat()), as_six),
        8 => (binary(0x21, 0x22, &[block6(mapped), extensions].concat()), as_four),
        _ => {
            // A check of the proxy's own, addresses of Unix sockets, and no addresses at all.
            let (command, family, length) =
                dice.pick([(0x20, 0x11, 12), (0x20, 0, 0), (0x21, 0x31, 216), (0x21, 0, 7)]);
            (binary(command, family, &vec![b'x'; length]), Fate::Complete(None))
        }
    }
}

/// A header that is refused, with a few bytes behind the one that decides it.
fn refused(dice: &mut Dice) -> (Vec<u8>, Fate) {
    let line = |text: &str| (text.as_bytes().to_vec(), text.len());
    let block = |version_and_command, family, length: u16| {
        [SIGNATURE, &[version_and_command, family], &length.to_be_bytes()].concat()
    };
    let (bytes, at) = match dice.below(11) {
        0 => (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 1),
        1 => (b"\r\n\r\n\0\r\nQUIX".to_vec(), 11),
        2 => line("PROXY TCP5"),
        3 => line("PROXY TCP4 192.0.2.7 198.51.100.1 50000 1512\n"),
        4 => line("PROXY TCP4 192.0.2.777 198.51.100.1 50000 1512\r\n"),
        5 => line("PROXY TCP6 ::1 ::1 050 1512\r\n"),
        6 => ([&b"PROXY UNKNOWN "[..], &[b'x'; 120]].concat(), 107),
        7 => (block(0x31, 0x11, 12), 13),
        8 => (block(0x2f, 0x11, 12), 13),
        9 => (block(0x21, 0x51, 12), 14),
        _ => (block(0x21, 0x11, dice.pick([11, 4097])), 16),
    };
    ([&bytes[..], b"and more"].concat(), Fate::Refused(at as u64))
}

fn binary(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = (block.len() as u16).to_be_bytes();
    [SIGNATURE, &[version_and_command, family], &length, block].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::state::Header;

    #[test]
    fn a_header_is_awaited_until_its_last_byte() {
        let (bytes, fate) = complete(50_000, 300, &mut Dice::seeded(1512));
        let length = bytes.len() as u64;
        let plan = HeaderPlan { bytes, fate, piece: (1, 1), gap: (0, 0), glued: false };
        let header = |received| Header { written: length, received, ..Header::new(plan.clone()) };
        assert!(header(length - 1).is_awaited() && header(length - 1).reported().is_none());
        assert!(!header(length).is_awaited());
        assert_eq!(Fate::Complete(header(length).reported()), fate);
    }
}
