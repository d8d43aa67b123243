//! The contract of a backend, kept by the simulated device.

use super::faults::{DummyCalls, DummyFaultError, Subject};
use super::memory::{Block, DeviceToken};
use super::record::{Recorded, misfit};
use super::{DummyBackend, DummyBackendConfig, DummyContext, DummyRecording, serve};
use crate::{
    MkBackendBufferDesc, MkCapabilities, MkError, MkGpuBackend, MkMemoryType, MkRecordInput, MkRecordPass,
};
use memkit_graph::UploadCosts;
use slotmap::SlotMap;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

slotmap::new_key_type! {
    struct BufferKey;
}

/// A buffer of the simulated device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DummyBuffer {
    key: BufferKey,
    device: u32,
    size: u64,
}

/// The buffers that exist.
#[derive(Default)]
pub(super) struct Buffers {
    slots: SlotMap<BufferKey, Arc<Block>>,
    /// Those that exist or are being made, and their bytes.
    allocations: usize,
    allocated: u64,
    /// Number and bytes, shared with who looks at them later.
    counts: Arc<Mutex<(usize, u64)>>,
}

impl Buffers {
    /// To be called after each change.
    fn publish(&self) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = (self.slots.len(), self.allocated);
    }

    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Counts a buffer before it is made, so that no lock is held while its memory is filled. `false` beyond a limit.
    fn reserve(&mut self, size: u64, config: &DummyBackendConfig) -> bool {
        let allocated = self.allocated.checked_add(size).filter(|n| *n <= config.memory_limit as u64);
        let (Some(allocated), true) = (allocated, self.allocations < config.allocation_limit) else {
            return false;
        };
        self.allocated = allocated;
        self.allocations += 1;
        true
    }

    /// Takes back a [`reserve`](Self::reserve).
    fn release(&mut self, size: u64) {
        self.allocated -= size;
        self.allocations -= 1;
    }
}

impl DummyBackend {
    /// Its figures, to be looked at also when the device is gone: that nothing was left behind.
    #[must_use]
    pub fn stats(&self) -> crate::DummyStats {
        let (shared, counts) = (self.shared.clone(), self.buffers().counts.clone());
        crate::DummyStats::new(move || {
            let (count, allocated) = *counts.lock().unwrap_or_else(PoisonError::into_inner);
            (count, allocated, shared.reports.all())
        })
    }
}

impl DummyBackend {
    fn buffers(&self) -> MutexGuard<'_, Buffers> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn block(&self, buffer: &DummyBuffer) -> Option<Arc<Block>> {
        self.buffers().slots.get(buffer.key).filter(|_| buffer.device == self.serial).cloned()
    }

    /// Begins a call that can fail: it does if the device is lost, or if a fault was injected into it.
    fn enter(&self, call: DummyCalls) -> Result<(), MkError> {
        self.enter_for(call, None)
    }

    fn enter_for(&self, call: DummyCalls, subject: Option<Subject<'_>>) -> Result<(), MkError> {
        if self.shared.is_lost() {
            return Err(MkError::DeviceLost);
        }
        // A kernel's calls come at any time: counting them would hit others each run.
        let hit = if self.is_worker() { None } else { self.faults.enter(call) };
        let Some(error) = hit else { return Ok(()) };
        if error == DummyFaultError::DeviceLost {
            self.shared.lose();
        }
        Err(error.into_error(call, subject))
    }

    /// Enters a buffer that was counted.
    fn keep(&self, block: Block) -> DummyBuffer {
        let size = block.size;
        let mut buffers = self.buffers();
        let key = buffers.slots.insert(Arc::new(block));
        buffers.publish();
        DummyBuffer { key, device: self.serial, size }
    }

    /// Starts the thread of the queue, if it does not run yet.
    fn start(&self) -> Result<(), MkError> {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if worker.is_none() {
            let shared = self.shared.clone();
            // SAFETY: made once a device: `worker` is set for good below, or no thread runs. Blocks reach the thread by
            // recordings only, which are made of this device's buffers.
            let token = unsafe { DeviceToken::new() };
            let thread = std::thread::Builder::new()
                .name("memkit-gpu dummy".to_owned())
                .spawn(move || serve::serve(shared, token))
                .map_err(|e| MkError::Backend { call: "starting the queue's thread", source: e.into() })?;
            *worker = Some(thread);
        }
        Ok(())
    }

    /// Whether this is the queue's own thread: a kernel runs.
    fn is_worker(&self) -> bool {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        worker.as_ref().is_some_and(|w| w.thread().id() == std::thread::current().id())
    }

    fn fill_recording(
        &self,
        recorded: &mut Recorded,
        input: MkRecordInput<'_, Self>,
        record: &mut MkRecordPass<'_, Self>,
    ) -> Result<(), MkError> {
        {
            let buffers = self.buffers();
            for handle in input.buffers.iter().chain(input.host_buffers) {
                let block = buffers.slots.get(handle.key).filter(|_| handle.device == self.serial);
                let block =
                    block.ok_or_else(|| misfit("a buffer that was destroyed, or of another device"))?;
                recorded.buffers.push(block.clone());
            }
        }
        recorded.fill(input, self.config().queue_families, self.capabilities.stages, record)
    }
}

