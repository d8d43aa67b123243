//! Recording, submitting, waiting.

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn bytes_travel_to_the_device_and_back() {
    silent(|backend| {
        let size = 4096;
        let bytes: Vec<u8> = (0..size).map(|i| (i * 7) as u8).collect();
        let up = buffer(&backend, size, MkMemoryType::HostVisible);
        let middle = buffer(&backend, size, MkMemoryType::DeviceLocal);
        let down = buffer(&backend, size, MkMemoryType::HostCached);
        write(&backend, &up, &bytes);
        let value = round_trip(size).run(&backend, &[middle], &[up, down], false);
        assert_eq!(value, 1);
        wait(&backend, value);
        assert_eq!(read(&backend, &down, bytes.len()), bytes);
        // SAFETY: the submission is done.
        unsafe { backend.destroy_buffer(middle) };
    });
}

#[test]
fn a_copy_has_many_regions_and_a_fill_its_value() {
    silent(|backend| fill_and_copy_many_regions(&backend));
}

pub(super) fn fill_and_copy_many_regions(backend: &VulkanBackend) {
    let mut plan = Plan::default();
    plan.resource("filled", 64);
    plan.fill(BufferRef::Local(0), 64, 0x0403_0201);
    plan.barrier(&[entry(FILL_WRITE, COPY_READ)]);
    plan.copy(BufferRef::Local(0), BufferRef::Host(0), &[(0, 0, 1), (1, 4, 3), (0, 16, 48)]);
    plan.barrier(&[entry(COPY_WRITE, HOST_READ)]);
    let filled = buffer(backend, 64, MkMemoryType::DeviceLocal);
    let down = buffer(backend, 64, MkMemoryType::HostCached);
    write(backend, &down, &[9; 64]);
    wait(backend, plan.run(backend, &[filled], &[down], false));
    assert_eq!(read(backend, &down, 20), [1, 9, 9, 9, 2, 3, 4, 9, 9, 9, 9, 9, 9, 9, 9, 9, 1, 2, 3, 4]);
}

#[test]
fn a_pass_records_with_what_it_declared() {
    silent(|backend| {
        let mut plan = Plan::default();
        let target = plan.resource("target", 256);
        let hidden = plan.resource("hidden", 256);
        let range = target.id.slice(64..128);
        plan.graph.pass("writes").overwrite(range, memkit_graph::Access::FILL_WRITE).finish();
        plan.push(Command::Pass(0));
        plan.barrier(&[entry(FILL_WRITE, COPY_READ)]);
        plan.copy(BufferRef::Local(0), BufferRef::Host(0), &[(64, 0, 64)]);
        plan.barrier(&[entry(COPY_WRITE, HOST_READ)]);
        let buffers = [
            buffer(&backend, 256, MkMemoryType::DeviceLocal),
            buffer(&backend, 256, MkMemoryType::DeviceLocal),
        ];
        let down = buffer(&backend, 64, MkMemoryType::HostCached);
        let recording = plan.record(&backend, &buffers, &[down], &mut |node, cx| {
            assert_eq!((node, cx.pass_name()), (0, "writes"));
            let found = cx.resolve(target)?;
            assert_eq!((found.buffer, found.offset, found.size), (buffers[0].raw(), 64, 64));
            assert_eq!(cx.buffer(target)?, buffers[0].raw());
            assert!(matches!(cx.buffer(hidden), Err(MkError::NotDeclared { .. })));
            assert!(matches!(cx.device_address(target), Err(MkError::Backend { .. })));
            // SAFETY: the range is declared, and the buffer lives until the backend is dropped.
            unsafe {
                cx.device().cmd_fill_buffer(cx.command_buffer(), found.buffer, found.offset, found.size, !0)
            };
            Ok(())
        });
        // SAFETY: the buffers live.
        let value = unsafe { backend.submit(recording.unwrap(), false) }.unwrap();
        wait(&backend, value);
        assert_eq!(read(&backend, &down, 64), [255; 64]);
    });
}

/// A frame that fills buffer 0, and one that reads it, planned as if nothing came before.
fn producer_and_consumer() -> (Plan, Plan) {
    let (mut producer, mut consumer) = (Plan::default(), Plan::default());
    producer.resource("shared", 1 << 16);
    producer.fill(BufferRef::Local(0), 1 << 16, !0);
    consumer.resource("shared", 1 << 16);
    consumer.copy(BufferRef::Local(0), BufferRef::Host(0), &[(0, 0, 1 << 16)]);
    consumer.barrier(&[entry(COPY_WRITE, HOST_READ)]);
    (producer, consumer)
}

