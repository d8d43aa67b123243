//! The same dispatches as the recorded G1 and G2, by hand: what an expert writes who knows the graph. One command
//! buffer, one global barrier before each level, one submit.

use crate::args::Work;
use crate::dispatch::Dispatches;
use crate::graphs::reads;
use crate::timer::Timer;
use memkit_gpu::ash::{self, vk};
use memkit_gpu::{MkError, VulkanBackend};
use std::time::{Duration, Instant};

/// Passes that run side by side.
fn width(work: Work) -> usize {
    if work == Work::G1 { 1 } else { 100 }
}

/// A command buffer and a fence. To be dropped before the `MkGpu`.
pub(crate) struct ByHand {
    device: ash::Device,
    pool: vk::CommandPool,
    commands: vk::CommandBuffer,
    fence: vk::Fence,
}

fn failed(call: &'static str) -> impl Fn(vk::Result) -> MkError {
    move |error| MkError::Backend { call, source: error.into() }
}

impl ByHand {
    pub(crate) fn new(backend: &VulkanBackend) -> Result<Self, MkError> {
        let mut this = ByHand {
            device: backend.device().clone(),
            pool: vk::CommandPool::null(),
            commands: vk::CommandBuffer::null(),
            fence: vk::Fence::null(),
        };
        let info = vk::CommandPoolCreateInfo::default()
            .flags(vk::CommandPoolCreateFlags::TRANSIENT)
            .queue_family_index(backend.queue_family());
        // SAFETY: the device lives as long as its backend, which outlives `this`; what was made before an error is
        // destroyed by the drop of `this`.
        this.pool =
            unsafe { this.device.create_command_pool(&info, None) }.map_err(failed("vkCreateCommandPool"))?;
        let info = vk::CommandBufferAllocateInfo::default()
            .command_pool(this.pool)
            .level(vk::CommandBufferLevel::PRIMARY)
            .command_buffer_count(1);
        // SAFETY: the pool is new.
        this.commands = unsafe { this.device.allocate_command_buffers(&info) }
            .map_err(failed("vkAllocateCommandBuffers"))?[0];
        // SAFETY: as above.
        this.fence = unsafe { this.device.create_fence(&vk::FenceCreateInfo::default(), None) }
            .map_err(failed("vkCreateFence"))?;
        Ok(this)
    }

    /// Runs one frame and waits for it. Returns how long recording took.
    pub(crate) fn frame(
        &self,
        backend: &VulkanBackend,
        dispatches: &Dispatches,
        timer: &Timer,
        (work, passes): (Work, usize),
    ) -> Result<Duration, MkError> {
        let begin = Instant::now();
        self.record(dispatches, timer, (work, passes))?;
        let took = begin.elapsed();
        let commands = [self.commands];
        let submits = [vk::SubmitInfo::default().command_buffers(&commands)];
        let submit = |queue| {
            // SAFETY: recorded to its end just now; the buffers and sets it uses live; the queue is locked.
            unsafe { self.device.queue_submit(queue, &submits, self.fence) }
        };
        backend.with_queue(submit)?.map_err(failed("vkQueueSubmit"))?;
        let fences = [self.fence];
        // SAFETY: the fence is this device's, and will be signalled by the submission.
        unsafe { self.device.wait_for_fences(&fences, true, u64::MAX) }.map_err(failed("vkWaitForFences"))?;
        // SAFETY: signalled, and nothing submitted uses it.
        unsafe { self.device.reset_fences(&fences) }.map_err(failed("vkResetFences"))?;
        Ok(took)
    }

    fn record(
        &self,
        dispatches: &Dispatches,
        timer: &Timer,
        (work, passes): (Work, usize),
    ) -> Result<(), MkError> {
        let begin = vk::CommandBufferBeginInfo::default().flags(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT);
        // SAFETY: the last submission of the pool's only command buffer was waited for.
        unsafe { self.device.reset_command_pool(self.pool, vk::CommandPoolResetFlags::empty()) }
            .map_err(failed("vkResetCommandPool"))?;
        // SAFETY: reset just now.
        unsafe { self.device.begin_command_buffer(self.commands, &begin) }
            .map_err(failed("vkBeginCommandBuffer"))?;
        timer.begin(self.commands);
        for pass in 0..passes {
            if pass % width(work) == 0 {
                self.barrier();
            }
            dispatches.record(&self.device, self.commands, pass, reads(work, pass).count());
        }
        timer.end(self.commands);
        // SAFETY: begun above.
        unsafe { self.device.end_command_buffer(self.commands) }.map_err(failed("vkEndCommandBuffer"))
    }

    /// What the level before wrote is there to be read and written over; before the first level that is the frame before.
    fn barrier(&self) {
        let access = vk::AccessFlags2::SHADER_STORAGE_WRITE;
        let barriers = [vk::MemoryBarrier2::default()
            .src_stage_mask(vk::PipelineStageFlags2::COMPUTE_SHADER)
            .src_access_mask(access)
            .dst_stage_mask(vk::PipelineStageFlags2::COMPUTE_SHADER)
            .dst_access_mask(access | vk::AccessFlags2::SHADER_STORAGE_READ)];
        let info = vk::DependencyInfo::default().memory_barriers(&barriers);
        // SAFETY: the command buffer is being recorded; its queue has the stage.
        unsafe { self.device.cmd_pipeline_barrier2(self.commands, &info) };
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        // SAFETY: every submission was waited for; handles that were never made are null, which these calls ignore.
        unsafe {
            self.device.destroy_fence(self.fence, None);
            self.device.destroy_command_pool(self.pool, None);
        }
    }
}