// SAFETY: mapped memory is a block's own allocation: it neither moves nor ends before its buffer is destroyed. Commands
// run in the order of the schedule on one thread; copies and fills are cut to their buffers, kernels reach declared
// ranges only. A value is reached under the lock that `completed` and `wait` take, after the work. Failed calls
// give their recording back and count nothing. All state is behind locks. A lost device runs nothing new; what still
// runs keeps its memory. Dropping joins the thread after the work (except on that thread itself, where the work is what
// drops it).
unsafe impl MkGpuBackend for DummyBackend {
    type Buffer = DummyBuffer;
    type Recording = DummyRecording;
    type Context<'a> = DummyContext<'a>;

    fn capabilities(&self) -> &MkCapabilities {
        &self.capabilities
    }

    fn upload_costs(&self, _: MkMemoryType) -> Result<UploadCosts, MkError> {
        Ok(self.config().upload_costs)
    }

    fn buffer_size(buffer: &DummyBuffer) -> u64 {
        buffer.size
    }

    fn create_buffer(&self, desc: &MkBackendBufferDesc<'_>) -> Result<DummyBuffer, MkError> {
        let config = self.config();
        let subject = Subject { name: desc.name, size: desc.size, memory: desc.memory };
        self.enter_for(DummyCalls::CREATE_BUFFER, Some(subject))?;
        if desc.size == 0 {
            return Err(MkError::ZeroSize { resource: desc.name.into() });
        }
        let limit = config.max_buffer_size as u64;
        if desc.size > limit {
            return Err(MkError::BufferTooLarge { resource: desc.name.into(), size: desc.size, limit });
        }
        let out_of_memory = || MkError::OutOfMemory {
            resource: desc.name.into(),
            size: desc.size,
            memory: desc.memory,
            source: None,
        };
        if !self.buffers().reserve(desc.size, config) {
            return Err(out_of_memory());
        }
        let block = Block::new(desc, !config.simulate_device_local).ok_or_else(out_of_memory);
        let mapped = block.and_then(|block| {
            if block.mappable {
                self.enter_for(DummyCalls::MAP, Some(subject))?;
            }
            Ok(block)
        });
        mapped.map(|block| self.keep(block)).inspect_err(|_| self.buffers().release(desc.size))
    }

