//! A Vulkan device whose functions fail on demand: the table of functions is that of a real device, with those that can
//! fail, make or destroy something replaced. Memory shows itself as not coherent, so that flushes are calls too, and the
//! timeline lags one question behind, so that work is always in flight and waits really wait.

use memkit_gpu::ash::{self, vk};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A call that failed on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    pub call: &'static str,
    pub result: vk::Result,
}

/// What the replaced functions share: they are plain functions, so that there is one at a time.
struct Tap {
    device: ash::Device,
    instance: ash::Instance,
    /// The calls to fail, among those that can return `result`, and the result.
    nth: Range<u64>,
    result: vk::Result,
    counted: u64,
    hit: Option<Hit>,
    lost: bool,
    /// The call before was the same question for the timeline: a wait asks over and over, and is counted once.
    asked: bool,
    /// How far the timeline shows itself to be, and will at the next question.
    shown: u64,
    next: u64,
    live: BTreeSet<(&'static str, u64)>,
    /// What was destroyed without being alive.
    wrong: Vec<(&'static str, u64)>,
}

static TAP: Mutex<Option<Tap>> = Mutex::new(None);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn tap() -> MutexGuard<'static, Option<Tap>> {
    TAP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The replaced functions, for as long as it lives. Nobody else can have them meanwhile.
pub struct Hooks {
    _alone: MutexGuard<'static, ()>,
}

impl Hooks {
    /// Fails the calls with these numbers among those that can return `result`, counted from now on.
    pub fn new(instance: &ash::Instance, device: &ash::Device, nth: Range<u64>, result: vk::Result) -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        *tap() = Some(Tap {
            device: device.clone(),
            instance: instance.clone(),
            nth,
            result,
            counted: 0,
            hit: None,
            lost: false,
            asked: false,
            shown: 0,
            next: 0,
            live: BTreeSet::new(),
            wrong: Vec::new(),
        });
        Hooks { _alone: alone }
    }

    /// The first call that failed, if it came to that.
    pub fn hit(&self) -> Option<Hit> {
        tap().as_ref().and_then(|t| t.hit)
    }

    /// Objects that were destroyed twice, or never made.
    pub fn wrong(&self) -> Vec<(&'static str, u64)> {
        tap().as_ref().map(|t| t.wrong.clone()).unwrap_or_default()
    }

    /// The device with its functions replaced.
    pub fn device(&self, real: &ash::Device) -> ash::Device {
        let (mut v10, mut v12, mut v13) =
            (real.fp_v1_0().clone(), real.fp_v1_2().clone(), real.fp_v1_3().clone());
        v10.create_buffer = create_buffer;
        v10.destroy_buffer = destroy_buffer;
        v10.allocate_memory = allocate_memory;
        v10.free_memory = free_memory;
        v10.bind_buffer_memory = bind_buffer_memory;
        v10.map_memory = map_memory;
        v10.flush_mapped_memory_ranges = flush_mapped_memory_ranges;
        v10.invalidate_mapped_memory_ranges = invalidate_mapped_memory_ranges;
        v10.create_semaphore = create_semaphore;
        v10.destroy_semaphore = destroy_semaphore;
        v10.create_command_pool = create_command_pool;
        v10.destroy_command_pool = destroy_command_pool;
        v10.allocate_command_buffers = allocate_command_buffers;
        v10.reset_command_pool = reset_command_pool;
        v10.begin_command_buffer = begin_command_buffer;
        v10.end_command_buffer = end_command_buffer;
        v10.create_pipeline_layout = create_pipeline_layout;
        v10.destroy_pipeline_layout = destroy_pipeline_layout;
        v10.create_shader_module = create_shader_module;
        v10.destroy_shader_module = destroy_shader_module;
        v10.create_compute_pipelines = create_compute_pipelines;
        v10.destroy_pipeline = destroy_pipeline;
        v10.create_fence = create_fence;
        v10.destroy_fence = destroy_fence;
        v10.reset_fences = reset_fences;
        v10.wait_for_fences = wait_for_fences;
        v10.create_query_pool = create_query_pool;
        v10.destroy_query_pool = destroy_query_pool;
        v10.get_query_pool_results = get_query_pool_results;
        v10.queue_submit = queue_submit;
        v12.get_semaphore_counter_value = get_semaphore_counter_value;
        v12.wait_semaphores = wait_semaphores;
        v13.queue_submit2 = queue_submit2;
        ash::Device::from_parts_1_3(real.handle(), v10, real.fp_v1_1().clone(), v12, v13)
    }

    /// The instance, whose devices seem to have no coherent memory.
    pub fn instance(&self, real: &ash::Instance) -> ash::Instance {
        let mut v10 = real.fp_v1_0().clone();
        v10.get_physical_device_memory_properties = get_physical_device_memory_properties;
        ash::Instance::from_parts_1_3(real.handle(), v10, real.fp_v1_1().clone(), real.fp_v1_3().clone())
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        *tap() = None;
    }
}

/// Kinds of objects that live, with their handles.
pub fn live() -> Vec<(&'static str, u64)> {
    tap().as_ref().map(|t| t.live.iter().copied().collect()).unwrap_or_default()
}

/// Counts a call that can return `can`, or `ERROR_UNKNOWN` as every call: the real device, or how to fail.
fn enter(call: &'static str, can: &[vk::Result]) -> Result<ash::Device, vk::Result> {
    let mut tap = tap();
    let tap = tap.as_mut().expect("hooks are in use");
    let again = std::mem::replace(&mut tap.asked, call == "vkGetSemaphoreCounterValue") && tap.asked;
    if tap.lost && can.contains(&vk::Result::ERROR_DEVICE_LOST) {
        return Err(vk::Result::ERROR_DEVICE_LOST);
    }
    if !again && (can.contains(&tap.result) || tap.result == vk::Result::ERROR_UNKNOWN) {
        tap.counted += 1;
        if tap.nth.contains(&(tap.counted - 1)) {
            tap.hit = tap.hit.or(Some(Hit { call, result: tap.result }));
            tap.lost = tap.result == vk::Result::ERROR_DEVICE_LOST;
            if tap.lost {
                // A lost device is done with everything.
                // SAFETY: the device lives, and the one thread that uses its queue is here.
                unsafe { tap.device.device_wait_idle() }.unwrap();
            }
            return Err(tap.result);
        }
    }
    Ok(tap.device.clone())
}

fn made<T: vk::Handle>(kind: &'static str, object: T) {
    if let Some(tap) = tap().as_mut() {
        tap.live.insert((kind, object.as_raw()));
    }
}

/// The real device, to destroy an object with.
fn unmade<T: vk::Handle>(kind: &'static str, object: T) -> ash::Device {
    let mut tap = tap();
    let tap = tap.as_mut().expect("hooks are in use");
    let object = (kind, object.as_raw());
    if object.1 != 0 && !tap.live.remove(&object) {
        tap.wrong.push(object);
    }
    tap.device.clone()
}

const HOST: vk::Result = vk::Result::ERROR_OUT_OF_HOST_MEMORY;
const DEVICE: vk::Result = vk::Result::ERROR_OUT_OF_DEVICE_MEMORY;
const LOST: vk::Result = vk::Result::ERROR_DEVICE_LOST;

/// A function that can fail with what is listed, and then hands its arguments on. `makes` notes what it made.
macro_rules! replaced {
    ($name:ident, $vk:literal, $table:ident, [$($can:expr),*],
     ($($arg:ident: $type:ty),*) $(, makes $kind:literal $out:ident)?) => {
        unsafe extern "system" fn $name(_: vk::Device, $($arg: $type),*) -> vk::Result {
            match enter($vk, &[$($can),*]) {
                Err(result) => result,
                Ok(device) => {
                    // SAFETY: the caller's promises are those of the function it meant to call.
                    let result = unsafe { (device.$table().$name)(device.handle(), $($arg),*) };
                    $(if result == vk::Result::SUCCESS {
                        // SAFETY: on success the function has written it.
                        made($kind, unsafe { *$out });
                    })?
                    result
                }
            }
        }
    };
}

/// A function that destroys something.
macro_rules! destroys {
    ($name:ident, $kind:literal, $type:ty) => {
        unsafe extern "system" fn $name(
            _: vk::Device,
            object: $type,
            callbacks: *const vk::AllocationCallbacks<'_>,
        ) {
            let device = unmade($kind, object);
            // SAFETY: the caller's promises are those of the function it meant to call.
            unsafe { (device.fp_v1_0().$name)(device.handle(), object, callbacks) }
        }
    };
}

type Callbacks<'a> = *const vk::AllocationCallbacks<'a>;

replaced!(create_buffer, "vkCreateBuffer", fp_v1_0, [HOST, DEVICE],
    (info: *const vk::BufferCreateInfo<'_>, callbacks: Callbacks<'_>, out: *mut vk::Buffer), makes "buffer" out);
replaced!(allocate_memory, "vkAllocateMemory", fp_v1_0, [HOST, DEVICE, vk::Result::ERROR_TOO_MANY_OBJECTS],
    (info: *const vk::MemoryAllocateInfo<'_>, callbacks: Callbacks<'_>, out: *mut vk::DeviceMemory),
    makes "memory" out);
replaced!(bind_buffer_memory, "vkBindBufferMemory", fp_v1_0, [HOST, DEVICE],
    (buffer: vk::Buffer, memory: vk::DeviceMemory, offset: vk::DeviceSize));
replaced!(map_memory, "vkMapMemory", fp_v1_0, [HOST, DEVICE, vk::Result::ERROR_MEMORY_MAP_FAILED],
    (memory: vk::DeviceMemory, offset: vk::DeviceSize, size: vk::DeviceSize, flags: vk::MemoryMapFlags,
     out: *mut *mut std::ffi::c_void));
replaced!(flush_mapped_memory_ranges, "vkFlushMappedMemoryRanges", fp_v1_0, [HOST, DEVICE],
    (count: u32, ranges: *const vk::MappedMemoryRange<'_>));
replaced!(invalidate_mapped_memory_ranges, "vkInvalidateMappedMemoryRanges", fp_v1_0, [HOST, DEVICE],
    (count: u32, ranges: *const vk::MappedMemoryRange<'_>));
replaced!(create_semaphore, "vkCreateSemaphore", fp_v1_0, [HOST, DEVICE],
    (info: *const vk::SemaphoreCreateInfo<'_>, callbacks: Callbacks<'_>, out: *mut vk::Semaphore),
    makes "semaphore" out);
replaced!(create_command_pool, "vkCreateCommandPool", fp_v1_0, [HOST, DEVICE],
    (info: *const vk::CommandPoolCreateInfo<'_>, callbacks: Callbacks<'_>, out: *mut vk::CommandPool),
    makes "command pool" out);
replaced!(allocate_command_buffers, "vkAllocateCommandBuffers", fp_v1_0, [HOST, DEVICE],
    (info: *const vk::CommandBufferAllocateInfo<'_>, out: *mut vk::CommandBuffer));
replaced!(reset_command_pool, "vkResetCommandPool", fp_v1_0, [DEVICE],
    (pool: vk::CommandPool, flags: vk::CommandPoolResetFlags));

replaced!(create_pipeline_layout, "vkCreatePipelineLayout", fp_v1_0, [HOST, DEVICE],
    (info: *const vk::PipelineLayoutCreateInfo<'_>, callbacks: Callbacks<'_>, out: *mut vk::PipelineLayout),
    makes "pipeline layout" out);
replaced!(create_shader_module, "vkCreateShaderModule", fp_v1_0, [HOST, DEVICE],
    (info: *const vk::ShaderModuleCreateInfo<'_>, callbacks: Callbacks<'_>, out: *mut vk::ShaderModule),
    makes "shader module" out);
replaced!(create_compute_pipelines, "vkCreateComputePipelines", fp_v1_0, [HOST, DEVICE],
    (cache: vk::PipelineCache, count: u32, infos: *const vk::ComputePipelineCreateInfo<'_>,
     callbacks: Callbacks<'_>, out: *mut vk::Pipeline), makes "pipeline" out);
replaced!(create_fence, "vkCreateFence", fp_v1_0, [HOST, DEVICE],
    (info: *const vk::FenceCreateInfo<'_>, callbacks: Callbacks<'_>, out: *mut vk::Fence), makes "fence" out);
replaced!(reset_fences, "vkResetFences", fp_v1_0, [DEVICE], (count: u32, fences: *const vk::Fence));
replaced!(wait_for_fences, "vkWaitForFences", fp_v1_0, [HOST, DEVICE, LOST],
    (count: u32, fences: *const vk::Fence, all: vk::Bool32, timeout: u64));
replaced!(create_query_pool, "vkCreateQueryPool", fp_v1_0, [HOST, DEVICE],
    (info: *const vk::QueryPoolCreateInfo<'_>, callbacks: Callbacks<'_>, out: *mut vk::QueryPool),
    makes "query pool" out);
replaced!(get_query_pool_results, "vkGetQueryPoolResults", fp_v1_0, [HOST, DEVICE, LOST],
    (pool: vk::QueryPool, first: u32, count: u32, size: usize, data: *mut std::ffi::c_void,
     stride: vk::DeviceSize, flags: vk::QueryResultFlags));

destroys!(destroy_pipeline_layout, "pipeline layout", vk::PipelineLayout);
destroys!(destroy_shader_module, "shader module", vk::ShaderModule);
destroys!(destroy_pipeline, "pipeline", vk::Pipeline);
destroys!(destroy_fence, "fence", vk::Fence);
destroys!(destroy_query_pool, "query pool", vk::QueryPool);
destroys!(destroy_buffer, "buffer", vk::Buffer);
destroys!(free_memory, "memory", vk::DeviceMemory);
destroys!(destroy_semaphore, "semaphore", vk::Semaphore);
destroys!(destroy_command_pool, "command pool", vk::CommandPool);

unsafe extern "system" fn get_semaphore_counter_value(
    _: vk::Device,
    semaphore: vk::Semaphore,
    value: *mut u64,
) -> vk::Result {
    let again = tap().as_ref().is_some_and(|t| t.asked);
    let device = match enter("vkGetSemaphoreCounterValue", &[HOST, DEVICE, LOST]) {
        Err(result) => return result,
        Ok(device) => device,
    };
    // SAFETY: the caller's promises are those of the function it meant to call.
    let result = unsafe { (device.fp_v1_2().get_semaphore_counter_value)(device.handle(), semaphore, value) };
    if let Some(tap) = tap().as_mut().filter(|_| result == vk::Result::SUCCESS) {
        // SAFETY: the caller's memory, written just now.
        let value = unsafe { &mut *value };
        if !again {
            (tap.shown, tap.next) = (tap.next, *value);
        }
        *value = tap.shown;
    }
    result
}

unsafe extern "system" fn wait_semaphores(
    _: vk::Device,
    info: *const vk::SemaphoreWaitInfo<'_>,
    timeout: u64,
) -> vk::Result {
    let device = match enter("vkWaitSemaphores", &[HOST, DEVICE, LOST]) {
        Err(result) => return result,
        Ok(device) => device,
    };
    // SAFETY: the caller's promises are those of the function it meant to call.
    let result = unsafe { (device.fp_v1_2().wait_semaphores)(device.handle(), info, timeout) };
    if let Some(tap) = tap().as_mut().filter(|_| result == vk::Result::SUCCESS) {
        // SAFETY: the caller's, with one value.
        let value = unsafe { *(*info).p_values };
        (tap.shown, tap.next) = (tap.shown.max(value), tap.next.max(value));
    }
    result
}

unsafe extern "system" fn begin_command_buffer(
    commands: vk::CommandBuffer,
    info: *const vk::CommandBufferBeginInfo<'_>,
) -> vk::Result {
    match enter("vkBeginCommandBuffer", &[HOST, DEVICE]) {
        Err(result) => result,
        // SAFETY: the caller's promises are those of the function it meant to call.
        Ok(device) => unsafe { (device.fp_v1_0().begin_command_buffer)(commands, info) },
    }
}

unsafe extern "system" fn end_command_buffer(commands: vk::CommandBuffer) -> vk::Result {
    match enter("vkEndCommandBuffer", &[HOST, DEVICE]) {
        Err(result) => result,
        // SAFETY: as above.
        Ok(device) => unsafe { (device.fp_v1_0().end_command_buffer)(commands) },
    }
}

unsafe extern "system" fn queue_submit(
    queue: vk::Queue,
    count: u32,
    submits: *const vk::SubmitInfo<'_>,
    fence: vk::Fence,
) -> vk::Result {
    match enter("vkQueueSubmit", &[HOST, DEVICE, LOST]) {
        Err(result) => result,
        // SAFETY: as above.
        Ok(device) => unsafe { (device.fp_v1_0().queue_submit)(queue, count, submits, fence) },
    }
}

unsafe extern "system" fn queue_submit2(
    queue: vk::Queue,
    count: u32,
    submits: *const vk::SubmitInfo2<'_>,
    fence: vk::Fence,
) -> vk::Result {
    match enter("vkQueueSubmit2", &[HOST, DEVICE, LOST]) {
        Err(result) => result,
        // SAFETY: as above.
        Ok(device) => unsafe { (device.fp_v1_3().queue_submit2)(queue, count, submits, fence) },
    }
}

unsafe extern "system" fn get_physical_device_memory_properties(
    physical: vk::PhysicalDevice,
    out: *mut vk::PhysicalDeviceMemoryProperties,
) {
    let instance = tap().as_ref().expect("hooks are in use").instance.clone();
    // SAFETY: as above.
    unsafe { (instance.fp_v1_0().get_physical_device_memory_properties)(physical, out) };
    // SAFETY: the caller's memory, written just now.
    for memory in unsafe { &mut (*out).memory_types } {
        memory.property_flags &= !vk::MemoryPropertyFlags::HOST_COHERENT;
    }
}
