//! Buffers, and the pool that lends them under one cap.

/// Bytes that were received and are to be sent back.
///
/// Invariant: `sent <= filled <= bytes.len()`, and a buffer whose bytes have all been sent is empty again
/// (`sent == filled == 0`).
#[derive(Debug)]
pub struct Buffer<Memory = Box<[u8]>> {
    bytes: Memory,
    sent: u32,
    filled: u32,
    /// The memory in bytes that it costs while it is kept: the pages up to the highest `filled` so far, and at least one.
    /// A pool whose memory the system provides when it is first written to (`with_memory`) pays for no others.
    resident: u32,
    /// The size of the pool's usual buffers.
    usual: u32,
}

impl<Memory: AsRef<[u8]> + AsMut<[u8]>> Buffer<Memory> {
    fn new(bytes: Memory, usual: u32) -> Buffer<Memory> {
        Buffer { bytes, sent: 0, filled: 0, resident: PAGE, usual }
    }

    fn size(&self) -> usize {
        self.bytes.as_ref().len()
    }

    /// The size of the pool's usual buffers.
    pub(crate) fn usual_size(&self) -> usize {
        self.usual as usize
    }

    /// Whether it is larger than the usual buffers.
    pub(crate) fn is_large(&self) -> bool {
        self.size() > self.usual_size()
    }

    /// The room behind the bytes received. It is empty when the buffer is full.
    pub fn space(&mut self) -> &mut [u8] {
        self.bytes.as_mut().get_mut(self.filled as usize..).unwrap_or_default()
    }

    /// Counts the first `n` bytes of [`space`](Buffer::space) as received, or all of it if it is shorter.
    // Inlined, it saves 9 of a message's 404 instructions.
    #[inline(always)]
    pub fn fill(&mut self, n: usize) {
        self.filled += n.min(self.room()) as u32;
        if self.filled > self.resident {
            self.resident = self.filled.checked_next_multiple_of(PAGE).unwrap_or(u32::MAX);
        }
    }

    /// The bytes that are received and not yet sent.
    pub fn pending(&self) -> &[u8] {
        self.bytes.as_ref().get(self.sent as usize..self.filled as usize).unwrap_or_default()
    }

    /// Counts the first `n` bytes of [`pending`](Buffer::pending) as sent, or all of them if there are fewer.
    pub fn advance(&mut self, n: usize) {
        self.sent += n.min((self.filled - self.sent) as usize) as u32;
        if self.sent == self.filled {
            self.clear();
        }
    }

    /// Forgets all bytes.
    pub fn clear(&mut self) {
        self.sent = 0;
        self.filled = 0;
    }

    /// How many bytes [`space`](Buffer::space) has.
    pub fn room(&self) -> usize {
        self.size() - self.filled as usize
    }

    /// Whether no byte is pending.
    pub fn is_empty(&self) -> bool {
        self.sent == self.filled
    }

    /// Whether there is no [`space`](Buffer::space) left. Everything pending has to be sent to make room.
    pub fn is_full(&self) -> bool {
        self.room() == 0
    }
}

/// Lends buffers to connections, under one cap over all of them.
///
/// The pool keeps returned buffers while they cost little memory, and frees the others, so that memory falls after a
/// burst. It lends the most recently used buffer first, because that one is still in the processor's cache.
///
/// All buffers have the same size, unless the pool also lends [large ones](BufferPool::with_large_buffers).
///
/// Buffers are boxed slices, or any other memory of the caller's choice ([`with_memory`](BufferPool::with_memory)).
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
/// assert_eq!((pool.lent(), pool.capacity()), (0, 2048));
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug)]
pub struct BufferPool<Memory = Box<[u8]>> {
    /// Lent as they are, so that a connection without a buffer costs a pointer and a message allocates nothing.
    spare: Vec<Box<Buffer<Memory>>>,
    /// One is enough for many streams, because most of them give their buffer back before the next one needs it.
    spare_large: Option<Box<Buffer<Memory>>>,
    allocate: fn(usize) -> Option<Memory>,
    /// The memory in bytes that the spare buffers of the usual size cost.
    resident: usize,
    /// The sizes of the buffers that are lent.
    lent: usize,
    capacity: usize,
    buffer_size: u32,
    /// No larger than `buffer_size` if there are no large buffers.
    large_size: u32,
}

/// The usual size of a page. On systems with larger pages the pool only underestimates what its spare buffers cost.
const PAGE: u32 = 4096;

/// The most memory that spare buffers of the usual size may cost: four of 128 KiB that were full, or 128 that held a
/// message.
const SPARE_BYTES: usize = 512 * 1024;

