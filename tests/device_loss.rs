//! After the device is lost every call returns `DeviceLost`, nothing hangs, and dropping is clean.
#![allow(clippy::unwrap_used, reason = "tests")]

use memkit_gpu::{
    Access, DummyBackend, DummyBuffer, DummyContext, DummyRecording, MkBackendBufferDesc, MkBufferDesc,
    MkBufferUsage, MkCapabilities, MkError, MkGpu, MkGpuBackend, MkRecordInput, MkRecordPass,
};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The simulated device, until it is lost.
struct Losing {
    dummy: DummyBackend,
    lost: Arc<AtomicBool>,
    submitted: AtomicU64,
}

impl Losing {
    fn check(&self) -> Result<(), MkError> {
        if self.lost.load(Ordering::Relaxed) { Err(MkError::DeviceLost) } else { Ok(()) }
    }
}

// SAFETY: hands every call on to the simulated device, or refuses it and leaves nothing behind.
unsafe impl MkGpuBackend for Losing {
    type Buffer = DummyBuffer;
    type Recording = DummyRecording;
    type Context<'a> = DummyContext<'a>;

    fn capabilities(&self) -> &MkCapabilities {
        self.dummy.capabilities()
    }

    fn buffer_size(buffer: &DummyBuffer) -> u64 {
        DummyBackend::buffer_size(buffer)
    }

    fn create_buffer(&self, desc: &MkBackendBufferDesc<'_>) -> Result<DummyBuffer, MkError> {
        self.check()?;
        self.dummy.create_buffer(desc)
    }

    unsafe fn destroy_buffer(&self, buffer: DummyBuffer) {
        // A lost device is done with everything; this one may still be at work.
        let _ = self.dummy.wait(self.submitted.load(Ordering::Relaxed), Duration::MAX);
        // SAFETY: by the caller's promise, and the wait.
        unsafe { self.dummy.destroy_buffer(buffer) }
    }

    fn mapped(&self, buffer: &DummyBuffer) -> Option<NonNull<u8>> {
        self.dummy.mapped(buffer)
    }

    unsafe fn flush(&self, buffer: &DummyBuffer, range: Range<u64>) -> Result<(), MkError> {
        self.check()?;
        // SAFETY: by the caller's promise.
        unsafe { self.dummy.flush(buffer, range) }
    }

    unsafe fn invalidate(&self, buffer: &DummyBuffer, range: Range<u64>) -> Result<(), MkError> {
        self.check()?;
        // SAFETY: by the caller's promise.
        unsafe { self.dummy.invalidate(buffer, range) }
    }

    unsafe fn record(
        &self,
        input: MkRecordInput<'_, Self>,
        record: &mut MkRecordPass<'_, Self>,
    ) -> Result<DummyRecording, MkError> {
        self.check()?;
        let input = MkRecordInput {
            name: input.name,
            graph: input.graph,
            schedule: input.schedule,
            buffers: input.buffers,
            host_buffers: input.host_buffers,
        };
        // SAFETY: by the caller's promise.
        unsafe { self.dummy.record(input, record) }
    }

    fn discard(&self, recording: DummyRecording) {
        self.dummy.discard(recording);
    }

    unsafe fn submit(&self, recording: DummyRecording, catch_up: bool) -> Result<u64, MkError> {
        if let Err(error) = self.check() {
            self.dummy.discard(recording);
            return Err(error);
        }
        // SAFETY: by the caller's promise.
        let value = unsafe { self.dummy.submit(recording, catch_up) }?;
        self.submitted.store(value, Ordering::Relaxed);
        Ok(value)
    }

    fn completed(&self) -> Result<u64, MkError> {
        self.check()?;
        self.dummy.completed()
    }

    fn wait(&self, value: u64, timeout: Duration) -> Result<bool, MkError> {
        self.check()?;
        self.dummy.wait(value, timeout)
    }
}

#[track_caller]
fn lost<T>(result: Result<T, MkError>) {
    let error = result.err();
    assert!(error.as_ref().is_some_and(MkError::is_device_lost), "{error:?}");
}

/// Loses the device with work in flight, or while a pass is recorded, and tries everything.
fn lose(while_recording: bool) {
    let dummy = DummyBackend::new();
    let stats = dummy.stats();
    let gone = Arc::new(AtomicBool::new(false));
    let backend = Losing { dummy, lost: gone.clone(), submitted: AtomicU64::new(0) };
    let gpu = MkGpu::new(backend);
    let desc = MkBufferDesc { name: "a", size: 1024, usage: MkBufferUsage::STORAGE, ..Default::default() };
    let a = gpu.create_buffer(&desc).unwrap();
    let mut staging = gpu.staging_buffer_with_data(&[1u32; 256]).unwrap();
    let pool = gpu.create_pool(&desc).unwrap();
    let running = gpu.batch_transfer().copy(&staging, &a).submit().unwrap();
    let mut frame = gpu.begin_frame().unwrap();
    frame.upload(&a, 0, &[2u32; 16]).unwrap();
    let submitted = frame.readback::<u32>(&a, 0..16).unwrap();
    let fence = frame.submit().unwrap();
    let pending = gpu.transfer(&staging, &a).unwrap();
    let mut open = gpu.begin_frame().unwrap();
    let cancelled = open.readback::<u32>(&a, 0..16).unwrap();
    let flag = gone.clone();
    open.pass("loses").read(&a, Access::COMPUTE_STORAGE_READ).side_effects().record(
        move |_: &mut DummyContext<'_>| {
            flag.store(true, Ordering::Relaxed);
            Ok(())
        },
    );
    gone.store(!while_recording, Ordering::Relaxed);
    lost(open.submit());

    lost(gpu.create_buffer(&desc));
    lost(gpu.create_staging_buffer(64));
    lost(gpu.begin_frame().map(drop));
    lost(gpu.transfer(&staging, &a));
    lost(gpu.flush());
    lost(gpu.wait_idle());
    lost(pool.get());
    lost(staging.write(0, &[1u32]));
    lost(staging.map().map(drop));
    lost(running.wait());
    lost(pending.is_complete());
    lost(fence.wait());
    lost(fence.is_complete());
    lost(submitted.wait());
    lost(submitted.try_read(|_| ()));
    lost(cancelled.is_complete());
    drop((a, staging));
    drop(gpu);
    assert!(matches!(fence.wait(), Err(MkError::GpuDropped)));
    drop((running, pending, submitted, cancelled, pool));
    assert_eq!((stats.buffer_count(), stats.total_allocated()), (0, 0), "nothing is left");
}

#[test]
fn a_device_lost_with_work_in_flight_is_told_by_every_call_and_dropped_cleanly() {
    lose(false);
}

#[test]
fn so_is_one_lost_while_a_frame_is_recorded() {
    lose(true);
}
