//! The memory of a buffer: pages of its own, which the system gets back as soon as the buffer is freed.
//!
//! Heap memory would stay with the process after a burst. An allocator can return only what lies above everything still
//! in use, and it raises the size from which it maps pages when the first such buffer is freed (mallopt(3),
//! `M_MMAP_THRESHOLD`).

use memmap2::MmapMut;

/// A mapping for a smaller buffer would cost more than it gives back.
const LEAST_MAPPED: usize = 16 * 1024;

/// The bytes of a buffer.
#[derive(Debug)]
pub enum Pages {
    /// Pages that hold nothing else and cost nothing until they are written to.
    Mapped(MmapMut),
    /// A small buffer, or one that the system had no mapping for (`vm.max_map_count` on Linux).
    Heap(Vec<u8>),
}

impl Pages {
    /// `size` bytes, or `None` when the system has no memory for them, which must not end the process.
    pub fn allocate(size: usize) -> Option<Pages> {
        if size >= LEAST_MAPPED
            && let Ok(map) = MmapMut::map_anon(size)
        {
            return Some(Pages::Mapped(map));
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).ok()?;
        bytes.resize(size, 0);
        Some(Pages::Heap(bytes))
    }
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        match self {
            Pages::Mapped(map) => map,
            Pages::Heap(bytes) => bytes,
        }
    }
}

impl AsMut<[u8]> for Pages {
    fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Pages::Mapped(map) => map,
            Pages::Heap(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_is_exact_and_an_impossible_one_is_refused() {
        for size in [1, LEAST_MAPPED - 1, LEAST_MAPPED, 128 * 1024] {
            assert_eq!(Pages::allocate(size).unwrap().as_ref().len(), size);
        }
        assert!(Pages::allocate(isize::MAX as usize).is_none());
    }
}
