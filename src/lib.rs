//! Render-graph-integrated GPU resource manager.
mod arena;
pub mod backend;
mod buffer;
mod device;
mod dummy;
mod error;
mod frame;
mod gpu;
mod inner;
mod mapped;
mod memory;
mod pool;
mod readback;
mod staging;
mod stats;
mod submit;
mod sync;
mod transfer;
mod upload;
#[cfg(feature = "vulkan")]
pub mod vulkan;

#[cfg(feature = "vulkan")]
pub use ash;
pub use backend::{MkBackendBufferDesc, MkGpuBackend, MkPass, MkRecordInput, MkRecordPass, MkResolved};
pub use buffer::{MkBuffer, MkBufferId, MkDeviceBuffer, MkSlice, MkStagingBuffer, MkTransient};
pub use bytemuck;
pub use dummy::{
    DummyBackend, DummyBackendConfig, DummyBuffer, DummyContext, DummyRecording, DummyStats, MkHazard,
    MkHazardKind, MkHazardParty, MkHazardWork, MkKernelMemory, MkKernelRead, MkKernelWrite,
};
pub use error::{MkError, MkFrameError, MkFrameProblem, MkSource};
pub use frame::{MkFrame, MkPassBuilder};
pub use gpu::{MkGpu, MkGpuConfig};
pub use mapped::MkMapped;
pub use memkit_graph as graph;
pub use memkit_graph::BufferUsage as MkBufferUsage;
pub use memkit_graph::{Access, FrameDump, PassId as MkPassId, Queue};
pub use memory::{MkBufferDesc, MkCapabilities, MkMemoryType};
pub use pool::{MkGpuPool, MkPooledBuffer};
pub use readback::MkReadback;
pub use stats::MkFrameStats;
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
