//! `MkGpu`: owns the device, its buffers and what is in flight.

use crate::backend::MkGpuBackend;
use crate::buffer::{MkBuffer, MkDeviceBuffer, MkStagingBuffer};
use crate::device::{Ended, GpuLink, GpuRef, lock};
use crate::method::Measured;
use crate::readback::Readbacks;
use crate::staging::Staging;
use crate::submit::Workspace;
use crate::transfer::{BatchLog, Pending};
use crate::workers::Workers;
use crate::{MkBufferDesc, MkCapabilities, MkError, MkFence, MkMemoryType, MkUploadMethod};
use bytemuck::NoUninit;
use memkit_graph::{BufferUsage, GraphState, ResourceId};
use std::collections::VecDeque;
use std::ops::Range;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// How an [`MkGpu`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MkGpuConfig {
    /// Frames that may be submitted and not done: `begin_frame` waits for the one before. 1 to 3 are usual; 0 counts
    /// as 1.
    pub frames_in_flight: usize,
    /// Bytes of one chunk of staging memory.
    pub staging_chunk: usize,
    /// Most bytes of staging memory in all.
    pub staging_limit: usize,
    /// Where chunks of staging memory are. `None`: where [`HostLocal`](MkMemoryType::HostLocal) says if uploads may be
    /// scattered, or with two or more [`upload_threads`](Self::upload_threads): the host writes its own memory faster than
    /// the device's, and many small uploads take half the time (measured on an NVIDIA H100). Where
    /// [`HostVisible`](MkMemoryType::HostVisible) says otherwise: that may be the device's own memory, from which copy
    /// regions cost the device half as much. Device-local memory counts as `None`.
    pub staging_memory: Option<MkMemoryType>,
    /// Helper threads that take part in copies of 1 MiB or more into staging memory, beside the calling thread. They
    /// start with the first such copy and end with the `MkGpu`; if the system has no threads to give, there are fewer.
    pub upload_threads: usize,
    /// Most byte ranges a buffer's state keeps between frames; beyond, ranges merge conservatively.
    pub max_ranges: usize,
    /// How uploads travel.
    pub uploads: MkUploadMethod,
    /// Most frames of different structure whose plans are kept, to be used again where a frame has the same structure and
    /// begins in the same state: see [`Planner::with_cache`](memkit_graph::Planner::with_cache). Frames that are open at
    /// once keep as many each. 0 keeps none.
    pub plan_cache: usize,
}

impl Default for MkGpuConfig {
    /// Two frames in flight, chunks of 8 MiB up to 512 MiB, no helper threads, 256 ranges, uploads by whichever way costs
    /// less, plans of 8 structures.
    fn default() -> Self {
        MkGpuConfig {
            frames_in_flight: 2,
            staging_chunk: 8 << 20,
            staging_limit: 512 << 20,
            staging_memory: None,
            upload_threads: 0,
            max_ranges: GraphState::DEFAULT_MAX_RANGES,
            uploads: MkUploadMethod::Auto,
            plan_cache: 8,
        }
    }
}

/// A device and everything the library keeps for it.
///
/// Dropping it waits for the device and destroys everything it made, whatever handles, frames or tickets still exist;
/// using one of those gives [`MkError::GpuDropped`] then.
///
/// ```
/// use memkit_gpu::{DummyBackend, MkBufferUsage, MkGpu};
/// let gpu = MkGpu::new(DummyBackend::new());
/// let staging = gpu.staging_buffer_with_data(&[1.0f32, 2.0, 3.0])?;
/// let device = gpu.create_device_buffer(12, MkBufferUsage::VERTEX)?;
/// gpu.transfer(&staging, &device)?.wait()?;
/// # Ok::<(), memkit_gpu::MkError>(())
/// ```
pub struct MkGpu<B: MkGpuBackend> {
    pub(crate) inner: Arc<Inner<B>>,
    // After `inner`: waits for calls on other threads that still hold it.
    _wait: WaitForEnd,
}

/// What outlives the `MkGpu` value while a call on another thread, or a guard, still uses it.
pub(crate) struct Inner<B: MkGpuBackend> {
    pub(crate) link: GpuRef,
    pub(crate) config: MkGpuConfig,
    pub(crate) core: Mutex<Core<B>>,
    /// Apart from the core: measuring takes a while.
    pub(crate) upload_costs: Mutex<Measured>,
    pub(crate) next_name: AtomicU64,
    pub(crate) workers: Workers,
    pub(crate) backend: B,
    // Last: says that all before it is gone.
    _ended: SignalEnd,
}

