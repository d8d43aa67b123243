//! The Vulkan device, over ash and gpu-allocator. Feature `vulkan`.
//!
//! Vulkan 1.3, or 1.2 with `VK_KHR_synchronization2`; timeline semaphores; portable drivers such as MoltenVK included.
//!
//! Two ways in: [`VulkanBackend::new`] makes instance and device, [`VulkanBackend::from_raw`] borrows an engine's.
//! Pipelines and descriptors are the application's own, made with [`VulkanBackend::device`]; a pass records with
//! its [`VulkanContext`].

mod atoms;
mod borrow;
mod config;
mod context;
mod copies;
mod costs;
mod debug;
mod device;
mod host;
mod host_memory;
mod import;
mod instance;
mod kinds;
mod layers;
mod log;
mod memory;
mod pool;
mod record;
mod result;
mod scatter;
mod select;
mod submit;
#[cfg(test)]
mod tests;
mod wait;

pub use borrow::{MkQueueLock, VulkanBorrow};
pub use config::VulkanConfig;
pub use context::VulkanContext;
pub use log::{MkValidationLog, MkValidationMessage, MkValidationSeverity};
pub use memory::VulkanBuffer;
pub use record::VulkanRecording;

use crate::{
    MkBackendBufferDesc, MkCapabilities, MkError, MkGpuBackend, MkMemoryType, MkRecordInput, MkRecordPass,
};
use ash::vk;
use device::Gpu;
use memkit_graph::{Queue, Stages, UploadCosts};
use memory::Memory;
use record::Recorders;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;
use submit::Timeline;

/// A Vulkan device.
///
/// It uses one queue, which draws and computes where the device has such a queue. Dropping it waits for all it
/// submitted and destroys all it made, buffers included. What the application made with [`device`](Self::device) must
/// be destroyed before, once nothing submitted uses it.
///
/// ```
/// use memkit_gpu::{VulkanBackend, VulkanConfig};
/// let backend = VulkanBackend::new(VulkanConfig { app_name: "viewer".into(), ..Default::default() })?;
/// # Ok::<(), memkit_gpu::MkError>(())
/// ```
pub struct VulkanBackend {
    capabilities: MkCapabilities,
    recorders: Arc<Recorders>,
    timeline: Timeline,
    memory: Arc<Memory>,
    /// Last: all others are made from it.
    gpu: Arc<Gpu>,
}

impl VulkanBackend {
    /// Opens a device of its own.
    ///
    /// # Errors
    /// [`MkError::DriverMissing`] without a Vulkan loader or driver, [`MkError::NoDevice`] if no device can do what
    /// is needed or the index names none, [`MkError::LayerMissing`] if validation is asked for and not installed;
    /// otherwise what the failing call says.
    pub fn new(config: VulkanConfig) -> Result<Self, MkError> {
        Self::over(Gpu::new(&instance::entry()?, &config)?)
    }

    /// Works on a device that an engine lends. Nothing borrowed is ever destroyed; what the backend makes on the device
    /// is gone when it is dropped, for which it waits for its own submissions only.
    ///
    /// # Errors
    /// [`MkError::NoDevice`] if the version is below 1.2 or the queue family cannot compute; otherwise what the failing
    /// call says.
    ///
    /// # Safety
    /// - `instance`, `physical_device`, `device` and `queue` belong together in this order, are valid, and stay so,
    ///   with the library their functions were loaded from, until the backend and all its recordings are dropped;
    /// - `queue` is a queue of `queue_family` that `device` was made with, not a protected one;
    /// - `api_version` is at most what the application asked for and what instance and device have;
    /// - the features `timelineSemaphore` and `synchronization2` are enabled on `device`, and below version 1.3 the
    ///   extension `VK_KHR_synchronization2`; `bufferDeviceAddress` and `storageBuffer8BitAccess` if the fields say so, and
    ///   those of the `optional_stages`;
    /// - `VK_EXT_external_memory_host` is enabled on `device` if the field says so;
    /// - `VK_EXT_debug_utils` is enabled on `instance` if the field says so;
    /// - `portability_subset` is enabled where the device has it, as Vulkan asks for;
    /// - whoever else uses `queue` (`vkQueueSubmit`, `vkQueuePresentKHR`, `vkQueueWaitIdle`, `vkDeviceWaitIdle` and the
    ///   like) does so under `queue_lock` only; without a lock nobody else uses it while the backend lives;
    /// - the lock excludes: what [`MkQueueLock::with`] is given runs while no one else holds it.
    pub unsafe fn from_raw(borrow: VulkanBorrow) -> Result<Self, MkError> {
        if borrow.api_version < vk::API_VERSION_1_2 {
            return Err(MkError::NoDevice { reason: "the borrowed device is used below Vulkan 1.2".into() });
        }
        // SAFETY: instance and physical device are valid and belong together, the caller says.
        let families =
            unsafe { borrow.instance.get_physical_device_queue_family_properties(borrow.physical_device) };
        let flags = families.get(borrow.queue_family as usize).map(|f| f.queue_flags);
        if !flags.is_some_and(|f| f.contains(vk::QueueFlags::COMPUTE)) {
            return Err(MkError::NoDevice { reason: "the borrowed queue cannot compute".into() });
        }
        Self::over(Gpu::borrowed(borrow))
    }

