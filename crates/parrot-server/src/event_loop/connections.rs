//! The open connections, by key.

use std::num::NonZeroU32;
use std::os::fd::OwnedFd;

use super::conversation::Conversation;
use crate::host::ConnectionKey;

/// How many connections a chunk has room for, in about 5 KiB.
const CHUNK: usize = 64;

/// The open connections, in chunks that are never copied.
///
/// A list that grows would be copied into a longer one, all in one turn, and the memory of both would stay with the process
/// on systems that cannot move pages (only Linux has mremap(2)). Chunks stay when their connections close.
#[derive(Debug)]
pub(super) struct Connections<Socket> {
    chunks: Vec<Box<Chunk<Socket>>>,
    /// The slot to use next. It is the one that was used last, which may still be in the processor's cache.
    free: Option<u32>,
    len: usize,
}

#[derive(Debug)]
struct Chunk<Socket> {
    /// For each slot, what tells the key of its connection from those of earlier ones.
    generations: [NonZeroU32; CHUNK],
    slots: [Slot<Socket>; CHUNK],
}

#[derive(Debug)]
enum Slot<Socket> {
    Open(Conversation<Socket>),
    /// `next` is the slot to use after this one.
    Free {
        next: Option<u32>,
    },
}

const _: () = assert!(size_of::<Slot<OwnedFd>>() == size_of::<Conversation<OwnedFd>>(), "a free slot needs no mark");

/// The index of a slot's chunk, and the slot's index in it.
fn place(slot: u32) -> (usize, usize) {
    let slot = slot as usize;
    (slot / CHUNK, slot % CHUNK)
}

impl<Socket> Connections<Socket> {
    pub(super) fn new() -> Connections<Socket> {
        Connections { chunks: Vec::new(), free: None, len: 0 }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory in bytes that the table takes, with what it has room for.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.len() * size_of::<Chunk<Socket>>() + self.chunks.capacity() * size_of::<Box<Chunk<Socket>>>()
    }

