//! Staging memory for uploads: persistently mapped chunks, filled one after the other.
//!
//! A chunk belongs to one open frame at a time. Its space comes back when the submission that used it last is done;
//! a frame that is dropped gives back what it took at once.

use crate::backend::MkGpuBackend;
use crate::mapped::MappedAt;

/// One chunk.
pub(crate) struct StagingChunk<B: MkGpuBackend> {
    /// None once it was given up; its number is used again.
    pub(crate) buffer: Option<B::Buffer>,
    at: MappedAt,
    /// Bytes; 0 once it was given up.
    size: u64,
    /// First free byte.
    head: u64,
    /// Timeline value of the last submission that reads from it.
    last_use: u64,
    held: bool,
}

impl<B: MkGpuBackend> StagingChunk<B> {
    /// Where a frame may begin: typed data may be aligned to 16 bytes in place.
    fn begin(&self) -> u64 {
        self.head.next_multiple_of(16).min(self.size)
    }
}

/// All chunks of one `MkGpu`. Positions are the numbers frames use in [`HostSlice`](memkit_graph::HostSlice).
pub(crate) struct Staging<B: MkGpuBackend> {
    pub(crate) chunks: Vec<StagingChunk<B>>,
    /// Buffers of chunks that were given up, to be destroyed.
    pub(crate) given_up: Vec<B::Buffer>,
    total: u64,
    chunk_size: u64,
    limit: u64,
    /// Chunks with which no frame has to go on in the chunk of another.
    enough: usize,
}

/// A chunk in the hands of an open frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldChunk {
    pub(crate) number: u32,
    at: MappedAt,
    size: u64,
    /// First byte this frame may write.
    begin: u64,
    /// First byte not written yet.
    head: u64,
}

/// What a frame may do that needs room.
pub(crate) enum Room {
    /// This chunk.
    Chunk(HeldChunk),
    /// A new chunk of this many bytes may be made.
    Make(u64),
    /// The limit is reached; waiting for this timeline value gives some back.
    Wait(u64),
    /// The limit is reached, and nothing submitted holds any.
    Full { limit: u64 },
}

impl<B: MkGpuBackend> Staging<B> {
    /// `largest`: the largest buffer of the device, which no chunk exceeds. `frames`: those that may be in flight.
    pub(crate) fn new(chunk_size: u64, limit: u64, largest: u64, frames: usize) -> Self {
        Staging {
            chunks: Vec::new(),
            given_up: Vec::new(),
            total: 0,
            chunk_size: chunk_size.max(256).min(largest),
            limit,
            enough: frames.min(3) + 1,
        }
    }

    /// Bytes of a chunk, unless more is asked for in one piece.
    pub(crate) fn chunk_size(&self) -> u64 {
        self.chunk_size
    }

    /// Finds room: at least `contiguous` bytes in one piece, or as much as there is of it if `contiguous` is 0.
    pub(crate) fn room(&mut self, contiguous: u64, completed: u64) -> Room {
        for c in self.chunks.iter_mut().filter(|c| !c.held && c.last_use <= completed) {
            c.head = 0;
        }
        // An idle chunk is written from its beginning again, which may still be in the processor's caches; a frame that goes
        // on where the last one ended writes memory that is not. So there is a chunk for each frame in flight, and only
        // then the fullest that will do: the others then come back as a whole.
        let wanted = contiguous.max(1);
        let fits = |c: &StagingChunk<B>| !c.held && c.size - c.begin() >= wanted;
        let fitting = (0..self.chunks.len()).filter(|&i| fits(&self.chunks[i]));
        let idle = fitting.clone().find(|&i| self.chunks[i].head == 0);
        let size = self.chunk_size.max(contiguous);
        let has_room = self.total.saturating_add(size) <= self.limit;
        let may_make_more = has_room && self.chunks.len() < self.enough;
        let fullest = || fitting.max_by_key(|&i| self.chunks[i].head).filter(|_| !may_make_more);
        if let Some(number) = idle.or_else(fullest) {
            return Room::Chunk(self.hold(number));
        }
        if has_room {
            return Room::Make(size);
        }
        let left = self.limit - self.total.min(self.limit);
        if contiguous <= left && (left >= 256 || (self.total == 0 && left > 0)) {
            return Room::Make(left);
        }
        // What no frame holds can be had: idle chunks make way for a larger one, the others are waited for.
        let held: u64 = self.chunks.iter().filter(|c| c.held).map(|c| c.size).sum();
        if held.saturating_add(wanted) > self.limit {
            return Room::Full { limit: self.limit };
        }
        let busy = |c: &StagingChunk<B>| !c.held && c.last_use > completed;
        if contiguous > 0 {
            for c in self.chunks.iter_mut().filter(|c| !c.held && c.last_use <= completed) {
                self.total -= c.size;
                c.size = 0;
                self.given_up.extend(c.buffer.take());
                if self.total.saturating_add(contiguous) <= self.limit {
                    return Room::Make(contiguous);
                }
            }
        }
        match self.chunks.iter().filter(|c| busy(c)).map(|c| c.last_use).min() {
            Some(value) => Room::Wait(value),
            None => Room::Full { limit: self.limit },
        }
    }

