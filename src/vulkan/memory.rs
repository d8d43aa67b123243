//! Buffers and their memory, by gpu-allocator.

use super::atoms::{Placement, rounded};
use super::device::Gpu;
use super::kinds::candidates;
use super::result::{out_of_host_memory, out_of_memory, refused};
use crate::{MkBackendBufferDesc, MkError};
use ash::vk;
use gpu_allocator::vulkan::{
    Allocation, AllocationCreateDesc, AllocationScheme, Allocator, AllocatorCreateDesc,
};
use gpu_allocator::{AllocationError, AllocationSizes, AllocatorDebugSettings, MemoryLocation};
use memkit_graph::BufferUsage;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A buffer of a [`VulkanBackend`](super::VulkanBackend): a plain handle.
#[derive(Clone, Copy, Debug)]
pub struct VulkanBuffer {
    raw: vk::Buffer,
    size: u64,
    mapped: Option<Mapped>,
    coherent: bool,
    slot: u32,
    address: vk::DeviceAddress,
    /// Whether the address was asked for, and is not only there for uploads.
    by_address: bool,
}

/// Where a buffer is mapped.
#[derive(Clone, Copy, Debug)]
struct Mapped(NonNull<u8>);

// SAFETY: mapped memory belongs to no thread, and this gives the pointer away only; who goes through it synchronizes.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

/// The slot of buffers that were made elsewhere: never given out, so destroying one destroys nothing.
const ELSEWHERE: u32 = u32::MAX;

impl VulkanBuffer {
    /// A buffer of somebody else's.
    pub(super) fn elsewhere(raw: vk::Buffer, size: u64) -> Self {
        VulkanBuffer {
            raw,
            size,
            mapped: None,
            coherent: true,
            slot: ELSEWHERE,
            address: 0,
            by_address: false,
        }
    }

    /// The Vulkan handle.
    #[must_use]
    pub fn raw(&self) -> vk::Buffer {
        self.raw
    }

    /// Its size in bytes, as asked for.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its address for shaders, if it was made with [`BufferUsage::DEVICE_ADDRESS`].
    #[must_use]
    pub fn device_address(&self) -> Option<vk::DeviceAddress> {
        self.any_address().filter(|_| self.by_address)
    }

    /// Its address, whatever it was made for; none of somebody else's buffer, and on a device without addresses.
    pub(super) fn any_address(&self) -> Option<vk::DeviceAddress> {
        (self.address != 0).then_some(self.address)
    }

    pub(super) fn mapped(&self) -> Option<NonNull<u8>> {
        self.mapped.map(|m| m.0)
    }
}

/// All buffers of a backend.
pub(super) struct Memory {
    slots: Mutex<Slots>,
    types: vk::PhysicalDeviceMemoryProperties,
    atom: u64,
    max_size: u64,
    gpu: Arc<Gpu>,
}

struct Slots {
    allocator: Allocator,
    used: Vec<Option<Slot>>,
    free: Vec<u32>,
}

struct Slot {
    raw: vk::Buffer,
    backing: Backing,
}

/// Whose memory a buffer is in.
pub(super) enum Backing {
    Allocated(Allocation),
    /// A memory object of its own, over memory of the host's.
    Imported(vk::DeviceMemory),
}

/// A `VkBuffer` without memory yet, destroyed if nobody takes it.
pub(super) struct Unbound<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) raw: vk::Buffer,
}

impl Unbound<'_> {
    pub(super) fn take(self) -> vk::Buffer {
        std::mem::ManuallyDrop::new(self).raw
    }
}

impl Drop for Unbound<'_> {
    fn drop(&mut self) {
        // SAFETY: just made, used by nothing.
        unsafe { self.gpu.device.destroy_buffer(self.raw, None) };
    }
}

