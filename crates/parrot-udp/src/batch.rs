//! The memory of a few datagrams, used again from call to call. There is no input or output here, so that a test or a
//! simulation can fill a batch by hand.

use std::fmt;
use std::iter;
use std::net::SocketAddr;
use std::ops::Range;

use crate::Destination;

/// The longest payload that a datagram can have. The 16-bit length in UDP's header includes the 8 bytes of the header
/// (RFC 768). IPv4 leaves 65,507 of these bytes, because its own header counts too.
const LONGEST: usize = 65_535 - 8;

/// Slots start at different offsets within a page and within 64 KiB. Otherwise the first bytes of all payloads would
/// share one set of the processor's caches and displace each other.
const OFFSET: usize = 64;

/// Up to [`Batch::CAPACITY`] datagrams, each with its source, its destination and its payload.
///
/// Nothing is allocated after `new`. The memory is zeroed by the system when it is first touched, so a batch that has
/// only seen short datagrams takes one page for each, or two.
pub struct Batch {
    /// One slot after the other.
    memory: Vec<u8>,
    /// Bytes at the start of each slot that are left free for a prefix.
    headroom: usize,
    entries: Vec<Entry>,
}

/// What is known of a datagram apart from its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) source: SocketAddr,
    pub(crate) destination: Option<Destination>,
    /// Bytes that were put in front of the payload.
    pub(crate) prefix: usize,
    pub(crate) length: usize,
    pub(crate) truncated: bool,
    pub(crate) refused: bool,
}

impl Batch {
    /// The datagrams that a batch has room for.
    pub const CAPACITY: usize = 32;

    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::with_headroom(0)
    }

    /// An empty batch in which up to `headroom` bytes can be put in front of each payload, see
    /// [`DatagramMut::prepend`].
    #[must_use]
    pub fn with_headroom(headroom: usize) -> Self {
        let headroom = headroom.next_multiple_of(OFFSET);
        // `vec!` of zeros takes memory from the system that is zero already, and does not touch it (calloc(3)).
        let memory = vec![0; slot_size(headroom) * Self::CAPACITY];
        Self { memory, headroom, entries: Vec::with_capacity(Self::CAPACITY) }
    }

    /// How many datagrams it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets all datagrams.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds a datagram by hand. A payload longer than UDP can carry is cut, as it would be on arrival.
    ///
    /// # Errors
    ///
    /// The batch is full.
    pub fn push(&mut self, source: SocketAddr, destination: Option<Destination>, payload: &[u8]) -> Result<(), NoRoom> {
        let (mut slots, entries) = self.space();
        let slot = slots.nth(entries.len()).ok_or(NoRoom)?;
        let length = payload.len().min(slot.len());
        for (to, from) in slot.iter_mut().zip(payload) {
            *to = *from;
        }
        let truncated = length < payload.len();
        entries.push(Entry { source, destination, prefix: 0, length, truncated, refused: false });
        Ok(())
    }

    /// The datagrams in the order of their arrival.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Datagram<'_>> {
        let slots = self.memory.chunks_exact(slot_size(self.headroom));
        self.entries
            .iter()
            .zip(slots)
            .map(|(entry, slot)| Datagram { entry, bytes: slot.get(entry.range(self.headroom)).unwrap_or_default() })
    }

    /// The datagrams in the order of their arrival, to refuse some or to put a prefix in front of them.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = DatagramMut<'_>> {
        let slots = self.memory.chunks_exact_mut(slot_size(self.headroom));
        let headroom = self.headroom;
        self.entries.iter_mut().zip(slots).map(move |(entry, slot)| DatagramMut { entry, slot, headroom })
    }

    /// The space for the payload of each datagram, and the list in which to note what arrived.
    pub(crate) fn space(&mut self) -> (impl Iterator<Item = &mut [u8]>, &mut Vec<Entry>) {
        let slots = self.memory.chunks_exact_mut(slot_size(self.headroom));
        let headroom = self.headroom;
        let spaces = slots.map(move |slot| slot.get_mut(headroom..headroom + LONGEST).unwrap_or_default());
        (spaces, &mut self.entries)
    }

    /// Those from a source of one family that get a reply.
    pub(crate) fn answered(&self, ipv4: bool) -> Places {
        let answered = |entry: &Entry| !entry.refused && entry.source.is_ipv4() == ipv4;
        self.entries.iter().enumerate().filter(|(_, entry)| answered(entry)).map(|(place, _)| place).collect()
    }

    pub(crate) fn get(&self, place: usize) -> Option<Datagram<'_>> {
        let size = slot_size(self.headroom);
        let entry = self.entries.get(place)?;
        let slot = self.memory.get(place * size..(place + 1) * size)?;
        Some(Datagram { entry, bytes: slot.get(entry.range(self.headroom))? })
    }
}

/// Some of the datagrams in a batch, by their places in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places(u64);

const _: () = assert!(Batch::CAPACITY <= u64::BITS as usize, "a bit for each place");

impl Places {
    pub(crate) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub(crate) fn first(self) -> Option<usize> {
        self.iter().next()
    }

    pub(crate) fn without(self, others: Places) -> Places {
        Places(self.0 & !others.0)
    }

    /// In ascending order.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        iter::from_fn(move || {
            let place = left.trailing_zeros();
            // Clears the lowest bit.
            left &= left.wrapping_sub(1);
            (place < u64::BITS).then_some(place as usize)
        })
    }
}

