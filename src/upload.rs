//! Bytes in and out of a frame: uploads through staging memory, and readbacks.

use crate::backend::MkGpuBackend;
use crate::buffer::{MkBufferId, MkSlice, Target};
use crate::collected::SMALL;
use crate::copy::copy_few;
use crate::device::{Inside, lock};
use crate::frame::MkFrame;
use crate::gpu::{Core, Inner};
use crate::inner::OwnBuffer;
use crate::mapped::MappedAt;
use crate::readback::{Block, CHUNK_SIZE, MkReadback};
use crate::staging::{HeldChunk, Room};
use crate::submit::Workspace;
use crate::workers::Workers;
use crate::{MkBackendBufferDesc, MkBufferDesc, MkError, MkMemoryType};
use bytemuck::{AnyBitPattern, NoUninit};
use memkit_graph::{BufferUsage, HostSlice, Resource, ResourceSlice};
use std::marker::PhantomData;
use std::ops::Range;

impl<B: MkGpuBackend> MkFrame<'_, B> {
    /// Uploads elements to `offset` bytes from the start of a buffer. They are read here and go into mapped staging
    /// memory, small ones some KiB at a time; the copy happens in the frame, after what was declared before and before
    /// what is declared after.
    ///
    /// # Errors
    /// [`MkError::OutOfBounds`], [`MkError::StagingLimit`], [`MkError::OutOfMemory`], [`MkError::OutOfHostMemory`],
    /// [`MkError::ForeignHandle`], [`MkError::GpuDropped`], [`MkError::DeviceLost`], or what the backend says. The frame goes
    /// on without the upload.
    #[inline]
    pub fn upload<'a, T: NoUninit>(
        &mut self,
        to: impl Into<MkSlice<'a>>,
        offset: usize,
        data: &[T],
    ) -> Result<(), MkError> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let alignment = align_of::<T>().min(16) as u64;
        let (to, offset) = (to.into(), offset as u64);
        if self.upload_small(bytes, alignment, (&to, offset), true).is_some() {
            return Ok(());
        }
        self.upload_first(bytes, alignment, (to, offset))
    }

    /// A small upload that is fine, to a buffer, if there is room for what is to be written there at once. They come by the
    /// thousand. `again`: only if the frame keeps the buffer already.
    #[inline(always)]
    fn upload_small(
        &mut self,
        bytes: &[u8],
        alignment: u64,
        (to, offset): (&MkSlice<'_>, u64),
        again: bool,
    ) -> Option<()> {
        let Target::Buffer(buffer) = to.target else { return None };
        let is_small = (1..=SMALL).contains(&bytes.len());
        let is_own = if again { buffer.is_kept_by(self.work.ws.stamp) } else { buffer.gpu.id == self.gpu.id };
        if !(is_small && is_own && self.gpu.is_usable()) {
            return None;
        }
        let (start, end) = to.part(buffer.size, offset, bytes.len() as u64)?;
        if !again {
            self.keep(to);
        }
        let part = ResourceSlice { resource: buffer.id.into(), start, end };
        self.collect(bytes, alignment, part).then_some(())
    }

    /// The first upload to a buffer, or any other.
    #[inline(never)]
    fn upload_first(
        &mut self,
        bytes: &[u8],
        alignment: u64,
        (to, offset): (MkSlice<'_>, u64),
    ) -> Result<(), MkError> {
        if self.upload_small(bytes, alignment, (&to, offset), false).is_some() {
            return Ok(());
        }
        if !self.gpu.is_usable() {
            self.inner()?;
        }
        let to = self.part(to, offset, bytes.len() as u64)?;
        if bytes.len() <= SMALL && self.collect(bytes, alignment, to) {
            return Ok(());
        }
        self.upload_any(bytes, alignment, to)
    }

    /// Takes in a small upload, if there is room for what is to be written to the current chunk at once.
    #[inline(always)]
    fn collect(&mut self, bytes: &[u8], alignment: u64, to: ResourceSlice) -> bool {
        let Workspace { graph, collected, .. } = &mut self.work.ws;
        let Some((from, room)) = collected.take(bytes.len(), alignment) else { return false };
        copy_few(room, bytes);
        graph.upload(from, to);
        true
    }

    /// An upload that is large, or for which there was no room.
    #[cold]
    #[inline(never)]
    fn upload_any(&mut self, bytes: &[u8], alignment: u64, to: ResourceSlice) -> Result<(), MkError> {
        // Held while staging memory is written: that memory lives as long as this.
        let inner = self.inner()?;
        let ws = &mut self.work.ws;
        ws.write_collected();
        if let Some(chunk) = ws.chunks.last().filter(|_| bytes.len() <= SMALL) {
            ws.collected.begin(chunk);
            if self.collect(bytes, alignment, to) {
                return Ok(());
            }
            // What is written next to the chunk goes where this would.
            self.work.ws.collected.clear();
        }
        self.upload_in_parts(&inner, bytes, alignment, to)
    }

    /// An upload that is large, or for which the current chunk has no room.
    fn upload_in_parts(
        &mut self,
        inner: &Inner<B>,
        bytes: &[u8],
        alignment: u64,
        to: ResourceSlice,
    ) -> Result<(), MkError> {
        let declared = self.work.ws.graph.len();
        let done = self.stage_some(&inner.workers, bytes, alignment, to);
        if done == bytes.len() {
            return Ok(());
        }
        let rest = ResourceSlice { start: to.start + done as u64, ..to };
        let result = self.stage_rest(inner, bytes.get(done..).unwrap_or(&[]), alignment, rest);
        if result.is_err() {
            // Parts that were declared already stay out of the frame.
            self.work.ws.graph.truncate(declared);
        }
        result
    }

    /// Uploads to the bytes `range` of a buffer, written in place by `f`: the memory may hold anything before.
    ///
    /// # Errors
    /// As for [`upload`](Self::upload).
    pub fn upload_with<'a>(
        &mut self,
        to: impl Into<MkSlice<'a>>,
        range: Range<usize>,
        f: impl FnOnce(&mut [u8]),
    ) -> Result<(), MkError> {
        let inner = self.inner()?;
        let size = range.end.saturating_sub(range.start);
        let to = self.part(to.into(), range.start as u64, size as u64)?;
        self.work.ws.write_collected();
        if !self.work.ws.chunks.last().is_some_and(|c| c.fits(size as u64, 16)) {
            self.more_staging(&inner, size as u64, size as u64)?;
        }
        let Some(chunk) = self.work.ws.chunks.last_mut() else { return Err(MkError::GpuDropped) };
        let buffer = chunk.number;
        let (offset, bytes) = chunk.take(size, 16);
        {
            let _inside = Inside::enter();
            f(bytes);
        }
        self.work.ws.graph.upload(HostSlice { buffer, offset }, to);
        Ok(())
    }

    /// Declares a copy of elements to the host: `elements` counts from the start of the slice. The ticket is good
    /// after `submit`, on any thread.
    ///
    /// # Errors
    /// [`MkError::OutOfBounds`], [`MkError::ZeroSize`], [`MkError::OutOfMemory`], [`MkError::OutOfHostMemory`],
    /// [`MkError::ForeignHandle`], [`MkError::GpuDropped`], [`MkError::DeviceLost`], or what the backend says. The frame goes
    /// on without the readback.
    pub fn readback<'a, T: AnyBitPattern>(
        &mut self,
        from: impl Into<MkSlice<'a>>,
        elements: Range<usize>,
    ) -> Result<MkReadback<T>, MkError> {
        let inner = self.inner()?;
        let from = from.into();
        let len = elements.end.saturating_sub(elements.start);
        let bytes = |n: usize| (n as u64).saturating_mul(size_of::<T>() as u64);
        if bytes(len) == 0 {
            return Err(MkError::ZeroSize { resource: format!("readback of {}", from.describe()).into() });
        }
        let from = self.part(from, bytes(elements.start), bytes(len))?;
        let mut core = lock(&inner.core);
        let (block, chunk) = inner.readback_block(&mut core, bytes(len))?;
        let key = core.readbacks.open(block);
        drop(core);
        self.work.ws.readbacks.push(key);
        let to = ResourceSlice::new(chunk, block.offset..block.offset + block.size);
        self.work.ws.graph.readback(from, to);
        Ok(MkReadback { gpu: self.gpu.clone(), key, len, _element: PhantomData })
    }

    /// The `len` bytes at `offset` from the start of a slice, if it has them, whose buffer the frame then keeps.
    pub(crate) fn part(
        &mut self,
        slice: MkSlice<'_>,
        offset: u64,
        len: u64,
    ) -> Result<ResourceSlice, MkError> {
        // A size that is not known is that of a stale handle; submit says so.
        let size = self.size_of(slice).unwrap_or(ResourceSlice::WHOLE);
        let (Some((start, end)), true) = (slice.part(size, offset, len), slice.gpu() == self.gpu.id) else {
            return Err(self.no_part(slice, size, (offset, len)));
        };
        self.keep(&slice);
        Ok(ResourceSlice { resource: slice.declared().resource, start, end })
    }

    /// Why a slice of a resource of `size` bytes has no such part.
    #[cold]
    fn no_part(&self, slice: MkSlice<'_>, size: u64, (offset, len): (u64, u64)) -> MkError {
        let whole = slice.declared();
        let start = whole.start.saturating_add(offset);
        let end = start.saturating_add(len);
        let limit = if whole.end == ResourceSlice::WHOLE { size } else { whole.end };
        let out_of_bounds =
            |start, end, size| MkError::OutOfBounds { resource: slice.describe().into(), start, end, size };
        if slice.gpu() != self.gpu.id {
            MkError::ForeignHandle { resource: slice.describe().into() }
        } else if limit > size || whole.start > limit {
            out_of_bounds(whole.start, whole.end, size)
        } else if end > limit {
            out_of_bounds(start, end, limit)
        } else {
            MkError::ZeroSize { resource: format!("range of {}", slice.describe()).into() }
        }
    }

    #[inline(always)]
    fn size_of(&self, slice: MkSlice<'_>) -> Option<u64> {
        match slice.target {
            Target::Buffer(buffer) => Some(buffer.size),
            Target::Id(id) => self.size_of_id(id),
            Target::Transient(t) => self.work.ws.graph.transient_size(t.id),
        }
    }

    #[cold]
    fn size_of_id(&self, id: MkBufferId) -> Option<u64> {
        // Whose it is, is judged later.
        let inner = self.work.inner.upgrade().filter(|_| id.gpu == self.gpu.id)?;
        lock(&inner.core).state.buffer(id.id).map(|d| d.size)
    }

    /// Writes as many bytes as the current chunk takes, and declares their upload. Returns how many.
    fn stage_some(&mut self, workers: &Workers, bytes: &[u8], alignment: u64, to: ResourceSlice) -> usize {
        let ws = &mut self.work.ws;
        let Some(chunk) = ws.chunks.last_mut() else { return 0 };
        let buffer = chunk.number;
        let (offset, room) = chunk.take(bytes.len(), alignment);
        let n = room.len();
        if n > 0 {
            workers.copy(room, bytes);
            ws.graph.upload(HostSlice { buffer, offset }, ResourceSlice { end: to.start + n as u64, ..to });
        }
        n
    }

    /// Writes bytes that the current chunk had no room for, and declares their upload.
    fn stage_rest(
        &mut self,
        inner: &Inner<B>,
        bytes: &[u8],
        alignment: u64,
        to: ResourceSlice,
    ) -> Result<(), MkError> {
        let mut done = 0;
        while done < bytes.len() {
            let left = &bytes[done..];
            self.more_staging(inner, 0, left.len() as u64)?;
            let to = ResourceSlice { start: to.start + done as u64, ..to };
            done += self.stage_some(&inner.workers, left, alignment, to);
        }
        Ok(())
    }

    /// Gets another chunk: `contiguous` bytes in one piece, or whatever there is.
    fn more_staging(&mut self, inner: &Inner<B>, contiguous: u64, asked: u64) -> Result<(), MkError> {
        loop {
            let mut core = lock(&inner.core);
            inner.is_done(&mut core, u64::MAX)?;
            let completed = core.completed;
            match core.staging.room(contiguous, completed) {
                Room::Chunk(chunk) => {
                    self.work.ws.chunks.push(chunk);
                    return Ok(());
                }
                Room::Make(size) => {
                    let chunk = inner.make_chunk(&mut core, size)?;
                    self.work.ws.chunks.push(chunk);
                    return Ok(());
                }
                Room::Wait(value) => {
                    drop(core);
                    inner.wait_value(value)?;
                }
                Room::Full { limit } => {
                    let held = self.work.ws.chunks.iter().map(HeldChunk::held_bytes).sum();
                    return Err(MkError::StagingLimit { asked, limit, held_by_this_frame: held });
                }
            }
        }
    }
}

