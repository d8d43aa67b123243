//! What a pass's closure records with.

use super::VulkanBackend;
use super::VulkanBuffer;
use super::device::Gpu;
use crate::{MkError, MkPass, MkResolved, MkSlice};
use ash::vk;

/// Records one pass: the command buffer, and look-ups of what the pass declared.
///
/// The command buffer is inside no render pass; whatever a pass binds or begins, it must end what it began. Barriers
/// between passes are in place already. What is bound, and what push constants hold, when a pass begins is undefined:
/// earlier passes and the library itself, which scatters uploads by a compute pipeline of its own, leave theirs behind.
pub struct VulkanContext<'a> {
    gpu: &'a Gpu,
    commands: vk::CommandBuffer,
    pass: MkPass<'a, VulkanBackend>,
}

impl<'a> VulkanContext<'a> {
    pub(super) fn new(gpu: &'a Gpu, commands: vk::CommandBuffer, pass: MkPass<'a, VulkanBackend>) -> Self {
        VulkanContext { gpu, commands, pass }
    }

    /// The device, to record with.
    #[must_use]
    pub fn device(&self) -> &'a ash::Device {
        &self.gpu.device
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &'a ash::Instance {
        &self.gpu.instance.raw
    }

    /// The command buffer, in the recording state. To be recorded into only: it is begun, ended and submitted by the
    /// backend.
    #[must_use]
    pub fn command_buffer(&self) -> vk::CommandBuffer {
        self.commands
    }

    /// The family of the queue it will run on.
    #[must_use]
    pub fn queue_family(&self) -> u32 {
        self.gpu.queue_family
    }

    /// The name of the pass.
    #[must_use]
    pub fn pass_name(&self) -> &'a str {
        self.pass.name()
    }

    /// The buffer behind something the pass declared.
    ///
    /// # Errors
    /// [`MkError::NotDeclared`] if the pass did not declare the range.
    pub fn buffer<'s>(&self, slice: impl Into<MkSlice<'s>>) -> Result<vk::Buffer, MkError> {
        Ok(self.resolve(slice)?.buffer)
    }

    /// Buffer, offset and size of something the pass declared: what a descriptor or a draw takes.
    ///
    /// # Errors
    /// [`MkError::NotDeclared`] if the pass did not declare the range.
    pub fn resolve<'s>(&self, slice: impl Into<MkSlice<'s>>) -> Result<MkResolved<vk::Buffer>, MkError> {
        let found = self.find(&slice.into())?;
        Ok(MkResolved { buffer: found.buffer.raw(), offset: found.offset, size: found.size })
    }

    /// The address of the first byte of something the pass declared, for shaders that follow pointers.
    ///
    /// # Errors
    /// [`MkError::NotDeclared`] if the pass did not declare the range, [`MkError::Backend`] if the buffer was made
    /// without [`DEVICE_ADDRESS`](crate::MkBufferUsage::DEVICE_ADDRESS).
    pub fn device_address<'s>(&self, slice: impl Into<MkSlice<'s>>) -> Result<vk::DeviceAddress, MkError> {
        let found = self.find(&slice.into())?;
        let address = found.buffer.device_address().ok_or_else(|| {
            super::result::refused(
                "vkGetBufferDeviceAddress",
                "the buffer was made without MkBufferUsage::DEVICE_ADDRESS",
            )
        })?;
        Ok(address + found.offset)
    }

    fn find(&self, slice: &MkSlice<'_>) -> Result<MkResolved<VulkanBuffer>, MkError> {
        self.pass.resolve(slice)
    }
}

impl std::fmt::Debug for VulkanContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VulkanContext").field("pass", &self.pass_name()).finish_non_exhaustive()
    }
}
