//! Uploads that submit themselves, and large uploads with helper threads.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
use common::*;
use memkit_gpu::{
    DummyBackend, DummyBackendConfig, DummyCalls, DummyFault, DummyFaultError, DummyFaultWhen, MkError,
    MkGpuConfig, MkMemoryType,
};

const MIB: usize = 1 << 20;

fn words(seed: u32, bytes: usize) -> Vec<u32> {
    (0..bytes as u32 / 4).map(|i| i.wrapping_mul(2_654_435_761) ^ seed).collect()
}

/// Chunks so small that a few hundred bytes are several parts.
fn small_chunks() -> MkGpuConfig {
    MkGpuConfig { staging_chunk: 256, staging_limit: 1024, ..Default::default() }
}

#[test]
fn what_is_uploaded_at_once_has_arrived_when_its_fence_is_reached() {
    let gpu = gpu();
    let buffer = filled(&gpu, &[9; 8]);
    let fence = gpu.upload_now(&buffer, 8, &[1u32, 2, 3]).unwrap();
    fence.wait().unwrap();
    assert_eq!(gpu.backend().submissions(), 2, "without a frame");
    assert_eq!(contents(&gpu, &buffer, 8), [9, 9, 1, 2, 3, 9, 9, 9]);
    assert_clean(&gpu);
}

#[test]
fn a_large_one_is_cut_into_parts_in_bounded_staging_memory() {
    for upload_threads in [0, 3] {
        let gpu = gpu_with(MkGpuConfig { upload_threads, ..Default::default() });
        let data = words(1, 33 * MIB + 12);
        let buffer = storage(&gpu, data.len() * 4 + 8);
        gpu.upload_now(&buffer, 8, &data).unwrap();
        assert!(gpu.backend().submissions() > 8);
        let staging = gpu.backend().total_allocated() - buffer.size() as u64;
        assert!(staging <= 40 * MIB as u64, "{staging} bytes of staging memory");
        assert!(contents(&gpu, buffer.slice(8..), data.len()) == data);
        assert_clean(&gpu);
    }
}

#[test]
fn a_staging_limit_of_one_chunk_is_enough() {
    let gpu = gpu_with(MkGpuConfig { staging_chunk: 256, staging_limit: 256, ..Default::default() });
    let data = words(3, 5000);
    let buffer = storage(&gpu, 5000);
    gpu.upload_now(&buffer, 0, &data).unwrap();
    assert_eq!(contents(&gpu, &buffer, 1250), data);
    assert_clean(&gpu);
}

#[test]
fn staging_memory_that_an_open_frame_holds_is_named_with_what_was_done() {
    let gpu = gpu_with(MkGpuConfig { staging_chunk: 256, staging_limit: 256, ..Default::default() });
    let buffer = storage(&gpu, 512);
    let mut frame = gpu.begin_frame().unwrap();
    frame.upload(&buffer, 0, &[1u32]).unwrap();
    let error = err(gpu.upload_now(&buffer, 0, &[2u32; 100]));
    assert!(matches!(error, MkError::StagingLimit { asked: 400, limit: 256, .. }), "{error}");
    drop(frame);
    gpu.upload_now(&buffer, 0, &[2u32; 100]).unwrap();
    assert_eq!(contents(&gpu, &buffer, 100), [2; 100]);
}

