//! Transfers outside frames: when they run, in which order, what they keep, and how few commands they become.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
use common::*;
use memkit_gpu::MkError;

#[test]
fn a_transfer_is_pending_until_the_next_submission() {
    let gpu = gpu();
    let (a, b) = (gpu.staging_buffer_with_data(&[1u32]).unwrap(), storage(&gpu, 4));
    gpu.transfer(&a, &b).unwrap();
    assert_eq!(gpu.backend().submissions(), 0);
}

/// Each way to submit a pending transfer.
#[test]
fn flush_frame_batch_wait_idle_wait_and_is_complete_each_submit() {
    type Way = fn(&Gpu, &memkit_gpu::MkGpuTransfer);
    let ways: [(&str, Way); 7] = [
        ("flush", |gpu, _| drop(gpu.flush().unwrap())),
        ("frame", |gpu, _| drop(gpu.begin_frame().unwrap().submit().unwrap())),
        ("batch", |gpu, _| {
            let (x, y) = (gpu.staging_buffer_with_data(&[5u32]).unwrap(), storage(gpu, 4));
            gpu.batch_transfer().copy(&x, &y).submit().unwrap();
        }),
        ("wait_idle", |gpu, _| gpu.wait_idle().unwrap()),
        ("wait", |_, ticket| ticket.wait().unwrap()),
        ("wait_timeout", |_, ticket| {
            assert!(ticket.wait_timeout(std::time::Duration::from_secs(9)).unwrap())
        }),
        ("is_complete", |_, ticket| {
            let _ = ticket.is_complete().unwrap();
        }),
    ];
    for (name, way) in ways {
        let gpu = gpu();
        let (a, b) = (gpu.staging_buffer_with_data(&[9u32]).unwrap(), storage(&gpu, 4));
        let ticket = gpu.transfer(&a, &b).unwrap();
        way(&gpu, &ticket);
        assert_eq!(gpu.backend().submissions(), 1, "{name}");
        assert_eq!(contents(&gpu, &b, 1), [9], "{name}");
        assert!(ticket.is_complete().unwrap());
        assert_clean(&gpu);
    }
}

#[test]
fn polling_a_ticket_comes_to_an_end() {
    let gpu = slow_gpu(2000);
    let (a, b) = (gpu.staging_buffer_with_data(&[9u32]).unwrap(), storage(&gpu, 4));
    let ticket = gpu.transfer(&a, &b).unwrap();
    assert!(!ticket.is_complete().unwrap(), "it never blocks");
    no_deadlock(move || while !ticket.is_complete().unwrap() {});
}

#[test]
fn pending_transfers_come_before_all_passes_of_a_frame_in_call_order() {
    let gpu = gpu();
    let first = gpu.staging_buffer_with_data(&[1u32, 1]).unwrap();
    let second = gpu.staging_buffer_with_data(&[2u32]).unwrap();
    let b = storage(&gpu, 8);
    let mut frame = gpu.begin_frame().unwrap();
    add(&mut frame, "later", b.id(), 10);
    gpu.transfer(&first, &b).unwrap();
    gpu.transfer(&second, &b).unwrap();
    frame.submit().unwrap();
    assert_eq!(contents(&gpu, &b, 2), [12, 11]);
    assert_clean(&gpu);
}

#[test]
fn chained_transfers_run_in_order() {
    let gpu = gpu();
    let a = gpu.staging_buffer_with_data(&[4u32]).unwrap();
    let (b, c) = (storage(&gpu, 4), storage(&gpu, 4));
    gpu.transfer(&a, &b).unwrap();
    gpu.transfer(&b, &c).unwrap();
    gpu.flush().unwrap();
    assert_eq!(gpu.backend().submissions(), 1);
    assert_eq!(contents(&gpu, &c, 1), [4]);
    assert_clean(&gpu);
}

