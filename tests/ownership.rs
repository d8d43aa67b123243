//! Who outlives whom: every drop order is clean, every orphan answers `GpuDropped`, nothing leaks.
//!
//! Under valgrind: `valgrind -q --error-exitcode=1 --leak-check=full --errors-for-leak-kinds=definite
//! target/debug/deps/ownership-* --test-threads=1`
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
use common::*;
use memkit_gpu::{
    DummyBackend, MkBufferDesc, MkBufferUsage, MkDeviceBuffer, MkError, MkFence, MkFrame, MkGpu, MkGpuPool,
    MkGpuTransfer, MkPooledBuffer, MkReadback, MkStagingBuffer,
};
use std::sync::{Arc, Mutex};

/// Everything that can outlive something else, with work in flight and work pending.
#[derive(Default)]
struct World {
    gpu: Option<Gpu>,
    device: Option<MkDeviceBuffer>,
    staging: Option<MkStagingBuffer>,
    open: Option<MkFrame<'static, DummyBackend>>,
    fence: Option<MkFence>,
    readback: Option<MkReadback<u32>>,
    transfer: Option<MkGpuTransfer>,
    pool: Option<MkGpuPool>,
    pooled: Option<MkPooledBuffer>,
}

const PARTS: usize = 9;

impl World {
    fn new() -> Self {
        let gpu = slow_gpu(20);
        let device = storage(&gpu, 64);
        let staging = gpu.staging_buffer_with_data(&[1u32; 16]).unwrap();
        let desc =
            MkBufferDesc { name: "pooled", size: 64, usage: MkBufferUsage::STORAGE, ..Default::default() };
        let pool = gpu.create_pool(&desc).unwrap();
        let pooled = pool.get().unwrap();
        drop(pool.get().unwrap());
        let mut frame = gpu.begin_frame().unwrap();
        frame.upload(&device, 0, &[1u32; 16]).unwrap();
        frame.copy(&device, &pooled);
        let scratch = frame.transient("scratch", 64);
        set(&mut frame, "scratch", scratch, 5);
        add(&mut frame, "work", device.id(), 1);
        let readback = frame.readback::<u32>(&device, 0..16).unwrap();
        let fence = frame.submit().unwrap();
        let transfer = gpu.transfer(&staging, &device).unwrap();
        let mut open = gpu.begin_frame().unwrap();
        open.upload(&device, 0, &[2u32; 16]).unwrap();
        let held = gpu.create_buffer(&MkBufferDesc { size: 4, ..Default::default() }).unwrap();
        open.pass("never").write(&device, W).record(move |_| {
            drop(held);
            Ok(())
        });
        let _ = open.readback::<u32>(&device, 0..1).unwrap();
        World {
            gpu: Some(gpu),
            device: Some(device),
            staging: Some(staging),
            open: Some(open),
            fence: Some(fence),
            readback: Some(readback),
            transfer: Some(transfer),
            pool: Some(pool),
            pooled: Some(pooled),
        }
    }

    fn drop_part(&mut self, part: usize) {
        match part {
            0 => drop(self.gpu.take()),
            1 => drop(self.device.take()),
            2 => drop(self.staging.take()),
            3 => drop(self.open.take()),
            4 => drop(self.fence.take()),
            5 => drop(self.readback.take()),
            6 => drop(self.transfer.take()),
            7 => drop(self.pool.take()),
            _ => drop(self.pooled.take()),
        }
    }

    /// Every call an orphan can get.
    fn assert_orphaned(&mut self) {
        fn dropped<T>(what: &str, result: Result<T, MkError>) {
            match result {
                Err(MkError::GpuDropped) => {}
                Err(other) => panic!("{what}: {other}"),
                Ok(_) => panic!("{what} worked"),
            }
        }
        if let Some(staging) = &mut self.staging {
            dropped("write", staging.write(0, &[1u32]));
            dropped("map", staging.map().map(drop));
            dropped("read", staging.read(0, &mut [0u32]));
        }
        if let Some(frame) = &mut self.open {
            if let Some(device) = &self.device {
                dropped("upload", frame.upload(device, 0, &[1u32]));
                dropped("upload_with", frame.upload_with(device, 0..4, |_| {}));
                dropped("frame readback", frame.readback::<u32>(device, 0..1));
                frame.fill(device, 0);
            }
            frame.pass("no").record(|_| Ok(()));
            if let Some(frame) = self.open.take() {
                dropped("submit", frame.submit());
            }
        }
        if let Some(fence) = &self.fence {
            dropped("fence", fence.wait());
            dropped("fence", fence.is_complete());
        }
        if let Some(readback) = &self.readback {
            dropped("readback", readback.wait());
            dropped("readback", readback.is_complete());
            dropped("readback", readback.try_read(|_| ()));
            dropped("readback", readback.read_into(&mut [0; 16]));
        }
        if let Some(transfer) = &self.transfer {
            dropped("transfer", transfer.wait());
            dropped("transfer", transfer.is_complete());
        }
        if let Some(pool) = &self.pool {
            dropped("pool", pool.get());
        }
    }
}