#[test]
fn it_comes_after_pending_transfers_and_before_later_frames_on_every_order_of_the_device() {
    for adversary in [None, Some(1), Some(2), Some(3)] {
        let backend = DummyBackend::with_config(DummyBackendConfig { adversary, ..Default::default() });
        let gpu = Gpu::with_config(backend, small_chunks());
        let (values, copy) = (filled(&gpu, &[5; 200]), filled(&gpu, &[0; 200]));
        let from = gpu.staging_buffer_with_data(&[6u32; 200]).unwrap();
        let whole = values.id();
        for round in 1..6u32 {
            // Pending: first all of it is six, then the upload writes its part, then the frame reads.
            let ticket = gpu.transfer(&from, &values).unwrap();
            gpu.upload_now(&values, 40, &vec![round; 180]).unwrap();
            let mut frame = gpu.begin_frame().unwrap();
            add(&mut frame, "add", whole.slice(..), 1);
            frame.copy(&values, &copy);
            frame.submit().unwrap();
            ticket.wait().unwrap();
            let mut wanted = vec![round + 1; 200];
            wanted[..10].fill(7);
            wanted[190..].fill(7);
            assert_eq!(contents(&gpu, &copy, 200), wanted, "{adversary:?}, round {round}");
        }
        assert_clean(&gpu);
    }
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_submitted() {
    let (gpu, other) = (gpu(), gpu_with(small_chunks()));
    let buffer = storage(&gpu, 16);
    assert!(matches!(
        err(gpu.upload_now(&buffer, 8, &[1u32; 3])),
        MkError::OutOfBounds { start: 8, end: 20, size: 16, .. }
    ));
    assert!(matches!(err(gpu.upload_now(&buffer, usize::MAX, &[1u8])), MkError::OutOfBounds { .. }));
    assert!(matches!(err(gpu.upload_now::<u32>(&buffer, 0, &[])), MkError::ZeroSize { .. }));
    assert!(matches!(err(other.upload_now(&buffer, 0, &[1u32])), MkError::ForeignHandle { .. }));
    assert_eq!(gpu.backend().submissions(), 0);
    assert_eq!(other.backend().submissions(), 0);
}

#[test]
fn a_part_that_fails_leaves_those_before_it_uploaded_and_says_how_many() {
    for before in 0..3 {
        for calls in [DummyCalls::RECORD, DummyCalls::FLUSH, DummyCalls::SUBMIT] {
            let gpu = gpu_with(small_chunks());
            let buffer = filled(&gpu, &[9; 250]);
            gpu.wait_idle().unwrap();
            gpu.backend().inject(DummyFault {
                calls,
                when: DummyFaultWhen::Nth(before),
                error: DummyFaultError::Failed,
            });
            let failed = err(gpu.upload_now(&buffer, 0, &[1u32; 250]));
            gpu.backend().clear_faults();
            let arrived = match &failed {
                MkError::PartlyUploaded { resource, submitted, size: 1000, cause } => {
                    assert_eq!(**resource, *buffer.name());
                    assert!(matches!(**cause, MkError::Backend { .. }), "{cause}");
                    *submitted as usize / 4
                }
                MkError::Backend { .. } => 0,
                other => panic!("{other}"),
            };
            assert_eq!(arrived, before as usize * 64, "{calls:?}, after {before}: {failed}");
            let now = contents(&gpu, &buffer, 250);
            assert!(now[..arrived] == vec![1; arrived] && now[arrived..] == vec![9; 250 - arrived]);
            gpu.upload_now(&buffer, 0, &[2u32; 250]).unwrap();
            assert_eq!(contents(&gpu, &buffer, 250), [2; 250], "the next one works");
            assert_clean(&gpu);
        }
    }
}

#[test]
fn a_device_lost_on_the_way_is_told_as_lost() {
    let gpu = gpu_with(small_chunks());
    let buffer = storage(&gpu, 1000);
    gpu.backend().inject(DummyFault {
        calls: DummyCalls::SUBMIT,
        when: DummyFaultWhen::Nth(1),
        error: DummyFaultError::DeviceLost,
    });
    let error = err(gpu.upload_now(&buffer, 0, &[1u32; 250]));
    assert!(
        matches!(error, MkError::PartlyUploaded { submitted: 256, .. }) && error.is_device_lost(),
        "{error}"
    );
    assert!(matches!(err(gpu.upload_now(&buffer, 0, &[1u32])), MkError::DeviceLost));
}

#[test]
fn pending_transfers_stay_pending_when_the_first_part_fails() {
    let gpu = gpu();
    let (from, to) = (gpu.staging_buffer_with_data(&[3u32]).unwrap(), storage(&gpu, 4));
    let other = storage(&gpu, 4);
    let ticket = gpu.transfer(&from, &to).unwrap();
    gpu.backend().inject(DummyFault {
        calls: DummyCalls::SUBMIT,
        when: DummyFaultWhen::Nth(0),
        error: DummyFaultError::Failed,
    });
    assert!(matches!(err(gpu.upload_now(&other, 0, &[1u32])), MkError::Backend { .. }));
    ticket.wait().unwrap();
    assert_eq!(contents(&gpu, &to, 1), [3]);
    assert_clean(&gpu);
}

#[test]
fn large_uploads_of_frames_and_writes_with_helpers_are_whole() {
    for staging_memory in [None, Some(MkMemoryType::HostCached), Some(MkMemoryType::DeviceLocal)] {
        let gpu = gpu_with(MkGpuConfig { upload_threads: 2, staging_memory, ..Default::default() });
        let data = words(8, 9 * MIB + 4);
        let buffer = storage(&gpu, data.len() * 4);
        let mut frame = gpu.begin_frame().unwrap();
        frame.upload(&buffer, 0, &data).unwrap();
        frame.submit().unwrap();
        assert!(contents(&gpu, &buffer, data.len()) == data);
        let mut staging = gpu.create_staging_buffer(data.len() * 4).unwrap();
        staging.write(0, &data).unwrap();
        gpu.transfer(&staging, &buffer).unwrap();
        assert!(contents(&gpu, &buffer, data.len()) == data);
        assert_clean(&gpu);
    }
}

#[test]
fn two_frames_in_flight_of_64_mib_each_wait_for_nothing_by_default() {
    no_deadlock(|| {
        let gpu = gpu();
        let data = vec![5u32; 16 * MIB];
        let buffer = storage(&gpu, 64 * MIB);
        // Whatever is waited for now never comes.
        gpu.backend().pause();
        for _ in 0..2 {
            let mut frame = gpu.begin_frame().unwrap();
            frame.upload(&buffer, 0, &data).unwrap();
            frame.submit().unwrap();
        }
        gpu.backend().resume();
        assert_clean(&gpu);
    });
}

#[test]
fn uploads_of_several_threads_share_helpers_and_staging_memory() {
    let gpu = gpu_with(MkGpuConfig { upload_threads: 2, ..Default::default() });
    let buffers: Vec<_> = (0..3).map(|_| storage(&gpu, 5 * MIB)).collect();
    let data: Vec<_> = (0..3).map(|i| words(i, 5 * MIB)).collect();
    std::thread::scope(|scope| {
        for (buffer, data) in buffers.iter().zip(&data) {
            let gpu = &gpu;
            scope.spawn(move || {
                for _ in 0..3 {
                    gpu.upload_now(buffer, 0, data).unwrap();
                }
            });
        }
    });
    for (buffer, data) in buffers.iter().zip(&data) {
        assert!(contents(&gpu, buffer, data.len()) == *data);
    }
    assert_clean(&gpu);
}

#[test]
fn every_drop_order_with_helpers_is_clean() {
    let data = words(1, 2 * MIB);
    for order in 0..3 {
        let gpu = gpu_with(MkGpuConfig { upload_threads: 2, ..Default::default() });
        let stats = gpu.backend().stats();
        let buffer = storage(&gpu, 2 * MIB);
        let mut frame = gpu.begin_frame().unwrap();
        frame.upload(&buffer, 0, &data).unwrap();
        let fence = gpu.upload_now(&buffer, 0, &data).unwrap();
        match order {
            0 => drop((gpu, frame, buffer, fence)),
            1 => drop((fence, buffer, frame, gpu)),
            _ => drop((frame, gpu, fence, buffer)),
        }
        assert_eq!((stats.buffer_count(), stats.hazards().len()), (0, 0));
    }
}
