//! The device and its queue: made here, or borrowed. Everything else holds it by `Arc`, so that it goes last.

use super::VulkanConfig;
use super::borrow::{MkQueueLock, VulkanBorrow};
use super::debug::Debug;
use super::host::HostImport;
use super::instance::Instance;
use super::result::{failed, refused};
use super::select::{Candidate, select};
use crate::MkError;
use ash::{ext, khr, vk};
use memkit_graph::Stages;
use std::ffi::c_char;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// An instance, a device and its queue.
pub(super) struct Gpu {
    pub(super) device: ash::Device,
    pub(super) physical: vk::PhysicalDevice,
    pub(super) queue_family: u32,
    pub(super) api_version: u32,
    pub(super) buffer_device_address: bool,
    /// Those of the stages that need a feature for which the device has it.
    pub(super) optional_stages: Stages,
    /// Whether it has the features that scattering uploads takes.
    pub(super) scatter: bool,
    pub(super) sync2: Sync2,
    pub(super) debug: Debug,
    /// Where memory of the host's can be imported.
    pub(super) host_import: Option<HostImport>,
    queue: vk::Queue,
    queue_lock: QueueLock,
    lost: AtomicBool,
    /// Last: it goes after the device.
    pub(super) instance: Instance,
}

/// Where the entry points of synchronization2 are.
pub(super) enum Sync2 {
    /// In Vulkan 1.3.
    Core,
    /// In `VK_KHR_synchronization2`.
    Khr(khr::synchronization2::Device),
}

enum QueueLock {
    Own(Mutex<()>),
    Shared(Arc<dyn MkQueueLock>),
}

impl Gpu {
    pub(super) fn new(entry: &ash::Entry, config: &VulkanConfig) -> Result<Self, MkError> {
        let instance = Instance::new(entry, config)?;
        let chosen = select(&instance.raw, config.device_index)?;
        let device = create_device(&instance.raw, &chosen, config)?;
        // SAFETY: the device was made with one queue of this family.
        let queue = unsafe { device.get_device_queue(chosen.queue_family, 0) };
        Ok(Gpu {
            sync2: Sync2::new(chosen.sync2_khr, &instance.raw, &device),
            debug: Debug::new(instance.debug_utils, &instance.raw, &device),
            host_import: chosen
                .external_memory_host
                .then(|| HostImport::new(&instance.raw, chosen.physical, &device)),
            device,
            physical: chosen.physical,
            queue_family: chosen.queue_family,
            api_version: chosen.api_version,
            buffer_device_address: chosen.buffer_device_address,
            optional_stages: optional_stages(&config.device_features),
            scatter: chosen.buffer_device_address && chosen.storage_buffer_8bit_access,
            queue,
            queue_lock: QueueLock::Own(Mutex::new(())),
            lost: AtomicBool::new(false),
            instance,
        })
    }

    /// Uses somebody else's device; left alone on drop.
    pub(super) fn borrowed(borrow: VulkanBorrow) -> Self {
        let instance = Instance::borrowed(borrow.instance, borrow.debug_utils);
        let device = borrow.device;
        Gpu {
            sync2: Sync2::new(borrow.api_version < vk::API_VERSION_1_3, &instance.raw, &device),
            debug: Debug::new(borrow.debug_utils, &instance.raw, &device),
            host_import: borrow
                .external_memory_host
                .then(|| HostImport::new(&instance.raw, borrow.physical_device, &device)),
            device,
            physical: borrow.physical_device,
            queue_family: borrow.queue_family,
            api_version: borrow.api_version,
            buffer_device_address: borrow.buffer_device_address,
            optional_stages: borrow.optional_stages & Stages::OPTIONAL,
            scatter: borrow.buffer_device_address && borrow.storage_buffer_8bit_access,
            queue: borrow.queue,
            queue_lock: borrow.queue_lock.map_or_else(|| QueueLock::Own(Mutex::new(())), QueueLock::Shared),
            lost: AtomicBool::new(false),
            instance,
        }
    }

    pub(super) fn is_owned(&self) -> bool {
        self.instance.is_owned()
    }

    /// Fails if the device was lost before.
    pub(super) fn check(&self) -> Result<(), MkError> {
        if self.lost.load(Ordering::Relaxed) { Err(MkError::DeviceLost) } else { Ok(()) }
    }

    /// `call` failed; remembers if the device was lost by it.
    pub(super) fn failed(&self, call: &'static str, result: vk::Result) -> MkError {
        if result == vk::Result::ERROR_DEVICE_LOST {
            self.lost.store(true, Ordering::Relaxed);
        }
        failed(call, result)
    }

    /// The queue, to be used under [`with_queue`](Self::with_queue) only.
    pub(super) fn queue(&self) -> vk::Queue {
        self.queue
    }