impl<B: MkGpuBackend> Inner<B> {
    pub(crate) fn make_chunk(&self, core: &mut Core<B>, size: u64) -> Result<HeldChunk, MkError> {
        let desc = MkBackendBufferDesc {
            name: "staging chunk",
            size,
            usage: BufferUsage::TRANSFER_SRC,
            memory: self.chunk_memory(),
        };
        self.check_size(desc.name, usize::try_from(size).unwrap_or(usize::MAX))?;
        for buffer in core.staging.given_up.drain(..) {
            // SAFETY: made by this backend; the submissions that read it are done, and its chunk is gone from the table.
            unsafe { self.backend.destroy_buffer(buffer) };
        }
        let buffer = self.note(self.backend.create_buffer(&desc))?;
        match self.backend.mapped(&buffer) {
            Some(at) => Ok(core.staging.add(buffer, MappedAt::new(at), size)),
            None => {
                // SAFETY: made just now, used by nobody.
                unsafe { self.backend.destroy_buffer(buffer) };
                Err(MkError::NotMappable { resource: desc.name.into() })
            }
        }
    }

    /// Finds room for a readback, making a chunk if there is none.
    fn readback_block(&self, core: &mut Core<B>, size: u64) -> Result<(Block, Resource), MkError> {
        self.collect(core);
        // Whole atoms, so that no two readbacks share one; 16 bytes for the alignment of any element.
        let atom = self.backend.capabilities().non_coherent_atom_size.max(16);
        let block = match core.readbacks.place(size, atom) {
            Some(block) => block,
            None => {
                let largest = self.backend.capabilities().max_buffer_size;
                let padded = size.checked_next_multiple_of(atom).unwrap_or(u64::MAX);
                let bytes = padded.max(CHUNK_SIZE.min(largest));
                let own = OwnBuffer {
                    desc: MkBufferDesc {
                        name: "readback chunk",
                        size: usize::try_from(bytes).unwrap_or(usize::MAX),
                        usage: BufferUsage::TRANSFER_DST,
                        memory: MkMemoryType::HostCached,
                    },
                    host_reads: true,
                };
                let resource = self.make_in(core, &own)?;
                core.readbacks.add_chunk(resource, bytes);
                core.readbacks.place(size, atom).ok_or(MkError::Cancelled)?
            }
        };
        let resource = core.readbacks.chunks[block.chunk as usize].resource;
        Ok((block, resource.into()))
    }
}