#[test]
fn catching_up_orders_after_everything_before() {
    silent(|backend| {
        let (producer, consumer) = producer_and_consumer();
        let shared = buffer(&backend, 1 << 16, MkMemoryType::DeviceLocal);
        let down = buffer(&backend, 1 << 16, MkMemoryType::HostCached);
        producer.run(&backend, &[shared], &[], false);
        let value = consumer.run(&backend, &[shared], &[down], true);
        assert_eq!(value, 2);
        wait(&backend, value);
        assert_eq!(read(&backend, &down, 1 << 16), vec![255; 1 << 16]);
        // The one full barrier is in flight several times at once.
        for _ in 0..4 {
            consumer.run(&backend, &[shared], &[down], true);
        }
    });
}

/// The validation layer must see what the tests above rely on it to see.
#[test]
fn a_missing_barrier_is_reported() {
    let backend = VulkanBackend::new(config()).unwrap();
    let log = backend.validation_log();
    let shared = buffer(&backend, 1 << 16, MkMemoryType::DeviceLocal);
    let down = buffer(&backend, 1 << 16, MkMemoryType::HostCached);

    let mut plan = Plan::default();
    plan.resource("shared", 1 << 16);
    plan.fill(BufferRef::Local(0), 1 << 16, !0);
    plan.copy(BufferRef::Local(0), BufferRef::Host(0), &[(0, 0, 1 << 16)]);
    plan.barrier(&[entry(COPY_WRITE, HOST_READ)]);
    wait(&backend, plan.run(&backend, &[shared], &[down], true));
    let heard = said(&log);
    assert!(heard.iter().any(|m| m.id == "SYNC-HAZARD-READ-AFTER-WRITE"), "inside a submission: {heard:?}");
    assert!(heard.iter().all(|m| m.severity == MkValidationSeverity::Error));
    assert!(!log.take().is_empty() && log.is_empty());

    let (producer, consumer) = producer_and_consumer();
    // Both recorded first: recording looks for finished work, and a layer that hears of it sees no hazard.
    let nothing: &mut MkRecordPass<'_, VulkanBackend> = &mut |_, _| Ok(());
    let first = producer.record(&backend, &[shared], &[], nothing).unwrap();
    let second = consumer.record(&backend, &[shared], &[down], nothing).unwrap();
    // SAFETY: the buffers live until the backend is dropped.
    unsafe {
        backend.submit(first, true).unwrap();
        backend.submit(second, false).unwrap();
    }
    let heard = log.take();
    assert!(heard.iter().any(|m| m.id.starts_with("SYNC-HAZARD-READ-AFTER-WRITE")), "across: {heard:?}");
    drop(backend);
    assert_silent(&log);
}

#[test]
fn a_leak_is_reported_after_the_drop() {
    let backend = VulkanBackend::new(config()).unwrap();
    let log = backend.validation_log();
    let info = vk::BufferCreateInfo::default().size(16).usage(vk::BufferUsageFlags::TRANSFER_SRC);
    // SAFETY: the device lives. The buffer is leaked on purpose.
    unsafe { backend.device().create_buffer(&info, None) }.unwrap();
    assert_silent(&log);
    drop(backend);
    let heard = said(&log);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].id.starts_with("VUID-vkDestroyDevice-device-"), "{heard:?}");
}

#[test]
fn a_failing_closure_gives_its_recorder_back() {
    silent(|backend| {
        let mut plan = Plan::default();
        plan.graph.pass("fails").finish();
        plan.push(Command::Pass(0));
        let error = plan.record(&backend, &[], &[], &mut |_, _| Err(MkError::NotReady)).err();
        assert!(matches!(error, Some(MkError::NotReady)));
        assert_eq!(backend.recorders.count(), (1, 0));
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            plan.record(&backend, &[], &[], &mut |_, _| std::panic::resume_unwind(Box::new("on purpose")))
        }));
        assert!(unwound.is_err());
        assert_eq!(backend.recorders.count(), (1, 0));
        let recording = plan.record(&backend, &[], &[], &mut |_, _| Ok(())).unwrap();
        assert_eq!(backend.recorders.count(), (0, 0));
        backend.discard(recording);
        assert_eq!(backend.recorders.count(), (1, 0));
        // No value was used up.
        assert_eq!(plan.run(&backend, &[], &[], false), 1);
    });
}

