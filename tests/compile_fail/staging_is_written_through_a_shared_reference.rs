//! Only one may write.
use memkit_gpu::{DummyBackend, MkGpu, MkStagingBuffer};

fn write(staging: &MkStagingBuffer) {
    staging.write(0, &[1u32]).unwrap();
}

fn main() {
    let gpu = MkGpu::new(DummyBackend::new());
    write(&gpu.create_staging_buffer(4).unwrap());
}
