//! A frame that is a field of an engine takes closures that borrow nothing.
use memkit_gpu::{DummyBackend, MkFrame, MkGpu};

struct Engine {
    frame: MkFrame<'static, DummyBackend>,
}

fn main() {
    let gpu = MkGpu::new(DummyBackend::new());
    let name = String::from("local");
    let mut engine = Engine { frame: gpu.begin_frame().unwrap() };
    engine.frame.pass("p").side_effects().record(|_| {
        println!("{name}");
        Ok(())
    });
}
