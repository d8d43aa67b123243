//! Vulkan's result codes as [`MkError`]s.

use crate::{MkError, MkMemoryType, MkSource};
use ash::vk;

/// `call` failed with `result`.
pub(super) fn failed(call: &'static str, result: vk::Result) -> MkError {
    match result {
        vk::Result::ERROR_DEVICE_LOST => MkError::DeviceLost,
        vk::Result::ERROR_OUT_OF_HOST_MEMORY => out_of_memory(call, 0, MkMemoryType::HostVisible, result),
        vk::Result::ERROR_OUT_OF_DEVICE_MEMORY => out_of_memory(call, 0, MkMemoryType::DeviceLocal, result),
        _ => MkError::Backend { call, source: Box::new(result) },
    }
}

/// `call` cannot be done as asked.
pub(super) fn refused(call: &'static str, why: &'static str) -> MkError {
    MkError::Backend { call, source: why.into() }
}

/// No memory for `size` bytes of `resource`.
pub(super) fn out_of_memory(
    resource: &str,
    size: u64,
    memory: MkMemoryType,
    source: impl Into<MkSource>,
) -> MkError {
    MkError::OutOfMemory { resource: resource.into(), size, memory, source: Some(source.into()) }
}