impl BufferPool {
    /// Creates a pool that lends up to `max_bytes` bytes at a time, in heap buffers of `buffer_size` bytes.
    ///
    /// Both sizes are raised where needed so that the pool has at least one buffer of one byte. A buffer is at most
    /// 4 GiB - 1.
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
    /// Creates a pool like [`new`](BufferPool::new), with buffers made by `allocate`. That function returns as many
    /// bytes as it is asked for, of any value, or `None` if there is no memory. Make connections for such a pool with
    /// [`connection`](BufferPool::connection).
    ///
    /// ```
    /// use parrot_conn::BufferPool;
    ///
    /// let mut pool = BufferPool::with_memory(1024, 4096, |size| Some(vec![0; size]));
    /// let mut connection = pool.connection();
    /// assert_eq!(connection.receive_space(&mut pool)?.len(), 1024);
    /// # Ok::<(), parrot_conn::NoSpace>(())
    /// ```
    pub fn with_memory(
        buffer_size: usize,
        max_bytes: usize,
        allocate: fn(usize) -> Option<Memory>,
    ) -> BufferPool<Memory> {
        let buffer_size = u32::try_from(buffer_size).unwrap_or(u32::MAX).max(1);
        let mut pool = BufferPool {
            spare: Vec::new(),
            spare_large: None,
            allocate,
            resident: 0,
            lent: 0,
            capacity: 0,
            buffer_size,
            large_size: buffer_size,
        };
        pool.set_max_bytes(max_bytes);
        pool
    }

    /// Also lends buffers of this size, to connections whose peers [take everything at once](crate::Connection). It does so
    /// while at most half of the cap is lent with them, so that streams leave room for connections that are behind. A size
    /// that is not above the usual one changes nothing.
    pub fn with_large_buffers(self, size: usize) -> BufferPool<Memory> {
        BufferPool { large_size: u32::try_from(size).unwrap_or(u32::MAX), ..self }
    }

    /// Lends an empty buffer, or returns `None`. Try again after a [`give_back`](BufferPool::give_back) if the cap is
    /// reached ([`can_lend`](BufferPool::can_lend) is false), and otherwise some time later, when there may be memory.
    #[inline(always)]
    pub fn lend(&mut self) -> Option<Box<Buffer<Memory>>> {
        if !self.can_lend() {
            return None;
        }
        let buffer = match self.spare.pop() {
            Some(buffer) => {
                self.resident -= buffer.resident as usize;
                buffer
            }
            None => self.make(self.buffer_size)?,
        };
        self.lent += buffer.size();
        Some(buffer)
    }

    /// Lends a large buffer, or one of the usual size while there is no room or no memory for a large one.
    pub fn lend_large(&mut self) -> Option<Box<Buffer<Memory>>> {
        if self.has_room_for_large()
            && let Some(buffer) = self.spare_large.take().or_else(|| self.make(self.large_size))
        {
            self.lent += buffer.size();
            return Some(buffer);
        }
        self.lend()
    }

    fn has_room_for_large(&self) -> bool {
        self.large_size > self.buffer_size && self.lent.saturating_add(self.large_size as usize) <= self.capacity / 2
    }

    #[cold]
    fn make(&self, size: u32) -> Option<Box<Buffer<Memory>>> {
        let bytes = (self.allocate)(size as usize)?;
        debug_assert_eq!(bytes.as_ref().len(), size as usize, "`allocate` returned memory of the wrong size");
        Some(Box::new(Buffer::new(bytes, self.buffer_size)))
    }

    /// Takes a buffer back and discards what it holds.
    #[inline(always)]
    pub fn give_back(&mut self, mut buffer: Box<Buffer<Memory>>) {
        debug_assert!(self.lent >= buffer.size() && buffer.usual == self.buffer_size, "a buffer of another pool");
        self.lent = self.lent.saturating_sub(buffer.size());
        buffer.clear();
        if buffer.is_large() {
            self.spare_large = Some(buffer);
            return;
        }
        self.resident += buffer.resident as usize;
        self.spare.push(buffer);
        while self.resident > SPARE_BYTES {
            self.free_costliest();
        }
    }

    /// Frees the spare buffer that costs most, so that a few that were full do not displace many that held a message.
    #[cold]
    fn free_costliest(&mut self) {
        let spare = self.spare.iter().enumerate();
        let costliest = spare.max_by_key(|(_, buffer)| buffer.resident).map(|(index, _)| index);
        if let Some(index) = costliest {
            self.resident -= self.spare.remove(index).resident as usize;
        }
    }

    /// Whether the cap leaves room for another buffer. If so, [`lend`](BufferPool::lend) fails only for lack of memory.
    pub fn can_lend(&self) -> bool {
        self.lent + self.buffer_size() <= self.capacity
    }

    /// Changes how many bytes the pool lends at a time, to at least one buffer. Buffers that are lent beyond that stay
    /// where they are, and the pool lends again once enough of them have come back.
    pub fn set_max_bytes(&mut self, max_bytes: usize) {
        self.capacity = max_bytes.max(self.buffer_size());
    }

    /// The bytes of all buffers that are lent now.
    pub fn lent(&self) -> usize {
        self.lent
    }

    /// The bytes that may be lent at a time.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The usual size of a buffer in bytes, which also bounds the pending output of a connection whose peer is behind.
    pub fn buffer_size(&self) -> usize {
        self.buffer_size as usize
    }

    /// The size of the largest buffers in bytes, which bounds the pending output of any connection.
    pub fn largest_size(&self) -> usize {
        self.buffer_size.max(self.large_size) as usize
    }
}
