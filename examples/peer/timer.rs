//! How long the device takes from one point of a command buffer to another, by two timestamps.

use memkit_gpu::ash::{self, vk};
use memkit_gpu::{MkError, VulkanBackend};

/// Two timestamps. To be dropped before the `MkGpu`, once nothing submitted uses them.
pub(crate) struct Timer {
    device: ash::Device,
    pool: vk::QueryPool,
    /// Nanoseconds a tick.
    period: f64,
}

fn failed(call: &'static str) -> impl Fn(vk::Result) -> MkError {
    move |error| MkError::Backend { call, source: error.into() }
}

impl Timer {
    pub(crate) fn new(backend: &VulkanBackend) -> Result<Self, MkError> {
        let device = backend.device().clone();
        let info = vk::QueryPoolCreateInfo::default().query_type(vk::QueryType::TIMESTAMP).query_count(2);
        // SAFETY: the device lives as long as its backend, which outlives `self`.
        let pool = unsafe { device.create_query_pool(&info, None) }.map_err(failed("vkCreateQueryPool"))?;
        // SAFETY: the physical device is the instance's, which lives as long as the backend.
        let properties =
            unsafe { backend.instance().get_physical_device_properties(backend.physical_device()) };
        Ok(Timer { device, pool, period: f64::from(properties.limits.timestamp_period) })
    }

    /// Records the first timestamp, taken before what is recorded next begins.
    pub(crate) fn begin(&self, commands: vk::CommandBuffer) {
        // SAFETY: the command buffer is being recorded, outside any render pass; nothing submitted uses the pool still.
        unsafe {
            self.device.cmd_reset_query_pool(commands, self.pool, 0, 2);
            self.device.cmd_write_timestamp(commands, vk::PipelineStageFlags::TOP_OF_PIPE, self.pool, 0);
        }
    }

    /// Records the second one, taken when all that was recorded before is done.
    pub(crate) fn end(&self, commands: vk::CommandBuffer) {
        // SAFETY: as above; `begin` has reset the query.
        unsafe {
            self.device.cmd_write_timestamp(commands, vk::PipelineStageFlags::BOTTOM_OF_PIPE, self.pool, 1);
        }
    }

    /// Nanoseconds between the two, once the submission is done.
    pub(crate) fn nanoseconds(&self) -> Result<f64, MkError> {
        let mut ticks = [0u64; 2];
        let flags = vk::QueryResultFlags::TYPE_64 | vk::QueryResultFlags::WAIT;
        // SAFETY: both queries were written by a submission that is done.
        unsafe { self.device.get_query_pool_results(self.pool, 0, &mut ticks, flags) }
            .map_err(failed("vkGetQueryPoolResults"))?;
        Ok(ticks[1].wrapping_sub(ticks[0]) as f64 * self.period)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: dropped before the `MkGpu`, after all frames were waited for.
        unsafe { self.device.destroy_query_pool(self.pool, None) };
    }
}
