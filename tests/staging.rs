//! Staging: buffers the host writes, and the chunks that uploads go through.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
use common::*;
use memkit_gpu::{DummyBackend, DummyBackendConfig, MkBufferUsage, MkError, MkGpu, MkGpuConfig};
use std::time::Duration;

fn small_chunks() -> Gpu {
    gpu_with(MkGpuConfig { staging_chunk: 256, staging_limit: 1024, ..Default::default() })
}

fn upload(gpu: &Gpu, to: &memkit_gpu::MkDeviceBuffer, data: &[u32]) -> Result<(), MkError> {
    let mut frame = gpu.begin_frame()?;
    frame.upload(to, 0, data)?;
    frame.submit().map(drop)
}

#[test]
fn a_staging_buffer_is_in_use_while_its_transfer_is_pending_or_running() {
    let gpu = gpu();
    let (mut a, b) = (gpu.staging_buffer_with_data(&[1u32]).unwrap(), storage(&gpu, 4));
    let ticket = gpu.transfer(&a, &b).unwrap();
    assert!(
        matches!(a.write(0, &[2u32]), Err(MkError::InUse { resource }) if *resource == *a.name()),
        "pending"
    );
    assert!(matches!(a.map().map(drop), Err(MkError::InUse { .. })));
    gpu.backend().pause();
    gpu.flush().unwrap();
    assert!(matches!(a.write(0, &[2u32]), Err(MkError::InUse { .. })), "running");
    assert!(matches!(a.map().map(drop), Err(MkError::InUse { .. })));
    gpu.backend().resume();
    ticket.wait().unwrap();
    a.write(0, &[2u32]).unwrap();
    gpu.transfer(&a, &b).unwrap();
    assert_eq!(contents(&gpu, &b, 1), [2]);
    assert_clean(&gpu);
}

#[test]
fn a_transfer_that_a_frame_took_along_keeps_its_buffer_in_use_while_the_frame_records() {
    let gpu = gpu();
    let (mut a, b) = (gpu.staging_buffer_with_data(&[1u32]).unwrap(), storage(&gpu, 4));
    gpu.transfer(&a, &b).unwrap();
    let mut seen = None;
    let mut frame = gpu.begin_frame().unwrap();
    let (a_mut, seen_mut) = (&mut a, &mut seen);
    frame.pass("look").side_effects().record(move |_| {
        *seen_mut = Some(matches!(a_mut.write(0, &[2u32]), Err(MkError::InUse { .. })));
        Ok(())
    });
    frame.submit().unwrap();
    assert_eq!(seen, Some(true));
    assert_eq!(contents(&gpu, &b, 1), [1]);
    assert_clean(&gpu);
}

#[test]
fn a_map_guard_flushes_when_it_is_dropped() {
    let gpu = gpu();
    let (mut a, b) = (gpu.create_staging_buffer(8).unwrap(), storage(&gpu, 8));
    {
        let mut bytes = a.map().unwrap();
        assert_eq!(bytes.len(), 8);
        bytes.copy_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0]);
    }
    gpu.transfer(&a, &b).unwrap();
    assert_eq!(contents(&gpu, &b, 2), [1, 2]);
    // The device is told of host writes by flushes alone; without one it would object to the next write.
    assert_clean(&gpu);
}

#[test]
fn a_frame_that_uses_a_mapped_buffer_is_refused_until_the_guard_is_dropped() {
    let gpu = gpu();
    let (mut a, b) = (gpu.staging_buffer_with_data(&[1u32]).unwrap(), storage(&gpu, 4));
    let mut frame = gpu.begin_frame().unwrap();
    frame.copy(&a, &b);
    let guard = a.map().unwrap();
    assert!(matches!(err(frame.submit()), MkError::InUse { .. }));
    drop(guard);
    let mut frame = gpu.begin_frame().unwrap();
    frame.copy(&a, &b);
    frame.submit().unwrap();
    assert_eq!(contents(&gpu, &b, 1), [1]);
    assert_clean(&gpu);
}

#[test]
fn device_local_memory_is_not_mappable() {
    let gpu = gpu();
    let desc = memkit_gpu::MkBufferDesc { name: "far", size: 4, ..Default::default() };
    let mut far = gpu.create_buffer(&desc).unwrap();
    let error = err(far.write(0, &[1u32]));
    assert!(matches!(&error, MkError::NotMappable { resource } if &**resource == "far"), "{error}");
    assert!(matches!(far.map().map(drop), Err(MkError::NotMappable { .. })));
}

#[test]
fn writes_beyond_the_end_are_refused() {
    let gpu = gpu();
    let mut a = gpu.create_staging_buffer(8).unwrap();
    for (offset, n) in [(5, 1), (8, 1), (9, 0), (usize::MAX, 1), (0, 3)] {
        let error = err(a.write(offset, &vec![0u32; n]));
        assert!(matches!(error, MkError::OutOfBounds { size: 8, .. }), "{offset} {n}: {error}");
        assert!(matches!(a.read(offset, &mut vec![0u32; n]), Err(MkError::OutOfBounds { .. })));
    }
    a.write(8, &[0u8; 0]).unwrap();
}

