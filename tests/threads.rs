//! Threads, and calls into the library from inside its own calls.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
use common::*;
use memkit_gpu::{
    DummyBackend, MkBatchTransfer, MkBuffer, MkBufferDesc, MkBufferId, MkDeviceBuffer, MkError, MkFence,
    MkFrame, MkGpu, MkGpuConfig, MkGpuPool, MkGpuTransfer, MkPooledBuffer, MkReadback, MkSlice,
    MkStagingBuffer, MkTransferBuilder, MkTransient,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};
use std::time::Duration;

const fn send_sync<T: Send + Sync>() {}
const fn send<T: Send>() {}
const _: () = {
    send_sync::<MkGpu<DummyBackend>>();
    send_sync::<MkBuffer>();
    send_sync::<MkDeviceBuffer>();
    send_sync::<MkStagingBuffer>();
    send_sync::<MkGpuPool>();
    send_sync::<MkPooledBuffer>();
    send_sync::<MkGpuTransfer>();
    send_sync::<MkReadback<u32>>();
    send_sync::<MkReadback<*const u8>>();
    send_sync::<MkFence>();
    send_sync::<MkBufferId>();
    send_sync::<MkTransient>();
    send_sync::<MkSlice<'static>>();
    send_sync::<MkError>();
    send_sync::<MkTransferBuilder<'static, DummyBackend>>();
    send_sync::<MkBatchTransfer<'static, DummyBackend>>();
    send::<MkFrame<'static, DummyBackend>>();
};

#[test]
fn frames_of_several_threads_give_the_right_bytes_without_hazards() {
    let gpu = gpu_with(MkGpuConfig { frames_in_flight: 3, ..Default::default() });
    let shared = filled(&gpu, &[0; 4]);
    std::thread::scope(|s| {
        for t in 0..4u32 {
            let (gpu, shared) = (&gpu, &shared);
            s.spawn(move || {
                let own = filled(gpu, &[t; 16]);
                for n in 0..100 {
                    let mut frame = gpu.begin_frame().unwrap();
                    let scratch = frame.transient("scratch", 64);
                    add(&mut frame, "own", own.id(), 1);
                    frame.copy(&own, scratch);
                    add(&mut frame, "shared", shared.id().slice(..8), 1);
                    let back = frame.readback::<u32>(scratch, 0..16).unwrap();
                    frame.submit().unwrap();
                    back.wait().unwrap();
                    back.try_read(|v| assert_eq!(v, [t + n + 1; 16])).unwrap();
                }
            });
        }
    });
    assert_eq!(contents(&gpu, &shared, 4), [400, 400, 0, 0]);
    assert_clean(&gpu);
}

#[test]
fn the_order_of_frames_is_the_order_of_submit() {
    let gpu = gpu();
    let b = storage(&gpu, 4);
    let mut first = gpu.begin_frame().unwrap();
    set(&mut first, "1", b.id(), 1);
    let mut second = gpu.begin_frame().unwrap();
    set(&mut second, "2", b.id(), 2);
    second.submit().unwrap();
    first.submit().unwrap();
    assert_eq!(contents(&gpu, &b, 1), [1]);
    assert_clean(&gpu);
}

#[test]
fn a_frame_can_move_to_another_thread_and_be_submitted_there() {
    let gpu = gpu();
    let b = storage(&gpu, 4);
    let mut frame = gpu.begin_frame().unwrap();
    set(&mut frame, "here", b.id(), 8);
    let back = frame.readback::<u32>(&b, 0..1).unwrap();
    let fence = std::thread::spawn(move || frame.submit().unwrap()).join().unwrap();
    fence.wait().unwrap();
    back.try_read(|v| assert_eq!(v, [8])).unwrap();
    assert_clean(&gpu);
}