    /// Runs `f` while nobody else uses the queue.
    pub(super) fn with_queue<T>(&self, f: impl FnOnce(vk::Queue) -> T) -> Result<T, MkError> {
        match &self.queue_lock {
            QueueLock::Own(lock) => {
                let _guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(f(self.queue))
            }
            QueueLock::Shared(lock) => {
                let (mut f, mut result) = (Some(f), None);
                lock.with(&mut || {
                    if let Some(f) = f.take() {
                        result = Some(f(self.queue));
                    }
                });
                result.ok_or_else(|| refused("MkQueueLock::with", "it did not run what it was given"))
            }
        }
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        if self.is_owned() {
            // SAFETY: made by `new`. All that was made from it holds this `Gpu` alive and so is destroyed; nothing
            // runs on it, since `VulkanBackend` waited on drop.
            unsafe { self.device.destroy_device(None) };
        }
    }
}

impl Sync2 {
    fn new(khr: bool, instance: &ash::Instance, device: &ash::Device) -> Self {
        if khr { Sync2::Khr(khr::synchronization2::Device::new(instance, device)) } else { Sync2::Core }
    }

    /// `vkCmdPipelineBarrier2`.
    ///
    /// # Safety
    /// As of that command.
    pub(super) unsafe fn barrier(
        &self,
        device: &ash::Device,
        commands: vk::CommandBuffer,
        info: &vk::DependencyInfo<'_>,
    ) {
        match self {
            // SAFETY: promised by the caller.
            Sync2::Core => unsafe { device.cmd_pipeline_barrier2(commands, info) },
            // SAFETY: promised by the caller.
            Sync2::Khr(fns) => unsafe { fns.cmd_pipeline_barrier2(commands, info) },
        }
    }

    /// `vkQueueSubmit2` of one submission.
    ///
    /// # Safety
    /// As of that command.
    pub(super) unsafe fn submit(
        &self,
        device: &ash::Device,
        queue: vk::Queue,
        submit: vk::SubmitInfo2<'_>,
    ) -> Result<(), vk::Result> {
        match self {
            // SAFETY: promised by the caller.
            Sync2::Core => unsafe { device.queue_submit2(queue, &[submit], vk::Fence::null()) },
            // SAFETY: promised by the caller.
            Sync2::Khr(fns) => unsafe { fns.queue_submit2(queue, &[submit], vk::Fence::null()) },
        }
    }
}

/// What features of Vulkan 1.0 give; the others are not enabled on a device made here.
fn optional_stages(features: &vk::PhysicalDeviceFeatures) -> Stages {
    let tessellation = Stages::TESSELLATION_CONTROL_SHADER | Stages::TESSELLATION_EVALUATION_SHADER;
    let stages =
        [(features.geometry_shader, Stages::GEOMETRY_SHADER), (features.tessellation_shader, tessellation)];
    stages.into_iter().filter(|(on, _)| *on != vk::FALSE).map(|(_, stages)| stages).collect()
}

fn create_device(
    instance: &ash::Instance,
    chosen: &Candidate,
    config: &VulkanConfig,
) -> Result<ash::Device, MkError> {
    let mut extensions: Vec<*const c_char> = config.device_extensions.iter().map(|e| e.as_ptr()).collect();
    let mut enable = |name: &'static std::ffi::CStr, wanted: bool| {
        if wanted && !config.device_extensions.iter().any(|e| e.as_c_str() == name) {
            extensions.push(name.as_ptr());
        }
    };
    enable(khr::synchronization2::NAME, chosen.sync2_khr);
    enable(ext::external_memory_host::NAME, chosen.external_memory_host);
    // A device that has it must be made with it.
    enable(khr::portability_subset::NAME, chosen.portability_subset);

    let queues = [vk::DeviceQueueCreateInfo::default()
        .queue_family_index(chosen.queue_family)
        .queue_priorities(&[1.0])];
    let mut v12 = vk::PhysicalDeviceVulkan12Features::default()
        .timeline_semaphore(true)
        .buffer_device_address(chosen.buffer_device_address)
        .storage_buffer8_bit_access(chosen.storage_buffer_8bit_access);
    let mut sync2 = vk::PhysicalDeviceSynchronization2Features::default().synchronization2(true);
    let info = vk::DeviceCreateInfo::default()
        .queue_create_infos(&queues)
        .enabled_extension_names(&extensions)
        .enabled_features(&config.device_features)
        .push_next(&mut v12)
        .push_next(&mut sync2);
    // SAFETY: everything `info` points to lives until the call returns; what it enables is there, or an error says so.
    unsafe { instance.create_device(chosen.physical, &info, None) }.map_err(|result| match result {
        vk::Result::ERROR_EXTENSION_NOT_PRESENT => {
            MkError::NoDevice { reason: "it lacks one of VulkanConfig::device_extensions".into() }
        }
        vk::Result::ERROR_FEATURE_NOT_PRESENT => {
            MkError::NoDevice { reason: "it lacks one of VulkanConfig::device_features".into() }
        }
        result => failed("vkCreateDevice", result),
    })
}
