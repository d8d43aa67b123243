//! After 10,000 frames the process's heap and the device's objects are what they were after 100.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[cfg(feature = "vulkan")]
#[path = "faults/hooks.rs"]
#[allow(dead_code, unreachable_pub, clippy::expect_used, clippy::panic, reason = "a part of it is used")]
mod hooks;

use memkit_gpu::{
    Access, DummyBackend, DummyBackendConfig, DummyContext, MkBuffer, MkBufferDesc, MkBufferUsage, MkFrame,
    MkGpu, MkGpuBackend, MkGpuConfig, MkReadback, MkSlice, MkTransient,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes allocated and not freed, by any thread.
static LIVE: AtomicIsize = AtomicIsize::new(0);

struct Counting;

// SAFETY: passes every call on to the system's allocator, and counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test at a time: the heap is the process's.
static ALONE: Mutex<()> = Mutex::new(());

/// What differs between backends.
trait Body: MkGpuBackend {
    /// A pass that reads the one and changes the other.
    fn sum(frame: &mut MkFrame<'static, Self>, a: &MkBuffer, sums: MkSlice<'static>);
    /// What the device holds: a list of numbers.
    fn objects(gpu: &MkGpu<Self>) -> Vec<usize>;
}

impl Body for DummyBackend {
    fn sum(frame: &mut MkFrame<'static, Self>, a: &MkBuffer, sums: MkSlice<'static>) {
        let id = a.id();
        let pass = frame.pass("sum").read(a, Access::COMPUTE_STORAGE_READ);
        pass.modify(sums, Access::COMPUTE_STORAGE_READ_WRITE).record(move |cx: &mut DummyContext<'_>| {
            cx.dispatch(move |mem| {
                let total = mem.read::<u8>(id)?.iter().map(|&b| u32::from(b)).sum();
                mem.write::<u32>(sums)?[0] = total;
                Ok(())
            });
            Ok(())
        });
    }

    fn objects(gpu: &MkGpu<Self>) -> Vec<usize> {
        vec![gpu.backend().buffer_count(), gpu.backend().total_allocated() as usize]
    }
}

/// Shapes of frames: they come round after so many.
const SHAPES: usize = 60;

/// One frame that uses everything: uploads that overlap, a transient, passes, a fill, copies, readbacks, a transfer,
/// buffers that come and go.
fn frame<B: Body>(
    gpu: &MkGpu<B>,
    n: usize,
    a: &MkBuffer,
    b: &MkBuffer,
    tickets: &mut VecDeque<MkReadback<u32>>,
) {
    let shape = n % SHAPES;
    let staging = gpu.staging_buffer_with_data(&[n as u32; 16]).unwrap();
    gpu.transfer_builder(&staging, b).offset(64 * (shape % 4)).submit().unwrap();
    let mut frame = gpu.begin_frame().unwrap();
    for i in 0..20usize {
        let at = (i * 97 + shape * 13) % 900;
        frame.upload(a, at, &[(n + i) as u8; 40]).unwrap();
    }
    let sums: MkTransient = frame.transient("sums", 64 + 64 * (shape % 3));
    frame.fill(sums.slice(0..64), 0);
    B::sum(&mut frame, a, sums.slice(0..64));
    frame.copy(sums.slice(0..64), b.slice(512..576));
    tickets.push_back(frame.readback::<u32>(b, 0..160).unwrap());
    if shape % 5 == 4 {
        return; // dropped unsubmitted
    }
    frame.submit().unwrap();
    while tickets.len() > 3 {
        tickets.pop_front();
    }
}

/// Heap bytes and device objects once the device is idle.
fn measure<B: Body>(gpu: &MkGpu<B>) -> (isize, Vec<usize>) {
    gpu.wait_idle().unwrap();
    let objects = B::objects(gpu);
    (LIVE.load(Ordering::Relaxed) - size_of_val(objects.as_slice()) as isize, objects)
}