struct WaitForEnd(Arc<Ended>);

impl Drop for WaitForEnd {
    fn drop(&mut self) {
        self.0.wait();
    }
}

struct SignalEnd(Arc<Ended>);

impl Drop for SignalEnd {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Everything that changes, under one lock that is never held while the caller's code runs.
pub(crate) struct Core<B: MkGpuBackend> {
    pub(crate) state: GraphState,
    /// By the slot of the resource.
    pub(crate) buffers: Vec<Option<BufferSlot<B>>>,
    pub(crate) pending: Pending,
    pub(crate) batches: BatchLog,
    pub(crate) staging: Staging<B>,
    pub(crate) readbacks: Readbacks,
    pub(crate) transients: Vec<PooledTransient>,
    pub(crate) workspaces: Vec<Workspace<B>>,
    /// Timeline values of submitted frames, oldest first.
    pub(crate) frames: VecDeque<u64>,
    /// Dropped buffers the device may still use.
    pub(crate) garbage: Vec<ResourceId>,
    /// The newest timeline value handed out, and the newest known to be reached.
    pub(crate) submitted: u64,
    pub(crate) completed: u64,
    pub(crate) next_frame: u64,
    pub(crate) stats: crate::stats::MkFrameStats,
}

/// A live buffer.
pub(crate) struct BufferSlot<B: MkGpuBackend> {
    pub(crate) id: ResourceId,
    pub(crate) buffer: B::Buffer,
    /// Timeline value of the last submission that uses it.
    pub(crate) last_use: u64,
    /// A map guard keeps the device from it.
    pub(crate) mapped: bool,
    /// The open frame that writes it directly, which keeps all others from it.
    pub(crate) claimed_by: Option<u64>,
    /// Bytes the host wrote whose flush failed, half-open: flushed again before anything else uses the buffer.
    pub(crate) unflushed: Option<Range<u64>>,
    /// Planned frames that are not submitted yet and use it: it may be neither destroyed nor mapped.
    pub(crate) pins: u32,
}

/// Memory that transients of one frame after the other live in.
pub(crate) struct PooledTransient {
    pub(crate) id: ResourceId,
    pub(crate) size: u64,
    pub(crate) usage: BufferUsage,
    /// The frame that chose it last.
    pub(crate) chosen_by: u64,
    /// The newest frame at that time.
    pub(crate) chosen_at: u64,
}

impl<B: MkGpuBackend> Core<B> {
    pub(crate) fn buffer(&self, id: ResourceId) -> Option<&BufferSlot<B>> {
        self.buffers.get(id.index() as usize)?.as_ref().filter(|s| s.id == id)
    }

    pub(crate) fn buffer_mut(&mut self, id: ResourceId) -> Option<&mut BufferSlot<B>> {
        self.buffers.get_mut(id.index() as usize)?.as_mut().filter(|s| s.id == id)
    }

    pub(crate) fn is_pending(&self, id: ResourceId) -> bool {
        self.pending.keep.iter().any(|b| b.id == id)
    }
}

static NEXT_GPU: AtomicU32 = AtomicU32::new(1);

impl<B: MkGpuBackend> MkGpu<B> {
    /// With the default configuration. Nothing is allocated on the device, and it cannot fail.
    pub fn new(backend: B) -> Self {
        Self::with_config(backend, MkGpuConfig::default())
    }