/// Calls `f` with each order of `n` things (Heap's algorithm).
fn permutations(n: usize, f: &mut dyn FnMut(&[usize])) {
    let mut order: Vec<usize> = (0..n).collect();
    let mut c = vec![0; n];
    f(&order);
    let mut i = 0;
    while i < n {
        if c[i] < i {
            order.swap(if i % 2 == 0 { 0 } else { c[i] }, i);
            f(&order);
            c[i] += 1;
            i = 0;
        } else {
            c[i] = 0;
            i += 1;
        }
    }
}

/// Where the gpu comes in the order, and which handles go before it, is what can matter: all of these.
#[test]
fn every_drop_order_is_clean_and_orphans_say_gpu_dropped() {
    no_deadlock(|| {
        for before in 0..1usize << (PARTS - 1) {
            let mut world = World::new();
            let stats = world.gpu.as_ref().unwrap().backend().stats();
            (1..PARTS).filter(|p| before & (1 << (p - 1)) != 0).for_each(|p| world.drop_part(p));
            world.drop_part(0);
            assert_eq!((stats.buffer_count(), stats.total_allocated()), (0, 0), "{before:b}");
            assert!(stats.hazards().is_empty(), "{}", stats.hazards()[0]);
            world.assert_orphaned();
        }
    });
}

/// And the order among the handles: every order of five kinds, at each place of the gpu.
#[test]
fn every_permutation_is_clean() {
    no_deadlock(|| {
        let groups = [[0, 1, 3, 5, 8], [0, 2, 6, 7, 8], [0, 3, 4, 5, 6]];
        for group in groups {
            permutations(group.len(), &mut |order| {
                let mut world = World::new();
                let stats = world.gpu.as_ref().unwrap().backend().stats();
                order.iter().for_each(|&i| world.drop_part(group[i]));
                assert_eq!(stats.buffer_count(), 0, "{order:?}");
                assert!(stats.hazards().is_empty());
            });
        }
    });
}

#[test]
fn dropping_the_gpu_while_the_queue_is_held_runs_what_was_submitted() {
    no_deadlock(|| {
        let gpu = gpu();
        let b = storage(&gpu, 4);
        let ran = Arc::new(Mutex::new(false));
        gpu.backend().pause();
        let mut frame = gpu.begin_frame().unwrap();
        let kernel_ran = ran.clone();
        frame.pass("work").overwrite(&b, W).record(move |cx| {
            cx.dispatch(move |_| {
                *kernel_ran.lock().unwrap() = true;
                Ok(())
            });
            Ok(())
        });
        frame.submit().unwrap();
        drop(gpu);
        assert!(*ran.lock().unwrap());
    });
}

#[test]
fn the_gpu_may_be_dropped_inside_record() {
    no_deadlock(|| {
        let gpu = gpu();
        let stats = gpu.backend().stats();
        let b = filled(&gpu, &[1]);
        let mut frame = gpu.begin_frame().unwrap();
        let fence = gpu.fence();
        frame.pass("drops the gpu").modify(&b, RW).record(move |_| {
            drop(gpu);
            assert!(matches!(fence.is_complete(), Err(MkError::GpuDropped)));
            Ok(())
        });
        assert!(matches!(frame.submit(), Err(MkError::GpuDropped)));
        assert_eq!(stats.buffer_count(), 0);
        drop(b);
    });
}

