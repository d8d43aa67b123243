//! After warm-up, a repeating frame allocates nothing on the heap of the calling thread.
//!
//! With `MEMKIT_TRAP=1` the allocations print where they are.
#![allow(clippy::unwrap_used, clippy::panic)]

use memkit_gpu::{
    Access, DummyBackend, DummyBackendConfig, MkBufferUsage, MkDeviceBuffer, MkGpu, MkReadback,
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

struct Scene {
    gpu: MkGpu<DummyBackend>,
    buffers: Vec<MkDeviceBuffer>,
    data: [u32; 256],
    kernels: bool,
}

impl Scene {
    fn new(kernels: bool) -> Self {
        let config = DummyBackendConfig { check: false, ..Default::default() };
        let gpu = MkGpu::new(DummyBackend::with_config(config));
        let buffers =
            (0..8).map(|_| gpu.create_device_buffer(4096, MkBufferUsage::STORAGE).unwrap()).collect();
        Scene { gpu, buffers, data: [7; 256], kernels }
    }

    fn frame(&self) -> MkReadback<u32> {
        let mut frame = self.gpu.begin_frame().unwrap();
        for (i, buffer) in self.buffers.iter().enumerate() {
            frame.upload(buffer, 1024 * (i % 4), &self.data).unwrap();
            frame.upload_with(buffer, 0..64, |bytes| bytes.fill(3)).unwrap();
        }
        let scratch = frame.transient("scratch", 4096);
        frame.fill(scratch, 0);
        for buffer in &self.buffers {
            let (id, big, kernels) = (buffer.id(), self.data, self.kernels);
            frame
                .pass("work")
                .modify(scratch, STORAGE | Access::COMPUTE_STORAGE_READ)
                .overwrite(buffer.slice(64..128), STORAGE)
                .record(move |cx| {
                    if kernels {
                        cx.dispatch(move |mem| {
                            mem.write::<u32>(id)?.fill(big[0]);
                            Ok(())
                        });
                    }
                    std::hint::black_box(&big);
                    Ok(())
                });
        }
        frame.copy(scratch.slice(..64), self.buffers[0].slice(128..192));
        let back = frame.readback::<u32>(self.buffers[0].slice(64..128), 0..16).unwrap();
        frame.submit().unwrap();
        back
    }
}

/// Allocations of 100 frames, after warm-up.
fn allocations(scene: &Scene) -> u64 {
    let trap = std::env::var_os("MEMKIT_TRAP").is_some();
    let mut kept = scene.frame();
    let mut step = || {
        let last = std::mem::replace(&mut kept, scene.frame());
        last.wait().unwrap();
        last.try_read(|_| ()).unwrap();
    };
    (0..100).for_each(|_| step());
    let before = COUNT.get();
    TRAP.set(trap);
    (0..100).for_each(|_| step());
    TRAP.set(false);
    COUNT.get() - before
}

#[test]
fn a_repeating_frame_allocates_nothing() {
    assert_eq!(allocations(&Scene::new(false)), 0);
}

#[test]
fn a_repeating_frame_with_kernels_allocates_nothing() {
    assert_eq!(allocations(&Scene::new(true)), 0);
}

#[test]
fn repeating_transfers_allocate_nothing() {
    let config = DummyBackendConfig { check: false, ..Default::default() };
    let gpu = MkGpu::new(DummyBackend::with_config(config));
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