    fn over(gpu: Gpu) -> Result<Self, MkError> {
        // Each part cleans up after itself, and the device goes with the last of them.
        let gpu = Arc::new(gpu);
        let (mut capabilities, atom) = capabilities(&gpu);
        let memory = Arc::new(Memory::new(&gpu, atom, capabilities.max_buffer_size)?);
        capabilities.unified_memory = kinds::has_unified(memory.types());
        let timeline = Timeline::new(&gpu)?;
        let recorders = Recorders::new(&gpu, &memory);
        Ok(VulkanBackend { capabilities, recorders, timeline, memory, gpu })
    }

    /// The device, to make pipelines and descriptors with.
    #[must_use]
    pub fn device(&self) -> &ash::Device {
        &self.gpu.device
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &ash::Instance {
        &self.gpu.instance.raw
    }

    /// The physical device.
    #[must_use]
    pub fn physical_device(&self) -> vk::PhysicalDevice {
        self.gpu.physical
    }

    /// The family of the queue.
    #[must_use]
    pub fn queue_family(&self) -> u32 {
        self.gpu.queue_family
    }

    /// The queue. To use it, go through [`with_queue`](Self::with_queue).
    #[must_use]
    pub fn queue(&self) -> vk::Queue {
        self.gpu.queue()
    }

    /// The Vulkan version in use: at most 1.3 on a device of its own.
    #[must_use]
    pub fn api_version(&self) -> u32 {
        self.gpu.api_version
    }

    /// Runs `f` while the backend does not use the queue: Vulkan wants its uses externally synchronized. Submitting
    /// through the backend inside would deadlock.
    ///
    /// # Errors
    /// [`MkError::Backend`] if a lender's [`MkQueueLock`] did not run `f`.
    pub fn with_queue<T>(&self, f: impl FnOnce(vk::Queue) -> T) -> Result<T, MkError> {
        self.gpu.with_queue(f)
    }

    /// What the validation layer said so far; nothing without [`VulkanConfig::validation`] and on a borrowed device.
    #[must_use]
    pub fn validation_messages(&self) -> Vec<MkValidationMessage> {
        self.gpu.instance.log.messages()
    }

    /// The log of the validation layer, which outlives the backend.
    #[must_use]
    pub fn validation_log(&self) -> MkValidationLog {
        self.gpu.instance.log.clone()
    }

    /// How many buffers live, those included in which the backend keeps tables of scattered uploads: one a frame in
    /// flight, once there are such uploads.
    #[must_use]
    pub fn buffer_count(&self) -> usize {
        self.memory.count()
    }
}

impl Drop for VulkanBackend {
    fn drop(&mut self) {
        // Then the fields go, in the order in which they stand.
        self.timeline.drain();
    }
}

impl std::fmt::Debug for VulkanBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VulkanBackend")
            .field("device", &self.capabilities.device_name)
            .finish_non_exhaustive()
    }
}

// SAFETY:
// - `mapped` is the persistent mapping of the buffer's own part of a memory object; it ends with `destroy_buffer`, or
//   when the backend is dropped.
// - `record` records the schedule's commands as they are, and each submission signals one timeline value more than the
//   one before, in submission order on one queue; a timeline semaphore's signal waits for all commands submitted before and
//   makes their writes available, and the schedule's own barriers make them visible to the host.
// - what fails cleans up by dropping: `Unbound`, `VulkanRecording`; the value of a failed submit is not kept.
// - everything mutable is behind mutexes or atomics, but for the queue under its own lock.
// - `Gpu` remembers a lost device; `drop` waits first.
unsafe impl MkGpuBackend for VulkanBackend {
    type Buffer = VulkanBuffer;
    type Recording = VulkanRecording;
    type Context<'a> = VulkanContext<'a>;

    fn capabilities(&self) -> &MkCapabilities {
        &self.capabilities
    }

    fn upload_costs(&self, staging: MkMemoryType) -> Result<UploadCosts, MkError> {
        if !self.gpu.scatter {
            return Ok(UploadCosts::default());
        }
        costs::measure(&self.gpu, &self.memory, &*self.recorders.scatter()?, staging)
    }

    fn buffer_size(buffer: &VulkanBuffer) -> u64 {
        buffer.size()
    }

    fn create_buffer(&self, desc: &MkBackendBufferDesc<'_>) -> Result<VulkanBuffer, MkError> {
        self.memory.create(desc)
    }

