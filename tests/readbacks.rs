//! Readback tickets.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
use common::*;
use memkit_gpu::{DummyBackend, DummyBackendConfig, MkError, MkGpu};
use std::time::Duration;

#[test]
fn a_readback_is_not_ready_until_its_frame_is_done_and_then_stays() {
    let gpu = gpu();
    let a = filled(&gpu, &[1, 2, 3]);
    let mut frame = gpu.begin_frame().unwrap();
    let back = frame.readback::<u32>(&a, 1..3).unwrap();
    assert_eq!((back.len(), back.is_empty()), (2, false));
    assert!(matches!(back.try_read(|_| ()), Err(MkError::NotReady)), "open");
    assert!(!back.is_complete().unwrap());
    assert!(matches!(back.wait(), Err(MkError::NotReady)), "waiting for an open frame would last forever");
    gpu.backend().pause();
    frame.submit().unwrap();
    assert!(matches!(back.try_read(|_| ()), Err(MkError::NotReady)), "running");
    assert!(!back.is_complete().unwrap());
    assert!(!back.wait_timeout(Duration::from_millis(5)).unwrap());
    assert!(!back.wait_timeout(Duration::ZERO).unwrap());
    gpu.backend().resume();
    assert!(back.wait_timeout(Duration::from_secs(9)).unwrap());
    for _ in 0..2 {
        assert_eq!(back.try_read(<[u32]>::to_vec).unwrap(), [2, 3]);
        let mut out = [0; 2];
        back.read_into(&mut out).unwrap();
        assert_eq!(out, [2, 3]);
    }
    assert!(matches!(
        back.read_into(&mut [0; 3]),
        Err(MkError::SizeMismatch { from_size: 8, to_size: 12, .. })
    ));
    assert_clean(&gpu);
}

#[test]
fn a_readback_keeps_its_bytes_whatever_later_frames_do() {
    let gpu = gpu();
    let a = filled(&gpu, &[1; 16]);
    let mut tickets = Vec::new();
    for n in 0..100u32 {
        let mut frame = gpu.begin_frame().unwrap();
        set(&mut frame, "write", a.id(), n);
        tickets.push(frame.readback::<u32>(&a, 0..16).unwrap());
        frame.submit().unwrap();
    }
    gpu.wait_idle().unwrap();
    for (ticket, n) in tickets.iter().zip(0..) {
        ticket.try_read(|v| assert_eq!(v, [n; 16])).unwrap();
    }
    assert_clean(&gpu);
}

#[test]
fn a_readback_of_a_frame_that_was_dropped_or_failed_is_cancelled() {
    let gpu = gpu();
    let a = filled(&gpu, &[1]);
    let mut frame = gpu.begin_frame().unwrap();
    let back = frame.readback::<u32>(&a, 0..1).unwrap();
    drop(frame);
    let mut frame = gpu.begin_frame().unwrap();
    let other = frame.readback::<u32>(&a, 0..1).unwrap();
    frame.pass("bad").side_effects().record(|_| Err(MkError::other("no")));
    err(frame.submit());
    for ticket in [back, other] {
        assert!(matches!(ticket.wait(), Err(MkError::Cancelled)));
        assert!(matches!(ticket.is_complete(), Err(MkError::Cancelled)));
        assert!(matches!(ticket.try_read(|_| ()), Err(MkError::Cancelled)));
        assert!(matches!(ticket.read_into(&mut [0]), Err(MkError::Cancelled)));
    }
}

#[test]
fn ten_thousand_frames_with_readbacks_keep_to_bounded_memory() {
    let gpu =
        MkGpu::new(DummyBackend::with_config(DummyBackendConfig { check: false, ..Default::default() }));
    let a = filled(&gpu, &[5; 256]);
    let mut kept = std::collections::VecDeque::new();
    for _ in 0..10_000 {
        let mut frame = gpu.begin_frame().unwrap();
        kept.push_back(frame.readback::<u32>(&a, 0..256).unwrap());
        drop(frame.readback::<u8>(&a, 0..1).unwrap());
        frame.submit().unwrap();
        if kept.len() > 2 {
            let done = kept.pop_front().unwrap();
            done.wait().unwrap();
            done.try_read(|v| assert_eq!(v[255], 5)).unwrap();
        }
    }
    // The upload's chunk is 8 MiB of it.
    assert!(gpu.backend().total_allocated() < 9 << 20, "{}", gpu.backend().total_allocated());
}

#[test]
fn cancelled_readbacks_give_their_memory_back() {
    let gpu = gpu();
    let a = filled(&gpu, &[5; 1024]);
    for _ in 0..1000 {
        let mut frame = gpu.begin_frame().unwrap();
        let back = frame.readback::<u32>(&a, 0..1024).unwrap();
        drop(frame);
        drop(back);
    }
    assert!(gpu.backend().total_allocated() < 10 << 20, "{}", gpu.backend().total_allocated());
}

#[test]
fn a_readback_fits_a_device_with_small_buffers() {
    let config = DummyBackendConfig { max_buffer_size: 100, ..Default::default() };
    let gpu = MkGpu::new(DummyBackend::with_config(config));
    let a = filled(&gpu, &[5; 16]);
    assert_eq!(contents(&gpu, &a, 16), [5; 16]);
    assert_clean(&gpu);
}

#[test]
fn readbacks_of_several_types_and_of_transients() {
    let gpu = gpu();
    let mut frame = gpu.begin_frame().unwrap();
    let t = frame.transient("t", 64);
    frame.fill(t, 0x0403_0201);
    let bytes = frame.readback::<u8>(t.slice(1..), 0..4).unwrap();
    let words = frame.readback::<u64>(t, 7..8).unwrap();
    frame.submit().unwrap().wait().unwrap();
    bytes.try_read(|v| assert_eq!(v, [2, 3, 4, 1])).unwrap();
    words.try_read(|v| assert_eq!(v, [0x0403_0201_0403_0201])).unwrap();
    assert_clean(&gpu);
}

#[test]
fn odd_ranges_are_errors_and_the_frame_goes_on() {
    let gpu = gpu();
    let a = filled(&gpu, &[5; 16]);
    let mut frame = gpu.begin_frame().unwrap();
    let t = frame.transient("t", 64);
    #[expect(clippy::reversed_empty_ranges, reason = "what a caller may get wrong")]
    let ranges = [0..0, 5..2, 0..17, 16..17, 0..usize::MAX, usize::MAX..usize::MAX, 1..usize::MAX];
    for range in ranges {
        for slice in [memkit_gpu::MkSlice::from(&a), a.id().into(), t.into()] {
            let error = err(frame.readback::<u32>(slice, range.clone()));
            assert!(matches!(error, MkError::OutOfBounds { .. } | MkError::ZeroSize { .. }), "{error}");
        }
    }
    assert!(matches!(err(frame.readback::<u32>(a.slice(4..12), 0..3)), MkError::OutOfBounds { .. }));
    let back = frame.readback::<u32>(a.slice(4..12), 0..2).unwrap();
    frame.submit().unwrap();
    back.wait().unwrap();
    assert_clean(&gpu);
}
