//! A closure may borrow only what lives longer than the frame: the frame drops it, run or not.
use memkit_gpu::{DummyBackend, MkGpu};

fn main() {
    let gpu = MkGpu::new(DummyBackend::new());
    let mut frame = gpu.begin_frame().unwrap();
    let name = String::from("shorter-lived than the frame");
    frame.pass("p").side_effects().record(|_| {
        println!("{name}");
        Ok(())
    });
}