    unsafe fn import_host_memory(
        &self,
        desc: &MkBackendBufferDesc<'_>,
        at: NonNull<u8>,
    ) -> Result<DummyBuffer, MkError> {
        let subject = Subject { name: desc.name, size: desc.size, memory: desc.memory };
        self.enter_for(DummyCalls::CREATE_BUFFER, Some(subject))?;
        let out_of_memory = || MkError::OutOfMemory {
            resource: desc.name.into(),
            size: desc.size,
            memory: desc.memory,
            source: None,
        };
        // SAFETY: promised by the caller.
        let block = unsafe { Block::over(desc, at) }.ok_or_else(out_of_memory)?;
        if self.buffers().reserve(0, self.config()) { Ok(self.keep(block)) } else { Err(out_of_memory()) }
    }

    unsafe fn destroy_buffer(&self, buffer: DummyBuffer) {
        let removed = {
            let mut buffers = self.buffers();
            let removed = if buffer.device == self.serial { buffers.slots.remove(buffer.key) } else { None };
            if let Some(block) = &removed {
                buffers.release(block.allocated());
                buffers.publish();
            }
            removed
        };
        if let Some(block) = removed {
            self.shared.destroyed(&block);
        }
    }

    fn mapped(&self, buffer: &DummyBuffer) -> Option<NonNull<u8>> {
        self.block(buffer).filter(|b| b.mappable).map(|b| b.pointer())
    }

    unsafe fn flush(&self, buffer: &DummyBuffer, range: Range<u64>) -> Result<(), MkError> {
        self.enter(DummyCalls::FLUSH)?;
        // The memory is coherent; but this is how the device learns what the host wrote.
        if self.config().check
            && !range.is_empty()
            && let Some(block) = self.block(buffer)
        {
            self.shared.host_write(&block, range);
        }
        Ok(())
    }

    unsafe fn invalidate(&self, _buffer: &DummyBuffer, _range: Range<u64>) -> Result<(), MkError> {
        self.enter(DummyCalls::INVALIDATE)
    }

    unsafe fn record(
        &self,
        input: MkRecordInput<'_, Self>,
        record: &mut MkRecordPass<'_, Self>,
    ) -> Result<DummyRecording, MkError> {
        self.enter(DummyCalls::RECORD)?;
        let mut recorded = self.shared.take();
        let filled = self.fill_recording(&mut recorded, input, record);
        match filled.and_then(|()| self.enter(DummyCalls::END_RECORD)) {
            Ok(()) => Ok(DummyRecording(recorded)),
            Err(error) => {
                self.shared.recycle(recorded);
                Err(error)
            }
        }
    }

    fn discard(&self, recording: DummyRecording) {
        self.shared.recycle(recording.0);
    }

    unsafe fn submit(&self, mut recording: DummyRecording, catch_up: bool) -> Result<u64, MkError> {
        recording.0.catch_up = catch_up;
        if let Err(error) = self.enter(DummyCalls::SUBMIT).and_then(|()| self.start()) {
            self.shared.shelve(recording.0);
            return Err(error);
        }
        self.shared.push(recording.0).map_err(|recorded| {
            self.shared.shelve(recorded);
            MkError::DeviceLost
        })
    }

    fn completed(&self) -> Result<u64, MkError> {
        self.enter(DummyCalls::COMPLETED)?;
        self.shared.poll(|| self.is_worker())
    }

    /// A value that was never submitted is never reached: `false` at once, even for `Duration::MAX`.
    /// A kernel cannot wait for the submission it is part of, or a later one: that is [`MkError::NotReady`].
    fn wait(&self, value: u64, timeout: Duration) -> Result<bool, MkError> {
        self.enter(DummyCalls::WAIT)?;
        if self.is_worker() && self.shared.completed()? < value {
            return Err(MkError::NotReady);
        }
        self.shared.wait(value, timeout)
    }

    /// Also while paused. A kernel that drops its own `MkGpu` does not wait for itself. No fault hits this wait.
    fn shut_down(&self, submitted: u64) {
        self.shared.pause(false);
        // An error means that the device is lost.
        let _ = if self.is_worker() {
            self.shared.completed().map(|_| true)
        } else {
            self.shared.wait(submitted, Duration::MAX)
        };
    }
}
