//! A kernel runs after `submit` has returned, so that it borrows nothing.
use memkit_gpu::{DummyBackend, MkGpu};

fn main() {
    let gpu = MkGpu::new(DummyBackend::new());
    let name = String::from("gone by then");
    let mut frame = gpu.begin_frame().unwrap();
    frame.pass("p").side_effects().record(|cx| {
        cx.dispatch(|_| {
            println!("{name}");
            Ok(())
        });
        Ok(())
    });
    frame.submit().unwrap();
}
