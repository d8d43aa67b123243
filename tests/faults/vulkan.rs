//! A Vulkan device: each call of the driver fails in turn, in each way the specification lists, under validation.

use crate::hooks::{self, Hit, Hooks};
use crate::lost::every_call_says_so;
use crate::scene::{Body, Scene, config};
use crate::{Cause, no_hang, reported};
use memkit_gpu::ash::vk;
use memkit_gpu::graph::{BufferDesc, FrameGraph, GraphState, Planner, ResourceSlice, Stages};
use memkit_gpu::{
    Access, MkBackendBufferDesc, MkBuffer, MkBufferDesc, MkBufferUsage, MkDeviceBuffer, MkError, MkFrame,
    MkGpu, MkGpuBackend, MkGpuConfig, MkMemoryType, MkRecordInput, MkSlice, MkUploadMethod, MkValidationLog,
    VulkanBackend, VulkanBorrow, VulkanConfig, VulkanContext,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

impl Body for VulkanBackend {
    const KEEPS: bool = true;
    const LARGE: usize = 33 << 20;

    fn copy_pass(frame: &mut MkFrame<'static, Self>, from: MkSlice<'static>, to: MkSlice<'static>) {
        frame.pass("copies").read(from, Access::COPY_READ).overwrite(to, Access::COPY_WRITE).record(
            move |cx: &mut VulkanContext<'_>| {
                let (from, to) = (cx.resolve(from)?, cx.resolve(to)?);
                let region = vk::BufferCopy { src_offset: from.offset, dst_offset: to.offset, size: to.size };
                // SAFETY: both buffers are declared, large enough, and the command buffer is being recorded.
                unsafe {
                    cx.device().cmd_copy_buffer(cx.command_buffer(), from.buffer, to.buffer, &[region]);
                }
                Ok(())
            },
        );
    }
}

/// A buffer of the engine's own, made without the functions that fail.
struct Own {
    owner: Arc<VulkanBackend>,
    raw: vk::Buffer,
    memory: vk::DeviceMemory,
}

const OWN_SIZE: usize = crate::model::WORDS * 4;

impl Own {
    fn new(owner: &Arc<VulkanBackend>) -> Self {
        let device = owner.device();
        let usage = vk::BufferUsageFlags::TRANSFER_SRC | vk::BufferUsageFlags::TRANSFER_DST;
        let info = vk::BufferCreateInfo::default().size(OWN_SIZE as u64).usage(usage);
        // SAFETY: the device lives, the infos are valid, and the memory fits what the buffer asks for.
        let (raw, memory) = unsafe {
            let raw = device.create_buffer(&info, None).unwrap();
            let needs = device.get_buffer_memory_requirements(raw);
            let memory_type = needs.memory_type_bits.trailing_zeros();
            let info =
                vk::MemoryAllocateInfo::default().allocation_size(needs.size).memory_type_index(memory_type);
            let memory = device.allocate_memory(&info, None).unwrap();
            device.bind_buffer_memory(raw, memory, 0).unwrap();
            (raw, memory)
        };
        Own { owner: Arc::clone(owner), raw, memory }
    }

    fn import(&self, gpu: &MkGpu<VulkanBackend>) -> MkBuffer {
        let usage = MkBufferUsage::TRANSFER_SRC | MkBufferUsage::TRANSFER_DST;
        let desc = MkBufferDesc { name: "own", size: OWN_SIZE, usage, ..Default::default() };
        // SAFETY: a buffer of this device as described, used by nobody else, destroyed after the `MkGpu`.
        unsafe { gpu.import_buffer(self.raw, &desc) }.unwrap()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // SAFETY: every `MkGpu` that used it is gone, and waited.
        unsafe {
            self.owner.device().destroy_buffer(self.raw, None);
            self.owner.device().free_memory(self.memory, None);
        }
    }
}

