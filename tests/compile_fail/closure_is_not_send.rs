//! A frame may be submitted on another thread, so that closures must be `Send`.
use memkit_gpu::{DummyBackend, MkGpu};
use std::rc::Rc;

fn main() {
    let gpu = MkGpu::new(DummyBackend::new());
    let mut frame = gpu.begin_frame().unwrap();
    let shared = Rc::new(1);
    frame.pass("p").side_effects().record(move |_| {
        println!("{shared}");
        Ok(())
    });
}
