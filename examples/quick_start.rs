//! The quick start of the README: a staging buffer, a device buffer, a transfer.
#![allow(clippy::unwrap_used, reason = "the quick start as it stands in the README")]

use memkit_gpu::{DummyBackend, MkBufferUsage, MkGpu};

fn main() {
    let gpu = MkGpu::new(DummyBackend::new());
    let vertices: &[f32] = &[0.0, 1.0, 0.0, 1.0, 0.0, 0.0];
    let staging = gpu.staging_buffer_with_data(vertices).unwrap();
    let device = gpu
        .create_device_buffer(
            std::mem::size_of_val(vertices),
            MkBufferUsage::VERTEX | MkBufferUsage::TRANSFER_DST,
        )
        .unwrap();
    gpu.transfer(&staging, &device).unwrap();

    // A transfer is pending until the next submission; a frame's `submit` is one. Its readback brings the bytes home.
    let mut frame = gpu.begin_frame().unwrap();
    let back = frame.readback::<f32>(&device, 0..vertices.len()).unwrap();
    frame.submit().unwrap();
    back.wait().unwrap();
    back.try_read(|bytes| assert_eq!(bytes, vertices)).unwrap();
    println!("{} bytes went to `{}` and came back unchanged", device.size(), device.name());
    assert!(gpu.backend().hazards().is_empty());
}
