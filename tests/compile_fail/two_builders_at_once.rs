//! One pass is declared at a time.
use memkit_gpu::{DummyBackend, MkGpu};

fn main() {
    let gpu = MkGpu::new(DummyBackend::new());
    let mut frame = gpu.begin_frame().unwrap();
    let first = frame.pass("first");
    let second = frame.pass("second");
    first.record(|_| Ok(()));
    second.record(|_| Ok(()));
}
