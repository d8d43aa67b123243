//! After 10,000 frames the process's heap and the device's objects are what they were after 100.
#![allow(clippy::unwrap_used, reason = "tests")]

use memkit_gpu::{
    Access, DummyBackend, DummyBackendConfig, DummyContext, MkBuffer, MkBufferDesc, MkBufferUsage, MkGpu,
    MkGpuConfig, MkReadback,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicIsize, Ordering};

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

/// One frame that uses everything: uploads that overlap, a transient, passes, a fill, copies, readbacks, a transfer,
/// buffers that come and go.
fn frame(
    gpu: &MkGpu<DummyBackend>,
    n: usize,
    a: &MkBuffer,
    b: &MkBuffer,
    tickets: &mut VecDeque<MkReadback<u32>>,
) {
    let staging = gpu.staging_buffer_with_data(&[n as u32; 16]).unwrap();
    gpu.transfer_builder(&staging, b).offset(64 * (n % 8)).submit().unwrap();
    let mut frame = gpu.begin_frame().unwrap();
    for i in 0..20usize {
        let at = (i * 97 + n * 13) % 900;
        frame.upload(a, at, &[(n + i) as u8; 40]).unwrap();
    }
    let sums = frame.transient("sums", 64 + 64 * (n % 3));
    frame.fill(sums.slice(0..64), 0);
    let id = a.id();
    frame
        .pass("sum")
        .read(a, Access::COMPUTE_STORAGE_READ)
        .modify(sums.slice(0..64), Access::COMPUTE_STORAGE_READ_WRITE)
        .record(move |cx: &mut DummyContext<'_>| {
            cx.dispatch(move |mem| {
                let total = mem.read::<u8>(id)?.iter().map(|&b| u32::from(b)).sum();
                mem.write::<u32>(sums.slice(0..64))?[0] = total;
                Ok(())
            });
            Ok(())
        });
    frame.copy(sums.slice(0..64), b.slice(512..576));
    tickets.push_back(frame.readback::<u32>(b, 0..160).unwrap());
    if n.is_multiple_of(7) {
        return; // dropped unsubmitted
    }
    frame.submit().unwrap();
    while tickets.len() > 3 {
        tickets.pop_front();
    }
}

/// Heap bytes and device objects once the device is idle.
fn measure(gpu: &MkGpu<DummyBackend>) -> (isize, usize, usize) {
    gpu.wait_idle().unwrap();
    let backend = gpu.backend();
    (LIVE.load(Ordering::Relaxed), backend.buffer_count(), backend.total_allocated() as usize)
}

fn soak(check: bool, slack: isize) {
    let backend = DummyBackend::with_config(DummyBackendConfig { check, ..Default::default() });
    // Small chunks, so that staging memory has come round many times before the first look: with checking on, the
    // simulator remembers who used each of its bytes.
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
    let mut tickets = VecDeque::new();
    // Every shape of frame has been seen after a few times 7 * 8 * 3.
    for n in 0..1000 {
        frame(&gpu, n, &a, &b, &mut tickets);
    }
    tickets.clear();
    let early = measure(&gpu);
    for n in 1000..10_000 {
        frame(&gpu, n, &a, &b, &mut tickets);
    }
    tickets.clear();
    let late = measure(&gpu);
    println!("check {check}: (heap, buffers, device bytes) {early:?}, then {late:?}");
    assert_eq!((early.1, early.2), (late.1, late.2), "device objects and bytes");
    let grown = late.0 - early.0;
    assert!(grown < slack, "the heap grew by {grown} bytes over 9,000 frames, from {}", early.0);
    assert_eq!(gpu.backend().hazard_count(), 0);
}

#[test]
fn ten_thousand_frames_leave_no_more_behind_than_a_thousand() {
    // A vector that grows by doubling may have done so once more.
    soak(false, 64 << 10);
    // The simulator keeps a log of barriers that it empties from time to time: the size swings within this.
    soak(true, 768 << 10);
}