    unsafe fn import_host_memory(
        &self,
        desc: &MkBackendBufferDesc<'_>,
        at: NonNull<u8>,
    ) -> Result<VulkanBuffer, MkError> {
        // SAFETY: promised by the caller.
        unsafe { self.memory.import(desc, at) }
    }

    unsafe fn destroy_buffer(&self, buffer: VulkanBuffer) {
        // SAFETY: promised by the caller.
        unsafe { self.memory.destroy(buffer) }
    }

    fn mapped(&self, buffer: &VulkanBuffer) -> Option<NonNull<u8>> {
        buffer.mapped()
    }

    unsafe fn flush(&self, buffer: &VulkanBuffer, range: Range<u64>) -> Result<(), MkError> {
        self.memory.flush(buffer, range)
    }

    unsafe fn invalidate(&self, buffer: &VulkanBuffer, range: Range<u64>) -> Result<(), MkError> {
        self.memory.with_atoms(buffer, range, "vkInvalidateMappedMemoryRanges", |device, mapped| {
            // SAFETY: the memory is mapped and the range is made of whole atoms, in which nothing is unflushed.
            unsafe { device.invalidate_mapped_memory_ranges(&[mapped]) }
        })
    }

    unsafe fn record(
        &self,
        input: MkRecordInput<'_, Self>,
        record: &mut MkRecordPass<'_, Self>,
    ) -> Result<VulkanRecording, MkError> {
        // SAFETY: promised by the caller.
        unsafe { record::record(&self.recorders, || self.timeline.completed(), input, record) }
    }

    fn discard(&self, recording: VulkanRecording) {
        drop(recording);
    }

    unsafe fn submit(&self, recording: VulkanRecording, catch_up: bool) -> Result<u64, MkError> {
        // SAFETY: promised by the caller.
        unsafe { self.timeline.submit(recording, catch_up) }
    }

    fn completed(&self) -> Result<u64, MkError> {
        self.timeline.completed()
    }

    fn wait(&self, value: u64, timeout: Duration) -> Result<bool, MkError> {
        self.timeline.wait(value, timeout)
    }
}

/// What the device can do, and its `nonCoherentAtomSize`.
fn capabilities(gpu: &Gpu) -> (MkCapabilities, u64) {
    let mut maintenance3 = vk::PhysicalDeviceMaintenance3Properties::default();
    let mut maintenance4 = vk::PhysicalDeviceMaintenance4Properties::default();
    let mut driver = vk::PhysicalDeviceDriverProperties::default();
    let mut properties =
        vk::PhysicalDeviceProperties2::default().push_next(&mut maintenance3).push_next(&mut driver);
    if gpu.api_version >= vk::API_VERSION_1_3 {
        properties = properties.push_next(&mut maintenance4);
    }
    let instance = &gpu.instance.raw;
    // SAFETY: the physical device belongs to the instance; the chained structures belong to the version in use.
    unsafe { instance.get_physical_device_properties2(gpu.physical, &mut properties) };
    // SAFETY: as above.
    let families = unsafe { instance.get_physical_device_queue_family_properties(gpu.physical) };
    let properties = properties.properties;
    let text = |s: Result<&std::ffi::CStr, _>| s.unwrap_or(c"?").to_string_lossy().into_owned();

    let mut capabilities = MkCapabilities::new(text(properties.device_name_as_c_str()));
    capabilities.driver =
        format!("{} {}", text(driver.driver_name_as_c_str()), text(driver.driver_info_as_c_str()));
    capabilities.max_buffer_size = match maintenance4.max_buffer_size {
        0 => maintenance3.max_memory_allocation_size,
        size => size.min(maintenance3.max_memory_allocation_size),
    };
    let atom = properties.limits.non_coherent_atom_size;
    capabilities.non_coherent_atom_size = atom;
    capabilities.scatter_uploads = gpu.scatter;
    capabilities.host_import = gpu.host_import.as_ref().map(|import| import.alignment);
    let flags = families.get(gpu.queue_family as usize).map_or(vk::QueueFlags::empty(), |f| f.queue_flags);
    let names = [
        (vk::QueueFlags::GRAPHICS, "graphics"),
        (vk::QueueFlags::COMPUTE, "compute"),
        // Who draws or computes transfers too, whether it says so or not.
        (vk::QueueFlags::TRANSFER | vk::QueueFlags::GRAPHICS | vk::QueueFlags::COMPUTE, "transfer"),
    ];
    let able: Vec<&str> = names.iter().filter(|(f, _)| flags.intersects(*f)).map(|(_, name)| *name).collect();
    capabilities.queues = vec![able.join(" + ")];
    let queue = if flags.contains(vk::QueueFlags::GRAPHICS) { Queue::Graphics } else { Queue::Compute };
    capabilities.stages = queue.supported_stages() & (gpu.optional_stages | !Stages::OPTIONAL);
    (capabilities, atom)
}
