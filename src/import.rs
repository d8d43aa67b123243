//! Memory of the caller's that the device reads and writes itself.

use crate::backend::{MkBackendBufferDesc, MkGpuBackend};
use crate::buffer::MkHostBuffer;
use crate::gpu::MkGpu;
use crate::{MkBufferDesc, MkError, MkMemoryType};
use memkit_graph::BufferUsage;
use std::panic::Location;
use std::ptr::NonNull;

impl<B: MkGpuBackend> MkGpu<B> {
    /// Takes in `size` bytes of the caller's memory that begin at `at`, so that transfers and frames copy from and to them
    /// without a copy by the host: `gpu.transfer(&memory, &buffer)`, `frame.copy(memory.slice(a..b), &buffer)`. Address
    /// and size are multiples of [`MkCapabilities::host_import`](crate::MkCapabilities::host_import).
    ///
    /// It costs the device much (its pages are pinned): for memory that is used again and again. The bytes count as
    /// written. What the host writes while nothing that uses the memory is submitted is seen by what is submitted
    /// later; what the device wrote is there for the host when its ticket or fence says so. An empty name stands for the
    /// kind, the number and the source line.
    ///
    /// # Errors
    /// [`MkError::HostImport`] where the device cannot do it, or not at this address or size; [`MkError::ZeroSize`],
    /// [`MkError::BufferTooLarge`], [`MkError::OutOfMemory`], [`MkError::OutOfHostMemory`], [`MkError::DeviceLost`], or what
    /// the backend says.
    ///
    /// # Safety
    /// - The bytes are valid for reads and writes, and stay so until the handle was dropped and after that either a
    ///   [`wait_idle`](Self::wait_idle) returned `Ok` while no open frame named it, or the `MkGpu` was dropped. They are
    ///   not unmapped, nor mapped anew, before.
    /// - From when a frame or transfer that uses them is submitted or pending until it is done, nobody else writes them,
    ///   nor reads what it writes, by whatever pointer or reference.
    /// - They are ordinary memory of this process (VK_EXT_external_memory_host): not that of a device, nor of a file
    ///   unless the driver takes it.
    #[track_caller]
    pub unsafe fn import_host_memory(
        &self,
        name: &str,
        at: NonNull<u8>,
        size: usize,
    ) -> Result<MkHostBuffer, MkError> {
        let (inner, location) = (&self.inner, Location::caller());
        let name = inner.name_for(name, "imported memory", location);
        inner.check_lost()?;
        inner.check_size(&name, size)?;
        let refused =
            |reason: String| MkError::HostImport { resource: (&*name).into(), reason: reason.into() };
        let Some(alignment) = self.capabilities().host_import.map(|a| a.max(1)) else {
            return Err(refused("this device cannot (MkCapabilities::host_import is None)".into()));
        };
        for (what, value) in [("its address", at.addr().get() as u64), ("its size", size as u64)] {
            if value % alignment != 0 {
                return Err(refused(format!("{what} {value} is no multiple of {alignment} bytes")));
            }
        }
        let usage = BufferUsage::TRANSFER_SRC | BufferUsage::TRANSFER_DST;
        let desc = MkBufferDesc { name: &name, size, usage, memory: MkMemoryType::HostLocal };
        let made = MkBackendBufferDesc { name: &name, size: size as u64, usage, memory: desc.memory };
        // SAFETY: valid memory, the caller says, aligned as asked; the buffer is destroyed in `wait_idle` at the latest, or
        // with the `MkGpu`.
        let buffer = inner.note(unsafe { inner.backend.import_host_memory(&made, at) })?;
        Ok(MkHostBuffer(inner.adopt(self.gpu_ref(), &desc, name.clone(), true, buffer)))
    }
}
