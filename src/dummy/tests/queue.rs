//! Work is in flight after `submit`, in order, and never lost.

use super::*;
use Access as A;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn the_device_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<DummyBackend>();
    shared::<DummyBuffer>();
    shared::<MkHazard>();
    sent::<DummyRecording>();
}

#[test]
fn a_new_device_holds_nothing() {
    let rig = Rig::new();
    assert_eq!((rig.backend.buffer_count(), rig.backend.total_allocated()), (0, 0));
    assert_eq!(rig.backend.completed().unwrap(), 0);
    assert!(rig.backend.worker.lock().unwrap().is_none());
}

#[test]
fn held_work_is_in_flight() {
    let mut rig = Rig::new();
    let a = rig.buffer("a", 16);
    rig.backend.pause();
    assert_eq!(rig.submit(rig.frame().fill(a, 0..16, 0)), 1);
    let all = A::FILL_WRITE;
    assert_eq!(rig.submit(rig.frame().barrier(all, all).fill(a, 0..16, 1)), 2);
    assert!(!rig.backend.wait(1, Duration::ZERO).unwrap());
    assert!(!rig.backend.wait(2, Duration::from_millis(5)).unwrap());
    assert_eq!((rig.backend.completed().unwrap(), rig.backend.submissions()), (0, 2));
    assert_eq!(rig.peek(a), [0xCD; 16]);
    rig.backend.resume();
    assert!(rig.backend.wait(1, Duration::MAX).unwrap());
    assert!(rig.backend.wait(2, Duration::MAX).unwrap());
    assert_eq!(rig.backend.completed().unwrap(), 2);
    assert_eq!(rig.peek(a), [1, 0, 0, 0].repeat(4));
    rig.clean();
}

#[test]
fn a_value_never_submitted_is_never_reached() {
    let rig = Rig::new();
    assert!(rig.backend.wait(0, Duration::ZERO).unwrap());
    assert!(!rig.backend.wait(1, Duration::MAX).unwrap());
    rig.run(rig.frame());
    assert!(!rig.backend.wait(2, Duration::MAX).unwrap());
}

#[test]
fn a_delay_keeps_work_in_flight() {
    let rig = Rig::with(DummyBackendConfig { transfer_delay_us: 30_000, ..Default::default() });
    let begun = std::time::Instant::now();
    let value = rig.submit(rig.frame());
    assert!(!rig.backend.wait(value, Duration::ZERO).unwrap());
    assert!(rig.backend.wait(value, Duration::MAX).unwrap());
    assert!(begun.elapsed() >= Duration::from_micros(30_000));
}

#[test]
fn dropping_the_device_runs_what_was_submitted() {
    let ran = Arc::new(AtomicUsize::new(0));
    let mut rig = Rig::with(DummyBackendConfig { transfer_delay_us: 1000, ..Default::default() });
    let a = rig.buffer("a", 16);
    rig.backend.pause();
    for _ in 0..5 {
        let ran = ran.clone();
        rig.submit(rig.frame().kernel(
            "p",
            &[(a, 0..16, A::COMPUTE_STORAGE_WRITE, Mode::Write)],
            move |_| {
                ran.fetch_add(1, Ordering::Relaxed);
                Ok(())
            },
        ));
    }
    let unsubmitted = ran.clone();
    let recording = rig.record(&mut rig.frame().kernel("never", &[], move |_| {
        unsubmitted.fetch_add(100, Ordering::Relaxed);
        Ok(())
    }));
    rig.backend.discard(recording.unwrap());
    let (block, shared) = (rig.backend.block(&rig.buffers[a]).unwrap(), Arc::downgrade(&rig.backend.shared));
    drop(rig);
    assert_eq!(ran.load(Ordering::Relaxed), 5);
    // The buffer was not destroyed; it is gone all the same, and so is everything shared with the thread.
    assert_eq!((Arc::strong_count(&block), Arc::strong_count(&ran)), (1, 1));
    assert!(shared.upgrade().is_none());
}

#[test]
fn a_kernel_may_drop_its_own_device() {
    let (tell, told) = std::sync::mpsc::channel();
    let rig = Arc::new(Rig::new());
    let own = rig.clone();
    let frame = rig.frame().kernel("p", &[], move |_| {
        while Arc::strong_count(&own) > 1 {
            std::thread::yield_now();
        }
        drop(own);
        let _ = tell.send(());
        Ok(())
    });
    rig.submit(frame);
    drop(rig);
    told.recv_timeout(Duration::from_secs(20)).unwrap();
}

