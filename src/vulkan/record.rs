//! Command buffers: pooled recorders, and how a schedule becomes commands.

use super::context::VulkanContext;
use super::copies::Copies;
use super::device::Gpu;
use super::memory::Memory;
use super::pool::CommandPool;
use super::result::refused;
use super::scatter::{self, Scatter, Table};
use super::{VulkanBackend, VulkanBuffer};
use crate::{MkError, MkRecordInput, MkRecordPass};
use ash::vk;
use memkit_graph::{BarrierCall, BufferRef, Command, Schedule};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A command pool, and the scratch memory of recording. It has one user at a time: who records, submits or keeps it.
struct Recorder {
    pool: CommandPool,
    scratch: Scratch,
    table: Table,
}

#[derive(Default)]
struct Scratch {
    name: Vec<u8>,
    barriers: Vec<vk::MemoryBarrier2<'static>>,
    transfers: Vec<vk::BufferMemoryBarrier2<'static>>,
    copies: Copies,
}

/// Recorders that wait for their next use. They go with the backend, which waits for the device first, and with the
/// last of its recordings: by then nothing that was recorded is pending.
pub(super) struct Recorders {
    idle: Mutex<Idle>,
    /// Made when uploads are scattered for the first time.
    scatter: Mutex<Option<Arc<Scatter>>>,
    /// Of the recorders' tables.
    memory: Arc<Memory>,
    gpu: Arc<Gpu>,
}

/// Recorders that are made before one is used again that ran: two frames in flight and one that is recorded. How many
/// there are then depends on how many are needed at most, not on how fast the device was so far.
const READY: usize = 3;

#[derive(Default)]
struct Idle {
    /// How many there are in all.
    made: usize,
    free: Vec<Recorder>,
    /// Ascending by the timeline value at which each is free.
    running: VecDeque<(u64, Recorder)>,
}

/// A recorded submission of a [`VulkanBackend`]. Dropping it discards it.
pub struct VulkanRecording {
    recorder: Option<Recorder>,
    home: Arc<Recorders>,
}

impl VulkanRecording {
    /// The command buffer, ready to be submitted.
    pub(super) fn commands(&self) -> Option<vk::CommandBuffer> {
        self.recorder.as_ref().map(|r| r.pool.commands())
    }

    /// Its submission runs, and is done at `value`.
    pub(super) fn submitted(mut self, value: u64) {
        if let Some(recorder) = self.recorder.take() {
            self.home.lock().running.push_back((value, recorder));
        }
    }
}

impl Drop for VulkanRecording {
    fn drop(&mut self) {
        // Unsubmitted, or recording failed or unwound: its commands are reset when it is used again.
        if let Some(recorder) = self.recorder.take() {
            self.home.lock().free.push(recorder);
        }
    }
}

impl Recorders {
    pub(super) fn new(gpu: &Arc<Gpu>, memory: &Arc<Memory>) -> Arc<Self> {
        let (memory, gpu) = (Arc::clone(memory), Arc::clone(gpu));
        Arc::new(Recorders { idle: Mutex::default(), scatter: Mutex::default(), memory, gpu })
    }

    /// The pipeline that scatters uploads.
    pub(super) fn scatter(&self) -> Result<Arc<Scatter>, MkError> {
        let mut made = self.scatter.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scatter) = &*made {
            return Ok(Arc::clone(scatter));
        }
        let scatter = Arc::new(Scatter::new(&self.gpu)?);
        *made = Some(Arc::clone(&scatter));
        Ok(scatter)
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A recorder that nothing uses, with its commands begun. `completed` is asked for only if none is free.
    fn begin(
        self: &Arc<Self>,
        completed: impl FnOnce() -> Result<u64, MkError>,
    ) -> Result<VulkanRecording, MkError> {
        let mut idle = self.lock();
        let mut recorder = idle.free.pop();
        if recorder.is_none() && idle.made >= READY && !idle.running.is_empty() {
            let done = completed()?;
            if idle.running.front().is_some_and(|(value, _)| *value <= done) {
                recorder = idle.running.pop_front().map(|(_, r)| r);
            }
        }
        drop(idle);
        let recorder = match recorder {
            Some(recorder) => recorder,
            None => self.make()?,
        };
        // From here on it goes back when `recording` is dropped.
        let mut recording = VulkanRecording { home: Arc::clone(self), recorder: Some(recorder) };
        let Some(recorder) = &mut recording.recorder else { return Err(refused("record", "no recorder")) };
        // SAFETY: the pool is this recording's alone and none of its commands are pending.
        unsafe { recorder.pool.begin(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT) }?;
        Ok(recording)
    }