#[test]
fn staging_is_made_on_first_use_and_grows_by_chunks() {
    let gpu = small_chunks();
    let b = storage(&gpu, 256);
    assert_eq!(gpu.backend().buffer_count(), 1);
    let mut frame = gpu.begin_frame().unwrap();
    for n in 0..4usize {
        frame.upload(&b, 0, &[1u32; 64]).unwrap();
        assert_eq!(gpu.backend().buffer_count(), 2 + n);
    }
    drop(frame);
    assert_eq!(gpu.backend().total_allocated(), 256 + 1024);
}

#[test]
fn frames_begin_chunks_anew_and_there_are_as_many_as_frames_in_flight_and_one_more() {
    let gpu = gpu_with(MkGpuConfig { staging_chunk: 4096, ..Default::default() });
    let to = storage(&gpu, 16);
    for n in 0..20 {
        upload(&gpu, &to, &[n]).unwrap();
        gpu.wait_idle().unwrap();
    }
    assert_eq!(gpu.backend().total_allocated(), 16 + 4096, "one is enough if every frame waits");
    gpu.backend().pause();
    upload(&gpu, &to, &[20]).unwrap();
    upload(&gpu, &to, &[21]).unwrap();
    assert_eq!(gpu.backend().total_allocated(), 16 + 2 * 4096, "the first chunk is in use");
    gpu.backend().resume();
    (22..100).for_each(|n| upload(&gpu, &to, &[n]).unwrap());
    assert!(gpu.backend().total_allocated() <= 16 + 3 * 4096);
    assert_eq!(contents(&gpu, &to, 1), [99]);
    assert_clean(&gpu);
}

#[test]
fn an_upload_larger_than_a_chunk_is_split_over_chunks() {
    let gpu = small_chunks();
    let data: Vec<u32> = (0..200).collect();
    let b = storage(&gpu, 800);
    upload(&gpu, &b, &data).unwrap();
    assert_eq!(contents(&gpu, &b, 200), data);
    assert_clean(&gpu);
}

#[test]
fn at_the_limit_a_frame_waits_for_earlier_submissions() {
    let gpu = MkGpu::with_config(
        DummyBackend::with_config(DummyBackendConfig { transfer_delay_us: 3000, ..Default::default() }),
        MkGpuConfig { staging_chunk: 256, staging_limit: 1024, frames_in_flight: 3, ..Default::default() },
    );
    let b = storage(&gpu, 1024);
    for n in 0..6u32 {
        upload(&gpu, &b, &[n; 256]).unwrap();
    }
    assert_eq!(contents(&gpu, &b, 256), [5; 256]);
    assert!(gpu.backend().total_allocated() <= 1024 + 1024 + (256 << 10));
    assert_clean(&gpu);
}