#[test]
fn a_transfer_keeps_both_memories_while_it_is_pending_or_running() {
    let gpu = gpu();
    let (a, b, c) = (gpu.staging_buffer_with_data(&[6u32]).unwrap(), storage(&gpu, 4), storage(&gpu, 4));
    gpu.transfer(&a, &b).unwrap();
    let ticket = gpu.transfer(&b, &c).unwrap();
    drop((a, b));
    drop(storage(&gpu, 64));
    assert!(gpu.backend().buffer_count() >= 3, "pending");
    gpu.backend().pause();
    gpu.flush().unwrap();
    drop(storage(&gpu, 64));
    assert!(gpu.backend().buffer_count() >= 3, "running");
    gpu.backend().resume();
    ticket.wait().unwrap();
    assert_eq!(contents(&gpu, &c, 1), [6]);
    assert_clean(&gpu);
    gpu.wait_idle().unwrap();
    assert_eq!(gpu.backend().buffer_count(), 2, "c and the readback's chunk");
}

#[test]
fn dropping_the_gpu_cancels_pending_transfers_and_says_so() {
    let gpu = gpu();
    let (a, b) = (gpu.staging_buffer_with_data(&[1u32]).unwrap(), storage(&gpu, 4));
    let ticket = gpu.transfer(&a, &b).unwrap();
    drop(gpu);
    assert!(matches!(ticket.wait(), Err(MkError::GpuDropped)));
    assert!(matches!(ticket.is_complete(), Err(MkError::GpuDropped)));
}

#[test]
fn many_independent_transfers_are_one_submit_one_copy_a_pair_and_two_barriers() {
    let gpu = gpu();
    let a = gpu.staging_buffer_with_data(&(0..1000).collect::<Vec<u32>>()).unwrap();
    let other = gpu.staging_buffer_with_data(&[7u32]).unwrap();
    let (b, c) = (storage(&gpu, 8000), storage(&gpu, 4));
    for i in 0..1000 {
        gpu.transfer_builder(&a, &b).src_offset(4 * i).dst_offset(8 * i).size(4).submit().unwrap();
    }
    gpu.transfer(&other, &c).unwrap();
    let (done, dump) = gpu.begin_frame().unwrap().submit_and_dump().unwrap();
    done.wait().unwrap();
    assert_eq!(gpu.backend().submissions(), 1);
    assert_eq!((dump.totals.copy_commands, dump.totals.regions), (2, 1001));
    assert!(gpu.backend().barrier_calls() <= 2);
    let mut frame = gpu.begin_frame().unwrap();
    let back = frame.readback::<u32>(b.slice(7992..7996), 0..1).unwrap();
    frame.submit().unwrap();
    back.wait().unwrap();
    back.try_read(|v| assert_eq!(v, [999])).unwrap();
    assert_clean(&gpu);
}

#[test]
fn a_copy_allocates_nothing_and_waits_for_nothing() {
    let gpu = gpu();
    let (a, b) = (gpu.staging_buffer_with_data(&[1u32; 64]).unwrap(), storage(&gpu, 256));
    gpu.backend().pause();
    let before = (gpu.backend().buffer_count(), gpu.backend().total_allocated());
    for _ in 0..100 {
        gpu.transfer(&a, &b).unwrap();
        gpu.flush().unwrap();
    }
    assert_eq!((gpu.backend().buffer_count(), gpu.backend().total_allocated()), before);
    gpu.backend().resume();
    assert_clean(&gpu);
}

#[test]
fn the_builder_takes_offsets_and_a_size() {
    let gpu = gpu();
    let a = gpu.staging_buffer_with_data(&[1u32, 2, 3, 4]).unwrap();
    let b = filled(&gpu, &[0; 4]);
    gpu.transfer_builder(&a, &b).src_offset(4).dst_offset(8).size(4).submit().unwrap();
    gpu.transfer_builder(&a, &b).src_offset(12).offset(12).submit().unwrap();
    assert_eq!(contents(&gpu, &b, 4), [0, 0, 2, 4]);
    // `offset` is another name of `dst_offset`; the last word counts.
    gpu.transfer_builder(&a, &b).dst_offset(8).offset(0).size(4).submit().unwrap();
    assert_eq!(contents(&gpu, &b, 4), [1, 0, 2, 4]);
    assert_clean(&gpu);
}