    fn make(&self) -> Result<Recorder, MkError> {
        let pool = CommandPool::recycled(&self.gpu, "memkit recorder")?;
        self.lock().made += 1;
        Ok(Recorder { pool, scratch: Scratch::default(), table: Table::default() })
    }
}

/// Records the first queue of a schedule.
///
/// # Safety
/// The buffers of `input` live until the recording is discarded or done, and fit its schedule.
pub(super) unsafe fn record(
    recorders: &Arc<Recorders>,
    completed: impl FnOnce() -> Result<u64, MkError>,
    input: MkRecordInput<'_, VulkanBackend>,
    pass: &mut MkRecordPass<'_, VulkanBackend>,
) -> Result<VulkanRecording, MkError> {
    let gpu = &*recorders.gpu;
    gpu.check()?;
    if input.schedule.queues.iter().skip(1).any(|q| !q.commands.is_empty()) {
        return Err(refused("record", "the schedule uses several queues, this backend has one"));
    }
    let mut recording = recorders.begin(completed)?;
    let Some(recorder) = &mut recording.recorder else { return Err(refused("record", "no recorder")) };
    let (pool, scratch, table) = (&mut recorder.pool, &mut recorder.scratch, &mut recorder.table);
    let commands = pool.commands();
    let scatter = match scatter::pieces(input.schedule) {
        0 => None,
        pieces => {
            // SAFETY: the recorder's last submission is done, or it was never submitted.
            unsafe { table.begin(&recorders.memory, pieces) }?;
            Some(recorders.scatter()?)
        }
    };
    gpu.debug.begin(commands, &mut scratch.name, input.name);
    for command in input.schedule.queues.first().map_or(&[][..], |q| &q.commands) {
        match command {
            Command::Barrier(i) => {
                let call = input.schedule.barriers.get(*i as usize).ok_or_else(misfit)?;
                transfers(scratch, &input, *i)?;
                barrier(gpu, commands, scratch, input.schedule, call);
            }
            Command::Copy { from, to, regions } => {
                let regions = input.schedule.regions.get(regions.start as usize..regions.end as usize);
                let regions = regions.filter(|r| !r.is_empty()).ok_or_else(misfit)?;
                let (from, to) = (buffer(&input, *from)?.raw(), buffer(&input, *to)?.raw());
                // SAFETY: commands are recorded; both buffers live and hold their regions, the caller says.
                unsafe { scratch.copies.copy(gpu, commands, from, to, regions) };
            }
            Command::Scatter { parts } => {
                let Some(scatter) = &scatter else { return Err(misfit()) };
                gpu.debug.begin(commands, &mut scratch.name, "scatter uploads");
                let parts = input.schedule.scatters_of(parts);
                scatter.bind(commands);
                table.fill(&input, parts, |filled| scatter.dispatch(commands, filled))?;
                gpu.debug.end(commands);
            }
            Command::Fill { to, offset, size, value } => {
                let to = buffer(&input, *to)?;
                // SAFETY: commands are recorded; the buffer lives and holds the range, the caller says.
                unsafe { gpu.device.cmd_fill_buffer(commands, to.raw(), *offset, *size, *value) };
            }
            Command::Pass(node) => {
                let declared = input.pass(*node);
                gpu.debug.begin(commands, &mut scratch.name, declared.name());
                pass(*node, &mut VulkanContext::new(gpu, commands, declared))?;
                gpu.debug.end(commands);
            }
        }
    }
    gpu.debug.end(commands);
    if scatter.is_some() {
        table.flush(&recorders.memory)?;
    }
    // SAFETY: begun by `Recorders::begin`, and used by nobody else.
    unsafe { pool.end() }?;
    Ok(recording)
}