type Errors = Vec<(&'static str, MkError)>;

/// Memory objects that the allocator keeps once all handles are dropped, as a run in which nothing fails leaves them:
/// fewer than there were, since large buffers have some of their own.
static BLOCKS: OnceLock<usize> = OnceLock::new();

/// Runs the loop.
fn scene(owner: &Arc<VulkanBackend>, backend: VulkanBackend) -> Errors {
    let own = Own::new(owner);
    // What scattering and measuring call fails in tests of their own.
    let gpu = MkGpu::with_config(backend, MkGpuConfig { uploads: MkUploadMethod::Copy, ..config(2) });
    let imported = own.import(&gpu);
    match Scene::new(gpu, Some(imported)) {
        Ok(mut scene) => {
            scene.turn(0);
            scene.turn(1);
            scene.check();
            let errors = std::mem::take(&mut scene.errors);
            if errors.iter().any(|(_, e)| e.is_device_lost()) {
                every_call_says_so(&mut scene.into_lost());
            } else {
                scene.wind_down(|gpu| {
                    let count = |kind| hooks::live().iter().filter(|(k, _)| *k == kind).count();
                    assert_eq!(count("buffer"), gpu.backend().buffer_count());
                    let (left, usual) = (count("memory"), BLOCKS.get_or_init(|| count("memory")));
                    assert!(left <= *usual, "{left} memory objects are left, {usual} where nothing fails");
                    (gpu.backend().buffer_count(), None)
                });
            }
            errors
        }
        Err(mut lost) => {
            every_call_says_so(&mut lost);
            std::mem::take(&mut lost.errors)
        }
    }
}

/// What runs on a backend over the owner's device, and drops it.
type Run = fn(&Arc<VulkanBackend>, VulkanBackend) -> Errors;

/// Runs something on a device of which calls `nth` fail with `result`; all that it made must be gone afterwards.
fn run(owner: &Arc<VulkanBackend>, nth: Range<u64>, result: vk::Result, body: Run) -> (Option<Hit>, Errors) {
    run_with(owner, nth, result, body, true)
}

/// With memory that shows itself as not coherent, as in `run`, or as it is.
fn run_with(
    owner: &Arc<VulkanBackend>,
    nth: Range<u64>,
    result: vk::Result,
    body: Run,
    incoherent: bool,
) -> (Option<Hit>, Errors) {
    let hooks = Hooks::new(owner.instance(), owner.device(), nth, result);
    let real = owner.instance();
    let borrow = VulkanBorrow {
        instance: if incoherent { hooks.instance(real) } else { real.clone() },
        physical_device: owner.physical_device(),
        device: hooks.device(owner.device()),
        queue: owner.queue(),
        queue_family: owner.queue_family(),
        queue_lock: None,
        api_version: owner.api_version(),
        optional_stages: Stages::empty(),
        buffer_device_address: true,
        storage_buffer_8bit_access: true,
        external_memory_host: owner.capabilities().host_import.is_some(),
        debug_utils: true,
    };
    // SAFETY: the owner outlives it and does not use its queue meanwhile; the replaced functions do what the real ones
    // do, or nothing.
    let errors = match unsafe { VulkanBackend::from_raw(borrow) } {
        Ok(backend) => body(owner, backend),
        Err(error) => vec![("open", error)],
    };
    // The layer 1.3.239 takes notice of this wait alone, and would remember all submissions so far.
    // SAFETY: nobody else uses the device.
    unsafe { owner.device().device_wait_idle() }.unwrap();
    assert_eq!(hooks::live(), [], "alive after everything was dropped");
    assert_eq!(hooks.wrong(), [], "destroyed twice");
    (hooks.hit(), errors)
}

/// What the facade must say.
fn cause(result: vk::Result) -> Cause {
    match result {
        vk::Result::ERROR_OUT_OF_HOST_MEMORY => Cause::HostMemory,
        vk::Result::ERROR_DEVICE_LOST => Cause::Lost,
        vk::Result::ERROR_UNKNOWN => Cause::Other,
        _ => Cause::DeviceMemory,
    }
}

/// A call whose failure may go unreported: see the same function for the simulated device. And where one memory type
/// has no room or cannot be mapped, the next one that will do is taken.
fn has_fallback(call: &str) -> bool {
    let fallbacks =
        ["vkGetSemaphoreCounterValue", "vkFlushMappedMemoryRanges", "vkAllocateMemory", "vkMapMemory"];
    fallbacks.contains(&call)
}

/// A device, and what the validation layer says about it.
fn owner() -> (Arc<VulkanBackend>, MkValidationLog) {
    let config =
        VulkanConfig { app_name: "memkit-gpu faults".into(), validation: true, ..Default::default() };
    let owner = VulkanBackend::new(config)
        .expect("this test needs a Vulkan device and the validation layer; tests/run installs both");
    let log = owner.validation_log();
    (Arc::new(owner), log)
}

fn fail_each_call(result: vk::Result, all: &[&str]) {
    fail_each_call_of(scene, has_fallback, result, all);
}

fn fail_each_call_of(body: Run, has_fallback: fn(&str) -> bool, result: vk::Result, all: &[&str]) {
    let (owner, log) = owner();
    let (hit, errors) = run(&owner, 0..0, result, body);
    assert!(hit.is_none() && errors.is_empty(), "without a fault: {errors:?}");
    let mut seen: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut beyond = 0;
    for nth in 0.. {
        let what = format!("{result:?} in call {nth}");
        let own = Arc::clone(&owner);
        let (hit, errors) = no_hang(what.clone(), move || run(&own, nth..nth + 1, result, body));
        silent(&log, &what);
        let Some(hit) = hit else {
            assert!(errors.is_empty(), "{what} was not reached: {errors:?}");
            beyond += 1;
            if beyond == 3 {
                break;
            }
            continue;
        };
        let what = format!("{what}, {}", hit.call);
        // Who makes a buffer is told of the buffer.
        let makes = ["vkCreateBuffer", "vkAllocateMemory", "vkBindBufferMemory", "vkMapMemory"];
        let named = match result {
            vk::Result::ERROR_DEVICE_LOST => "lost",
            _ if makes.contains(&hit.call) => "`",
            _ => hit.call,
        };
        let told = reported(&errors, cause(result), named, &what);
        assert!(told || has_fallback(hit.call), "{what} failed and nobody says so");
        let count = seen.entry(hit.call).or_default();
        *(if told { &mut count.0 } else { &mut count.1 }) += 1;
    }
    println!("{result:?}: {} calls failed", seen.values().map(|(told, not)| told + not).sum::<u32>());
    for (call, (told, not)) in &seen {
        println!("    {call}: {told} errors, {not} by fallback");
    }
    let missing: Vec<_> = all.iter().filter(|call| !seen.contains_key(*call)).collect();
    assert!(missing.is_empty(), "the loop never makes these calls: {missing:?}");
    drop(owner);
    silent(&log, "the end");
}

#[track_caller]
fn silent(log: &MkValidationLog, what: &str) {
    let said: Vec<String> = log.messages().iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "{what}: the validation layer says:\n{}", said.join("\n"));
}