impl FromIterator<usize> for Places {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        Places(places.into_iter().fold(0, |bits, place| bits | 1 << place))
    }
}

/// Whole pages, so that a short datagram does not touch the pages of another one, and then the offset.
fn slot_size(headroom: usize) -> usize {
    (headroom + LONGEST).next_multiple_of(4096) + OFFSET
}

impl Entry {
    /// Where in its slot the prefix and the payload are.
    fn range(&self, headroom: usize) -> Range<usize> {
        headroom - self.prefix..headroom + self.length
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Batch {
    /// Without the bytes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Batch").field("headroom", &self.headroom).field("datagrams", &self.entries).finish()
    }
}

/// A datagram in a [`Batch`].
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    entry: &'a Entry,
    bytes: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Who sent it, as the datagram claims. Anybody can forge this address.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        self.entry.source
    }

    /// Which address it was sent to, if that is known.
    #[must_use]
    pub fn destination(&self) -> Option<Destination> {
        self.entry.destination
    }

    /// Its bytes, after the prefix if it was given one. They can be none, which is a datagram like any other.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether bytes are missing at its end. No UDP datagram is longer than the space for it, so only an IPv6 jumbogram
    /// (RFC 2675) or a payload that was pushed by hand can be.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.entry.truncated
    }

    /// Whether it gets no reply.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.entry.refused
    }
}

/// A datagram in a [`Batch`] whose reply can still be changed.
#[derive(Debug)]
pub struct DatagramMut<'a> {
    entry: &'a mut Entry,
    slot: &'a mut [u8],
    headroom: usize,
}

impl DatagramMut<'_> {
    /// The datagram to read.
    #[must_use]
    pub fn get(&self) -> Datagram<'_> {
        Datagram { entry: self.entry, bytes: self.slot.get(self.entry.range(self.headroom)).unwrap_or_default() }
    }

    /// Gives it no reply.
    pub fn refuse(&mut self) {
        self.entry.refused = true;
    }

    /// Puts bytes in front of the payload, and in front of what was prepended before.
    ///
    /// # Errors
    ///
    /// The headroom is too small. The datagram is as before.
    pub fn prepend(&mut self, prefix: &[u8]) -> Result<(), NoRoom> {
        let end = self.headroom - self.entry.prefix;
        let start = end.checked_sub(prefix.len()).ok_or(NoRoom)?;
        self.slot.get_mut(start..end).ok_or(NoRoom)?.copy_from_slice(prefix);
        self.entry.prefix += prefix.len();
        Ok(())
    }
}

/// A batch is full, or its headroom is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("no room in the batch of datagrams")
    }
}

impl std::error::Error for NoRoom {}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> SocketAddr {
        "192.0.2.1:7".parse().unwrap()
    }

    fn payloads(batch: &Batch) -> Vec<Vec<u8>> {
        batch.iter().map(|datagram| datagram.payload().to_vec()).collect()
    }

    #[test]
    fn a_batch_holds_what_was_pushed_until_it_is_cleared() {
        let mut batch = Batch::new();
        for _ in 0..2 {
            let pushed: Vec<_> = (0..Batch::CAPACITY).map(|length| vec![7; length]).collect();
            for payload in &pushed {
                batch.push(source(), None, payload).unwrap();
            }
            assert_eq!(batch.push(source(), None, b""), Err(NoRoom));
            assert_eq!(payloads(&batch), pushed);
            batch.clear();
            assert!(batch.is_empty() && batch.iter().len() == 0);
        }
    }

    #[test]
    fn a_payload_beyond_the_longest_is_cut() {
        let mut batch = Batch::with_headroom(3);
        batch.push(source(), None, &[1; LONGEST]).unwrap();
        batch.push(source(), None, &[2; LONGEST + 1]).unwrap();
        let seen: Vec<_> = batch.iter().map(|datagram| (datagram.payload().len(), datagram.is_truncated())).collect();
        assert_eq!(seen, [(LONGEST, false), (LONGEST, true)]);
        assert!(batch.iter().all(|datagram| datagram.payload().windows(2).all(|pair| pair[0] == pair[1])));
    }

    #[test]
    fn a_prefix_beyond_the_headroom_changes_nothing() {
        let mut batch = Batch::with_headroom(64);
        batch.push(source(), None, b"first").unwrap();
        batch.push(source(), None, b"second").unwrap();
        let mut second = batch.iter_mut().nth(1).unwrap();
        second.prepend(&[b'>'; 60]).unwrap();
        assert_eq!(second.prepend(&[b'!'; 5]), Err(NoRoom));
        second.prepend(b"1234").unwrap();
        assert_eq!(second.prepend(b"!"), Err(NoRoom));
        let prefixed = [b"1234".as_slice(), &[b'>'; 60], b"second"].concat();
        assert_eq!(payloads(&batch), [b"first".to_vec(), prefixed]);

        batch.clear();
        batch.push(source(), None, b"third").unwrap();
        assert_eq!(payloads(&batch), [b"third".to_vec()]);
    }

    #[test]
    fn a_refusal_concerns_one_datagram() {
        let mut batch = Batch::new();
        for _ in 0..3 {
            batch.push(source(), None, b"squawk").unwrap();
        }
        batch.iter_mut().nth(1).unwrap().refuse();
        assert!(batch.iter().map(|datagram| datagram.is_refused()).eq([false, true, false]));
    }
}