    #[inline]
    pub(super) fn get(&self, key: ConnectionKey) -> Option<&Conversation<Socket>> {
        let (chunk, index) = place(key.slot);
        let chunk = self.chunks.get(chunk)?;
        match chunk.slots.get(index)? {
            Slot::Open(conversation) if chunk.generations.get(index) == Some(&key.generation) => Some(conversation),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut Conversation<Socket>> {
        match self.slot_mut(key)? {
            (_, Slot::Open(conversation)) => Some(conversation),
            (_, Slot::Free { .. }) => None,
        }
    }

    pub(super) fn contains_key(&self, key: ConnectionKey) -> bool {
        self.get(key).is_some()
    }

    /// The keys of those that are open.
    pub(super) fn keys(&self) -> impl Iterator<Item = ConnectionKey> {
        self.iter().map(|(key, _)| key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnectionKey, &Conversation<Socket>)> {
        let chunks = (0..).step_by(CHUNK).zip(&self.chunks);
        chunks.flat_map(|(first, chunk)| {
            let slots = (first..).zip(&chunk.generations).zip(&chunk.slots);
            slots.filter_map(|((slot, generation), content)| match content {
                Slot::Open(conversation) => Some((ConnectionKey { slot, generation: *generation }, conversation)),
                Slot::Free { .. } => None,
            })
        })
    }

    #[expect(clippy::indexing_slicing, reason = "a free slot is in a chunk")]
    pub(super) fn insert(&mut self, conversation: Conversation<Socket>) -> ConnectionKey {
        let slot = self.free.unwrap_or_else(|| self.add_chunk());
        let (chunk, index) = place(slot);
        let chunk = &mut self.chunks[chunk];
        if let Slot::Free { next } = std::mem::replace(&mut chunk.slots[index], Slot::Open(conversation)) {
            self.free = next;
        }
        self.len += 1;
        ConnectionKey { slot, generation: chunk.generations[index] }
    }

    /// Takes a connection out. Its key names nothing from then on.
    pub(super) fn remove(&mut self, key: ConnectionKey) -> Option<Conversation<Socket>> {
        let next = self.free;
        let (generation, slot) = self.slot_mut(key).filter(|(_, slot)| matches!(slot, Slot::Open(_)))?;
        let Slot::Open(conversation) = std::mem::replace(slot, Slot::Free { next }) else { return None };
        *generation = generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.free = Some(key.slot);
        self.len -= 1;
        Some(conversation)
    }

    /// The slot that a key names, unless its generation is another one.
    #[inline]
    fn slot_mut(&mut self, key: ConnectionKey) -> Option<(&mut NonZeroU32, &mut Slot<Socket>)> {
        let (chunk, index) = place(key.slot);
        let chunk = self.chunks.get_mut(chunk)?;
        let generation = chunk.generations.get_mut(index).filter(|generation| **generation == key.generation)?;
        Some((generation, chunk.slots.get_mut(index)?))
    }

    /// Adds a chunk of free slots, and returns the first.
    fn add_chunk(&mut self) -> u32 {
        // Each connection has a descriptor of its own, whose number has 31 bits.
        let first = (self.chunks.len() * CHUNK) as u32;
        let last = first + CHUNK as u32 - 1;
        let slots = std::array::from_fn(|index| {
            let slot = first + index as u32;
            Slot::Free { next: (slot < last).then_some(slot + 1) }
        });
        self.chunks.push(Box::new(Chunk { generations: [NonZeroU32::MIN; CHUNK], slots }));
        first
    }
}

#[cfg(test)]
mod tests {
    use parrot_conn::Connection;

    use super::*;
    use crate::event_loop::moment::Moment;
    use crate::peer::Peer;

    fn conversation(socket: u32) -> Conversation<u32> {
        Conversation::new(socket, Peer::Unix { user: None }, Connection::default(), Moment::default(), None)
    }

    fn socket(connections: &Connections<u32>, key: ConnectionKey) -> Option<u32> {
        connections.get(key).map(|conversation| conversation.socket)
    }

    #[test]
    fn a_key_names_its_connection_until_that_closes() {
        let mut connections = Connections::new();
        let keys: Vec<ConnectionKey> = (0..1000).map(|number| connections.insert(conversation(number))).collect();
        assert!((0..).zip(&keys).all(|(number, key)| socket(&connections, *key) == Some(number)));
        assert!(connections.keys().eq(keys.iter().copied()));
        for (number, key) in (0..).zip(&keys).step_by(3) {
            assert_eq!(connections.remove(*key).map(|conversation| conversation.socket), Some(number));
            assert!(connections.remove(*key).is_none() && !connections.contains_key(*key));
        }
        assert_eq!((connections.len(), connections.keys().count()), (666, 666));
        assert_eq!(connections.get_mut(keys[1]).map(|conversation| conversation.socket), Some(1));
    }

    #[test]
    fn a_slot_that_is_used_again_has_another_key() {
        let mut connections = Connections::new();
        let first = connections.insert(conversation(1));
        connections.remove(first);
        let second = connections.insert(conversation(2));
        assert_eq!(first.slot, second.slot, "the memory is used again");
        assert_eq!((socket(&connections, first), socket(&connections, second)), (None, Some(2)));
    }

    #[test]
    fn the_table_grows_by_chunks_and_reuses_them() {
        let mut connections = Connections::new();
        assert_eq!((connections.bytes(), connections.is_empty()), (0, true));
        for _ in 0..3 {
            let keys: Vec<ConnectionKey> = (0..10_000).map(|number| connections.insert(conversation(number))).collect();
            for key in keys {
                connections.remove(key);
            }
        }
        assert!(connections.is_empty());
        let each = connections.bytes() / 10_000;
        assert!(each < 90, "{each} bytes for each of the most that were open");
    }
}
