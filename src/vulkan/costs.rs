//! What uploads cost on this device: measured, as nothing in its properties tells.
//!
//! A few copies and scatters from staging memory to device memory, timed by the device's timestamps, or by the clock of
//! the host where its queue has none. Of several tries the fastest counts: what disturbs a measurement makes it longer.

use super::VulkanBuffer;
use super::copies::Copies;
use super::device::Gpu;
use super::memory::Memory;
use super::pool::CommandPool;
use super::scatter::{Scatter, Table};
use crate::{MkBackendBufferDesc, MkError, MkMemoryType};
use ash::vk;
use memkit_graph::{BufferUsage, CopyRegion, UploadCosts};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rounds in which each command is measured, and tries in each: what disturbs some rounds leaves others.
const ROUNDS: u32 = 3;
const TRIES: u32 = 4;
/// Bytes of a small region, and from the beginning of one to that of the next.
const SMALL: u64 = 64;
const STRIDE: u64 = 256;
/// Small regions of one copy, and of one scatter, whose regions take much less time.
const COPIES: u64 = 128;
const SCATTERS: u64 = 1024;
/// Bytes of a large region, and of both buffers.
const LARGE: u64 = 256 << 10;

pub(super) fn measure(
    gpu: &Arc<Gpu>,
    memory: &Arc<Memory>,
    scatter: &Scatter,
    staging: MkMemoryType,
) -> Result<UploadCosts, MkError> {
    gpu.check()?;
    let mut bench = Bench::new(gpu, memory, staging)?;
    let mut best = [u64::MAX; 6];
    for _ in 0..ROUNDS {
        let round = [
            bench.copy(1, SMALL)?,
            bench.copy(COPIES, SMALL)?,
            bench.copy(1, LARGE)?,
            bench.scatter(scatter, 1, SMALL)?,
            bench.scatter(scatter, SCATTERS, SMALL)?,
            bench.scatter(scatter, 1, LARGE)?,
        ];
        best.iter_mut().zip(round).for_each(|(best, took)| *best = took.min(*best));
    }
    let [one_copy, copies, large_copy, one_scatter, scatters, large_scatter] = best;
    let more = |many: u64, one: u64, by: u64| many.saturating_sub(one).div_ceil(by);
    Ok(UploadCosts {
        copy_region: more(copies, one_copy, COPIES - 1),
        copy_byte: more(large_copy, one_copy, LARGE - SMALL),
        scatter: one_scatter,
        scatter_region: more(scatters, one_scatter, SCATTERS - 1),
        scatter_byte: more(large_scatter, one_scatter, LARGE - SMALL),
    })
}

/// What is measured with. Each field is destroyed on drop, if it was made.
struct Bench {
    pool: CommandPool,
    fence: vk::Fence,
    /// Null if the queue has no timestamps.
    queries: vk::QueryPool,
    /// Picoseconds of a tick, and the bits that count.
    tick: f64,
    mask: u64,
    staging: Option<VulkanBuffer>,
    target: Option<VulkanBuffer>,
    table: Table,
    memory: Arc<Memory>,
    gpu: Arc<Gpu>,
}

impl Bench {
    fn new(gpu: &Arc<Gpu>, memory: &Arc<Memory>, staging: MkMemoryType) -> Result<Self, MkError> {
        let mut this = Bench {
            pool: CommandPool::new(gpu, "memkit upload costs")?,
            fence: vk::Fence::null(),
            queries: vk::QueryPool::null(),
            tick: 0.0,
            mask: 0,
            staging: None,
            target: None,
            table: Table::default(),
            memory: Arc::clone(memory),
            gpu: Arc::clone(gpu),
        };
        // SAFETY: the device lives.
        this.fence = unsafe { gpu.device.create_fence(&vk::FenceCreateInfo::default(), None) }
            .map_err(|e| gpu.failed("vkCreateFence", e))?;
        this.make_queries()?;
        let make = |name, usage, kind| {
            memory.create(&MkBackendBufferDesc { name, size: LARGE, usage, memory: kind })
        };
        this.staging = Some(make("upload costs", BufferUsage::TRANSFER_SRC, staging)?);
        this.target = Some(make("upload costs", BufferUsage::TRANSFER_DST, MkMemoryType::DeviceLocal)?);
        Ok(this)
    }

