//! What the tests of the facade share.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

use memkit_gpu::{
    Access, DummyBackend, DummyBackendConfig, MkBufferUsage, MkDeviceBuffer, MkError, MkFrame, MkGpu,
    MkGpuConfig, MkPassId as PassId, MkSlice,
};
use std::sync::mpsc;
use std::time::Duration;

pub type Gpu = MkGpu<DummyBackend>;

/// Reads and writes of storage buffers by compute passes.
pub const R: Access = Access::COMPUTE_STORAGE_READ;
pub const W: Access = Access::COMPUTE_STORAGE_WRITE;
pub const RW: Access = Access::new(R.stages.union(W.stages), R.access.union(W.access));

pub fn gpu() -> Gpu {
    MkGpu::new(DummyBackend::new())
}

pub fn gpu_with(config: MkGpuConfig) -> Gpu {
    MkGpu::with_config(DummyBackend::new(), config)
}

/// A device on which every submission stays in flight for a while.
pub fn slow_gpu(micros: u64) -> Gpu {
    MkGpu::new(DummyBackend::with_config(DummyBackendConfig {
        transfer_delay_us: micros,
        ..Default::default()
    }))
}

pub fn storage(gpu: &Gpu, size: usize) -> MkDeviceBuffer {
    gpu.create_device_buffer(size, MkBufferUsage::STORAGE).unwrap()
}

/// A device buffer that holds `values`.
pub fn filled(gpu: &Gpu, values: &[u32]) -> MkDeviceBuffer {
    let buffer = storage(gpu, size_of_val(values));
    let mut frame = gpu.begin_frame().unwrap();
    frame.upload(&buffer, 0, values).unwrap();
    frame.submit().unwrap();
    buffer
}

/// What a buffer holds, by way of a frame of its own.
pub fn contents<'a>(gpu: &Gpu, slice: impl Into<MkSlice<'a>>, len: usize) -> Vec<u32> {
    let mut frame = gpu.begin_frame().unwrap();
    let back = frame.readback::<u32>(slice, 0..len).unwrap();
    frame.submit().unwrap();
    back.wait().unwrap();
    back.try_read(<[u32]>::to_vec).unwrap()
}

/// A pass that adds `n` to every `u32` of a slice, in place.
pub fn add(
    frame: &mut MkFrame<'_, DummyBackend>,
    name: &str,
    slice: impl Into<MkSlice<'static>>,
    n: u32,
) -> PassId {
    let slice = slice.into();
    frame.pass(name).modify(slice, RW).record(move |cx| {
        cx.dispatch(move |mem| {
            mem.write::<u32>(slice)?.iter_mut().for_each(|v| *v = v.wrapping_add(n));
            Ok(())
        });
        Ok(())
    })
}

/// A pass that sets every `u32` of a slice.
pub fn set(
    frame: &mut MkFrame<'_, DummyBackend>,
    name: &str,
    slice: impl Into<MkSlice<'static>>,
    v: u32,
) -> PassId {
    let slice = slice.into();
    frame.pass(name).overwrite(slice, W).record(move |cx| {
        cx.dispatch(move |mem| {
            mem.write::<u32>(slice)?.fill(v);
            Ok(())
        });
        Ok(())
    })
}

/// Waits for everything, and fails if the device objected to anything.
pub fn assert_clean(gpu: &Gpu) {
    gpu.wait_idle().unwrap();
    let hazards = gpu.backend().hazards();
    assert!(hazards.is_empty(), "{} hazards, the first:\n{}", hazards.len(), hazards[0]);
}

/// Runs `f` on a thread of its own and fails if it takes longer than a test may: a deadlock.
pub fn no_deadlock<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    let (tx, rx) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let result = f();
        let _ = tx.send(());
        result
    });
    match rx.recv_timeout(Duration::from_secs(20)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("deadlock: still running after 20 s"),
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// The error of a result that must be one, whatever the value is.
pub fn err<T>(result: Result<T, MkError>) -> MkError {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error,
    }
}
