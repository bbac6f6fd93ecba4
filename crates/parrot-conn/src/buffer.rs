//! The memory that bytes wait in: a buffer, and the pool that lends buffers under one cap.

/// Bytes on their way from the peer back to the peer.
///
/// Invariant: `sent <= filled <= bytes.len()`, and a buffer whose bytes have all been sent is empty again
/// (`sent == filled == 0`).
#[derive(Debug)]
pub struct Buffer<Memory = Box<[u8]>> {
    bytes: Memory,
    sent: u32,
    filled: u32,
    /// How far the buffer has ever been filled: memory behind that has not been written to, and costs nothing yet.
    touched: u32,
}

impl<Memory: AsRef<[u8]> + AsMut<[u8]>> Buffer<Memory> {
    fn new(bytes: Memory) -> Buffer<Memory> {
        Buffer { bytes, sent: 0, filled: 0, touched: 0 }
    }

    fn size(&self) -> usize {
        self.bytes.as_ref().len()
    }

    /// Room behind the bytes received: empty when the buffer is full.
    pub fn space(&mut self) -> &mut [u8] {
        self.bytes.as_mut().get_mut(self.filled as usize..).unwrap_or_default()
    }

    /// Counts `n` bytes as written to the front of [`space`](Buffer::space); more than it holds counts as all of it.
    pub fn fill(&mut self, n: usize) {
        let room = self.size() - self.filled as usize;
        self.filled += n.min(room) as u32;
        self.touched = self.touched.max(self.filled);
    }

    /// The bytes received and not yet sent.
    pub fn pending(&self) -> &[u8] {
        self.bytes.as_ref().get(self.sent as usize..self.filled as usize).unwrap_or_default()
    }

    /// Counts `n` bytes at the front of [`pending`](Buffer::pending) as sent; more than it holds counts as all of it.
    pub fn advance(&mut self, n: usize) {
        self.sent += n.min(self.pending().len()) as u32;
        if self.sent == self.filled {
            self.clear();
        }
    }

    /// Forgets all bytes.
    pub fn clear(&mut self) {
        self.sent = 0;
        self.filled = 0;
    }

    /// The memory that keeping this buffer costs, in bytes: whole pages.
    fn resident(&self) -> usize {
        (self.touched as usize).next_multiple_of(PAGE)
    }

    /// Whether no byte waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.sent == self.filled
    }

    /// Whether there is no [`space`](Buffer::space): all that is pending has to be sent first.
    pub fn is_full(&self) -> bool {
        self.filled as usize == self.size()
    }
}

/// Lends buffers to connections, up to a cap over all of them.
///
/// Returned buffers are kept for the next borrower, the most recently used first because it is still in the processor's
/// cache, as far as they cost little memory; the others are freed, so that memory falls again after a burst.
///
/// What a buffer is made of is the caller's choice ([`with_memory`](BufferPool::with_memory)); without one it is a boxed
/// slice.
///
/// ```
/// use parrot_conn::BufferPool;
///
/// let mut pool = BufferPool::new(1024, 2048); // two buffers of 1,024 bytes
/// let mut buffer = pool.lend().ok_or("there is memory for one")?;
/// buffer.space()[..5].copy_from_slice(b"Hello");
/// buffer.fill(5);
/// buffer.advance(2);
/// assert_eq!(buffer.pending(), b"llo");
/// pool.give_back(buffer);
/// assert_eq!((pool.lent(), pool.capacity()), (0, 2));
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug)]
pub struct BufferPool<Memory = Box<[u8]>> {
    spare: Vec<Buffer<Memory>>,
    allocate: fn(usize) -> Option<Memory>,
    /// What the spare buffers cost, in bytes.
    resident: usize,
    lent: usize,
    capacity: usize,
    buffer_size: u32,
}

/// The usual size of a page; only the frugality of the pool depends on it.
const PAGE: usize = 4096;

/// The most memory that spare buffers may cost: four that were full, or as many as a loop has in hand at a time that
/// held a message each.
const SPARE_BYTES: usize = 512 * 1024;

