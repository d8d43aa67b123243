//! Readbacks: tickets for bytes that a frame copies to the host, and the memory they land in.

use crate::MkError;
use crate::device::{GpuRef, Inside};
use bytemuck::AnyBitPattern;
use memkit_graph::ResourceId;
use std::marker::PhantomData;
use std::time::Duration;

/// Names a readback of one `MkGpu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadbackKey {
    index: u32,
    generation: u32,
}

/// A ticket for elements that a frame copies from the device. Plain data, `Send`, and independent of the frame's
/// lifetime; dropping it gives the memory back.
#[derive(Debug)]
pub struct MkReadback<T> {
    pub(crate) gpu: GpuRef,
    pub(crate) key: ReadbackKey,
    pub(crate) len: usize,
    pub(crate) _element: PhantomData<fn() -> T>,
}

impl<T: AnyBitPattern> MkReadback<T> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no elements; a readback always has some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the bytes are there. Never blocks.
    ///
    /// # Errors
    /// [`MkError::Cancelled`] if the frame was dropped or failed, [`MkError::DeviceLost`], [`MkError::GpuDropped`], or what
    /// the backend says; asking again may work then.
    pub fn is_complete(&self) -> Result<bool, MkError> {
        let device = self.gpu.get()?;
        match device.readback_value(self.key) {
            Ok(value) => device.is_reached(value),
            Err(MkError::NotReady) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until the bytes are there.
    ///
    /// # Errors
    /// As for [`is_complete`](Self::is_complete), and [`MkError::NotReady`] if the frame is not submitted yet: waiting for it here could
    /// last forever.
    pub fn wait(&self) -> Result<(), MkError> {
        self.wait_timeout(Duration::MAX).map(|_| ())
    }

    /// Waits until the bytes are there or `timeout` has passed; `false` if it has.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, MkError> {
        self.gpu.wait(|device| device.readback_value(self.key).map(Some), timeout)
    }

    /// Lets `f` look at the elements in place, without waiting. What `f` returns comes back.
    ///
    /// # Errors
    /// As for [`is_complete`](Self::is_complete), and [`MkError::NotReady`] if they are not there yet.
    pub fn try_read<R>(&self, f: impl FnOnce(&[T]) -> R) -> Result<R, MkError> {
        let device = self.gpu.get()?;
        // Also while `f` is dropped uncalled: what it captured may be the `MkGpu`.
        let _inside = Inside::enter();
        let mut f = Some(f);
        let mut result = None;
        device.with_readback(self.key, &mut |bytes| {
            // The memory is aligned to at least 16 bytes and holds whole elements.
            if let (Ok(elements), Some(f)) = (bytemuck::try_cast_slice(bytes), f.take()) {
                result = Some(f(elements));
            }
        })?;
        result.ok_or_else(|| MkError::Misaligned {
            resource: "readback".into(),
            offset: 0,
            alignment: align_of::<T>() as u64,
        })
    }

    /// Copies the elements to `out`, which must have as many, without waiting.
    ///
    /// # Errors
    /// As for [`try_read`](Self::try_read), and [`MkError::SizeMismatch`] if `out` has another length.
    pub fn read_into(&self, out: &mut [T]) -> Result<(), MkError> {
        if out.len() != self.len {
            return Err(MkError::SizeMismatch {
                from: "readback".into(),
                from_size: (self.len * size_of::<T>()) as u64,
                to: "the slice given".into(),
                to_size: size_of_val(out) as u64,
            });
        }
        self.try_read(|elements| out.copy_from_slice(elements))
    }
}

impl<T> Drop for MkReadback<T> {
    fn drop(&mut self) {
        self.gpu.drop_readback(self.key);
    }
}

/// How far a readback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Its frame is open.
    Open,
    /// Its frame was submitted and ends with this timeline value.
    Submitted(u64),
    /// Its frame was dropped or failed.
    Cancelled,
}

/// Where the bytes of a readback land.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Position among the chunks.
    pub(crate) chunk: u32,
    /// First byte in it, a multiple of the atom size.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) size: u64,
    /// Bytes it takes, in whole atoms.
    padded: u64,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    block: Block,
    progress: Progress,
    /// The ticket is gone; the block is free once the device is done.
    dropped: bool,
    used: bool,
}