#[test]
fn closures_may_use_the_backend() {
    silent(|backend| {
        let mut plan = Plan::default();
        plan.graph.pass("busy").finish();
        plan.push(Command::Pass(0));
        let inner = round_trip(64);
        let recording = plan.record(&backend, &[], &[], &mut |_, _| {
            let up = buffer(&backend, 64, MkMemoryType::HostVisible);
            let middle = buffer(&backend, 64, MkMemoryType::DeviceLocal);
            let down = buffer(&backend, 64, MkMemoryType::HostCached);
            write(&backend, &up, &[3; 64]);
            wait(&backend, inner.run(&backend, &[middle], &[up, down], false));
            assert_eq!(read(&backend, &down, 64), [3; 64]);
            Ok(())
        });
        // SAFETY: it uses no buffer.
        assert_eq!(unsafe { backend.submit(recording.unwrap(), false) }.unwrap(), 2);
    });
}

#[test]
fn recorders_are_recycled_once_their_work_is_done() {
    silent(|backend| {
        let plan = Plan::default();
        for i in 1..=10 {
            assert_eq!(plan.run(&backend, &[], &[], false), i);
            wait(&backend, i);
        }
        assert_eq!(backend.recorders.count(), (0, 3));
    });
}

#[test]
fn dropping_waits_for_work_in_flight() {
    silent(|backend| {
        let size = 8 << 20;
        let up = buffer(&backend, size, MkMemoryType::HostVisible);
        let middle = buffer(&backend, size, MkMemoryType::DeviceLocal);
        let down = buffer(&backend, size, MkMemoryType::HostCached);
        for _ in 0..8 {
            round_trip(size).run(&backend, &[middle], &[up, down], true);
        }
    });
}

#[test]
fn a_recording_may_outlive_its_backend() {
    silent(|backend| {
        let recording = Plan::default().record(&backend, &[], &[], &mut |_, _| Ok(())).unwrap();
        drop(backend);
        drop(recording);
    });
}

#[test]
fn waiting_ends_when_the_time_is_over() {
    silent(|backend| {
        assert!(backend.wait(0, Duration::ZERO).unwrap());
        assert!(!backend.wait(1, Duration::ZERO).unwrap());
        assert!(!backend.wait(1, Duration::from_millis(2)).unwrap());
        assert_eq!(backend.completed().unwrap(), 0);
        let value = Plan::default().run(&backend, &[], &[], false);
        wait(&backend, value);
        assert!(backend.wait(value, Duration::ZERO).unwrap());
    });
}

#[test]
fn threads_record_at_once() {
    silent(|backend| {
        let submits = std::sync::Mutex::new(());
        std::thread::scope(|scope| {
            for byte in 0..4u8 {
                let (backend, submits) = (&backend, &submits);
                scope.spawn(move || {
                    for round in 0..8 {
                        let up = buffer(backend, 256, MkMemoryType::HostVisible);
                        let middle = buffer(backend, 256, MkMemoryType::DeviceLocal);
                        let down = buffer(backend, 256, MkMemoryType::HostCached);
                        write(backend, &up, &[byte * 16 + round; 256]);
                        let plan = round_trip(256);
                        let buffers = ([middle], [up, down]);
                        let recording = plan.record(backend, &buffers.0, &buffers.1, &mut |_, _| Ok(()));
                        let value = {
                            let _one_at_a_time = submits.lock().unwrap();
                            // Catching up: buffers get memory of buffers destroyed before, and the layer 1.3.239 takes no
                            // notice of waits for timelines.
                            // SAFETY: submits come one at a time, the buffers live until the wait is over.
                            unsafe { backend.submit(recording.unwrap(), true) }.unwrap()
                        };
                        wait(backend, value);
                        assert_eq!(read(backend, &down, 256), [byte * 16 + round; 256]);
                        for buffer in [up, middle, down] {
                            // SAFETY: its submission is done.
                            unsafe { backend.destroy_buffer(buffer) };
                        }
                    }
                });
            }
        });
        assert_eq!(backend.buffer_count(), 0);
    });
}

#[test]
fn a_schedule_that_does_not_fit_is_an_error() {
    silent(|backend| {
        let mut plan = Plan::default();
        plan.push(Command::Barrier(7));
        assert!(plan.record(&backend, &[], &[], &mut |_, _| Ok(())).is_err());
        let plan = round_trip(64);
        assert!(plan.record(&backend, &[], &[], &mut |_, _| Ok(())).is_err());
        let mut plan = Plan::default();
        plan.push(Command::Barrier(0));
        let second = plan.schedule.queues[0].clone();
        plan.schedule.queues = vec![CommandList::default(), second];
        assert!(plan.record(&backend, &[], &[], &mut |_, _| Ok(())).is_err());
        assert_eq!(backend.recorders.count(), (1, 0));
    });
}