#[test]
fn the_gpu_may_be_dropped_inside_upload_with_try_read_and_a_kernel() {
    no_deadlock(|| {
        let gpu = gpu();
        let b = storage(&gpu, 4);
        let mut frame = gpu.begin_frame().unwrap();
        frame.upload_with(&b, 0..4, move |_| drop(gpu)).unwrap();
        assert!(matches!(frame.submit(), Err(MkError::GpuDropped)));

        let gpu = common::gpu();
        let b = filled(&gpu, &[1]);
        let mut frame = gpu.begin_frame().unwrap();
        let back = frame.readback::<u32>(&b, 0..1).unwrap();
        frame.submit().unwrap().wait().unwrap();
        let value = back.try_read(move |v| {
            drop(gpu);
            v[0]
        });
        assert_eq!(value.unwrap(), 1);
        assert!(matches!(back.try_read(|_| ()), Err(MkError::GpuDropped)));

        let gpu = common::gpu();
        let b = filled(&gpu, &[1]);
        let mut frame = gpu.begin_frame().unwrap();
        let back = frame.readback::<u32>(&b, 0..1).unwrap();
        // Not called, only dropped.
        assert!(matches!(back.try_read(move |_| drop(gpu)), Err(MkError::NotReady)));

        let gpu = Arc::new(common::gpu());
        let stats = gpu.backend().stats();
        let b = storage(&gpu, 4);
        let (mut frame, held) = (gpu.begin_frame().unwrap(), gpu.clone());
        frame.pass("owns the gpu").overwrite(&b, W).record(move |cx| {
            cx.dispatch(move |_| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                drop(held);
                Ok(())
            });
            Ok(())
        });
        frame.submit().unwrap();
        drop(gpu);
        while stats.buffer_count() > 0 {
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_frame_whose_closure_owns_the_gpu_can_be_dropped_or_fail() {
    no_deadlock(|| {
        for submit in [false, true] {
            let gpu = Arc::new(gpu());
            let b = storage(&gpu, 4);
            let mut frame = gpu.begin_frame().unwrap();
            let held = gpu.clone();
            frame.pass("holds it").overwrite(&b, W).record(move |_| {
                let _held = &held;
                Ok(())
            });
            if submit {
                frame.pass("bad").read(&b, Access::COMPUTE_STORAGE_WRITE).side_effects().record(|_| Ok(()));
            }
            drop(gpu);
            if submit {
                err(frame.submit());
            } else {
                drop(frame);
            }
            assert_eq!(b.size(), 4);
        }
    });
    use memkit_gpu::Access;
}

#[test]
fn a_handle_dropped_while_its_frame_records_keeps_its_memory_until_the_frame_ran() {
    let gpu = gpu();
    let b = filled(&gpu, &[1]);
    let mut frame = gpu.begin_frame().unwrap();
    let id = b.id();
    let back = frame.readback::<u32>(id, 0..1).unwrap();
    let gpu_ref = &gpu;
    // Declared by id, which keeps nothing alive: only the plan does.
    frame.pass("drops it").modify(id, RW).record(move |cx| {
        drop(b);
        drop(storage(gpu_ref, 4));
        drop(storage(gpu_ref, 4));
        cx.dispatch(move |mem| {
            mem.write::<u32>(id)?[0] += 1;
            Ok(())
        });
        Ok(())
    });
    frame.submit().unwrap();
    back.wait().unwrap();
    back.try_read(|v| assert_eq!(v, [1])).unwrap();
    assert_clean(&gpu);
    assert_eq!(gpu.backend().buffer_count(), 2, "a staging and a readback chunk");
}

#[test]
fn dropping_the_gpu_under_a_map_guard_leaves_the_rest_to_the_guard() {
    no_deadlock(|| {
        let gpu = gpu();
        let stats = gpu.backend().stats();
        let mut a = gpu.create_staging_buffer(16).unwrap();
        let mut guard = a.map().unwrap();
        drop(gpu);
        guard.fill(3);
        assert_eq!(guard[15], 3);
        assert_eq!(stats.buffer_count(), 1);
        drop(guard);
        assert_eq!(stats.buffer_count(), 0);
        assert!(matches!(a.map().map(drop), Err(MkError::GpuDropped)));
    });
}

#[test]
fn a_thousand_frames_leak_nothing() {
    let gpu = MkGpu::new(DummyBackend::new());
    let b = filled(&gpu, &[0; 64]);
    let mut after_warm_up = None;
    for n in 0..1000u32 {
        let extra = storage(&gpu, 128);
        let mut frame = gpu.begin_frame().unwrap();
        frame.upload(&b, 0, &[n; 64]).unwrap();
        let t = frame.transient("t", 256);
        frame.copy(&b, t);
        frame.copy(t.slice(..128), &extra);
        let back = frame.readback::<u32>(&extra, 0..32).unwrap();
        let done = frame.submit().unwrap();
        drop(extra);
        if n % 2 == 0 {
            drop(back);
        } else {
            done.wait().unwrap();
            back.try_read(|v| assert_eq!(v, [n; 32])).unwrap();
        }
        if n % 100 == 99 {
            gpu.wait_idle().unwrap();
            let now = (gpu.backend().buffer_count(), gpu.backend().total_allocated());
            assert_eq!(*after_warm_up.get_or_insert(now), now);
        }
    }
    assert_clean(&gpu);
}

#[test]
fn a_buffer_that_one_gpu_uploaded_to_is_foreign_to_another_and_each_frame_keeps_it() {
    let (one, other) = (gpu(), gpu());
    let a = storage(&one, 64);
    for value in 1..4u32 {
        let mut foreign = other.begin_frame().unwrap();
        let mut own = one.begin_frame().unwrap();
        own.upload(&a, 0, &[value]).unwrap();
        let refused = foreign.upload(&a, 0, &[0u32]);
        assert!(matches!(refused, Err(MkError::ForeignHandle { .. })), "{refused:?}");
        own.submit().unwrap();
        assert_eq!(contents(&one, &a, 1), [value]);
    }
    let mut last = one.begin_frame().unwrap();
    last.upload(&a, 0, &[9u32]).unwrap();
    drop(a);
    last.submit().unwrap().wait().unwrap();
    assert_clean(&one);
}
