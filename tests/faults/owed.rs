//! A flush that fails where nobody can be told is made up for, or the next use of the buffer fails.

use memkit_gpu::{
    DummyBackend, DummyCalls, DummyFault, DummyFaultError, DummyFaultWhen, MkBufferUsage, MkError, MkGpu,
};

#[test]
fn bytes_written_through_a_guard_whose_flush_fails_are_not_used_unflushed() {
    let gpu = MkGpu::new(DummyBackend::new());
    let mut staging = gpu.staging_buffer_with_data(&[1u32; 4]).unwrap();
    let device = gpu.create_device_buffer(16, MkBufferUsage::STORAGE).unwrap();
    let mut back = gpu.create_staging_buffer(16).unwrap();
    let every = DummyFaultWhen::OneIn { calls: 1, seed: 0 };
    let (calls, error) = (DummyCalls::FLUSH, DummyFaultError::OutOfHostMemory);
    gpu.backend().inject(DummyFault { calls, when: every, error });

    staging.map().unwrap()[0] = 9;
    assert_eq!(gpu.backend().failed_calls().len(), 1);
    // Neither a transfer nor a frame nor a read by the host uses what the device was not told of.
    gpu.transfer(&staging, &device).unwrap();
    assert!(matches!(gpu.flush(), Err(MkError::OutOfHostMemory { .. })));
    let mut frame = gpu.begin_frame().unwrap();
    frame.copy(&*staging, &device);
    assert!(matches!(frame.submit(), Err(MkError::OutOfHostMemory { .. })));
    assert!(matches!(staging.read(0, &mut [0u32]), Err(MkError::OutOfHostMemory { .. })));
    let error = staging.write(12, &[7u32]).unwrap_err();
    assert_eq!(error.to_string(), "the host is out of memory for `flush`");
    assert_eq!(gpu.backend().submissions(), 0);

    gpu.backend().clear_faults();
    gpu.transfer(&staging, &device).unwrap();
    gpu.batch_transfer().copy(&device, &back).submit_and_wait().unwrap();
    let mut got = [0u32; 4];
    back.read(0, &mut got).unwrap();
    assert_eq!(got, [9, 1, 1, 7]);
    assert!(gpu.backend().hazards().is_empty(), "{:?}", gpu.backend().hazards());
}