impl Memory {
    pub(super) fn new(gpu: &Arc<Gpu>, atom: u64, max_size: u64) -> Result<Self, MkError> {
        // SAFETY: the physical device belongs to the instance, and both live.
        let types = unsafe { gpu.instance.raw.get_physical_device_memory_properties(gpu.physical) };
        let mut debug_settings = AllocatorDebugSettings::default();
        // `drop` frees what is left, nothing leaks.
        debug_settings.log_leaks_on_shutdown = false;
        let allocator = Allocator::new(&AllocatorCreateDesc {
            instance: gpu.instance.raw.clone(),
            device: gpu.device.clone(),
            physical_device: gpu.physical,
            debug_settings,
            buffer_device_address: gpu.buffer_device_address,
            // Small blocks first, so that a small application takes little.
            allocation_sizes: AllocationSizes::new(32 << 20, 8 << 20)
                .with_max_device_memblock_size(256 << 20)
                .with_max_host_memblock_size(64 << 20),
        })
        .map_err(|e| MkError::Backend { call: "Allocator::new", source: Box::new(e) })?;
        let slots = Mutex::new(Slots { allocator, used: Vec::new(), free: Vec::new() });
        Ok(Memory { slots, types, atom: atom.max(1), max_size, gpu: Arc::clone(gpu) })
    }

    pub(super) fn types(&self) -> &vk::PhysicalDeviceMemoryProperties {
        &self.types
    }

    pub(super) fn create(&self, desc: &MkBackendBufferDesc<'_>) -> Result<VulkanBuffer, MkError> {
        let gpu = &*self.gpu;
        gpu.check()?;
        if desc.size == 0 {
            return Err(MkError::ZeroSize { resource: desc.name.into() });
        }
        if desc.size > self.max_size {
            let resource = desc.name.into();
            return Err(MkError::BufferTooLarge { resource, size: desc.size, limit: self.max_size });
        }
        let usage = desc.usage & BufferUsage::all();
        if usage.is_empty() {
            return Err(refused("vkCreateBuffer", "a buffer needs at least one usage flag"));
        }
        let by_address = usage.contains(BufferUsage::DEVICE_ADDRESS);
        if by_address && !gpu.buffer_device_address {
            return Err(refused("vkCreateBuffer", "the device has no bufferDeviceAddress"));
        }
        // A shader scatters uploads to any buffer, and from any that is mapped.
        let usage = if gpu.scatter { usage | BufferUsage::DEVICE_ADDRESS } else { usage };
        let info = vk::BufferCreateInfo::default()
            .size(desc.size)
            .usage(vk::BufferUsageFlags::from_raw(usage.bits()))
            .sharing_mode(vk::SharingMode::EXCLUSIVE);
        // SAFETY: the device lives; size and usage were checked above.
        let raw = unsafe { gpu.device.create_buffer(&info, None) }
            .map_err(|e| self.not_made(desc, "vkCreateBuffer", e))?;
        let unbound = Unbound { gpu, raw };
        gpu.debug.name(raw, desc.name);

        let mut slots = self.lock();
        let allocation = self.allocate(&mut slots.allocator, raw, desc)?;
        // SAFETY: the memory is used for this buffer alone, of a type and with size and alignment it asks for.
        let bound = unsafe { gpu.device.bind_buffer_memory(raw, allocation.memory(), allocation.offset()) };
        if let Err(e) = bound {
            // A failure to free is a bug of the allocator; the memory comes back when it is dropped.
            let _ = slots.allocator.free(allocation);
            return Err(self.not_made(desc, "vkBindBufferMemory", e));
        }
        let address = if usage.contains(BufferUsage::DEVICE_ADDRESS) {
            let info = vk::BufferDeviceAddressInfo::default().buffer(raw);
            // SAFETY: the buffer is bound and has the usage flag, the feature is enabled.
            unsafe { gpu.device.get_buffer_device_address(&info) }
        } else {
            0
        };
        let host = desc.memory.is_mappable().then(|| allocation.mapped_ptr()).flatten();
        let coherent = allocation.memory_properties().contains(vk::MemoryPropertyFlags::HOST_COHERENT);
        let slot = slots.put(Slot { raw: unbound.take(), backing: Backing::Allocated(allocation) });
        let mapped = host.map(|p| Mapped(p.cast()));
        Ok(VulkanBuffer { raw, size: desc.size, mapped, coherent, slot, address, by_address })
    }