#[test]
fn creating_dropping_transferring_flushing_and_waiting_work_inside_record() {
    no_deadlock(|| {
        let gpu = gpu();
        let b = filled(&gpu, &[1]);
        let other = filled(&gpu, &[0]);
        let pool = gpu.create_pool(&MkBufferDesc { name: "p", size: 4, ..Default::default() }).unwrap();
        let mut before = gpu.begin_frame().unwrap();
        let earlier = before.readback::<u32>(&b, 0..1).unwrap();
        before.submit().unwrap();
        let mut frame = gpu.begin_frame().unwrap();
        let own = Arc::new(frame.readback::<u32>(&b, 0..1).unwrap());
        let (g, own_ref, other_ref) = (&gpu, own.clone(), &other);
        let id = b.id();
        frame.pass("busy").modify(&b, RW).record(move |cx| {
            drop(storage(g, 64));
            drop(pool.get().unwrap());
            let staging = g.staging_buffer_with_data(&[5u32]).unwrap();
            let ticket = g.transfer(&staging, other_ref).unwrap();
            g.flush().unwrap();
            ticket.wait().unwrap();
            g.wait_idle().unwrap();
            g.fence().wait().unwrap();
            earlier.wait().unwrap();
            assert!(matches!(own_ref.wait(), Err(MkError::NotReady)), "its own frame cannot be waited for");
            assert!(!own_ref.is_complete().unwrap());
            assert!(matches!(own_ref.try_read(|_| ()), Err(MkError::NotReady)));
            cx.dispatch(move |mem| {
                mem.write::<u32>(id)?[0] += 1;
                Ok(())
            });
            Ok(())
        });
        frame.submit().unwrap();
        own.wait().unwrap();
        // Declared before the pass: it sees what was there.
        own.try_read(|v| assert_eq!(v, [1])).unwrap();
        assert_eq!((contents(&gpu, &b, 1), contents(&gpu, &other, 1)), (vec![2], vec![5]));
        assert_clean(&gpu);
    });
}

#[test]
fn a_transfer_that_this_frame_takes_along_cannot_be_waited_for_inside_it() {
    no_deadlock(|| {
        let gpu = gpu();
        let (a, b) = (gpu.staging_buffer_with_data(&[1u32]).unwrap(), storage(&gpu, 4));
        let ticket = gpu.transfer(&a, &b).unwrap();
        let inside = ticket.clone();
        let mut frame = gpu.begin_frame().unwrap();
        frame.pass("waits").side_effects().record(move |_| {
            assert!(!inside.is_complete().unwrap());
            assert!(matches!(inside.wait(), Err(MkError::NotReady)));
            Ok(())
        });
        frame.submit().unwrap();
        ticket.wait().unwrap();
        assert_eq!(contents(&gpu, &b, 1), [1]);
    });
}

#[test]
fn a_frame_submitted_inside_record_comes_first_and_the_outer_one_catches_up() {
    no_deadlock(|| {
        let gpu = gpu_with(MkGpuConfig { frames_in_flight: 1, ..Default::default() });
        let b = filled(&gpu, &[1, 1]);
        let scratch = storage(&gpu, 8);
        let mut outer = gpu.begin_frame().unwrap();
        let (g, b_ref, scratch_ref) = (&gpu, &b, &scratch);
        let id = b.id();
        outer.copy(&b, &scratch);
        outer.pass("nests").modify(&b, RW).record(move |cx| {
            let mut inner = g.begin_frame()?;
            add(&mut inner, "inner", b_ref.id(), 10);
            inner.copy(b_ref.slice(..4), scratch_ref.slice(4..));
            inner.submit()?;
            cx.dispatch(move |mem| {
                mem.write::<u32>(id)?.iter_mut().for_each(|v| *v *= 2);
                Ok(())
            });
            Ok(())
        });
        outer.submit().unwrap();
        assert_eq!(contents(&gpu, &b, 2), [22, 22]);
        assert_eq!(contents(&gpu, &scratch, 2), [11, 11]);
        assert_clean(&gpu);
    });
}

