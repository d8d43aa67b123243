//! A command pool with its one command buffer.

use super::device::Gpu;
use super::host_memory::HostMemory;
use super::result::refused;
use crate::MkError;
use ash::vk;
use std::sync::Arc;

/// Destroyed on drop: by then nothing that was recorded is pending.
pub(super) struct CommandPool {
    pool: vk::CommandPool,
    commands: vk::CommandBuffer,
    /// What the driver allocates for it. It goes after the pool.
    memory: Option<HostMemory>,
    gpu: Arc<Gpu>,
}

impl CommandPool {
    /// For commands that are recorded again and again.
    pub(super) fn recycled(gpu: &Arc<Gpu>, name: &str) -> Result<Self, MkError> {
        Self::with(gpu, name, Some(HostMemory::new()))
    }

    /// For commands that are recorded a few times.
    pub(super) fn new(gpu: &Arc<Gpu>, name: &str) -> Result<Self, MkError> {
        Self::with(gpu, name, None)
    }

    fn with(gpu: &Arc<Gpu>, name: &str, memory: Option<HostMemory>) -> Result<Self, MkError> {
        let info = vk::CommandPoolCreateInfo::default()
            .flags(vk::CommandPoolCreateFlags::TRANSIENT)
            .queue_family_index(gpu.queue_family);
        let callbacks = memory.as_ref().map(HostMemory::callbacks);
        // SAFETY: the device lives and was made with this queue family. The memory lives until the pool is destroyed.
        let pool = unsafe { gpu.device.create_command_pool(&info, callbacks.as_ref()) }
            .map_err(|e| gpu.failed("vkCreateCommandPool", e))?;
        // From here on dropping it cleans up.
        let mut this =
            CommandPool { pool, commands: vk::CommandBuffer::null(), memory, gpu: Arc::clone(gpu) };
        let info = vk::CommandBufferAllocateInfo::default()
            .command_pool(pool)
            .level(vk::CommandBufferLevel::PRIMARY)
            .command_buffer_count(1);
        // SAFETY: the pool was just made; nobody else uses it.
        let made = unsafe { gpu.device.allocate_command_buffers(&info) }
            .map_err(|e| gpu.failed("vkAllocateCommandBuffers", e))?;
        this.commands =
            made.first().copied().ok_or_else(|| refused("vkAllocateCommandBuffers", "it gave none"))?;
        gpu.debug.name(pool, name);
        gpu.debug.name(this.commands, name);
        Ok(this)
    }

    /// The command buffer. Vulkan wants its use externally synchronized with that of the pool.
    pub(super) fn commands(&self) -> vk::CommandBuffer {
        self.commands
    }

    /// Discards what was recorded and begins anew.
    ///
    /// # Safety
    /// Nothing that was recorded is pending.
    pub(super) unsafe fn begin(&mut self, usage: vk::CommandBufferUsageFlags) -> Result<(), MkError> {
        let device = &self.gpu.device;
        // SAFETY: none of its commands are pending, the caller says, and nobody else uses it: `&mut`.
        unsafe { device.reset_command_pool(self.pool, vk::CommandPoolResetFlags::empty()) }
            .map_err(|e| self.gpu.failed("vkResetCommandPool", e))?;
        let info = vk::CommandBufferBeginInfo::default().flags(usage);
        // SAFETY: the command buffer was just reset, with its pool.
        unsafe { device.begin_command_buffer(self.commands, &info) }
            .map_err(|e| self.gpu.failed("vkBeginCommandBuffer", e))
    }

    /// Ends what was begun.
    ///
    /// # Safety
    /// Commands are being recorded.
    pub(super) unsafe fn end(&mut self) -> Result<(), MkError> {
        // SAFETY: promised by the caller; nobody else uses it: `&mut`.
        unsafe { self.gpu.device.end_command_buffer(self.commands) }
            .map_err(|e| self.gpu.failed("vkEndCommandBuffer", e))
    }
}

impl Drop for CommandPool {
    fn drop(&mut self) {
        let callbacks = self.memory.as_ref().map(HostMemory::callbacks);
        // SAFETY: nothing is pending, as said above, and nobody records. It was made with these callbacks.
        unsafe { self.gpu.device.destroy_command_pool(self.pool, callbacks.as_ref()) };
    }
}
