//! The quick start of the design, as it is written.
#![allow(clippy::unwrap_used)]

#[test]
fn the_quick_start_runs_as_it_is_written() {
    use memkit_gpu::{DummyBackend, MkBufferUsage, MkGpu};
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

    let mut frame = gpu.begin_frame().unwrap();
    let back = frame.readback::<f32>(&device, 0..vertices.len()).unwrap();
    frame.submit().unwrap();
    back.wait().unwrap();
    assert_eq!(back.try_read(<[f32]>::to_vec).unwrap(), vertices);
}

#[test]
fn a_gpu_that_is_not_used_allocates_nothing_on_the_device() {
    use memkit_gpu::{DummyBackend, MkGpu, MkGpuConfig};
    let gpu = MkGpu::new(DummyBackend::new());
    assert_eq!((gpu.backend().buffer_count(), gpu.backend().total_allocated()), (0, 0));
    let config = MkGpuConfig { frames_in_flight: 3, staging_chunk: 1 << 16, ..Default::default() };
    let gpu = MkGpu::with_config(DummyBackend::new(), config);
    assert_eq!((gpu.backend().buffer_count(), gpu.config()), (0, &config));
    assert_eq!(gpu.capabilities().device_name, "memkit-gpu simulated device");
    assert_eq!(gpu.frame_stats().passes, 0);
}

#[test]
fn an_unnamed_buffer_prints_as_its_kind_its_number_and_its_source_line() {
    use memkit_gpu::{DummyBackend, MkBufferDesc, MkBufferUsage, MkGpu, MkMemoryType};
    let gpu = MkGpu::new(DummyBackend::new());
    let (device, line) = (gpu.create_device_buffer(4, MkBufferUsage::STORAGE).unwrap(), line!());
    assert_eq!(device.name(), format!("device buffer #1 ({}:{line})", file!()));
    let (staging, line) = (gpu.create_staging_buffer(4).unwrap(), line!());
    assert_eq!(staging.name(), format!("staging buffer #2 ({}:{line})", file!()));
    let (staging, line) = (gpu.staging_buffer_with_data(&[1u8]).unwrap(), line!());
    assert_eq!(staging.name(), format!("staging buffer #3 ({}:{line})", file!()));
    let (any, line) = (gpu.create_buffer(&MkBufferDesc { size: 4, ..Default::default() }).unwrap(), line!());
    assert_eq!(any.name(), format!("buffer #4 ({}:{line})", file!()));
    let desc =
        MkBufferDesc { name: "mine", size: 12, usage: MkBufferUsage::INDEX, memory: MkMemoryType::Unified };
    let pool = gpu.create_pool(&MkBufferDesc { name: "", ..desc }).unwrap();
    let (pooled, line) = (pool.get().unwrap(), line!());
    assert_eq!(pooled.name(), format!("buffer #5 ({}:{line})", file!()));
    let named = gpu.create_buffer(&desc).unwrap();
    assert_eq!(
        (named.name(), named.size(), named.usage(), named.memory()),
        ("mine", 12, desc.usage, desc.memory)
    );
}

#[test]
fn every_mappable_kind_of_memory_is_written_and_read_in_place() {
    use memkit_gpu::{DummyBackend, MkBufferDesc, MkGpu, MkMemoryType};
    let gpu = MkGpu::new(DummyBackend::new());
    for memory in [MkMemoryType::HostVisible, MkMemoryType::HostCached, MkMemoryType::Unified] {
        let mut buffer = gpu.create_buffer(&MkBufferDesc { size: 16, memory, ..Default::default() }).unwrap();
        buffer.write(4, &[7u32, 8]).unwrap();
        let mut back = [0u32; 2];
        buffer.read(4, &mut back).unwrap();
        assert_eq!(back, [7, 8], "{memory}");
        buffer.map().unwrap()[0] = 3;
        assert_eq!(buffer.map().unwrap()[..8], [3, 0xCD, 0xCD, 0xCD, 7, 0, 0, 0]);
    }
}