#[test]
fn limits_are_errors_that_leave_nothing() {
    let config = DummyBackendConfig { max_buffer_size: 64, memory_limit: 100, ..Default::default() };
    let rig = Rig::with(config);
    let make = |size| {
        rig.backend.create_buffer(&MkBackendBufferDesc {
            name: "big",
            size,
            usage: MkBufferUsage::STORAGE,
            memory: MkMemoryType::DeviceLocal,
        })
    };
    assert!(matches!(make(65), Err(MkError::BufferTooLarge { size: 65, limit: 64, .. })));
    assert!(matches!(make(0), Err(MkError::ZeroSize { .. })));
    let first = make(64).unwrap();
    let error = make(64).unwrap_err();
    assert!(matches!(error, MkError::OutOfMemory { size: 64, .. }));
    assert!(error.to_string().contains("`big`"));
    assert_eq!((rig.backend.buffer_count(), rig.backend.total_allocated()), (1, 64));
    // SAFETY: nothing uses it; the second call is a stale handle, which does nothing here.
    unsafe {
        rig.backend.destroy_buffer(first);
        rig.backend.destroy_buffer(first);
    }
    assert_eq!((rig.backend.buffer_count(), rig.backend.total_allocated()), (0, 0));
}

#[test]
fn device_local_memory_is_out_of_reach_if_simulated() {
    let mut rig = Rig::new();
    let (a, b) = (rig.buffer("a", 16), rig.host("b", 16));
    assert!(rig.backend.mapped(&rig.buffers[a]).is_none());
    assert!(rig.backend.mapped(&rig.buffers[b]).is_some());
    assert!(!rig.backend.capabilities().unified_memory);
    let mut rig = Rig::with(DummyBackendConfig { simulate_device_local: false, ..Default::default() });
    let a = rig.buffer("a", 16);
    assert!(rig.backend.mapped(&rig.buffers[a]).is_some());
    assert!(rig.backend.capabilities().unified_memory);
}

#[test]
fn handles_of_another_device_are_refused() {
    let mut one = Rig::new();
    one.buffer("a", 16);
    let mut two = Rig::new();
    two.buffer("b", 16);
    two.buffers[0] = one.buffers[0];
    assert!(matches!(two.record(&mut two.frame()), Err(MkError::Backend { .. })));
    assert!(two.backend.mapped(&one.buffers[0]).is_none());
}

#[test]
fn a_panic_while_recording_leaves_nothing() {
    let mut rig = Rig::new();
    let a = rig.buffer("a", 16);
    let f = rig.frame().write("p", a, 0..16, A::COMPUTE_STORAGE_WRITE);
    let input = MkRecordInput {
        name: "test",
        graph: &f.graph,
        schedule: &f.schedule,
        buffers: &rig.buffers,
        host_buffers: &[],
    };
    let held = Arc::new(());
    let captured = held.clone();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // SAFETY: the buffers live.
        let _ = unsafe {
            rig.backend.record(input, &mut |_, cx| {
                let captured = captured.clone();
                cx.dispatch(move |_| {
                    let _held = captured;
                    Ok(())
                });
                panic!("on purpose")
            })
        };
    }));
    assert!(caught.is_err());
    assert_eq!(Arc::strong_count(&held), 2);
    assert_eq!(rig.run(rig.frame().fill(a, 0..16, 0)), 1);
    rig.clean();
}

#[test]
fn a_schedule_that_does_not_fit_is_an_error() {
    let mut rig = Rig::new();
    let a = rig.buffer("a", 16);
    let mut frame = rig.frame().copy(a, 7, &[(0, 0, 4)]);
    assert!(matches!(rig.record(&mut frame), Err(MkError::Backend { .. })));
    let mut frame = rig.frame().command(Command::Barrier(3));
    assert!(matches!(rig.record(&mut frame), Err(MkError::Backend { .. })));
    let mut frame = rig.frame().write("p", a, 0..16, A::COMPUTE_STORAGE_WRITE);
    frame.schedule.resources.clear();
    assert!(matches!(rig.record(&mut frame), Err(MkError::Backend { .. })));
    assert_eq!(rig.backend.submissions(), 0);
}
