//! After warm-up, a repeating frame allocates nothing on the heap of the calling thread: declared, planned, recorded,
//! submitted, or dropped before that. On the simulated device without its checks, and on Vulkan with debug labels.
//!
//! With `MEMKIT_TRAP=1` the allocations print where they are.
#![allow(clippy::unwrap_used, clippy::panic)]

use memkit_gpu::{
    Access, DummyBackend, DummyBackendConfig, DummyContext, MkBufferId, MkBufferUsage, MkDeviceBuffer,
    MkError, MkFrame, MkGpu, MkGpuBackend, MkGpuConfig, MkReadback, MkUploadMethod,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static TRAP: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if TRAP.try_with(|t| t.replace(false)).unwrap_or(false) {
            let trace = std::backtrace::Backtrace::force_capture().to_string();
            let ours = trace.lines().filter(|l| l.contains("./src") || l.contains("./graph"));
            let ours: Vec<&str> = ours.take(3).map(str::trim).collect();
            eprintln!("allocates {} bytes: {}", layout.size(), ours.join(" "));
            TRAP.set(true);
        } else {
            let _ = COUNT.try_with(|c| c.set(c.get() + 1));
        }
        // SAFETY: by the contract of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: by the contract of this function.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const STORAGE: Access = Access::COMPUTE_STORAGE_WRITE;

/// Scattered uploads a frame.
const SCATTERED: usize = 700;

/// What a pass records: given the buffer it writes, and data that makes its closure large.
type Body<B> = fn(&mut <B as MkGpuBackend>::Context<'_>, MkBufferId, [u32; 256]) -> Result<(), MkError>;

struct Scene<B: MkGpuBackend> {
    gpu: MkGpu<B>,
    buffers: Vec<MkDeviceBuffer>,
    scattered: MkDeviceBuffer,
    data: [u32; 256],
    body: Body<B>,
}

impl<B: MkGpuBackend> Scene<B> {
    fn new(backend: B, body: Body<B>) -> Self {
        Self::with(backend, body, MkUploadMethod::Auto)
    }

    fn with(backend: B, body: Body<B>, uploads: MkUploadMethod) -> Self {
        let gpu = MkGpu::with_config(backend, MkGpuConfig { uploads, ..Default::default() });
        let make = |size| gpu.create_device_buffer(size, MkBufferUsage::STORAGE).unwrap();
        let buffers = (0..8).map(|_| make(4096)).collect();
        let scattered = make(SCATTERED * 64);
        Scene { gpu, buffers, scattered, data: [7; 256], body }
    }

    fn declare<'f>(&self, frame: &mut MkFrame<'f, B>) -> MkReadback<u32>
    where
        B: 'f,
    {
        for (i, buffer) in self.buffers.iter().enumerate() {
            frame.upload(buffer, 1024 * (i % 4), &self.data).unwrap();
            frame.upload_with(buffer, 0..64, |bytes| bytes.fill(3)).unwrap();
        }
        // Out of order and with gaps: more ranges than a buffer keeps between frames.
        for i in 0..SCATTERED {
            frame.upload(&self.scattered, i * 331 % SCATTERED * 64, &self.data[..8]).unwrap();
        }
        let scratch = frame.transient("scratch", 4096);
        frame.fill(scratch, 0);
        for buffer in &self.buffers {
            let (id, big, body) = (buffer.id(), self.data, self.body);
            frame
                .pass("work")
                .modify(scratch, STORAGE | Access::COMPUTE_STORAGE_READ)
                .overwrite(buffer.slice(64..128), STORAGE)
                .record(move |cx| body(cx, id, big));
        }
        frame.copy(scratch.slice(..64), self.buffers[0].slice(128..192));
        frame.readback::<u32>(self.buffers[0].slice(64..128), 0..16).unwrap()
    }

    fn frame(&self) -> MkReadback<u32> {
        // One that is never submitted, with all it declares.
        let mut dropped = self.gpu.begin_frame().unwrap();
        drop(self.declare(&mut dropped));
        drop(dropped);
        let mut frame = self.gpu.begin_frame().unwrap();
        let back = self.declare(&mut frame);
        frame.submit().unwrap();
        back
    }

    /// The fewest allocations of 100 frames in a row, after warm-up.
    fn allocations(&self) -> u64 {
        let mut kept = self.frame();
        let step = || {
            let last = std::mem::replace(&mut kept, self.frame());
            last.wait().unwrap();
            last.try_read(|_| ()).unwrap();
        };
        fewest(100, step)
    }
}

/// The fewest allocations of so many rounds in a row, after as many to warm up. What is pooled grows to what is needed at
/// most, which on a busy machine may come late; what a round itself allocates is in each of the ten tries.
fn fewest(rounds: u64, mut round: impl FnMut()) -> u64 {
    let trap = std::env::var_os("MEMKIT_TRAP").is_some();
    (0..rounds).for_each(|_| round());
    let mut least = u64::MAX;
    for _ in 0..10 {
        let before = COUNT.get();
        TRAP.set(trap);
        (0..rounds).for_each(|_| round());
        TRAP.set(false);
        least = least.min(COUNT.get() - before);
        if least == 0 {
            break;
        }
    }
    least
}

fn unchecked() -> DummyBackend {
    DummyBackend::with_config(DummyBackendConfig { check: false, ..Default::default() })
}

#[test]
fn a_repeating_frame_allocates_nothing() {
    fn nothing(_: &mut DummyContext<'_>, _: MkBufferId, big: [u32; 256]) -> Result<(), MkError> {
        std::hint::black_box(big);
        Ok(())
    }
    assert_eq!(Scene::<DummyBackend>::new(unchecked(), nothing).allocations(), 0);
    let scattering = Scene::<DummyBackend>::with(unchecked(), nothing, MkUploadMethod::Scatter);
    assert_eq!(scattering.allocations(), 0);
}

#[test]
fn a_repeating_frame_with_kernels_allocates_nothing() {
    fn kernel(cx: &mut DummyContext<'_>, id: MkBufferId, big: [u32; 256]) -> Result<(), MkError> {
        cx.dispatch(move |mem| {
            mem.write::<u32>(id)?.fill(big[0]);
            Ok(())
        });
        Ok(())
    }
    assert_eq!(Scene::<DummyBackend>::new(unchecked(), kernel).allocations(), 0);
}

#[cfg(feature = "vulkan")]
#[test]
fn a_repeating_frame_on_vulkan_with_labels_allocates_nothing() {
    use memkit_gpu::{VulkanBackend, VulkanConfig, VulkanContext};
    fn body(cx: &mut VulkanContext<'_>, id: MkBufferId, big: [u32; 256]) -> Result<(), MkError> {
        std::hint::black_box(big);
        cx.resolve(id).map(|found| assert_eq!((found.offset, found.size), (64, 64)))
    }
    for uploads in [MkUploadMethod::Auto, MkUploadMethod::Scatter] {
        let config = VulkanConfig { debug_names: true, ..Default::default() };
        let backend = VulkanBackend::new(config).unwrap();
        assert_eq!(Scene::<VulkanBackend>::with(backend, body, uploads).allocations(), 0, "{uploads:?}");
    }
}

#[test]
fn repeating_transfers_allocate_nothing() {
    let gpu = MkGpu::new(unchecked());
    let staging = gpu.staging_buffer_with_data(&[1u32; 64]).unwrap();
    let device = gpu.create_device_buffer(256, MkBufferUsage::STORAGE).unwrap();
    let round = || {
        for i in 0..16 {
            gpu.transfer_builder(&staging, &device)
                .src_offset(8 * i)
                .dst_offset(16 * i)
                .size(8)
                .submit()
                .unwrap();
        }
        gpu.flush().unwrap().wait().unwrap();
    };
    (0..50).for_each(|_| round());
    let trap = std::env::var_os("MEMKIT_TRAP").is_some();
    let before = COUNT.get();
    TRAP.set(trap);
    (0..50).for_each(|_| round());
    TRAP.set(false);
    assert_eq!(COUNT.get() - before, 0);
}

#[test]
fn repeating_uploads_that_replace_bytes_of_each_other_allocate_nothing() {
    // Each frame is planned anew.
    let gpu = MkGpu::with_config(unchecked(), MkGpuConfig { plan_cache: 0, ..Default::default() });
    let device = gpu.create_device_buffer(1 << 16, MkBufferUsage::STORAGE).unwrap();
    let round = || {
        let mut frame = gpu.begin_frame().unwrap();
        for i in 0..1000 {
            frame.upload(&device, i * 40_503 % ((1 << 16) - 256), &[7u8; 256][..i % 256 + 1]).unwrap();
            if i == 500 {
                let read = frame.pass("read").read(device.slice(..1 << 14), Access::COMPUTE_STORAGE_READ);
                read.side_effects().record(|_| Ok(()));
            }
        }
        frame.submit().unwrap().wait().unwrap();
    };
    let mut frame = gpu.begin_frame().unwrap();
    frame.fill(&device, 0);
    frame.submit().unwrap();
    assert_eq!(fewest(20, round), 0);
}

#[test]
fn repeating_large_uploads_of_every_kind_allocate_nothing_with_helpers() {
    let config = memkit_gpu::MkGpuConfig { upload_threads: 2, ..Default::default() };
    let gpu = MkGpu::with_config(unchecked(), config);
    let data = vec![7u8; (5 << 20) + 1];
    let device = gpu.create_device_buffer(data.len(), MkBufferUsage::STORAGE).unwrap();
    let desc = memkit_gpu::MkBufferDesc {
        size: 1 << 20,
        memory: memkit_gpu::MkMemoryType::Unified,
        ..Default::default()
    };
    let mapped = gpu.create_buffer(&desc).unwrap();
    let round = || {
        gpu.upload_now(&device, 0, &data).unwrap();
        let mut frame = gpu.begin_frame().unwrap();
        frame.upload(&device, 0, &data).unwrap();
        assert!(frame.upload_direct(&mapped, 0, &data[..1 << 20]).unwrap());
        frame.copy(mapped.slice(..64), device.slice(..64));
        frame.submit().unwrap().wait().unwrap();
    };
    assert_eq!(fewest(20, round), 0);
}
