//! Small uploads on their way into staging memory.
//!
//! Each would write a few lines of memory that the processor does not cache, and hold the `MkGpu` meanwhile: two atomic
//! operations, which wait until those lines have left. So they are collected in a block that stays in the cache, and
//! written to staging memory when that is full, or when the frame is submitted.

use crate::staging::HeldChunk;

/// Bytes of the block: half of a first-level cache.
const BLOCK: usize = 16 << 10;
/// Bytes of the largest upload that is collected.
pub(crate) const SMALL: usize = 2 << 10;

/// What was declared to lie in the newest chunk of a frame, up to the chunk's head, and is not written there yet.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// Empty before the first use.
    block: Box<[u8]>,
    len: usize,
}

impl Collected {
    /// Takes in bytes behind an alignment, and moves the chunk's head on. Returns their offset in the chunk; none if
    /// the chunk or the block has no room for them.
    #[inline(always)]
    pub(crate) fn add(&mut self, chunk: &mut HeldChunk, bytes: &[u8], alignment: u64) -> Option<u64> {
        let (before, start) = chunk.next(bytes.len() as u64, alignment)?;
        // What is skipped holds what it held.
        let begin = self.len + (start - before) as usize;
        let end = begin + bytes.len();
        self.block.get_mut(begin..end)?.copy_from_slice(bytes);
        self.len = end;
        chunk.move_on(start + bytes.len() as u64);
        Some(start)
    }

    /// Makes the block, if there is none yet.
    pub(crate) fn prepare(&mut self) {
        if self.block.is_empty() {
            self.block = vec![0; BLOCK].into();
        }
    }

    /// Writes it to the chunk, and forgets it. The chunk is the one that was added to; callers hold its `MkGpu`.
    pub(crate) fn write(&mut self, chunk: Option<&mut HeldChunk>) {
        if let (Some(chunk), Some(bytes)) = (chunk, self.block.get(..self.len)) {
            chunk.write_last(bytes);
        }
        self.clear();
    }

    /// Forgets it.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }
}