/// Runs 10,000 frames, and asserts that from the hundredth on the heap grew by less than `slack` bytes and the number of
/// objects not at all.
fn soak<B: Body>(what: &str, backend: B, slack: isize) -> MkGpu<B> {
    // Small chunks, so that staging memory comes round early.
    let gpu = MkGpu::with_config(backend, MkGpuConfig { staging_chunk: 16 << 10, ..Default::default() });
    let make = |name| {
        let desc = MkBufferDesc { name, size: 1024, usage: MkBufferUsage::STORAGE, ..Default::default() };
        gpu.create_buffer(&desc).unwrap()
    };
    let (a, b) = (make("a"), make("b"));
    let mut first = gpu.begin_frame().unwrap();
    first.fill(&a, 0);
    first.fill(&b, 0);
    first.submit().unwrap();
    // As many staging chunks as are ever needed, whenever the device takes how long: two frames in flight and one open.
    let mut open: Vec<_> = (0..3).map(|_| gpu.begin_frame().unwrap()).collect();
    open.iter_mut().for_each(|frame| frame.upload(&a, 0, &[1u8]).unwrap());
    drop(open);
    let mut tickets = VecDeque::with_capacity(8);
    (0..100).for_each(|n| frame(&gpu, n, &a, &b, &mut tickets));
    let early = measure(&gpu);
    (100..10_000).for_each(|n| frame(&gpu, n, &a, &b, &mut tickets));
    let late = measure(&gpu);
    println!("{what}: heap and objects {early:?} after 100 frames, {late:?} after 10,000");
    assert_eq!(early.1, late.1, "objects of the device");
    let grown = late.0 - early.0;
    assert!(grown < slack, "the heap grew by {grown} bytes over 9,900 frames, from {}", early.0);
    gpu
}

#[test]
fn ten_thousand_frames_leave_no_more_behind_than_a_hundred() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let backend = |check| DummyBackend::with_config(DummyBackendConfig { check, ..Default::default() });
    // A vector that grows by doubling does so once more.
    soak("simulated device", backend(false), 32 << 10);
    // The simulator keeps a log of barriers that it empties from time to time: the size swings within this.
    let gpu = soak("simulated device, checking", backend(true), 1 << 20);
    assert_eq!(gpu.backend().hazard_count(), 0);
}

#[cfg(feature = "vulkan")]
mod vulkan {
    use super::*;
    use memkit_gpu::ash::vk;
    use memkit_gpu::graph::Stages;
    use memkit_gpu::{VulkanBackend, VulkanBorrow, VulkanConfig, VulkanContext};

    impl Body for VulkanBackend {
        fn sum(frame: &mut MkFrame<'static, Self>, a: &MkBuffer, sums: MkSlice<'static>) {
            let id = a.id();
            let pass = frame.pass("sum").read(a, Access::COPY_READ).overwrite(sums, Access::COPY_WRITE);
            pass.record(move |cx: &mut VulkanContext<'_>| {
                let (from, to) = (cx.resolve(id)?, cx.resolve(sums)?);
                let region = vk::BufferCopy { src_offset: from.offset, dst_offset: to.offset, size: to.size };
                // SAFETY: both are declared and large enough, and the command buffer is being recorded.
                unsafe {
                    cx.device().cmd_copy_buffer(cx.command_buffer(), from.buffer, to.buffer, &[region]);
                }
                Ok(())
            });
        }

        fn objects(gpu: &MkGpu<Self>) -> Vec<usize> {
            vec![gpu.backend().buffer_count(), hooks::live().len()]
        }
    }

    #[test]
    fn ten_thousand_frames_leave_no_more_behind_than_a_hundred() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = VulkanBackend::new(VulkanConfig::default())
            .expect("this test needs a Vulkan device; tests/run installs one");
        // None fails: they count what lives.
        let hooks = hooks::Hooks::new(owner.instance(), owner.device(), 0..0, vk::Result::ERROR_UNKNOWN);
        let borrow = VulkanBorrow {
            instance: hooks.instance(owner.instance()),
            physical_device: owner.physical_device(),
            device: hooks.device(owner.device()),
            queue: owner.queue(),
            queue_family: owner.queue_family(),
            queue_lock: None,
            api_version: owner.api_version(),
            optional_stages: Stages::empty(),
            storage_buffer_8bit_access: false,
            external_memory_host: false,
            buffer_device_address: true,
            debug_utils: false,
        };
        // SAFETY: the owner outlives it and does not use its queue meanwhile.
        let backend = unsafe { VulkanBackend::from_raw(borrow) }.unwrap();
        // Names of buffers have more digits later.
        drop(soak("Vulkan", backend, 1 << 10));
        assert_eq!(hooks::live(), [], "alive after everything was dropped");
    }
}