#[test]
fn sizes_that_do_not_fit_are_errors() {
    let gpu = gpu();
    let a = gpu.staging_buffer_with_data(&[1u32, 2]).unwrap();
    let b = storage(&gpu, 4);
    let small = storage(&gpu, 16);
    let error = err(gpu.transfer(&a, &b));
    assert!(matches!(error, MkError::SizeMismatch { from_size: 8, to_size: 4, .. }), "{error}");
    assert!(error.to_string().contains(a.name()) && error.to_string().contains(b.name()));
    let ok = |x: Result<_, MkError>| drop(x.unwrap());
    ok(gpu.transfer(&a, &small));
    let cases = [
        err(gpu.transfer_builder(&a, &small).src_offset(9).submit()),
        err(gpu.transfer_builder(&a, &small).src_offset(4).size(5).submit()),
        err(gpu.transfer_builder(&a, &small).src_offset(usize::MAX).size(usize::MAX).submit()),
        err(gpu.transfer_builder(&a, &small).size(usize::MAX).submit()),
    ];
    for error in cases {
        assert!(matches!(error, MkError::OutOfBounds { size: 8, .. }), "{error}");
    }
    for offset in [9, 16, 17, usize::MAX] {
        let error = err(gpu.transfer_builder(&a, &small).dst_offset(offset).submit());
        assert!(matches!(error, MkError::SizeMismatch { .. }), "{error}");
    }
    assert!(matches!(err(gpu.transfer_builder(&a, &small).size(0).submit()), MkError::ZeroSize { .. }));
    assert!(matches!(err(gpu.transfer_builder(&a, &small).src_offset(8).submit()), MkError::ZeroSize { .. }));
    assert_clean(&gpu);
}

#[test]
fn a_buffer_of_another_gpu_is_refused() {
    let (gpu, other) = (gpu(), gpu());
    let a = gpu.staging_buffer_with_data(&[1u32]).unwrap();
    let b = storage(&other, 4);
    assert!(matches!(err(gpu.transfer(&a, &b)), MkError::ForeignHandle { .. }));
    assert!(matches!(err(other.transfer(&a, &b)), MkError::ForeignHandle { .. }));
    let error = err(gpu.batch_transfer().copy(&a, &b).submit());
    assert!(matches!(error, MkError::ForeignHandle { resource } if &*resource == b.name()));
}

#[test]
fn a_copy_that_overlaps_itself_is_refused_and_one_that_does_not_runs() {
    let gpu = gpu();
    let a = filled(&gpu, &[1, 2, 3, 4]);
    let error = err(gpu.transfer_builder(&a, &a).src_offset(0).dst_offset(4).size(8).submit());
    assert!(error.to_string().contains("overlap"), "{error}");
    assert!(err(gpu.transfer(&a, &a)).to_string().contains("overlap"));
    gpu.transfer_builder(&a, &a).src_offset(0).dst_offset(8).size(8).submit().unwrap();
    assert_eq!(contents(&gpu, &a, 4), [1, 2, 1, 2]);
    assert_clean(&gpu);
}

#[test]
fn a_batch_with_an_error_adds_nothing() {
    let gpu = gpu();
    let a = gpu.staging_buffer_with_data(&[3u32, 3]).unwrap();
    let (b, c) = (filled(&gpu, &[0, 0]), storage(&gpu, 4));
    let before = gpu.backend().submissions();
    assert!(matches!(
        err(gpu.batch_transfer().copy(&a, &b).copy(&a, &c).submit()),
        MkError::SizeMismatch { .. }
    ));
    gpu.flush().unwrap();
    assert_eq!(gpu.backend().submissions(), before);
    assert_eq!(contents(&gpu, &b, 2), [0, 0]);
}

