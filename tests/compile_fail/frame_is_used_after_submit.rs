//! `submit` takes the frame.
use memkit_gpu::{DummyBackend, MkGpu};

fn main() {
    let gpu = MkGpu::new(DummyBackend::new());
    let mut frame = gpu.begin_frame().unwrap();
    frame.submit().unwrap();
    frame.transient("late", 4);
}
