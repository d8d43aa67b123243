//! Buffers of the engine's own, as resources of frames.

use super::{VulkanBackend, VulkanBuffer};
use crate::{MkBuffer, MkBufferDesc, MkError, MkGpu};
use ash::vk;
use std::panic::Location;

impl MkGpu<VulkanBackend> {
    /// Takes in a buffer that the engine made, so that frames can declare uses of it and transfers can name it. Its
    /// bytes count as written. It is never mapped, and never destroyed: dropping the handle ends the library's
    /// interest once the device is done with it.
    ///
    /// `desc.usage` is what the buffer was made with: a use beyond it, transfers included, is an error of the frame.
    ///
    /// # Errors
    /// [`MkError::ZeroSize`], [`MkError::BufferTooLarge`], [`MkError::DeviceLost`].
    ///
    /// # Safety
    /// - `raw` is a buffer of this device, bound to memory, of at least `desc.size` bytes, made with every flag of
    ///   `desc.usage`, and usable on the backend's queue family;
    /// - it stays so until everything submitted that uses it is done, and no frame or transfer that names it is open or
    ///   pending;
    /// - uses outside this library are ordered against the library's by the engine: those before are complete and
    ///   visible to the queue when a frame that names the buffer is submitted, those after wait for that frame.
    #[track_caller]
    pub unsafe fn import_buffer(
        &self,
        raw: vk::Buffer,
        desc: &MkBufferDesc<'_>,
    ) -> Result<MkBuffer, MkError> {
        let inner = &self.inner;
        let name = inner.name_for(desc.name, "imported buffer", Location::caller());
        inner.check_lost()?;
        inner.check_size(&name, desc.size)?;
        let buffer = VulkanBuffer::elsewhere(raw, desc.size as u64);
        Ok(inner.adopt(self.gpu_ref(), desc, name, false, buffer))
    }
}