#[test]
fn a_batch_of_nothing_is_done_at_once() {
    let gpu = gpu();
    no_deadlock(move || {
        let ticket = gpu.batch_transfer().submit().unwrap();
        ticket.wait().unwrap();
        assert!(ticket.is_complete().unwrap());
        gpu.batch_transfer().submit_and_wait().unwrap();
        assert_eq!(gpu.backend().submissions(), 0);
    });
}

#[test]
fn a_batch_is_one_submit_and_can_be_waited_for() {
    let gpu = slow_gpu(500);
    let (a, b) =
        (gpu.staging_buffer_with_data(&[1u32]).unwrap(), gpu.staging_buffer_with_data(&[2u32]).unwrap());
    let (c, d) = (storage(&gpu, 4), storage(&gpu, 4));
    gpu.batch_transfer().copy(&a, &c).copy(&b, &d).submit_and_wait().unwrap();
    assert_eq!(gpu.backend().submissions(), 1);
    assert_eq!((contents(&gpu, &c, 1), contents(&gpu, &d, 1)), (vec![1], vec![2]));
    assert_clean(&gpu);
}

#[test]
fn ids_of_tickets_differ() {
    let gpu = gpu();
    let (a, b) = (gpu.staging_buffer_with_data(&[1u32]).unwrap(), storage(&gpu, 4));
    let (x, y) = (gpu.transfer(&a, &b).unwrap(), gpu.transfer(&a, &b).unwrap());
    assert_ne!(x.id(), y.id());
    assert_eq!(x.id(), x.clone().id());
}

#[test]
fn a_transfer_of_bytes_nobody_wrote_is_cancelled_and_the_next_one_works() {
    let gpu = gpu();
    let (a, b) = (storage(&gpu, 4), storage(&gpu, 4));
    let ticket = gpu.transfer(&a, &b).unwrap();
    let error = err(gpu.flush());
    assert!(error.to_string().contains(a.name()) && error.to_string().contains("nobody wrote"), "{error}");
    assert!(matches!(ticket.wait(), Err(MkError::Cancelled)));
    let staging = gpu.staging_buffer_with_data(&[1u32]).unwrap();
    let ok = gpu.transfer(&staging, &b).unwrap();
    ok.wait().unwrap();
    assert!(matches!(ticket.is_complete(), Err(MkError::Cancelled)), "still");
    assert_eq!(contents(&gpu, &b, 1), [1]);
    assert_clean(&gpu);
}

#[test]
fn an_impossible_transfer_fails_one_frame_and_not_the_next() {
    let gpu = gpu();
    let (a, b) = (storage(&gpu, 4), storage(&gpu, 4));
    let ticket = gpu.transfer(&a, &b).unwrap();
    let c = storage(&gpu, 4);
    let mut frame = gpu.begin_frame().unwrap();
    set(&mut frame, "fine", c.id(), 3);
    assert!(err(frame.submit()).to_string().contains("nobody wrote"));
    assert!(matches!(ticket.is_complete(), Err(MkError::Cancelled)));
    let mut frame = gpu.begin_frame().unwrap();
    set(&mut frame, "fine", b.id(), 3);
    frame.submit().unwrap();
    assert_eq!(contents(&gpu, &b, 1), [3]);
    assert_clean(&gpu);
}

#[test]
fn a_frame_that_fails_leaves_pending_transfers_pending() {
    let gpu = gpu();
    let (a, b) = (gpu.staging_buffer_with_data(&[8u32]).unwrap(), storage(&gpu, 4));
    let ticket = gpu.transfer(&a, &b).unwrap();
    let mut frame = gpu.begin_frame().unwrap();
    frame.pass("bad").side_effects().record(|_| Err(MkError::other("no")));
    err(frame.submit());
    assert_eq!(gpu.backend().submissions(), 0);
    ticket.wait().unwrap();
    assert_eq!(contents(&gpu, &b, 1), [8]);
    assert_clean(&gpu);
}
