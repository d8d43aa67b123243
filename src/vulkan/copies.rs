//! Copies between buffers: `vkCmdCopyBuffer2`, to which drivers turn the older command, or that one below Vulkan 1.3.

use super::device::Gpu;
use ash::vk;
use memkit_graph::CopyRegion;

/// Scratch memory for regions as Vulkan takes them. Of the two one is used.
#[derive(Default)]
pub(super) struct Copies {
    regions: Vec<vk::BufferCopy2<'static>>,
    before_1_3: Vec<vk::BufferCopy>,
}

impl Copies {
    /// Records one.
    ///
    /// # Safety
    /// Commands are recorded; both buffers live until they are done and hold the regions, of which there is one at least.
    #[inline]
    pub(super) unsafe fn copy(
        &mut self,
        gpu: &Gpu,
        commands: vk::CommandBuffer,
        from: vk::Buffer,
        to: vk::Buffer,
        regions: &[CopyRegion],
    ) {
        if gpu.api_version < vk::API_VERSION_1_3 {
            let region =
                |r: &CopyRegion| vk::BufferCopy { src_offset: r.src, dst_offset: r.dst, size: r.size };
            self.before_1_3.clear();
            self.before_1_3.extend(regions.iter().map(region));
            // SAFETY: promised by the caller.
            return unsafe { gpu.device.cmd_copy_buffer(commands, from, to, &self.before_1_3) };
        }
        let one;
        let regions = if let [region] = regions {
            one = [buffer_copy(region)];
            &one[..]
        } else {
            self.regions.clear();
            self.regions.extend(regions.iter().map(buffer_copy));
            &self.regions
        };
        let info = vk::CopyBufferInfo2::default().src_buffer(from).dst_buffer(to).regions(regions);
        // SAFETY: promised by the caller.
        unsafe { gpu.device.cmd_copy_buffer2(commands, &info) };
    }
}

fn buffer_copy(region: &CopyRegion) -> vk::BufferCopy2<'static> {
    vk::BufferCopy2::default().src_offset(region.src).dst_offset(region.dst).size(region.size)
}
