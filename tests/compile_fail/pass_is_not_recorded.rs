//! A pass that is not finished by `record` declares nothing, and says so.
#![deny(unused_must_use)]
use memkit_gpu::{DummyBackend, MkGpu};

fn main() {
    let gpu = MkGpu::new(DummyBackend::new());
    let mut frame = gpu.begin_frame().unwrap();
    frame.pass("forgotten").side_effects();
    gpu.begin_frame().unwrap();
}