#[test]
fn frames_that_go_stale_on_each_other_over_and_over_stay_right() {
    let gpu = gpu_with(MkGpuConfig { frames_in_flight: 3, ..Default::default() });
    let b = filled(&gpu, &[0; 8]);
    for n in 0..20u32 {
        let mut outer = gpu.begin_frame().unwrap();
        let t = outer.transient("t", 32);
        outer.copy(&b, t);
        add(&mut outer, "on scratch", t, 1);
        let (g, b_ref) = (&gpu, &b);
        outer.pass("stale").side_effects().record(move |_| {
            let mut inner = g.begin_frame()?;
            let t = inner.transient("t", 32);
            inner.fill(t, 7);
            add(&mut inner, "half", b_ref.id().slice(..16), 1);
            if n % 3 == 0 {
                inner.copy(t.slice(..16), b_ref.slice(16..));
            }
            inner.submit().map(drop)
        });
        outer.copy(t, &b);
        outer.submit().unwrap();
    }
    let values = contents(&gpu, &b, 8);
    // The inner frame's half is read by the outer one's first copy.
    assert_eq!(values[..4], [40; 4]);
    assert_clean(&gpu);
}

#[test]
fn a_panic_in_record_submits_nothing_gives_everything_back_and_the_next_frame_works() {
    let gpu = gpu_with(MkGpuConfig { staging_chunk: 256, staging_limit: 256, ..Default::default() });
    let b = filled(&gpu, &[1; 64]);
    gpu.wait_idle().unwrap();
    let pending_to = storage(&gpu, 4);
    let staging = gpu.staging_buffer_with_data(&[3u32]).unwrap();
    let ticket = gpu.transfer(&staging, &pending_to).unwrap();
    let submissions = gpu.backend().submissions();
    let counted = Arc::new(());
    for _ in 0..10 {
        let mut frame = gpu.begin_frame().unwrap();
        frame.upload(&b, 0, &[9u32; 64]).unwrap();
        let t = frame.transient("t", 64);
        set(&mut frame, "first", t, 1);
        let (x, y) = (counted.clone(), counted.clone());
        frame.pass("panics").read(t, R).side_effects().record(move |_| {
            let _x = &x;
            panic!("as the test wants")
        });
        frame.pass("never").side_effects().record(move |_| {
            drop(y);
            Ok(())
        });
        let back = frame.readback::<u32>(&b, 0..1).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| frame.submit().map(drop)));
        assert!(panicked.is_err());
        assert!(matches!(back.wait(), Err(MkError::Cancelled)));
        assert_eq!(Arc::strong_count(&counted), 1);
    }
    assert_eq!(gpu.backend().submissions(), submissions);
    let mut frame = gpu.begin_frame().unwrap();
    frame.upload(&b, 0, &[2u32; 64]).unwrap();
    frame.submit().unwrap();
    assert!(ticket.is_complete().is_ok());
    assert_eq!(contents(&gpu, &b, 64), [2; 64]);
    assert_eq!(contents(&gpu, &pending_to, 1), [3]);
    assert_clean(&gpu);
}

#[test]
fn a_panic_in_the_drop_of_a_capture_gives_everything_back_too() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("as the test wants");
        }
    }
    let gpu = gpu_with(MkGpuConfig { staging_chunk: 256, staging_limit: 256, ..Default::default() });
    let b = filled(&gpu, &[1; 4]);
    for _ in 0..3 {
        let mut frame = gpu.begin_frame().unwrap();
        frame.upload(&b, 0, &[9u32; 4]).unwrap();
        let bomb = Bomb;
        frame.pass("armed").side_effects().record(move |_| {
            let _bomb = &bomb;
            Ok(())
        });
        let back = frame.readback::<u32>(&b, 0..1).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| drop(frame))).is_err());
        assert!(matches!(back.wait(), Err(MkError::Cancelled)));
    }
    assert_eq!(contents(&gpu, &b, 4), [1; 4]);
    let mut frame = gpu.begin_frame().unwrap();
    frame.upload(&b, 0, &[2u32; 4]).unwrap();
    frame.submit().unwrap();
    assert_eq!(contents(&gpu, &b, 4), [2; 4]);
    assert_clean(&gpu);
}