/// The functions that can fail for want of memory.
const ALL: [&str; 15] = [
    "vkCreateBuffer",
    "vkAllocateMemory",
    "vkBindBufferMemory",
    "vkMapMemory",
    "vkFlushMappedMemoryRanges",
    "vkInvalidateMappedMemoryRanges",
    "vkCreateSemaphore",
    "vkCreateCommandPool",
    "vkAllocateCommandBuffers",
    "vkBeginCommandBuffer",
    "vkEndCommandBuffer",
    "vkQueueSubmit2",
    "vkGetSemaphoreCounterValue",
    "vkWaitSemaphores",
    "vkResetCommandPool",
];

#[test]
fn each_call_without_device_memory() {
    fail_each_call(vk::Result::ERROR_OUT_OF_DEVICE_MEMORY, &ALL);
}

#[test]
fn each_call_without_host_memory() {
    // All but `vkResetCommandPool`, for which the specification lists device memory only.
    fail_each_call(vk::Result::ERROR_OUT_OF_HOST_MEMORY, &ALL[..14]);
}

#[test]
fn each_call_losing_the_device() {
    fail_each_call(
        vk::Result::ERROR_DEVICE_LOST,
        &["vkQueueSubmit2", "vkGetSemaphoreCounterValue", "vkWaitSemaphores"],
    );
}

