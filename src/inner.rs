//! The shared inside of an `MkGpu`: making and destroying buffers, and what handles and tickets ask for.

use crate::backend::{MkBackendBufferDesc, MkGpuBackend};
use crate::buffer::{BufferInner, MkBuffer};
use crate::device::{Device, GpuRef, Inside, lock};
use crate::gpu::{BufferSlot, Core, Inner};
use crate::mapped::{MapMode, MappedAt};
use crate::readback::{Progress, ReadbackKey};
use crate::workers::Workers;
use crate::{MkBufferDesc, MkError};
use memkit_graph::{BufferDesc, BufferUsage, ResourceId};
use std::ops::Range;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How a buffer of the library's own is registered.
pub(crate) struct OwnBuffer<'a> {
    pub(crate) desc: MkBufferDesc<'a>,
    /// Whether what the host may read after a frame is tracked.
    pub(crate) host_reads: bool,
}

impl<B: MkGpuBackend> Core<B> {
    /// Enters a buffer into the planner's state and the table of buffers.
    fn register(&mut self, desc: BufferDesc, buffer: B::Buffer) -> ResourceId {
        let id = self.state.add_buffer(desc);
        let slot = id.index() as usize;
        if self.buffers.len() <= slot {
            self.buffers.resize_with(slot + 1, || None);
        }
        self.buffers[slot] = Some(BufferSlot {
            id,
            buffer,
            last_use: 0,
            mapped: false,
            claimed_by: None,
            unflushed: None,
            pins: 0,
        });
        id
    }
}

fn handle(gpu: GpuRef, id: ResourceId, name: Arc<str>, desc: &MkBufferDesc<'_>) -> MkBuffer {
    let inner = BufferInner {
        gpu,
        id,
        name,
        size: desc.size as u64,
        usage: desc.usage,
        memory: desc.memory,
        kept_by: AtomicU64::new(0),
    };
    MkBuffer { inner: Arc::new(inner) }
}

impl<B: MkGpuBackend> Inner<B> {
    /// Makes a buffer and its handle.
    pub(crate) fn make(
        &self,
        gpu: GpuRef,
        desc: &MkBufferDesc<'_>,
        kind: &str,
        at: &Location<'_>,
    ) -> Result<MkBuffer, MkError> {
        let name = self.name_for(desc.name, kind, at);
        let named = MkBufferDesc { name: &name, ..*desc };
        let host_reads = desc.memory.is_mappable();
        let id = self.make_in(&mut lock(&self.core), &OwnBuffer { desc: named, host_reads })?;
        Ok(handle(gpu, id, name, desc))
    }

    /// Takes a buffer in whose bytes are somebody else's. They count as written; its usage is what `desc` says and no
    /// more. `host_reads`: whether the host may read what the device wrote.
    pub(crate) fn adopt(
        &self,
        gpu: GpuRef,
        desc: &MkBufferDesc<'_>,
        name: Arc<str>,
        host_reads: bool,
        buffer: B::Buffer,
    ) -> MkBuffer {
        let planned = BufferDesc {
            initialized: true,
            host_visible: host_reads,
            ..BufferDesc::new(name.clone(), desc.size as u64, desc.usage)
        };
        let id = lock(&self.core).register(planned, buffer);
        handle(gpu, id, name, desc)
    }

    /// The name given, or kind, number and source line.
    pub(crate) fn name_for(&self, name: &str, kind: &str, at: &Location<'_>) -> Arc<str> {
        let number = self.next_name.fetch_add(1, Ordering::Relaxed);
        if name.is_empty() {
            format!("{kind} #{number} ({}:{})", at.file(), at.line()).into()
        } else {
            name.into()
        }
    }

    /// Makes a buffer that the planner knows, without a handle.
    pub(crate) fn make_in(&self, core: &mut Core<B>, own: &OwnBuffer<'_>) -> Result<ResourceId, MkError> {
        let desc = &own.desc;
        self.check_lost()?;
        self.check_size(desc.name, desc.size)?;
        self.collect(core);
        // The library's buffers can always be transferred.
        let usage = desc.usage | BufferUsage::TRANSFER_SRC | BufferUsage::TRANSFER_DST;
        let size = desc.size as u64;
        let backend_desc = MkBackendBufferDesc { name: desc.name, size, usage, memory: desc.memory };
        let buffer = self.note(self.backend.create_buffer(&backend_desc))?;
        let planned = BufferDesc {
            initialized: desc.memory.is_mappable(),
            host_visible: own.host_reads,
            scatter: self.backend.capabilities().scatter_uploads,
            ..BufferDesc::new(desc.name, size, usage)
        };
        Ok(core.register(planned, buffer))
    }

    pub(crate) fn check_size(&self, name: &str, size: usize) -> Result<(), MkError> {
        let limit = self.backend.capabilities().max_buffer_size;
        match size as u64 {
            0 => Err(MkError::ZeroSize { resource: name.into() }),
            size if size > limit => Err(MkError::BufferTooLarge { resource: name.into(), size, limit }),
            _ => Ok(()),
        }
    }