    /// Enters a buffer that is not mapped.
    pub(super) fn keep_unmapped(&self, raw: vk::Buffer, size: u64, backing: Backing) -> VulkanBuffer {
        let slot = self.lock().put(Slot { raw, backing });
        VulkanBuffer { raw, size, mapped: None, coherent: true, slot, address: 0, by_address: false }
    }

    pub(super) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// A buffer could not be made, because `call` failed.
    pub(super) fn not_made(
        &self,
        desc: &MkBackendBufferDesc<'_>,
        call: &'static str,
        result: vk::Result,
    ) -> MkError {
        match result {
            vk::Result::ERROR_OUT_OF_HOST_MEMORY => out_of_host_memory(desc.name, result),
            vk::Result::ERROR_OUT_OF_DEVICE_MEMORY => out_of_memory(desc, result),
            result => self.gpu.failed(call, result),
        }
    }

    /// Memory for a buffer, from the best type that has some left.
    fn allocate(
        &self,
        allocator: &mut Allocator,
        raw: vk::Buffer,
        desc: &MkBackendBufferDesc<'_>,
    ) -> Result<Allocation, MkError> {
        let mut dedicated = vk::MemoryDedicatedRequirements::default();
        let mut asked = vk::MemoryRequirements2::default().push_next(&mut dedicated);
        let info = vk::BufferMemoryRequirementsInfo2::default().buffer(raw);
        // SAFETY: the buffer was just made on this device.
        unsafe { self.gpu.device.get_buffer_memory_requirements2(&info, &mut asked) };
        let mut requirements = asked.memory_requirements;
        let allowed = requirements.memory_type_bits;
        let own_memory =
            (dedicated.requires_dedicated_allocation | dedicated.prefers_dedicated_allocation) != vk::FALSE;
        let scheme = if own_memory {
            // Its size must be exactly what the buffer asks for.
            AllocationScheme::DedicatedBuffer(raw)
        } else {
            if desc.memory.is_mappable() {
                // Whole atoms, so that an invalidate never touches bytes of a neighbour.
                requirements.alignment = requirements.alignment.max(self.atom);
                requirements.size =
                    requirements.size.checked_next_multiple_of(self.atom).unwrap_or(requirements.size);
            }
            AllocationScheme::GpuAllocatorManaged
        };
        let mut result = Err(AllocationError::NoCompatibleMemoryTypeFound);
        for memory_type in candidates(&self.types, allowed, desc.memory) {
            requirements.memory_type_bits = 1 << memory_type;
            result = allocator.allocate(&AllocationCreateDesc {
                name: desc.name,
                requirements,
                // The type is chosen already: this takes the first that is allowed.
                location: MemoryLocation::Unknown,
                linear: true,
                allocation_scheme: scheme,
            });
            match &result {
                Err(AllocationError::OutOfMemory | AllocationError::FailedToMap(_)) => {}
                _ => break,
            }
        }
        // The allocator tells other failures than exhausted device memory as text only.
        let host = vk::Result::ERROR_OUT_OF_HOST_MEMORY;
        result.map_err(|e| match e {
            AllocationError::Internal(text) if text.contains("OUT_OF_HOST_MEMORY") => {
                out_of_host_memory(desc.name, host)
            }
            AllocationError::FailedToMap(text) if text == host.to_string() => {
                out_of_host_memory(desc.name, host)
            }
            AllocationError::Internal(text) if text.contains("TOO_MANY_OBJECTS") => {
                out_of_memory(desc, vk::Result::ERROR_TOO_MANY_OBJECTS)
            }
            AllocationError::OutOfMemory | AllocationError::FailedToMap(_) => out_of_memory(desc, e),
            e => MkError::Backend { call: "vkAllocateMemory", source: Box::new(e) },
        })
    }

