//! The memory of a buffer: pages of its own, which the system has back as soon as the buffer is freed.
//!
//! Buffers on the heap stay with the process after a burst: an allocator can give back only what lies above everything
//! that is still in use, and raises the size from which it maps pages when the first such buffer is freed (mallopt(3),
//! `M_MMAP_THRESHOLD`).

use memmap2::MmapMut;

/// Below this size a mapping costs more than it gives back.
const LEAST_MAPPED: usize = 16 * 1024;

/// Bytes of a buffer.
#[derive(Debug)]
pub(crate) enum Pages {
    /// Pages that hold nothing else, and cost nothing until they are written to.
    Mapped(MmapMut),
    /// A small buffer, or one for which the system had no mapping left (`vm.max_map_count` on Linux).
    Heap(Box<[u8]>),
}

impl Pages {
    pub(crate) fn allocate(size: usize) -> Pages {
        let mapped = Some(size).filter(|size| *size >= LEAST_MAPPED).and_then(|size| MmapMut::map_anon(size).ok());
        mapped.map_or_else(|| Pages::Heap(vec![0; size].into_boxed_slice()), Pages::Mapped)
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