    #[inline]
    pub(crate) fn check_lost(&self) -> Result<(), MkError> {
        if self.link.is_closed() {
            return Err(MkError::GpuDropped);
        }
        if self.link.is_lost() { Err(MkError::DeviceLost) } else { Ok(()) }
    }

    /// Remembers a lost device.
    pub(crate) fn note<T>(&self, result: Result<T, MkError>) -> Result<T, MkError> {
        if let Err(error) = &result
            && error.is_device_lost()
        {
            self.link.lose();
        }
        result
    }

    /// Takes up what handles dropped, and frees what the device is done with.
    pub(crate) fn collect(&self, core: &mut Core<B>) {
        {
            let mut dropped = lock(&self.link.dropped);
            core.garbage.append(&mut dropped.buffers);
            dropped.readbacks.drain(..).for_each(|key| core.readbacks.drop_ticket(key));
        }
        if core.completed < core.submitted
            && let Ok(completed) = self.note(self.backend.completed())
        {
            core.completed = completed.max(core.completed);
        }
        let completed = core.completed;
        core.readbacks.collect(completed);
        core.batches.collect(completed);
        self.retire_transients(core);
        let mut garbage = std::mem::take(&mut core.garbage);
        garbage.retain(|&id| {
            let busy = core.buffer(id).is_some_and(|slot| slot.pins > 0 || slot.last_use > completed);
            if !busy {
                self.destroy(core, id);
            }
            busy
        });
        core.garbage = garbage;
    }

    /// Gives up transient memory that no frame has chosen for a while.
    fn retire_transients(&self, core: &mut Core<B>) {
        const FRAMES: u64 = 16;
        let (next, garbage) = (core.next_frame, &mut core.garbage);
        core.transients.retain(|t| {
            let keep = t.chosen_at + FRAMES >= next;
            if !keep {
                garbage.push(t.id);
            }
            keep
        });
    }

    /// Destroys a buffer that no submitted work uses.
    fn destroy(&self, core: &mut Core<B>, id: ResourceId) {
        let slot = core.buffers.get_mut(id.index() as usize).and_then(|s| s.take_if(|s| s.id == id));
        core.state.remove(id);
        if let Some(slot) = slot {
            // SAFETY: made by this backend and taken out of the table, so destroyed once; its last submission is
            // done, no frame that is being submitted has it pinned, and a map guard would have kept its handle.
            unsafe { self.backend.destroy_buffer(slot.buffer) };
        }
    }

    pub(crate) fn is_done(&self, core: &mut Core<B>, value: u64) -> Result<bool, MkError> {
        if value > core.completed {
            core.completed = self.note(self.backend.completed())?.max(core.completed);
        }
        Ok(value <= core.completed)
    }

    /// Waits for a timeline value without holding the core.
    pub(crate) fn wait_value(&self, value: u64) -> Result<(), MkError> {
        while !self.note(self.backend.wait(value, Duration::MAX))? {}
        let mut core = lock(&self.core);
        core.completed = core.completed.max(value);
        Ok(())
    }

    /// Makes what the host wrote to a buffer visible, if that failed before or was not tried yet.
    pub(crate) fn flush_again(&self, core: &mut Core<B>, id: ResourceId) -> Result<(), MkError> {
        let Some(slot) = core.buffer_mut(id) else { return Ok(()) };
        if let Some(range) = &slot.unflushed {
            // SAFETY: the buffer lives, since its slot does, and was mapped by the host before.
            self.note(unsafe { self.backend.flush(&slot.buffer, range.clone()) })?;
            slot.unflushed = None;
        }
        Ok(())
    }

    /// Whether submitted, pending or planned work uses a buffer.
    pub(crate) fn in_use(&self, core: &mut Core<B>, id: ResourceId) -> Result<bool, MkError> {
        let (pins, last_use) = core.buffer(id).map_or((0, 0), |s| (s.pins, s.last_use));
        Ok(pins > 0 || core.is_pending(id) || !self.is_done(core, last_use)?)
    }
}

impl<B: MkGpuBackend> Device for Inner<B> {
    fn create_buffer(
        &self,
        desc: &MkBufferDesc<'_>,
        gpu: GpuRef,
        at: &Location<'_>,
    ) -> Result<MkBuffer, MkError> {
        self.make(gpu, desc, "buffer", at)
    }

    fn is_idle(&self, id: ResourceId) -> Result<bool, MkError> {
        self.check_lost()?;
        let mut core = lock(&self.core);
        Ok(!self.in_use(&mut core, id)?)
    }