/// Frames of uploads by a method, until one was right.
fn uploads(backend: VulkanBackend, method: MkUploadMethod) -> Errors {
    const SIZE: usize = 4096;
    let gpu = MkGpu::with_config(backend, MkGpuConfig { uploads: method, ..config(2) });
    let mut errors = Vec::new();
    let bytes: Vec<u8> = (0..SIZE).map(|i| i as u8).collect();
    // Made once: the layer 1.3.239 takes a new buffer for one that had its handle before.
    let mut made: Vec<MkDeviceBuffer> = Vec::new();
    let mut frame = |n: usize| {
        while made.len() < 2 {
            made.push(gpu.create_device_buffer(SIZE, MkBufferUsage::STORAGE)?);
        }
        let (a, b) = (&made[0], &made[1]);
        let mut frame = gpu.begin_frame()?;
        frame.fill(a, 0);
        // In two levels, and more than the table has room for at first in all.
        for target in [b, a] {
            (0..n).try_for_each(|i| frame.upload(target, 4 * i, &bytes[4 * i..4 * i + 3]))?;
        }
        (0..n).try_for_each(|i| frame.upload(b, 4 * i + 3, &[0u8]))?;
        let tickets = [frame.readback::<u8>(a, 0..4 * n)?, frame.readback::<u8>(b, 0..4 * n)?];
        frame.submit()?.wait()?;
        for ticket in tickets {
            ticket.try_read(|got| {
                let right = got.chunks(4).zip(bytes.chunks(4)).all(|(g, w)| g[..3] == w[..3] && g[3] == 0);
                assert!(right, "wrong bytes");
            })?;
        }
        Ok::<(), MkError>(())
    };
    for n in [20, 300, 20] {
        if let Err(error) = frame(n) {
            let lost = error.is_device_lost();
            errors.push(("uploads", error));
            if lost {
                return errors;
            }
            frame(n).expect("the next frame works");
        }
    }
    errors
}

fn scattered(_: &Arc<VulkanBackend>, backend: VulkanBackend) -> Errors {
    uploads(backend, MkUploadMethod::Scatter)
}

fn measured(_: &Arc<VulkanBackend>, backend: VulkanBackend) -> Errors {
    uploads(backend, MkUploadMethod::Auto)
}

#[test]
fn each_call_while_uploads_are_scattered() {
    let made = ["vkCreatePipelineLayout", "vkCreateShaderModule", "vkCreateComputePipelines"];
    for result in [vk::Result::ERROR_OUT_OF_DEVICE_MEMORY, vk::Result::ERROR_OUT_OF_HOST_MEMORY] {
        fail_each_call_of(scattered, has_fallback, result, &made);
    }
}

/// What fails while costs are measured leaves uploads copies, and a wait is tried again.
#[test]
fn each_call_while_costs_are_measured() {
    let made =
        ["vkCreateFence", "vkCreateQueryPool", "vkGetQueryPoolResults", "vkQueueSubmit", "vkWaitForFences"];
    fail_each_call_of(measured, |_| true, vk::Result::ERROR_OUT_OF_DEVICE_MEMORY, &made);
    let lost = vk::Result::ERROR_DEVICE_LOST;
    fail_each_call_of(
        measured,
        has_fallback,
        lost,
        &["vkQueueSubmit", "vkWaitForFences", "vkGetQueryPoolResults"],
    );
}

/// Imports memory, and fills it by the device.
fn import(_: &Arc<VulkanBackend>, backend: VulkanBackend) -> Errors {
    #[repr(C, align(4096))]
    struct Page([u8; 4096]);
    let mut page = Box::new(Page([0; 4096]));
    let at = NonNull::from(&mut page.0).cast();
    let gpu = MkGpu::new(backend);
    // SAFETY: the `MkGpu` goes before the page does, and nobody touches it meanwhile.
    let run = || unsafe {
        let memory = gpu.import_host_memory("page", at, 4096)?;
        let mut frame = gpu.begin_frame()?;
        frame.fill(&memory, u32::from_ne_bytes([7; 4]));
        frame.submit()?.wait()
    };
    let errors = run().err().map(|error| ("import", error)).into_iter().collect::<Errors>();
    drop(gpu);
    assert!(!errors.is_empty() || page.0 == [7; 4096]);
    errors
}

