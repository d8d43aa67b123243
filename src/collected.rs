//! Small uploads on their way into staging memory.
//!
//! Each would write a few lines of memory that the processor does not cache, and hold the `MkGpu` meanwhile: two atomic
//! operations, which wait until those lines have left. So they are collected in a block that stays in the cache, and
//! written to staging memory when that is full, or when the frame is submitted.

use crate::staging::{HeldChunk, aligned};
use memkit_graph::HostSlice;

/// Bytes of the block: half of a first-level cache.
const BLOCK: usize = 16 << 10;
/// Bytes of the largest upload that is collected.
pub(crate) const SMALL: usize = 2 << 10;

/// What is aligned in the block is aligned in the chunk: their places are alike modulo this.
const ALIGNMENT: u64 = 16;

/// What was declared to lie in the newest chunk of a frame behind that chunk's head, and is not written there yet.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// Made for the first upload. There is room up to its end.
    block: Box<[u8]>,
    /// What of the block is in use.
    begin: usize,
    end: usize,
    /// Where the block would begin in staging memory, modulo 2^64.
    at: HostSlice,
}

impl Collected {
    /// Room for so many bytes behind an alignment, and where they are to be in staging memory. None if there is no room
    /// for them.
    #[inline(always)]
    pub(crate) fn take(&mut self, size: usize, alignment: u64) -> Option<(HostSlice, &mut [u8])> {
        // What is skipped holds what it held.
        let begin = aligned(self.end as u64, alignment);
        let end = begin as usize + size;
        let room = self.block.get_mut(begin as usize..end)?;
        self.end = end;
        Some((HostSlice { offset: self.at.offset.wrapping_add(begin), ..self.at }, room))
    }

    /// Collects for a chunk from now on, as much as that has room for. What was collected is written.
    pub(crate) fn begin(&mut self, chunk: &HeldChunk) {
        if self.block.is_empty() {
            self.block = vec![0; BLOCK].into();
        }
        let (offset, room) = chunk.room(1);
        let begin = (BLOCK as u64).saturating_sub(room);
        let begin = begin + offset.wrapping_sub(begin) % ALIGNMENT;
        self.begin = (begin as usize).min(BLOCK);
        self.end = self.begin;
        self.at = HostSlice { buffer: chunk.number, offset: offset.wrapping_sub(begin) };
    }

    /// Writes it to the chunk, and forgets it. The chunk is the one that was begun for; callers hold its `MkGpu`.
    pub(crate) fn write(&mut self, chunk: Option<&mut HeldChunk>) {
        if let (Some(chunk), Some(bytes)) = (chunk, self.block.get(self.begin..self.end)) {
            // The place that `begin` looked up: the chunk's head did not move since.
            let (_, room) = chunk.take(bytes.len(), 1);
            // Pieces for which the library's `memcpy` takes vector registers: one by string instruction is slow to begin,
            // and counts a byte at a time where instructions are counted.
            const PIECE: usize = 2048;
            for (room, bytes) in room.chunks_mut(PIECE).zip(bytes.chunks(PIECE)) {
                room.copy_from_slice(bytes);
            }
        }
        self.clear();
    }

    /// Forgets it, and collects no more until it is begun again.
    pub(crate) fn clear(&mut self) {
        (self.begin, self.end) = (self.block.len(), self.block.len());
    }
}

#[cfg(test)]
mod tests {
    use crate::{DummyBackend, MkBufferUsage, MkFrame, MkGpu};

    fn collected(frame: &MkFrame<'_, DummyBackend>) -> usize {
        let collected = &frame.work.ws.collected;
        collected.end - collected.begin
    }

    #[test]
    fn small_uploads_to_whatever_is_uploaded_to_are_collected_until_a_large_one_comes() {
        let gpu = MkGpu::new(DummyBackend::new());
        let usage = MkBufferUsage::TRANSFER_DST | MkBufferUsage::STORAGE;
        let [a, b] = [64, 1 << 20].map(|size| gpu.create_device_buffer(size, usage).unwrap());
        let mut frame = gpu.begin_frame().unwrap();
        let t = frame.transient("t", 64);
        // There is no chunk yet.
        frame.upload(&a, 0, &[1u8; 5]).unwrap();
        assert_eq!(collected(&frame), 0);
        frame.upload(a.id(), 5, &[2u8; 3]).unwrap();
        frame.upload(t, 0, &[3u8; 7]).unwrap();
        frame.upload(&a, 8, &[4u8; 2]).unwrap();
        frame.upload(&b, 0, &[5u8; 4]).unwrap();
        assert_eq!(collected(&frame), 16);
        assert!(frame.upload(&a, 60, &[6u8; 5]).is_err());
        assert_eq!(collected(&frame), 16);
        frame.upload(&b, 4, &[7u8; 4096]).unwrap();
        assert_eq!(collected(&frame), 0);
        frame.submit().unwrap();
        assert!(gpu.backend().take_hazards().is_empty());
    }
}
