//! Memory for `--mode import`: what each frame uploads, where the device can fetch it by itself.

use crate::Failure;
use crate::workload::Workload;
use memkit_gpu::{MkGpu, MkGpuBackend, MkHostBuffer};
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::ptr::NonNull;

/// Imported memory.
pub(crate) struct Pages {
    pub(crate) memory: MkHostBuffer,
}

/// Copies what the frames of a workload upload to memory of its own, and imports that. It is never freed: the device may
/// use it until the `MkGpu` is gone.
pub(crate) fn import<B: MkGpuBackend>(gpu: &MkGpu<B>, workload: &Workload) -> Result<Vec<Pages>, Failure> {
    let alignment = gpu.capabilities().host_import.ok_or("this device imports no memory")?;
    let alignment = usize::try_from(alignment)?;
    let page = |number| {
        let data = &workload.frame(number).data;
        let size = data.len().next_multiple_of(alignment);
        let layout = Layout::from_size_align(size, alignment.next_power_of_two())?;
        // SAFETY: a workload uploads at least a byte.
        let at = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: just allocated, and at least as large; nobody else knows it.
        unsafe { data.as_ptr().copy_to_nonoverlapping(at.as_ptr(), data.len()) };
        // SAFETY: valid for as long as the program runs, aligned as asked for, and not touched any more.
        let memory = unsafe { gpu.import_host_memory("", at, size) }?;
        Ok(Pages { memory })
    };
    (0..workload.different()).map(page).collect()
}