#[test]
fn a_wait_for_staging_ends_when_the_queue_goes_on() {
    let gpu = small_chunks();
    let b = storage(&gpu, 1024);
    gpu.backend().pause();
    upload(&gpu, &b, &[1; 256]).unwrap();
    std::thread::scope(|s| {
        let waiting = s.spawn(|| upload(&gpu, &b, &[2; 256]));
        std::thread::sleep(Duration::from_millis(30));
        assert!(!waiting.is_finished(), "the bytes are still in use");
        gpu.backend().resume();
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(contents(&gpu, &b, 256), [2; 256]);
    assert_clean(&gpu);
}

#[test]
fn a_frame_whose_own_bytes_fill_the_limit_is_told_so_and_goes_on() {
    let gpu = small_chunks();
    let b = storage(&gpu, 2048);
    let mut frame = gpu.begin_frame().unwrap();
    frame.upload(&b, 0, &[1u32; 128]).unwrap();
    let error = err(frame.upload(&b, 512, &[2u32; 200]));
    assert!(
        matches!(error, MkError::StagingLimit { limit: 1024, held_by_this_frame: 1024, .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("staging_limit") && text.contains("spread"), "{text}");
    frame.submit().unwrap();
    assert_eq!(contents(&gpu, b.slice(..512), 128), [1; 128]);
    // Nothing is left of the half that did not fit, and there is room again.
    upload(&gpu, &b, &[3; 256]).unwrap();
    assert_eq!(contents(&gpu, b.slice(..1024), 256), [3; 256]);
    assert_clean(&gpu);
}

#[test]
fn a_dropped_frame_gives_everything_back_at_once() {
    let gpu = small_chunks();
    let b = storage(&gpu, 1024);
    gpu.backend().pause();
    for _ in 0..50 {
        let mut frame = gpu.begin_frame().unwrap();
        frame.upload(&b, 0, &[9u32; 256]).unwrap();
        drop(frame);
    }
    upload(&gpu, &b, &[1; 256]).unwrap();
    gpu.backend().resume();
    assert_eq!(contents(&gpu, &b, 256), [1; 256]);
    assert_eq!(gpu.backend().submissions(), 2);
    assert_clean(&gpu);
}

#[test]
fn space_comes_back_only_after_the_submission_that_uses_it() {
    // A frame opened before others are submitted and submitted after them: its bytes belong to the last submission.
    let gpu = gpu_with(MkGpuConfig {
        staging_chunk: 1024,
        staging_limit: 2048,
        frames_in_flight: 3,
        ..Default::default()
    });
    let (b, c) = (storage(&gpu, 1024), storage(&gpu, 4));
    let mut early = gpu.begin_frame().unwrap();
    early.upload(&b, 0, &[7u32; 256]).unwrap();
    upload(&gpu, &c, &[1]).unwrap();
    gpu.wait_idle().unwrap();
    gpu.backend().pause();
    early.submit().unwrap();
    let mut next = gpu.begin_frame().unwrap();
    next.upload(&c, 0, &[2u32]).unwrap();
    next.upload_with(&b, 0..256, |bytes| bytes.fill(0xFF)).unwrap();
    gpu.backend().resume();
    drop(next);
    assert_eq!(contents(&gpu, &b, 256), [7; 256]);
    assert_clean(&gpu);
}

#[test]
fn upload_with_writes_in_place() {
    let gpu = small_chunks();
    let b = filled(&gpu, &[0; 8]);
    let mut frame = gpu.begin_frame().unwrap();
    frame
        .upload_with(b.slice(8..24), 4..12, |bytes| {
            assert_eq!(bytes.len(), 8);
            bytes.fill(1);
        })
        .unwrap();
    frame.submit().unwrap();
    let n = 0x0101_0101;
    assert_eq!(contents(&gpu, &b, 8), [0, 0, 0, n, n, 0, 0, 0]);
    assert_clean(&gpu);
}

#[test]
fn upload_with_gives_all_bytes_in_one_piece_whatever_the_chunk() {
    for chunk in [256, 257, 300, 1000] {
        let gpu =
            gpu_with(MkGpuConfig { staging_chunk: chunk, staging_limit: 1 << 16, ..Default::default() });
        let b = storage(&gpu, 4096);
        for size in [8, 240, 249, 256, 257, 992, 4096] {
            let mut frame = gpu.begin_frame().unwrap();
            for _ in 0..3 {
                let given = |bytes: &mut [u8]| {
                    assert_eq!(bytes.len(), size);
                    bytes.fill(5);
                };
                frame.upload_with(&b, 0..size, given).unwrap();
            }
            frame.submit().unwrap();
        }
        assert_clean(&gpu);
    }
}

#[test]
fn a_panic_in_upload_with_unwinds_and_the_frame_goes_on_without_the_upload() {
    let gpu = small_chunks();
    let b = filled(&gpu, &[4]);
    let mut frame = gpu.begin_frame().unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        frame.upload_with(&b, 0..4, |_| panic!("as the test wants")).unwrap();
    }));
    assert!(panicked.is_err());
    add(&mut frame, "goes on", b.id(), 1);
    frame.submit().unwrap();
    assert_eq!(contents(&gpu, &b, 1), [5]);
    assert_clean(&gpu);
}

#[test]
fn a_limit_smaller_than_a_chunk_still_serves_small_uploads() {
    let gpu = gpu_with(MkGpuConfig { staging_limit: 100, ..Default::default() });
    let b = storage(&gpu, 64);
    upload(&gpu, &b, &[3; 16]).unwrap();
    assert_eq!(contents(&gpu, &b, 16), [3; 16]);
}

#[test]
fn chunks_are_never_larger_than_the_device_allows() {
    let backend =
        DummyBackend::with_config(DummyBackendConfig { max_buffer_size: 4096, ..Default::default() });
    let gpu = MkGpu::new(backend);
    let b = gpu.create_device_buffer(4096, MkBufferUsage::STORAGE).unwrap();
    upload(&gpu, &b, &[3; 1024]).unwrap();
    assert_eq!(contents(&gpu, &b, 1024), [3; 1024]);
    assert_clean(&gpu);
}

#[test]
fn one_large_piece_finds_room_among_many_small_chunks() {
    let gpu = small_chunks();
    let b = storage(&gpu, 1024);
    upload(&gpu, &b, &[1; 256]).unwrap();
    gpu.wait_idle().unwrap();
    let mut frame = gpu.begin_frame().unwrap();
    frame.upload_with(&b, 0..1024, |bytes| bytes.fill(2)).unwrap();
    frame.submit().unwrap();
    assert_eq!(contents(&gpu, &b, 1), [0x0202_0202]);
    assert!(gpu.backend().total_allocated() <= 1024 + 1024 + (256 << 10));
    assert_clean(&gpu);
}