/// Memory that readbacks land in.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) resource: ResourceId,
    pub(crate) size: u64,
    /// Where the next block goes.
    head: u64,
    /// Blocks in use.
    live: u32,
}

/// All readbacks of one `MkGpu`. A block that came back is handed out again for the same size, so that repeating frames
/// use the same few bytes over and over; otherwise blocks are cut one after the other. A chunk begins anew once none of
/// its blocks is in use.
#[derive(Debug, Default)]
pub(crate) struct Readbacks {
    slots: Vec<Slot>,
    free: Vec<u32>,
    pub(crate) chunks: Vec<Chunk>,
    /// Blocks that came back, of chunks that have others in use.
    reuse: Vec<Block>,
    /// Dropped tickets whose blocks the device may still write.
    leaving: Vec<ReadbackKey>,
}

pub(crate) const CHUNK_SIZE: u64 = 256 << 10;

impl Readbacks {
    /// Finds room for `size` bytes in the chunks there are.
    pub(crate) fn place(&mut self, size: u64, atom: u64) -> Option<Block> {
        let padded = size.div_ceil(atom).checked_mul(atom)?;
        if let Some(i) = self.reuse.iter().position(|b| b.padded == padded) {
            let block = self.reuse.swap_remove(i);
            self.chunks[block.chunk as usize].live += 1;
            return Some(Block { size, ..block });
        }
        let fits = |c: &Chunk| c.size - c.head >= padded;
        let chunk = self.chunks.iter().position(fits)?;
        let offset = self.chunks[chunk].head;
        self.chunks[chunk].head += padded;
        self.chunks[chunk].live += 1;
        Some(Block { chunk: chunk as u32, offset, size, padded })
    }

    pub(crate) fn add_chunk(&mut self, resource: ResourceId, size: u64) {
        self.chunks.push(Chunk { resource, size, head: 0, live: 0 });
    }

    pub(crate) fn open(&mut self, block: Block) -> ReadbackKey {
        let slot =
            |generation| Slot { generation, block, progress: Progress::Open, dropped: false, used: true };
        if let Some(index) = self.free.pop() {
            let generation = self.slots[index as usize].generation.wrapping_add(1);
            self.slots[index as usize] = slot(generation);
            return ReadbackKey { index, generation };
        }
        self.slots.push(slot(0));
        ReadbackKey { index: (self.slots.len() - 1) as u32, generation: 0 }
    }

    pub(crate) fn get(&self, key: ReadbackKey) -> Option<(Progress, Block)> {
        let slot = self.slots.get(key.index as usize)?;
        (slot.used && slot.generation == key.generation).then_some((slot.progress, slot.block))
    }

    pub(crate) fn set(&mut self, key: ReadbackKey, progress: Progress) {
        let Some(slot) = self.slots.get_mut(key.index as usize) else { return };
        if slot.generation == key.generation && slot.used {
            slot.progress = progress;
        }
    }

    pub(crate) fn drop_ticket(&mut self, key: ReadbackKey) {
        let Some(slot) = self.slots.get_mut(key.index as usize) else { return };
        if slot.generation == key.generation && slot.used {
            slot.dropped = true;
            self.leaving.push(key);
        }
    }

    /// Frees the blocks of dropped tickets that the device is done with.
    pub(crate) fn collect(&mut self, completed: u64) {
        let Readbacks { slots, free, chunks, reuse, leaving } = self;
        leaving.retain(|key| {
            let slot = &mut slots[key.index as usize];
            let done = match slot.progress {
                Progress::Open => false,
                Progress::Submitted(value) => value <= completed,
                Progress::Cancelled => true,
            };
            if done {
                slot.used = false;
                free.push(key.index);
                let chunk = &mut chunks[slot.block.chunk as usize];
                chunk.live -= 1;
                if chunk.live == 0 {
                    chunk.head = 0;
                    reuse.retain(|b| b.chunk != slot.block.chunk);
                } else {
                    reuse.push(slot.block);
                }
            }
            !done
        });
    }
}
