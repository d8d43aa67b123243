//! After the device is lost every call returns `DeviceLost`, nothing hangs, and dropping is clean.

use crate::no_hang;
use crate::scene::Lost;
use memkit_gpu::{
    Access, DummyBackend, DummyCalls, DummyContext, DummyFault, DummyFaultError, DummyFaultWhen,
    MkBufferDesc, MkBufferUsage, MkError, MkGpu, MkGpuBackend,
};
use std::time::Duration;

#[track_caller]
fn lost<T>(result: Result<T, MkError>) {
    let error = result.err();
    assert!(error.as_ref().is_some_and(MkError::is_device_lost), "{error:?}");
}

/// Asks everything of a lost device, and of all buffers it has.
pub fn every_call_says_so<B: MkGpuBackend>(scene: &mut Lost<B>) {
    let gpu = &scene.gpu;
    let desc = MkBufferDesc { name: "late", size: 64, usage: MkBufferUsage::STORAGE, ..Default::default() };
    lost(gpu.create_buffer(&desc));
    lost(gpu.create_device_buffer(64, MkBufferUsage::STORAGE));
    lost(gpu.create_staging_buffer(64));
    lost(gpu.staging_buffer_with_data(&[1u32]));
    lost(gpu.create_pool(&desc));
    // SAFETY: nothing is submitted any more that could use it.
    lost(unsafe { gpu.import_host_memory("", std::ptr::NonNull::dangling(), 4096) });
    lost(gpu.begin_frame().map(drop));
    lost(gpu.batch_transfer().submit());
    lost(gpu.batch_transfer().submit_and_wait());
    lost(gpu.flush());
    lost(gpu.wait_idle());
    lost(gpu.fence().wait());
    lost(gpu.fence().wait_timeout(Duration::ZERO));
    lost(gpu.fence().is_complete());
    for buffer in &mut scene.bufs {
        lost(buffer.write(0, &[1u32]));
        lost(buffer.read(0, &mut [0u32]));
        lost(buffer.map().map(drop));
    }
    if let [a, b, ..] = &scene.bufs[..] {
        lost(gpu.upload_now(a, 0, &[1u32]));
        lost(gpu.transfer(a, b));
        lost(gpu.transfer_builder(a, b).size(4).submit());
        lost(gpu.batch_transfer().copy(a, b).submit());
    }
}

/// Loses the device with work in flight, or while a pass is recorded, and tries everything that was begun before.
fn lose(while_recording: bool) {
    let backend = DummyBackend::new();
    let stats = backend.stats();
    let gpu = MkGpu::new(backend);
    let now = |gpu: &MkGpu<DummyBackend>| {
        let (calls, error) = (DummyCalls::all(), DummyFaultError::DeviceLost);
        gpu.backend().inject(DummyFault { calls, when: DummyFaultWhen::Nth(0), error });
        assert!(gpu.backend().completed().is_err());
    };
    let desc = MkBufferDesc { name: "a", size: 1024, usage: MkBufferUsage::STORAGE, ..Default::default() };
    let a = gpu.create_buffer(&desc).unwrap();
    let mut staging = gpu.staging_buffer_with_data(&[1u32; 256]).unwrap();
    let pool = gpu.create_pool(&desc).unwrap();
    drop(pool.get().unwrap());
    assert_eq!(pool.available(), 1);
    gpu.backend().pause();
    let running = gpu.batch_transfer().copy(&staging, &a).submit().unwrap();
    let mut frame = gpu.begin_frame().unwrap();
    frame.upload(&a, 0, &[2u32; 16]).unwrap();
    let submitted = frame.readback::<u32>(&a, 0..16).unwrap();
    let fence = frame.submit().unwrap();
    let pending = gpu.transfer(&staging, &a).unwrap();
    let mut open = gpu.begin_frame().unwrap();
    let mut other = gpu.begin_frame().unwrap();
    let cancelled = open.readback::<u32>(&a, 0..16).unwrap();
    let losing = &gpu;
    open.pass("loses").read(&a, Access::COMPUTE_STORAGE_READ).side_effects().record(
        move |_: &mut DummyContext<'_>| {
            if while_recording {
                now(losing);
            }
            Ok(())
        },
    );
    if !while_recording {
        now(&gpu);
    }
    lost(open.submit());

    lost(other.upload(&a, 0, &[1u32]));
    lost(other.upload_with(&a, 0..4, |_| panic!("there is nothing to write to")));
    lost(other.readback::<u32>(&a, 0..4));
    lost(other.submit_and_dump());
    lost(pool.get());
    lost(staging.write(0, &[1u32]));
    lost(staging.map().map(drop));
    lost(running.wait());
    lost(running.wait_timeout(Duration::ZERO));
    lost(pending.is_complete());
    lost(pending.wait());
    lost(fence.wait());
    lost(fence.is_complete());
    lost(submitted.wait());
    lost(submitted.is_complete());
    lost(submitted.try_read(|_| ()));
    lost(submitted.read_into(&mut [0; 16]));
    lost(cancelled.is_complete());
    let mut left = Lost { gpu, bufs: vec![a], errors: Vec::new() };
    every_call_says_so(&mut left);
    drop((left, staging));
    assert!(matches!(fence.wait(), Err(MkError::GpuDropped)));
    drop((running, pending, submitted, cancelled, pool));
    assert_eq!((stats.buffer_count(), stats.total_allocated()), (0, 0), "nothing is left");
    assert!(stats.hazards().is_empty(), "{:?}", stats.hazards());
}

#[test]
fn a_device_lost_with_work_in_flight_is_told_by_every_call_and_dropped_cleanly() {
    no_hang("lost with work in flight".into(), || lose(false));
}

#[test]
fn so_is_one_lost_while_a_frame_is_recorded() {
    no_hang("lost while recording".into(), || lose(true));
}
