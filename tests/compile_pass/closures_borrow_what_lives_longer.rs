//! A closure may borrow, also mutably, what lives longer than the frame; the frame borrows nothing of the gpu.
use memkit_gpu::{DummyBackend, MkGpu};

fn main() {
    let mut log = Vec::new();
    let gpu = MkGpu::new(DummyBackend::new());
    let mut frame = gpu.begin_frame().unwrap();
    frame.pass("p").side_effects().record(|_| {
        log.push(1);
        Ok(())
    });
    let moved = gpu;
    frame.submit().unwrap();
    assert_eq!(log, [1]);
    drop(moved);
}
