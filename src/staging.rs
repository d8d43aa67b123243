//! Staging memory for uploads: persistently mapped chunks, filled one after the other.
//!
//! A chunk belongs to one open frame at a time. Its space comes back when the submission that used it last is done;
//! a frame that is dropped gives back what it took at once.

use crate::backend::MkGpuBackend;
use crate::mapped::MappedAt;

/// One chunk.
pub(crate) struct StagingChunk<B: MkGpuBackend> {
    pub(crate) buffer: B::Buffer,
    at: MappedAt,
    size: u64,
    /// First free byte.
    head: u64,
    /// Timeline value of the last submission that reads from it.
    last_use: u64,
    held: bool,
}

/// All chunks of one `MkGpu`. Positions are the numbers frames use in [`HostSlice`](memkit_graph::HostSlice).
pub(crate) struct Staging<B: MkGpuBackend> {
    pub(crate) chunks: Vec<StagingChunk<B>>,
    total: u64,
    chunk_size: u64,
    limit: u64,
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
    pub(crate) fn new(chunk_size: u64, limit: u64) -> Self {
        Staging { chunks: Vec::new(), total: 0, chunk_size: chunk_size.max(256), limit }
    }

    /// Finds room: at least `contiguous` bytes in one piece, or as much as there is of it if `contiguous` is 0.
    pub(crate) fn room(&mut self, contiguous: u64, completed: u64) -> Room {
        for c in self.chunks.iter_mut().filter(|c| !c.held && c.last_use <= completed) {
            c.head = 0;
        }
        // The fullest chunk that will do: the others then come back as a whole.
        let wanted = contiguous.max(1);
        let fits = |c: &StagingChunk<B>| !c.held && c.size - c.head >= wanted;
        let best = (0..self.chunks.len()).filter(|&i| fits(&self.chunks[i])).max_by_key(|&i| self.chunks[i].head);
        if let Some(number) = best {
            return Room::Chunk(self.hold(number));
        }
        let size = self.chunk_size.max(contiguous);
        if self.total.saturating_add(size) <= self.limit {
            return Room::Make(size);
        }
        let left = self.limit - self.total.min(self.limit);
        if contiguous <= left && left >= 256 {
            return Room::Make(left);
        }
        let waiting = self.chunks.iter().filter(|c| !c.held && c.last_use > completed && c.size >= wanted);
        match waiting.map(|c| c.last_use).min() {
            Some(value) => Room::Wait(value),
            None => Room::Full { limit: self.limit },
        }
    }

    /// Adds a chunk and hands it out.
    pub(crate) fn add(&mut self, buffer: B::Buffer, at: MappedAt, size: u64) -> HeldChunk {
        self.total += size;
        self.chunks.push(StagingChunk { buffer, at, size, head: 0, last_use: 0, held: false });
        self.hold(self.chunks.len() - 1)
    }

    fn hold(&mut self, number: usize) -> HeldChunk {
        let chunk = &mut self.chunks[number];
        chunk.held = true;
        // Typed data may be aligned to 16 bytes in place.
        let head = chunk.head.next_multiple_of(16).min(chunk.size);
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
        let start = self.head.next_multiple_of(alignment);
        start.checked_add(size).is_some_and(|end| end <= self.size)
    }

    /// Takes up to `size` bytes, to be written: the offset in the chunk, and the bytes. Empty if there is no room.
    pub(crate) fn take(&mut self, size: usize, alignment: u64) -> (u64, &mut [u8]) {
        let start = self.head.next_multiple_of(alignment).min(self.size);
        let n = (self.size - start).min(size as u64);
        self.head = start + n;
        // SAFETY: `start + n` is within the chunk, which lives as long as its `MkGpu`; callers hold a strong reference to
        // that while they write. The chunk is held by this frame alone, and the submissions that read it ended
        // before its space was handed out, or read other bytes.
        let bytes = unsafe { self.at.add(start as usize).bytes_mut(n as usize) };
        (start, bytes)
    }
}