    fn make_queries(&mut self) -> Result<(), MkError> {
        let (gpu, instance) = (&self.gpu, &self.gpu.instance.raw);
        // SAFETY: the physical device belongs to the instance, and both live.
        let properties = unsafe { instance.get_physical_device_properties(gpu.physical) };
        // SAFETY: as above.
        let families = unsafe { instance.get_physical_device_queue_family_properties(gpu.physical) };
        let bits = families.get(gpu.queue_family as usize).map_or(0, |f| f.timestamp_valid_bits);
        if bits == 0 {
            return Ok(());
        }
        self.mask = u64::MAX >> (64 - bits.min(64));
        self.tick = f64::from(properties.limits.timestamp_period) * 1000.0;
        let info =
            vk::QueryPoolCreateInfo::default().query_type(vk::QueryType::TIMESTAMP).query_count(2 * TRIES);
        // SAFETY: the device lives, and its queue has timestamps.
        self.queries = unsafe { gpu.device.create_query_pool(&info, None) }
            .map_err(|e| gpu.failed("vkCreateQueryPool", e))?;
        Ok(())
    }

    fn buffers(&self) -> Result<(VulkanBuffer, VulkanBuffer), MkError> {
        self.staging.zip(self.target).ok_or_else(super::record::misfit)
    }

    /// The time of a copy of so many regions, in picoseconds.
    fn copy(&mut self, regions: u64, size: u64) -> Result<u64, MkError> {
        let (from, to) = self.buffers()?;
        let region = |i| CopyRegion { src: i * SMALL, dst: i * STRIDE, size, node: 0, merged: 1 };
        let regions: Vec<_> = (0..regions).map(region).collect();
        let (gpu, commands) = (Arc::clone(&self.gpu), self.pool.commands());
        let mut copies = Copies::default();
        self.time(vk::PipelineStageFlags2::COPY, vk::AccessFlags2::TRANSFER_WRITE, || {
            // SAFETY: commands are recorded; both buffers live and hold the regions, which are disjoint.
            unsafe { copies.copy(&gpu, commands, from.raw(), to.raw(), &regions) };
        })
    }

    /// The time of a scatter of so many regions, in picoseconds.
    fn scatter(&mut self, scatter: &Scatter, regions: u64, size: u64) -> Result<u64, MkError> {
        let (from, to) = self.buffers()?;
        let (from, to) = from.any_address().zip(to.any_address()).ok_or_else(super::record::misfit)?;
        // SAFETY: every measurement before was waited for.
        unsafe { self.table.begin(&self.memory, SCATTERS.max(2 * LARGE / SMALL) as usize) }?;
        self.table.push((0..regions).map(|i| (to + i * STRIDE, from + i * SMALL, size)))?;
        self.table.flush(&self.memory)?;
        let (filled, commands) = (self.table.filled(0)?, self.pool.commands());
        self.time(vk::PipelineStageFlags2::COMPUTE_SHADER, vk::AccessFlags2::SHADER_STORAGE_WRITE, || {
            scatter.bind(commands);
            scatter.dispatch(commands, &filled);
        })
    }

