//! Vulkan's result codes as [`MkError`]s.

use crate::{MkBackendBufferDesc, MkError, MkMemoryType, MkSource};
use ash::vk;

/// `call` failed with `result`.
pub(super) fn failed(call: &'static str, result: vk::Result) -> MkError {
    match result {
        vk::Result::ERROR_DEVICE_LOST => MkError::DeviceLost,
        vk::Result::ERROR_OUT_OF_HOST_MEMORY => out_of_host_memory(call, result),
        vk::Result::ERROR_OUT_OF_DEVICE_MEMORY => {
            let memory = MkMemoryType::DeviceLocal;
            MkError::OutOfMemory { resource: call.into(), size: 0, memory, source: Some(result.into()) }
        }
        _ => MkError::Backend { call, source: Box::new(result) },
    }
}

/// `call` cannot be done as asked.
pub(super) fn refused(call: &'static str, why: &'static str) -> MkError {
    MkError::Backend { call, source: why.into() }
}

/// No device memory for a buffer.
pub(super) fn out_of_memory(desc: &MkBackendBufferDesc<'_>, source: impl Into<MkSource>) -> MkError {
    let (size, memory) = (desc.size, desc.memory);
    MkError::OutOfMemory { resource: desc.name.into(), size, memory, source: Some(source.into()) }
}

/// No memory of the process's own, for a buffer or a call.
pub(super) fn out_of_host_memory(what: &str, source: impl Into<MkSource>) -> MkError {
    MkError::OutOfHostMemory { what: what.into(), source: Some(source.into()) }
}