    /// With a configuration. Nothing is allocated on the device until it is used.
    pub fn with_config(backend: B, config: MkGpuConfig) -> Self {
        let ended = Arc::new(Ended::default());
        let largest = backend.capabilities().max_buffer_size;
        let core = Core {
            state: GraphState::for_device(backend.capabilities().stages, config.max_ranges),
            buffers: Vec::new(),
            pending: Pending::default(),
            batches: BatchLog::default(),
            staging: Staging::new(
                config.staging_chunk as u64,
                config.staging_limit as u64,
                largest,
                config.frames_in_flight,
            ),
            readbacks: Readbacks::default(),
            transients: Vec::new(),
            workspaces: Vec::new(),
            frames: VecDeque::new(),
            garbage: Vec::new(),
            submitted: 0,
            completed: 0,
            next_frame: 1,
            stats: Default::default(),
        };
        let inner = Arc::new_cyclic(|weak: &Weak<Inner<B>>| Inner {
            link: GpuRef(Arc::new(GpuLink::new(NEXT_GPU.fetch_add(1, Ordering::Relaxed), weak.clone()))),
            config,
            core: Mutex::new(core),
            upload_costs: Mutex::default(),
            next_name: AtomicU64::new(1),
            workers: Workers::new(config.upload_threads),
            backend,
            _ended: SignalEnd(ended.clone()),
        });
        MkGpu { inner, _wait: WaitForEnd(ended) }
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &B {
        &self.inner.backend
    }

    /// What the device can do.
    #[must_use]
    pub fn capabilities(&self) -> &MkCapabilities {
        self.inner.backend.capabilities()
    }

    /// How it was configured.
    #[must_use]
    pub fn config(&self) -> &MkGpuConfig {
        &self.inner.config
    }

    /// Makes a buffer of any memory type.
    ///
    /// # Errors
    /// [`MkError::ZeroSize`], [`MkError::BufferTooLarge`], [`MkError::OutOfMemory`], [`MkError::OutOfHostMemory`],
    /// [`MkError::DeviceLost`], or what the backend says.
    #[track_caller]
    pub fn create_buffer(&self, desc: &MkBufferDesc<'_>) -> Result<MkBuffer, MkError> {
        self.inner.make(self.gpu_ref(), desc, "buffer", Location::caller())
    }

    /// Makes a device-local buffer of `size` bytes.
    ///
    /// # Errors
    /// As for [`create_buffer`](Self::create_buffer).
    #[track_caller]
    pub fn create_device_buffer(&self, size: usize, usage: BufferUsage) -> Result<MkDeviceBuffer, MkError> {
        let desc = MkBufferDesc { name: "", size, usage, memory: MkMemoryType::DeviceLocal };
        self.inner.make(self.gpu_ref(), &desc, "device buffer", Location::caller()).map(MkDeviceBuffer)
    }

    /// Makes a staging buffer of `size` bytes.
    ///
    /// # Errors
    /// As for [`create_buffer`](Self::create_buffer).
    #[track_caller]
    pub fn create_staging_buffer(&self, size: usize) -> Result<MkStagingBuffer, MkError> {
        self.staging(size, Location::caller())
    }

    /// Makes a staging buffer that holds `data`.
    ///
    /// # Errors
    /// As for [`create_buffer`](Self::create_buffer).
    #[track_caller]
    pub fn staging_buffer_with_data<T: NoUninit>(&self, data: &[T]) -> Result<MkStagingBuffer, MkError> {
        let mut staging = self.staging(size_of_val(data), Location::caller())?;
        staging.write(0, data)?;
        Ok(staging)
    }

    fn staging(&self, size: usize, at: &Location<'_>) -> Result<MkStagingBuffer, MkError> {
        let usage = BufferUsage::TRANSFER_SRC | BufferUsage::TRANSFER_DST;
        let desc = MkBufferDesc { name: "", size, usage, memory: MkMemoryType::HostVisible };
        self.inner.make(self.gpu_ref(), &desc, "staging buffer", at).map(MkStagingBuffer)
    }

    /// A point on the timeline after all that was submitted.
    #[must_use]
    pub fn fence(&self) -> MkFence {
        MkFence { gpu: self.gpu_ref(), value: lock(&self.inner.core).submitted }
    }

    /// Submits what is pending and waits until the device is done with everything.
    ///
    /// # Errors
    /// As for [`flush`](Self::flush).
    pub fn wait_idle(&self) -> Result<(), MkError> {
        self.flush()?.wait()?;
        self.inner.collect(&mut lock(&self.inner.core));
        self.inner.check_lost()
    }

    pub(crate) fn gpu_ref(&self) -> GpuRef {
        self.inner.link.clone()
    }
}

impl<B: MkGpuBackend> Drop for MkGpu<B> {
    fn drop(&mut self) {
        let submitted = {
            let core = lock(&self.inner.core);
            // Under the lock: a frame on another thread is submitted before this, or not at all.
            self.inner.link.close();
            core.submitted
        };
        self.inner.backend.shut_down(submitted);
    }
}

impl<B: MkGpuBackend> std::fmt::Debug for MkGpu<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MkGpu")
            .field("device", &self.capabilities().device_name)
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}