    /// The time of what `f` records, with a barrier behind it, in picoseconds: the fastest of several tries.
    fn time(
        &mut self,
        stage: vk::PipelineStageFlags2,
        access: vk::AccessFlags2,
        mut f: impl FnMut(),
    ) -> Result<u64, MkError> {
        let (gpu, commands, queries) = (Arc::clone(&self.gpu), self.pool.commands(), self.queries);
        let (device, timed) = (&gpu.device, queries != vk::QueryPool::null());
        // SAFETY: what was measured before was waited for.
        unsafe { self.pool.begin(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT) }?;
        let stamp = |query| {
            if timed {
                let stage = vk::PipelineStageFlags::BOTTOM_OF_PIPE;
                // SAFETY: commands are recorded; the pool has this query, which was reset.
                unsafe { device.cmd_write_timestamp(commands, stage, queries, query) };
            }
        };
        let all = vk::PipelineStageFlags2::ALL_COMMANDS;
        let barriers = [vk::MemoryBarrier2::default()
            .src_stage_mask(stage)
            .src_access_mask(access)
            .dst_stage_mask(all)
            .dst_access_mask(vk::AccessFlags2::MEMORY_READ | vk::AccessFlags2::MEMORY_WRITE)];
        let barrier = vk::DependencyInfo::default().memory_barriers(&barriers);
        if timed {
            // SAFETY: commands are recorded, outside a render pass; the pool has that many queries.
            unsafe { device.cmd_reset_query_pool(commands, queries, 0, 2 * TRIES) };
        }
        for n in 0..TRIES {
            stamp(2 * n);
            f();
            // SAFETY: commands are recorded; the queue copies and computes.
            unsafe { gpu.sync2.barrier(device, commands, &barrier) };
            stamp(2 * n + 1);
        }
        // SAFETY: begun above.
        unsafe { self.pool.end() }?;
        let took = self.run()?;
        if timed { self.fastest() } else { Ok(took.as_nanos() as u64 * 1000 / u64::from(TRIES)) }
    }

    /// Submits the commands and waits for them.
    fn run(&self) -> Result<Duration, MkError> {
        let (gpu, fences, commands) = (&self.gpu, [self.fence], [self.pool.commands()]);
        // SAFETY: the fence is not in use.
        unsafe { gpu.device.reset_fences(&fences) }.map_err(|e| gpu.failed("vkResetFences", e))?;
        let submit = [vk::SubmitInfo::default().command_buffers(&commands)];
        let begin = Instant::now();
        // SAFETY: the queue is locked; the commands are recorded, and what they use lives until they are done.
        gpu.with_queue(|queue| unsafe { gpu.device.queue_submit(queue, &submit, self.fence) })?
            .map_err(|e| gpu.failed("vkQueueSubmit", e))?;
        loop {
            // SAFETY: the fence lives.
            match unsafe { gpu.device.wait_for_fences(&fences, true, u64::MAX) } {
                Ok(()) => return Ok(begin.elapsed()),
                Err(vk::Result::ERROR_DEVICE_LOST) => {
                    return Err(gpu.failed("vkWaitForFences", vk::Result::ERROR_DEVICE_LOST));
                }
                // What comes next would destroy what may still run.
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn fastest(&self) -> Result<u64, MkError> {
        let mut ticks = [0_u64; 2 * TRIES as usize];
        let flags = vk::QueryResultFlags::TYPE_64 | vk::QueryResultFlags::WAIT;
        // SAFETY: the queries were written by commands that are done.
        unsafe { self.gpu.device.get_query_pool_results(self.queries, 0, &mut ticks, flags) }
            .map_err(|e| self.gpu.failed("vkGetQueryPoolResults", e))?;
        let took = ticks.chunks_exact(2).map(|pair| pair[1].wrapping_sub(pair[0]) & self.mask);
        Ok((took.min().unwrap_or(0) as f64 * self.tick) as u64)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // SAFETY: what was submitted was waited for, or the device is lost; null handles are ignored.
        unsafe {
            self.gpu.device.destroy_query_pool(self.queries, None);
            self.gpu.device.destroy_fence(self.fence, None);
            self.staging.take().into_iter().chain(self.target.take()).for_each(|b| self.memory.destroy(b));
            self.table.end(&self.memory);
        }
    }
}
