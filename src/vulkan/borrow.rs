//! A device that an engine lends.

use ash::vk;
use memkit_graph::Stages;
use std::sync::{Arc, Mutex, PoisonError};

/// How a queue is locked that an engine uses too: Vulkan wants its uses externally synchronized.
pub trait MkQueueLock: Send + Sync {
    /// Takes the lock, runs `submit` once, gives the lock back.
    fn with(&self, submit: &mut dyn FnMut());
}

/// Any mutex will do, whatever it guards.
impl<T: Send> MkQueueLock for Mutex<T> {
    fn with(&self, submit: &mut dyn FnMut()) {
        let _guard = self.lock().unwrap_or_else(PoisonError::into_inner);
        submit();
    }
}

/// What [`VulkanBackend::from_raw`](super::VulkanBackend::from_raw) borrows.
#[derive(Clone)]
pub struct VulkanBorrow {
    /// The instance.
    pub instance: ash::Instance,
    /// The physical device of `device`.
    pub physical_device: vk::PhysicalDevice,
    /// The device, made with the features `timelineSemaphore` and `synchronization2`.
    pub device: ash::Device,
    /// A queue of `device` that computes; one that draws too, if passes are to draw.
    pub queue: vk::Queue,
    /// The family of `queue`.
    pub queue_family: u32,
    /// How `queue` is locked. `None` if nobody else uses it.
    pub queue_lock: Option<Arc<dyn MkQueueLock>>,
    /// The Vulkan version in use: the smallest of what the application asked for, the instance and the device.
    /// At least 1.2. Below 1.3 the extension `VK_KHR_synchronization2` is enabled.
    pub api_version: u32,
    /// Which of the [stages that need a feature](Stages::OPTIONAL) `device` was made with: `geometryShader`,
    /// `tessellationShader`, `taskShader`, `meshShader`, `rayTracingPipeline`. A pass that names another of them is an error,
    /// and no barrier does. Stages that need none are the queue family's.
    pub optional_stages: Stages,
    /// Whether `device` was made with the feature `bufferDeviceAddress`.
    pub buffer_device_address: bool,
    /// Whether `device` was made with the feature `storageBuffer8BitAccess` too. With both features uploads may be
    /// [scattered](crate::graph::uploads), by dispatches on `queue`; what they cost is then measured on it once, within a
    /// few milliseconds (see [`MkUploadMethod`](crate::MkUploadMethod)). Without, they are copied.
    pub storage_buffer_8bit_access: bool,
    /// Whether `device` was made with `VK_EXT_external_memory_host`; then memory of the caller's can be imported.
    pub external_memory_host: bool,
    /// Whether `instance` was made with `VK_EXT_debug_utils`; then objects get names and passes labels.
    pub debug_utils: bool,
}

impl std::fmt::Debug for VulkanBorrow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VulkanBorrow")
            .field("device", &self.device.handle())
            .field("queue", &self.queue)
            .field("queue_family", &self.queue_family)
            .field("queue_lock", &self.queue_lock.is_some())
            .field("api_version", &self.api_version)
            .field("optional_stages", &self.optional_stages)
            .finish_non_exhaustive()
    }
}