impl BufferPool {
    /// A pool of buffers of `buffer_size` bytes each, on the heap, that lends at most `max_bytes` bytes at a time.
    ///
    /// Both are raised to what is needed to work at all: one buffer of one byte. A buffer is at most 4 GiB - 1.
    pub fn new(buffer_size: usize, max_bytes: usize) -> BufferPool {
        BufferPool::with_memory(buffer_size, max_bytes, |size| {
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(size).ok()?;
            bytes.resize(size, 0);
            Some(bytes.into_boxed_slice())
        })
    }
}

impl<Memory: AsRef<[u8]> + AsMut<[u8]>> BufferPool<Memory> {
    /// As [`new`](BufferPool::new), with buffers of what `allocate` makes: exactly as many bytes as it is asked for, of
    /// any value, or `None` when there is no memory for them. Its connections are made by
    /// [`connection`](BufferPool::connection).
    ///
    /// ```
    /// use std::time::Instant;
    /// use parrot_conn::BufferPool;
    ///
    /// let mut pool = BufferPool::with_memory(1024, 4096, |size| Some(vec![0; size]));
    /// let mut connection = pool.connection(Instant::now());
    /// assert_eq!(connection.receive_space(&mut pool)?.len(), 1024);
    /// # Ok::<(), parrot_conn::NoSpace>(())
    /// ```
    pub fn with_memory(
        buffer_size: usize,
        max_bytes: usize,
        allocate: fn(usize) -> Option<Memory>,
    ) -> BufferPool<Memory> {
        let buffer_size = u32::try_from(buffer_size).unwrap_or(u32::MAX).max(1);
        let capacity = (max_bytes / buffer_size as usize).max(1);
        BufferPool { spare: Vec::new(), allocate, resident: 0, lent: 0, capacity, buffer_size }
    }

    /// An empty buffer, or `None`: when the cap is reached ([`can_lend`](BufferPool::can_lend) is false), ask again after
    /// a [`give_back`](BufferPool::give_back); otherwise there is no memory for another one, and time may bring some.
    pub fn lend(&mut self) -> Option<Buffer<Memory>> {
        if !self.can_lend() {
            return None;
        }
        let buffer = match self.spare.pop() {
            Some(buffer) => {
                self.resident -= buffer.resident();
                buffer
            }
            None => Buffer::new((self.allocate)(self.buffer_size as usize)?),
        };
        debug_assert_eq!(buffer.size(), self.buffer_size as usize, "memory of another size than was asked for");
        self.lent += 1;
        Some(buffer)
    }

    /// Takes a buffer back, with whatever it holds.
    pub fn give_back(&mut self, mut buffer: Buffer<Memory>) {
        debug_assert!(self.lent > 0 && buffer.size() == self.buffer_size as usize, "a buffer of another pool");
        self.lent = self.lent.saturating_sub(1);
        // A page at least, so that buffers that nothing was received into are not kept without end.
        buffer.touched = buffer.touched.max(1);
        buffer.clear();
        self.resident += buffer.resident();
        self.spare.push(buffer);
        while self.resident > SPARE_BYTES {
            self.free_costliest();
        }
    }

    /// Frees the spare buffer that costs most, so that a few that were full do not displace many that hold a message each.
    fn free_costliest(&mut self) {
        let spare = self.spare.iter().enumerate();
        let costliest = spare.max_by_key(|(_, buffer)| buffer.touched).map(|(index, _)| index);
        if let Some(index) = costliest {
            self.resident -= self.spare.remove(index).resident();
        }
    }

    /// Whether the cap leaves room for another buffer, so that [`lend`](BufferPool::lend) can fail for want of memory only.
    pub fn can_lend(&self) -> bool {
        self.lent < self.capacity
    }

    /// How many buffers are with connections.
    pub fn lent(&self) -> usize {
        self.lent
    }

    /// How many buffers may be lent at a time.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The size of each buffer in bytes, and so the bound on one connection's pending output.
    pub fn buffer_size(&self) -> usize {
        self.buffer_size as usize
    }
}