#[test]
fn an_import_that_fails_leaves_nothing() {
    let (owner, log) = owner();
    if owner.capabilities().host_import.is_none_or(|alignment| 4096 % alignment != 0) {
        println!("skipped: this device imports no pages");
        return;
    }
    let result = vk::Result::ERROR_OUT_OF_HOST_MEMORY;
    let (_, errors) = run_with(&owner, 0..0, result, import, false);
    assert!(errors.is_empty(), "without a fault: {errors:?}");
    let mut calls = Vec::new();
    for nth in 0.. {
        let (hit, errors) = run_with(&owner, nth..nth + 1, result, import, false);
        let Some(hit) = hit else { break };
        let what = format!("call {nth}, {}", hit.call);
        silent(&log, &what);
        assert!(reported(&errors, cause(result), "", &what) || has_fallback(hit.call), "{what}");
        calls.push(hit.call);
    }
    for call in ["vkCreateBuffer", "vkAllocateMemory", "vkBindBufferMemory"] {
        assert!(calls.contains(&call), "{call} is not among {calls:?}");
    }
    drop(owner);
    silent(&log, "the end");
}

/// Submits work and drops everything at once.
fn drop_in_flight(_: &Arc<VulkanBackend>, backend: VulkanBackend) -> Errors {
    let gpu = MkGpu::new(backend);
    let run = || {
        let make = || gpu.create_device_buffer(8 << 20, MkBufferUsage::STORAGE);
        let (a, b) = (make()?, make()?);
        let mut frame = gpu.begin_frame()?;
        frame.fill(&a, 7);
        for _ in 0..4 {
            frame.copy(&a, &b);
            frame.copy(&b, &a);
        }
        frame.submit()
    };
    run().err().map(|error| ("frame", error)).into_iter().collect()
}

/// The same without the facade: the backend alone waits.
fn drop_backend_in_flight(_: &Arc<VulkanBackend>, backend: VulkanBackend) -> Errors {
    const SIZE: u64 = 8 << 20;
    let usage = MkBufferUsage::TRANSFER_SRC | MkBufferUsage::TRANSFER_DST;
    let (mut graph, mut state, mut planner) = (FrameGraph::new(), GraphState::new(), Planner::new());
    let ids = ["a", "b"].map(|name| state.add_buffer(BufferDesc::new(name, SIZE, usage)));
    let [a, b] = ids.map(|id| ResourceSlice::new(id.into(), 0..SIZE));
    graph.fill(a, 7);
    for _ in 0..4 {
        graph.copy(a, b);
        graph.copy(b, a);
    }
    let schedule = planner.plan(&graph, &mut state).unwrap();
    let run = || {
        let desc = MkBackendBufferDesc { name: "c", size: SIZE, usage, memory: MkMemoryType::DeviceLocal };
        let buffers = [backend.create_buffer(&desc)?, backend.create_buffer(&desc)?];
        let input =
            MkRecordInput { name: "c", graph: &graph, schedule, buffers: &buffers, host_buffers: &[] };
        // SAFETY: both buffers live until the backend is dropped, and are alike; there is one submit.
        unsafe { backend.submit(backend.record(input, &mut |_, _| Ok(()))?, false) }
    };
    run().err().map(|error| ("submit", error)).into_iter().collect()
}

#[test]
fn dropping_waits_for_work_in_flight_whatever_the_driver_says() {
    for drops in [drop_in_flight, drop_backend_in_flight] {
        dropping_waits(drops);
    }
}

fn dropping_waits(drops: Run) {
    let (owner, log) = owner();
    for result in
        [vk::Result::ERROR_OUT_OF_HOST_MEMORY, vk::Result::ERROR_DEVICE_LOST, vk::Result::ERROR_UNKNOWN]
    {
        let mut calls = Vec::new();
        for nth in 0.. {
            let what = format!("{result:?} in calls {nth} to {}", nth + 4);
            let own = Arc::clone(&owner);
            let (hit, _) = no_hang(what.clone(), move || run(&own, nth..nth + 5, result, drops));
            silent(&log, &what);
            match hit {
                Some(hit) => calls.push(hit.call),
                None => break,
            }
        }
        assert!(calls.contains(&"vkWaitSemaphores"), "{calls:?}");
    }
    drop(owner);
    silent(&log, "the end");
}

#[test]
fn memory_that_cannot_be_mapped_or_is_one_too_many() {
    fail_each_call(vk::Result::ERROR_MEMORY_MAP_FAILED, &["vkMapMemory"]);
    fail_each_call(vk::Result::ERROR_TOO_MANY_OBJECTS, &["vkAllocateMemory"]);
}
