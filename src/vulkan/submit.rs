//! The timeline of submissions: submit, ask, wait.

use super::device::Gpu;
use super::pool::CommandPool;
use super::record::VulkanRecording;
use super::result::refused;
use super::wait::{Patience, Polled, poll};
use crate::MkError;
use ash::vk;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A timeline semaphore, and how many submissions signal it so far.
pub(super) struct Timeline {
    semaphore: vk::Semaphore,
    submitted: AtomicU64,
    /// The newest value known to be reached.
    reached: AtomicU64,
    patience: Patience,
    /// One full barrier, recorded once. It goes after `drain`, or was never submitted.
    catch_up: CommandPool,
    gpu: Arc<Gpu>,
}

impl Timeline {
    pub(super) fn new(gpu: &Arc<Gpu>) -> Result<Self, MkError> {
        let catch_up = catch_up(gpu)?;
        let mut kind = vk::SemaphoreTypeCreateInfo::default()
            .semaphore_type(vk::SemaphoreType::TIMELINE)
            .initial_value(0);
        let info = vk::SemaphoreCreateInfo::default().push_next(&mut kind);
        // SAFETY: the device lives and has timeline semaphores.
        let semaphore = unsafe { gpu.device.create_semaphore(&info, None) }
            .map_err(|e| gpu.failed("vkCreateSemaphore", e))?;
        gpu.debug.name(semaphore, "memkit timeline");
        let (submitted, reached) = (AtomicU64::new(0), AtomicU64::new(0));
        let patience = Patience::default();
        Ok(Timeline { semaphore, submitted, reached, patience, catch_up, gpu: Arc::clone(gpu) })
    }

    /// # Safety
    /// As of [`MkGpuBackend::submit`](crate::MkGpuBackend::submit).
    pub(super) unsafe fn submit(&self, recording: VulkanRecording, catch_up: bool) -> Result<u64, MkError> {
        let gpu = &*self.gpu;
        gpu.check()?;
        let commands = recording.commands().ok_or_else(|| refused("submit", "nothing is recorded"))?;
        let value = self.submitted.load(Ordering::Acquire) + 1;
        let mut buffers: SmallVec<[vk::CommandBufferSubmitInfo<'_>; 2]> = SmallVec::new();
        if catch_up {
            buffers.push(vk::CommandBufferSubmitInfo::default().command_buffer(self.catch_up.commands()));
        }
        buffers.push(vk::CommandBufferSubmitInfo::default().command_buffer(commands));
        let signals = [vk::SemaphoreSubmitInfo::default()
            .semaphore(self.semaphore)
            .value(value)
            .stage_mask(vk::PipelineStageFlags2::ALL_COMMANDS)];
        let submit =
            vk::SubmitInfo2::default().command_buffer_infos(&buffers).signal_semaphore_infos(&signals);
        // SAFETY: the queue is locked; the command buffer is recorded to its end, its resources live (the caller's promise),
        // and the value is above all that were signalled (submits come one at a time).
        let done = gpu.with_queue(|queue| unsafe { gpu.sync2.submit(&gpu.device, queue, submit) })?;
        // On failure the recording goes back when it is dropped here, and the value is not used up.
        done.map_err(|e| gpu.failed("vkQueueSubmit2", e))?;
        self.submitted.store(value, Ordering::Release);
        recording.submitted(value);
        Ok(value)
    }

    pub(super) fn completed(&self) -> Result<u64, MkError> {
        self.gpu.check()?;
        // SAFETY: the semaphore is a timeline of this device and lives as long as `self`.
        let value = unsafe { self.gpu.device.get_semaphore_counter_value(self.semaphore) }
            .map_err(|e| self.gpu.failed("vkGetSemaphoreCounterValue", e))?;
        self.reached.fetch_max(value, Ordering::Release);
        Ok(value)
    }

    pub(super) fn wait(&self, value: u64, timeout: Duration) -> Result<bool, MkError> {
        self.gpu.check()?;
        if self.reached.load(Ordering::Acquire) >= value {
            return Ok(true);
        }
        let begin = Instant::now();
        let reached = || Ok(self.completed()? >= value);
        let is_reached = match poll(self.patience.bound(), timeout, reached, || begin.elapsed())? {
            Polled::Reached => true,
            Polled::TimedOut => return Ok(false),
            Polled::InVain => self.sleep(value, timeout.saturating_sub(begin.elapsed()))?,
        };
        // A wait that was cut short says nothing about how long it would have been.
        if is_reached {
            self.patience.learn(begin.elapsed());
        }
        Ok(is_reached)
    }

    /// Lets the system wait; `false` if the time is over.
    fn sleep(&self, value: u64, time: Duration) -> Result<bool, MkError> {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (semaphores, values) = ([self.semaphore], [value]);
        let info = vk::SemaphoreWaitInfo::default().semaphores(&semaphores).values(&values);
        // SAFETY: the semaphore is a timeline of this device and lives as long as `self`.
        match unsafe { self.gpu.device.wait_semaphores(&info, nanoseconds) } {
            Ok(()) => {
                self.reached.fetch_max(value, Ordering::Release);
                Ok(true)
            }
            Err(vk::Result::TIMEOUT) => Ok(false),
            Err(e) => Err(self.gpu.failed("vkWaitSemaphores", e)),
        }
    }

    /// Waits for all that was submitted, or until the device is lost.
    pub(super) fn drain(&self) {
        // On a lost device nothing runs. After any other error something may, and what comes next destroys what it uses.
        while !self.is_drained() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_drained(&self) -> bool {
        if self.gpu.is_owned() {
            // SAFETY: the backend is being dropped: nobody else uses the queue.
            let idle = unsafe { self.gpu.device.device_wait_idle() };
            matches!(idle, Ok(()) | Err(vk::Result::ERROR_DEVICE_LOST))
        } else {
            // A lender's other work is none of our business.
            let done = self.wait(self.submitted.load(Ordering::Acquire), Duration::MAX);
            matches!(done, Ok(true) | Err(MkError::DeviceLost))
        }
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        // SAFETY: `drain` came before: no submission that signals it is pending, and nobody waits for it.
        unsafe { self.gpu.device.destroy_semaphore(self.semaphore, None) };
    }
}

/// A command buffer with one full barrier.
fn catch_up(gpu: &Arc<Gpu>) -> Result<CommandPool, MkError> {
    let mut pool = CommandPool::new(gpu, "memkit catch-up")?;
    // SAFETY: it is new.
    unsafe { pool.begin(vk::CommandBufferUsageFlags::SIMULTANEOUS_USE) }?;
    let barriers = [vk::MemoryBarrier2::default()
        .src_stage_mask(vk::PipelineStageFlags2::ALL_COMMANDS)
        .src_access_mask(vk::AccessFlags2::MEMORY_WRITE)
        .dst_stage_mask(vk::PipelineStageFlags2::ALL_COMMANDS)
        .dst_access_mask(vk::AccessFlags2::MEMORY_READ | vk::AccessFlags2::MEMORY_WRITE)];
    let info = vk::DependencyInfo::default().memory_barriers(&barriers);
    // SAFETY: the commands are being recorded; these stages and accesses exist on every queue.
    unsafe { gpu.sync2.barrier(&gpu.device, pool.commands(), &info) };
    // SAFETY: begun above.
    unsafe { pool.end() }?;
    Ok(pool)
}