/// A buffer of the schedule. Copies come by the thousand, and need little of it.
#[inline]
pub(super) fn buffer<'a>(
    input: &MkRecordInput<'a, VulkanBackend>,
    at: BufferRef,
) -> Result<&'a VulkanBuffer, MkError> {
    let (buffers, at) = match at {
        BufferRef::Local(at) => (input.buffers, at),
        BufferRef::Host(at) => (input.host_buffers, at),
    };
    buffers.get(at as usize).ok_or_else(misfit)
}

#[cold]
pub(super) fn misfit() -> MkError {
    refused("record", "the schedule names something that was not given with it")
}

/// The halves of ownership transfers of a barrier call (Vulkan specification 7.7.4).
fn transfers(
    scratch: &mut Scratch,
    input: &MkRecordInput<'_, VulkanBackend>,
    call: u32,
) -> Result<(), MkError> {
    scratch.transfers.clear();
    for transfer in input.schedule.transfers_of(call) {
        let entry = transfer.dependency;
        scratch.transfers.push(
            vk::BufferMemoryBarrier2::default()
                .src_stage_mask(vk::PipelineStageFlags2::from_raw(entry.src_stages.bits()))
                .src_access_mask(vk::AccessFlags2::from_raw(entry.src_access.bits()))
                .dst_stage_mask(vk::PipelineStageFlags2::from_raw(entry.dst_stages.bits()))
                .dst_access_mask(vk::AccessFlags2::from_raw(entry.dst_access.bits()))
                .src_queue_family_index(transfer.from)
                .dst_queue_family_index(transfer.to)
                .buffer(buffer(input, transfer.buffer)?.raw())
                .offset(transfer.range.start)
                .size(transfer.range.end.saturating_sub(transfer.range.start)),
        );
    }
    Ok(())
}

fn barrier(
    gpu: &Gpu,
    commands: vk::CommandBuffer,
    scratch: &mut Scratch,
    schedule: &Schedule,
    call: &BarrierCall,
) {
    scratch.barriers.clear();
    // The planner's bits are Vulkan's.
    scratch.barriers.extend(schedule.entries_of(call).iter().map(|entry| {
        vk::MemoryBarrier2::default()
            .src_stage_mask(vk::PipelineStageFlags2::from_raw(entry.src_stages.bits()))
            .src_access_mask(vk::AccessFlags2::from_raw(entry.src_access.bits()))
            .dst_stage_mask(vk::PipelineStageFlags2::from_raw(entry.dst_stages.bits()))
            .dst_access_mask(vk::AccessFlags2::from_raw(entry.dst_access.bits()))
    }));
    if scratch.barriers.is_empty() && scratch.transfers.is_empty() {
        return;
    }
    if scratch.barriers.len() == 1 && gpu.instance.loses_single_barriers {
        // One that orders nothing.
        scratch.barriers.push(vk::MemoryBarrier2::default());
    }
    let info = vk::DependencyInfo::default()
        .memory_barriers(&scratch.barriers)
        .buffer_memory_barriers(&scratch.transfers);
    // SAFETY: commands are recorded; stages and accesses fit each other and the queue, the planner sees to it.
    unsafe { gpu.sync2.barrier(&gpu.device, commands, &info) };
}

#[cfg(test)]
impl Recorders {
    /// How many are free, and how many run or wait to be found done.
    pub(super) fn count(&self) -> (usize, usize) {
        let idle = self.lock();
        (idle.free.len(), idle.running.len())
    }
}