    /// # Safety
    /// As of [`MkGpuBackend::destroy_buffer`](crate::MkGpuBackend::destroy_buffer).
    pub(super) unsafe fn destroy(&self, buffer: VulkanBuffer) {
        let mut slots = self.lock();
        let slot = slots.used.get_mut(buffer.slot as usize).and_then(|s| s.take_if(|s| s.raw == buffer.raw));
        if let Some(slot) = slot {
            slots.free.push(buffer.slot);
            // SAFETY: the caller promises that nothing uses the buffer any more.
            unsafe { slots.free(&self.gpu, slot) };
        }
    }

    /// As [`MkGpuBackend::flush`](crate::MkGpuBackend::flush), of a buffer of this memory that lives.
    pub(super) fn flush(&self, buffer: &VulkanBuffer, range: Range<u64>) -> Result<(), MkError> {
        self.with_atoms(buffer, range, "vkFlushMappedMemoryRanges", |device, mapped| {
            // SAFETY: the memory is mapped and the range is made of whole atoms.
            unsafe { device.flush_mapped_memory_ranges(&[mapped]) }
        })
    }

    /// The whole atoms around `range` of a buffer, unless its memory is coherent.
    ///
    /// What is given to `f` belongs to a live memory object that is mapped.
    pub(super) fn with_atoms(
        &self,
        buffer: &VulkanBuffer,
        range: Range<u64>,
        call: &'static str,
        f: impl FnOnce(&ash::Device, vk::MappedMemoryRange<'_>) -> Result<(), vk::Result>,
    ) -> Result<(), MkError> {
        self.gpu.check()?;
        if buffer.coherent || buffer.mapped.is_none() {
            return Ok(());
        }
        let mapped = {
            let slots = self.lock();
            let Some(Some(Slot { backing: Backing::Allocated(allocation), .. })) =
                slots.used.get(buffer.slot as usize)
            else {
                return Ok(());
            };
            let placement = Placement { offset: allocation.offset(), size: allocation.size() };
            let range = range.start..range.end.min(buffer.size);
            let Some((offset, size)) = rounded(placement, range, self.atom) else { return Ok(()) };
            // SAFETY: the memory is only named, not freed.
            let memory = unsafe { allocation.memory() };
            vk::MappedMemoryRange::default().memory(memory).offset(offset).size(size)
        };
        f(&self.gpu.device, mapped).map_err(|e| self.gpu.failed(call, e))
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many buffers live.
    pub(super) fn count(&self) -> usize {
        let slots = self.lock();
        slots.used.len() - slots.free.len()
    }
}

impl Slots {
    /// Destroys a buffer, and frees its memory.
    ///
    /// # Safety
    /// Nothing uses the buffer any more.
    unsafe fn free(&mut self, gpu: &Gpu, slot: Slot) {
        // SAFETY: promised by the caller, and it was taken out of the table.
        unsafe { gpu.device.destroy_buffer(slot.raw, None) };
        match slot.backing {
            Backing::Allocated(allocation) => {
                // A failure to free is a bug of the allocator; the memory comes back when it is dropped.
                let _ = self.allocator.free(allocation);
            }
            // SAFETY: the buffer was the only one in it.
            Backing::Imported(memory) => unsafe { gpu.device.free_memory(memory, None) },
        }
    }

    fn put(&mut self, slot: Slot) -> u32 {
        if let Some(i) = self.free.pop()
            && let Some(place) = self.used.get_mut(i as usize)
        {
            *place = Some(slot);
            return i;
        }
        self.used.push(Some(slot));
        // A device has far fewer than 2^32 buffers.
        (self.used.len() - 1) as u32
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let slots = self.slots.get_mut().unwrap_or_else(PoisonError::into_inner);
        for slot in std::mem::take(&mut slots.used).into_iter().flatten() {
            // SAFETY: the backend goes, having waited for the device: nothing uses its buffers any more.
            unsafe { slots.free(&self.gpu, slot) };
        }
        // The allocator, dropped with `self.slots`, frees all memory; `self.gpu` is still alive then.
    }
}
