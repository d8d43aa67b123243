//! Memory of the host's own as memory of a buffer (VK_EXT_external_memory_host).

use super::device::Gpu;
use super::memory::{Backing, Memory, Unbound, VulkanBuffer};
use crate::{MkBackendBufferDesc, MkError};
use ash::{ext, vk};
use std::ptr::NonNull;

const HANDLE: vk::ExternalMemoryHandleTypeFlags = vk::ExternalMemoryHandleTypeFlags::HOST_ALLOCATION_EXT;

/// The extension, where it is enabled.
pub(super) struct HostImport {
    fns: ext::external_memory_host::Device,
    /// `minImportedHostPointerAlignment`.
    pub(super) alignment: u64,
}

impl HostImport {
    /// `physical` has the extension, and `device` was made with it.
    pub(super) fn new(instance: &ash::Instance, physical: vk::PhysicalDevice, device: &ash::Device) -> Self {
        let mut limits = vk::PhysicalDeviceExternalMemoryHostPropertiesEXT::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut limits);
        // SAFETY: the physical device belongs to the instance and has the extension that the structure belongs to.
        unsafe { instance.get_physical_device_properties2(physical, &mut properties) };
        let alignment = limits.min_imported_host_pointer_alignment.max(1);
        HostImport { fns: ext::external_memory_host::Device::new(instance, device), alignment }
    }

    /// The memory types as which some memory may be imported.
    ///
    /// # Safety
    /// It is memory of the process, at a multiple of the alignment.
    unsafe fn types(&self, at: NonNull<u8>) -> Result<u32, vk::Result> {
        let mut properties = vk::MemoryHostPointerPropertiesEXT::default();
        let (device, at) = (self.fns.device(), at.as_ptr().cast_const().cast());
        // SAFETY: the device lives; the pointer is as asked for, the caller says.
        unsafe {
            (self.fns.fp().get_memory_host_pointer_properties_ext)(device, HANDLE, at, &mut properties)
        }
        .result()?;
        Ok(properties.memory_type_bits)
    }
}

/// Memory that was imported, freed if nobody takes it. The bytes stay where they are.
struct Imported<'a> {
    gpu: &'a Gpu,
    memory: vk::DeviceMemory,
}

impl Drop for Imported<'_> {
    fn drop(&mut self) {
        // SAFETY: just made, used by nothing.
        unsafe { self.gpu.device.free_memory(self.memory, None) };
    }
}

impl Memory {
    /// Makes a buffer over memory of the host's own.
    ///
    /// # Safety
    /// As of [`MkGpuBackend::import_host_memory`](crate::MkGpuBackend::import_host_memory).
    pub(super) unsafe fn import(
        &self,
        desc: &MkBackendBufferDesc<'_>,
        at: NonNull<u8>,
    ) -> Result<VulkanBuffer, MkError> {
        let gpu = self.gpu();
        gpu.check()?;
        let refused =
            |reason: &str| MkError::HostImport { resource: desc.name.into(), reason: reason.into() };
        let import = gpu.host_import.as_ref().ok_or_else(|| {
            refused("the device has no VK_EXT_external_memory_host, or was made without it")
        })?;
        let usage = vk::BufferUsageFlags::from_raw(desc.usage.bits());
        if !is_importable(gpu, usage) {
            return Err(refused("the device imports no host memory for buffers that are copied"));
        }
        let mut external = vk::ExternalMemoryBufferCreateInfo::default().handle_types(HANDLE);
        let info = vk::BufferCreateInfo::default()
            .size(desc.size)
            .usage(usage)
            .sharing_mode(vk::SharingMode::EXCLUSIVE)
            .push_next(&mut external);
        // SAFETY: the device lives, the size was checked by the caller, and the handle type can be imported.
        let raw = unsafe { gpu.device.create_buffer(&info, None) }
            .map_err(|e| self.not_made(desc, "vkCreateBuffer", e))?;
        let unbound = Unbound { gpu, raw };
        gpu.debug.name(raw, desc.name);

        // SAFETY: the buffer was just made on this device.
        let needs = unsafe { gpu.device.get_buffer_memory_requirements(raw) };
        if needs.size > desc.size {
            return Err(refused("a buffer of this size takes more bytes than that on this device"));
        }
        // SAFETY: promised by the caller.
        let types = unsafe { import.types(at) }
            .map_err(|e| self.not_made(desc, "vkGetMemoryHostPointerPropertiesEXT", e))?;
        let memory_type = self
            .coherent_type(types & needs.memory_type_bits)
            .ok_or_else(|| refused("the device takes this memory as no kind that is coherent"))?;
        let mut pointer = vk::ImportMemoryHostPointerInfoEXT::default()
            .handle_type(HANDLE)
            .host_pointer(at.as_ptr().cast());
        let info = vk::MemoryAllocateInfo::default()
            .allocation_size(desc.size)
            .memory_type_index(memory_type)
            .push_next(&mut pointer);
        // SAFETY: valid memory at a multiple of the alignment, of which the size is one too, the caller says; of a type as
        // which it may be imported.
        let memory = unsafe { gpu.device.allocate_memory(&info, None) }.map_err(|e| match e {
            vk::Result::ERROR_INVALID_EXTERNAL_HANDLE => refused("the driver does not take this memory"),
            e => self.not_made(desc, "vkAllocateMemory", e),
        })?;
        let imported = Imported { gpu, memory };
        // SAFETY: the memory is this buffer's alone, of a type that it takes, and not smaller than it asks for.
        unsafe { gpu.device.bind_buffer_memory(raw, memory, 0) }
            .map_err(|e| self.not_made(desc, "vkBindBufferMemory", e))?;
        let memory = std::mem::ManuallyDrop::new(imported).memory;
        Ok(self.keep_unmapped(unbound.take(), desc.size, Backing::Imported(memory)))
    }

    /// The first coherent memory type among `bits`: a cached one, if there is one.
    fn coherent_type(&self, bits: u32) -> Option<u32> {
        let wanted = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
        (0u32..)
            .zip(self.types().memory_types_as_slice())
            .filter(|(i, t)| bits >> i & 1 != 0 && t.property_flags.contains(wanted))
            .min_by_key(|(i, t)| (!t.property_flags.contains(vk::MemoryPropertyFlags::HOST_CACHED), *i))
            .map(|(i, _)| i)
    }
}

/// Whether buffers of this usage can be made over host memory.
fn is_importable(gpu: &Gpu, usage: vk::BufferUsageFlags) -> bool {
    let info = vk::PhysicalDeviceExternalBufferInfo::default().usage(usage).handle_type(HANDLE);
    let mut found = vk::ExternalBufferProperties::default();
    // SAFETY: the physical device belongs to the instance, both live.
    unsafe {
        gpu.instance.raw.get_physical_device_external_buffer_properties(gpu.physical, &info, &mut found);
    };
    let features = found.external_memory_properties.external_memory_features;
    features.contains(vk::ExternalMemoryFeatureFlags::IMPORTABLE)
        && !features.contains(vk::ExternalMemoryFeatureFlags::DEDICATED_ONLY)
}
