//! Render-graph-integrated GPU resource manager.
//!
//! An engine declares, each frame, which buffers its passes read and write and what bytes it wants uploaded; memkit-gpu
//! orders the work, batches the transfers, inserts the barriers and waits, and hands finished command lists to Vulkan
//! (feature `vulkan`) or to a simulated device that checks them. It does not need to own the frame loop.
//!
//! # Quick start
//!
//! ```
//! use memkit_gpu::{MkGpu, MkBufferUsage, DummyBackend};
//! let gpu = MkGpu::new(DummyBackend::new());
//! let vertices: &[f32] = &[0.0, 1.0, 0.0, 1.0, 0.0, 0.0];
//! let staging = gpu.staging_buffer_with_data(vertices).unwrap();
//! let device = gpu.create_device_buffer(
//!     std::mem::size_of_val(vertices),
//!     MkBufferUsage::VERTEX | MkBufferUsage::TRANSFER_DST,
//! ).unwrap();
//! gpu.transfer(&staging, &device).unwrap();
//! ```
//!
//! A transfer is pending until the next submission: [`MkGpu::flush`], a frame's or a batch's `submit`,
//! [`MkGpu::wait_idle`], or asking its ticket.
//!
//! # A frame
//!
//! A pass is one statement: what it reads, what it writes, and a closure that records it. On the simulated device a
//! closure dispatches kernels; on Vulkan it records into a command buffer.
//!
//! ```
//! use memkit_gpu::{Access, DummyBackend, MkBufferUsage, MkGpu, Queue};
//! let gpu = MkGpu::new(DummyBackend::new());
//! let values = gpu.create_device_buffer(16, MkBufferUsage::STORAGE)?;
//!
//! let mut frame = gpu.begin_frame()?;                    // waits only for the frame N - frames_in_flight
//! frame.upload(&values, 0, &[1u32, 2, 3, 4])?;           // written once, straight into mapped staging memory
//! let sums = frame.transient("sums", 8);                 // lives in this frame; its usage follows from its accesses
//! let from = values.id();                                // plain data, for closures
//! frame.pass("sum").on(Queue::Compute)
//!     .read(&values, Access::COMPUTE_STORAGE_READ)
//!     .overwrite(sums, Access::COMPUTE_STORAGE_WRITE)
//!     .record(move |cx| {
//!         cx.dispatch(move |mem| {                       // runs on the simulated queue, after `submit`
//!             let values = mem.read::<u32>(from)?;
//!             let mut sums = mem.write::<u32>(sums)?;
//!             sums[0] = values[..2].iter().sum();
//!             sums[1] = values[2..].iter().sum();
//!             Ok(())
//!         });
//!         Ok(())
//!     });
//! frame.copy(sums.slice(4..), values.slice(..4));        // ranges are bytes
//! let sums = frame.readback::<u32>(sums, 0..2)?;         // a ticket
//! frame.submit()?;                                       // plan, record, submit; waits for nothing
//!
//! sums.wait()?;
//! sums.try_read(|sums| assert_eq!(sums, [3, 7]))?;
//! assert!(gpu.backend().hazards().is_empty());           // no barrier was missing
//! # Ok::<(), memkit_gpu::MkError>(())
//! ```
//!
//! The order of declaration is the meaning: a read sees the last write declared before it, and the planner may run
//! things in any order that keeps this. A pass nobody needs is culled. [`MkFrame::submit_and_dump`] says what was done
//! and why.
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | the device and what it owns | [`MkGpu`], [`MkGpuConfig`], [`MkCapabilities`] |
//! | how uploads travel, and what decides | [`MkUploadMethod`], [`graph::uploads`](mod@memkit_graph::uploads) |
//! | buffers, and parts of them | [`MkDeviceBuffer`], [`MkStagingBuffer`], [`MkHostBuffer`], [`MkBuffer`], [`MkBufferDesc`], [`MkSlice`], [`MkGpuPool`] |
//! | transfers without a frame | [`MkGpu::upload_now`], [`MkGpu::transfer`], [`MkTransferBuilder`], [`MkBatchTransfer`], [`MkGpuTransfer`] |
//! | frames | [`MkFrame`], [`MkPassBuilder`], [`Access`], [`MkTransient`], [`MkReadback`], [`MkFence`] |
//! | what went wrong | [`MkError`], [`MkFrameError`], [`FrameDump`] |
//! | tests without a GPU | [`testing`], [`DummyBackend`], [`MkHazard`], [`DummyFault`] |
//! | planning alone, without a device | [`graph`] |
//! | a device of your own | [`backend`], [`MkGpuBackend`] |
//!
//! # Ownership and threads
//!
//! Handles and tickets are `Send + Sync` and carry no type of the backend. Dropping a handle frees its memory once the
//! device is done with it. Dropping the [`MkGpu`] waits for the device and destroys everything, whatever still exists:
//! using a handle, frame or ticket of it gives [`MkError::GpuDropped`] from then on. Frames may be open on any number of
//! threads; their order is the order of `submit`. No lock is held while a closure of the caller runs.
mod arena;
pub mod backend;
mod buffer;
mod collected;
mod copy;
mod device;
mod direct;
mod dummy;
mod error;
mod frame;
mod gpu;
mod import;
mod inner;
mod mapped;
mod memory;
mod method;
mod pool;
mod readback;
mod staging;
mod stats;
mod submit;
mod sync;
pub mod testing;
mod transfer;
mod upload;
mod upload_now;
#[cfg(feature = "vulkan")]
pub mod vulkan;
mod workers;

#[cfg(feature = "vulkan")]
pub use ash;
pub use backend::{MkBackendBufferDesc, MkGpuBackend, MkPass, MkRecordInput, MkRecordPass, MkResolved};
pub use buffer::{MkBuffer, MkBufferId, MkDeviceBuffer, MkHostBuffer, MkSlice, MkStagingBuffer, MkTransient};
pub use bytemuck;
pub use dummy::{
    DummyBackend, DummyBackendConfig, DummyBuffer, DummyCalls, DummyContext, DummyFailedCall, DummyFault,
    DummyFaultError, DummyFaultWhen, DummyRecording, MkHazard, MkHazardKind, MkHazardParty, MkHazardWork,
    MkKernelMemory, MkKernelRead, MkKernelWrite,
};
pub use error::{MkError, MkFrameError, MkFrameProblem, MkSource};
pub use frame::{MkFrame, MkPassBuilder};
pub use gpu::{MkGpu, MkGpuConfig};
pub use mapped::MkMapped;
pub use memkit_graph as graph;
pub use memkit_graph::BufferUsage as MkBufferUsage;
pub use memkit_graph::{Access, FrameDump, PassId as MkPassId, Queue};
pub use memory::{MkBufferDesc, MkCapabilities, MkMemoryType};
pub use method::MkUploadMethod;
pub use pool::{MkGpuPool, MkPooledBuffer};
pub use readback::MkReadback;
pub use stats::{DummyStats, MkFrameStats};
pub use sync::MkFence;
pub use transfer::{MkBatchTransfer, MkGpuTransfer, MkTransferBuilder};
#[cfg(feature = "vulkan")]
pub use vulkan::{
    MkQueueLock, MkValidationLog, MkValidationMessage, MkValidationSeverity, VulkanBackend, VulkanBorrow,
    VulkanBuffer, VulkanConfig, VulkanContext, VulkanRecording,
};

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