    fn map(&self, buffer: &BufferInner, range: Range<u64>, mode: MapMode) -> Result<NonNull<u8>, MkError> {
        self.check_lost()?;
        let mut core = lock(&self.core);
        let name = || (&*buffer.name).into();
        let slot = core.buffer(buffer.id).ok_or(MkError::GpuDropped)?;
        let raw = slot.buffer;
        let mapped = self.backend.mapped(&raw).filter(|_| buffer.memory.is_mappable());
        let at = mapped.ok_or_else(|| MkError::NotMappable { resource: name() })?;
        if slot.mapped || slot.claimed_by.is_some() || self.in_use(&mut core, buffer.id)? {
            return Err(MkError::InUse { resource: name() });
        }
        if mode.reads() {
            self.flush_again(&mut core, buffer.id)?;
            // SAFETY: the buffer lives (its handle does) and is mapped; host writes were flushed when their guard went, or
            // just now.
            self.note(unsafe { self.backend.invalidate(&raw, range.clone()) })?;
        }
        if let Some(slot) = core.buffer_mut(buffer.id) {
            slot.mapped = true;
        }
        // SAFETY: the range was checked against the buffer's size.
        Ok(unsafe { MappedAt::new(at).add(range.start as usize) }.get())
    }

    fn workers(&self) -> &Workers {
        &self.workers
    }

    fn unmap(&self, buffer: &BufferInner, range: Range<u64>, mode: MapMode) -> Result<(), MkError> {
        let mut core = lock(&self.core);
        let Some(slot) = core.buffer_mut(buffer.id) else { return Ok(()) };
        slot.mapped = false;
        if !mode.writes() {
            return Ok(());
        }
        let owed = slot.unflushed.take().unwrap_or(range.clone());
        slot.unflushed = Some(owed.start.min(range.start)..owed.end.max(range.end));
        self.flush_again(&mut core, buffer.id)
    }

    fn batch_value(&self, batch: u64) -> Result<Option<u64>, MkError> {
        self.check_lost()?;
        if let Some(value) = lock(&self.core).batches.value(batch)? {
            return Ok(Some(value));
        }
        self.flush_pending()?;
        lock(&self.core).batches.value(batch)
    }

    fn is_reached(&self, value: u64) -> Result<bool, MkError> {
        self.check_lost()?;
        self.is_done(&mut lock(&self.core), value)
    }

    fn wait_briefly(&self, value: u64, timeout: Duration) -> Result<bool, MkError> {
        self.check_lost()?;
        if lock(&self.core).completed >= value {
            return Ok(true);
        }
        let reached = self.note(self.backend.wait(value, timeout))?;
        if reached {
            let mut core = lock(&self.core);
            core.completed = core.completed.max(value);
        }
        Ok(reached)
    }

    fn readback_value(&self, key: ReadbackKey) -> Result<u64, MkError> {
        self.check_lost()?;
        match lock(&self.core).readbacks.get(key) {
            Some((Progress::Submitted(value), _)) => Ok(value),
            Some((Progress::Open, _)) => Err(MkError::NotReady),
            Some((Progress::Cancelled, _)) | None => Err(MkError::Cancelled),
        }
    }

    fn with_readback(&self, key: ReadbackKey, f: &mut dyn FnMut(&[u8])) -> Result<(), MkError> {
        let value = self.readback_value(key)?;
        let (at, size) = {
            let mut core = lock(&self.core);
            if !self.is_done(&mut core, value)? {
                return Err(MkError::NotReady);
            }
            let (_, block) = core.readbacks.get(key).ok_or(MkError::Cancelled)?;
            let resource = core.readbacks.chunks[block.chunk as usize].resource;
            let raw = core.buffer(resource).ok_or(MkError::GpuDropped)?.buffer;
            let mapped = self.backend.mapped(&raw).ok_or(MkError::GpuDropped)?;
            let range = block.offset..block.offset + block.size;
            // SAFETY: chunks live as long as the `MkGpu` and are mapped; the host never writes them.
            self.note(unsafe { self.backend.invalidate(&raw, range) })?;
            // SAFETY: a block lies within its chunk.
            (unsafe { MappedAt::new(mapped).add(block.offset as usize) }, block.size as usize)
        };
        let _inside = Inside::enter();
        // SAFETY: the submission that wrote the block is done, and the block is used again only once its ticket is
        // dropped, which the caller's borrow of the ticket forbids; `self` is held by the caller.
        f(unsafe { at.bytes(size) });
        Ok(())
    }
}

impl<B: MkGpuBackend> Drop for Inner<B> {
    fn drop(&mut self) {
        let core = self.core.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.backend.shut_down(core.submitted);
        // Closures first: what they captured may be handles.
        core.workspaces.clear();
        core.pending.clear();
        let slots = core.buffers.drain(..).flatten().map(|s| s.buffer);
        for buffer in slots.chain(
            core.staging.chunks.drain(..).filter_map(|c| c.buffer).chain(core.staging.given_up.drain(..)),
        ) {
            // SAFETY: made by this backend, taken out of the tables; everything submitted is done, and nothing else
            // can be submitted any more.
            unsafe { self.backend.destroy_buffer(buffer) };
        }
    }
}