    /// The buffer of each chunk, by number; another chunk's where one was given up, which nothing reads.
    pub(crate) fn buffers(&self) -> impl Iterator<Item = B::Buffer> {
        let any = self.chunks.iter().find_map(|c| c.buffer);
        self.chunks.iter().filter_map(move |c| c.buffer.or(any))
    }

    /// Adds a chunk and hands it out.
    pub(crate) fn add(&mut self, buffer: B::Buffer, at: MappedAt, size: u64) -> HeldChunk {
        self.total += size;
        let chunk = StagingChunk { buffer: Some(buffer), at, size, head: 0, last_use: 0, held: false };
        let number = self.chunks.iter().position(|c| c.buffer.is_none()).unwrap_or(self.chunks.len());
        match self.chunks.get_mut(number) {
            Some(slot) => *slot = chunk,
            None => self.chunks.push(chunk),
        }
        self.hold(number)
    }

    fn hold(&mut self, number: usize) -> HeldChunk {
        let chunk = &mut self.chunks[number];
        chunk.held = true;
        let head = chunk.begin();
        HeldChunk { number: number as u32, at: chunk.at, size: chunk.size, begin: head, head }
    }

    /// Takes a chunk back from a frame: with what it wrote, if it was submitted.
    pub(crate) fn give_back(&mut self, held: &HeldChunk, submitted: Option<u64>) {
        let Some(chunk) = self.chunks.get_mut(held.number as usize) else { return };
        chunk.held = false;
        if let Some(value) = submitted {
            chunk.head = held.head;
            chunk.last_use = value;
        }
    }
}

impl HeldChunk {
    /// Bytes this frame wrote, half-open.
    pub(crate) fn written(&self) -> std::ops::Range<u64> {
        self.begin..self.head
    }

    /// All bytes this frame keeps from others.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.size - self.begin
    }

    /// Whether `size` bytes fit in one piece behind `alignment`.
    pub(crate) fn fits(&self, size: u64, alignment: u64) -> bool {
        let start = aligned(self.head, alignment);
        start.checked_add(size).is_some_and(|end| end <= self.size)
    }

    /// Where bytes behind `alignment` would begin, and how many there is room for.
    pub(crate) fn room(&self, alignment: u64) -> (u64, u64) {
        let start = aligned(self.head, alignment).min(self.size);
        (start, self.size - start)
    }

    /// Takes up to `size` bytes, to be written: the offset in the chunk, and the bytes. Empty if there is no room.
    #[inline(always)]
    pub(crate) fn take(&mut self, size: usize, alignment: u64) -> (u64, &mut [u8]) {
        let (start, room) = self.room(alignment);
        let n = room.min(size as u64);
        self.head = start + n;
        // SAFETY: `start + n` is within the chunk, which lives as long as its `MkGpu`; callers hold a strong reference to
        // that while they write. The chunk is held by this frame alone, and the submissions that read it ended
        // before its space was handed out, or read other bytes.
        let bytes = unsafe { self.at.add(start as usize).bytes_mut(n as usize) };
        (start, bytes)
    }
}

/// The first multiple of `alignment`, a power of two, from `offset` on. `next_multiple_of` would divide.
#[inline(always)]
pub(crate) fn aligned(offset: u64, alignment: u64) -> u64 {
    debug_assert!(alignment.is_power_of_two());
    let mask = alignment - 1;
    // Offsets lie within a chunk, or one past it.
    (offset + mask) & !mask
}