#[test]
fn a_panic_while_other_threads_wait_leaves_them_to_end() {
    no_deadlock(|| {
        let gpu = Arc::new(gpu());
        let (a, b) = (gpu.staging_buffer_with_data(&[4u32]).unwrap(), storage(&gpu, 4));
        let ticket = gpu.transfer(&a, &b).unwrap();
        let inside = Arc::new(Barrier::new(2));
        let (other, there) = (ticket.clone(), inside.clone());
        let waiter = std::thread::spawn(move || {
            there.wait();
            other.wait()
        });
        let mut frame = gpu.begin_frame().unwrap();
        frame.pass("panics").side_effects().record(move |_| {
            inside.wait();
            std::thread::sleep(Duration::from_millis(20));
            panic!("as the test wants")
        });
        assert!(catch_unwind(AssertUnwindSafe(|| frame.submit().map(drop))).is_err());
        // The transfer went back to the pending ones, and the waiter submits it.
        waiter.join().unwrap().unwrap();
        assert_eq!(contents(&gpu, &b, 1), [4]);
    });
}

#[test]
fn a_waiter_hears_of_the_end_of_its_gpu() {
    no_deadlock(|| {
        let gpu = gpu();
        let mut frame = gpu.begin_frame().unwrap();
        let b = storage(&gpu, 4);
        set(&mut frame, "work", b.id(), 1);
        let back = frame.readback::<u32>(&b, 0..1).unwrap();
        gpu.backend().pause();
        let fence = frame.submit().unwrap();
        let waiters = [std::thread::spawn(move || back.wait()), std::thread::spawn(move || fence.wait())];
        std::thread::sleep(Duration::from_millis(10));
        drop(gpu);
        for waiter in waiters {
            // Reached on the way out, or gone.
            assert!(matches!(waiter.join().unwrap(), Ok(()) | Err(MkError::GpuDropped)));
        }
    });
}

#[test]
fn a_gpu_dropped_while_another_thread_uploads_ends_that_with_an_error() {
    for round in 0..40 {
        let gpu =
            gpu_with(MkGpuConfig { staging_chunk: 64 << 10, staging_limit: 1 << 20, ..Default::default() });
        let to = storage(&gpu, 8192);
        let mut frame = gpu.begin_frame().unwrap();
        let uploads = std::thread::spawn(move || {
            // Small ones, which are collected, and such as are written at once.
            let (small, large) = (vec![1u8; 200], vec![2u8; 4000]);
            (0..).find_map(|n: usize| {
                let bytes = if n % 8 == 7 { &large } else { &small };
                // It goes on when its staging memory is full, until the end.
                let error = frame.upload(&to, n % 16, bytes).err();
                error.filter(|e| !matches!(e, MkError::StagingLimit { .. }))
            })
        });
        std::thread::sleep(Duration::from_micros(50 * round));
        drop(gpu);
        assert!(matches!(uploads.join().unwrap(), Some(MkError::GpuDropped)), "round {round}");
    }
}

#[test]
fn kernels_may_drop_handles_and_ask_tickets() {
    no_deadlock(|| {
        let gpu = gpu();
        let (b, c) = (filled(&gpu, &[1]), storage(&gpu, 4));
        let mut frame = gpu.begin_frame().unwrap();
        let back = frame.readback::<u32>(&b, 0..1).unwrap();
        frame.pass("asks").modify(&b, RW).record(move |cx| {
            cx.dispatch(move |_| {
                drop(c);
                assert!(!back.is_complete()?);
                assert!(back.wait().is_err(), "a kernel cannot wait for itself");
                Ok(())
            });
            Ok(())
        });
        frame.submit().unwrap();
        assert_clean(&gpu);
    });
}
