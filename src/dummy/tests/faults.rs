//! Calls that fail because they were told to.

use super::*;
use DummyFaultError as E;
use DummyFaultWhen as When;
use std::sync::Arc;

fn fault(calls: DummyCalls, when: When, error: E) -> DummyFault {
    DummyFault { calls, when, error }
}

fn make(backend: &DummyBackend, memory: MkMemoryType) -> Result<DummyBuffer, MkError> {
    backend.create_buffer(&MkBackendBufferDesc {
        name: "one",
        size: 64,
        usage: MkBufferUsage::STORAGE,
        memory,
    })
}

/// Numbers of the calls that fail among the first `n`.
fn failing(when: When, n: u64) -> Vec<u64> {
    let backend = DummyBackend::new();
    backend.inject(fault(DummyCalls::COMPLETED, when, E::Failed));
    (0..n).filter(|_| backend.completed().is_err()).count();
    backend.failed_calls().iter().map(|c| c.number).collect()
}

#[test]
fn the_kth_call_of_a_kind_fails_and_no_other() {
    let rig = Rig::new();
    rig.backend.inject(fault(DummyCalls::SUBMIT | DummyCalls::WAIT, When::Nth(2), E::OutOfHostMemory));
    assert_eq!(rig.run(rig.frame()), 1);
    let recording = rig.record(&mut rig.frame()).unwrap();
    // SAFETY: it uses no buffers.
    let error = unsafe { rig.backend.submit(recording, false) }.unwrap_err();
    assert!(matches!(&error, MkError::OutOfHostMemory { what, .. } if &**what == "submit"), "{error}");
    // Nothing was submitted, and no value is used up.
    assert_eq!(rig.run(rig.frame()), 2);
    let failed = rig.backend.failed_calls();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].call, failed[0].error), (DummyCalls::SUBMIT, E::OutOfHostMemory));
    assert_eq!(failed[0].number, 6, "after record twice, submit and wait");
}

#[test]
fn chance_is_a_matter_of_the_seed() {
    let one_in = |calls, seed| failing(When::OneIn { calls, seed }, 4000);
    assert_eq!(one_in(10, 1), one_in(10, 1));
    assert_ne!(one_in(10, 1), one_in(10, 2));
    let many = one_in(10, 3).len();
    assert!((300..500).contains(&many), "{many} of 4000");
    assert!(one_in(0, 1).is_empty());
    assert_eq!(failing(When::OneIn { calls: 1, seed: 7 }, 5), [0, 1, 2, 3, 4]);
    assert_eq!(failing(When::Nth(3), 5), [3]);
}

#[test]
fn the_first_fault_decides_and_clearing_ends_all() {
    let backend = DummyBackend::new();
    let always = When::OneIn { calls: 1, seed: 0 };
    backend.inject(fault(DummyCalls::CREATE_BUFFER, always, E::OutOfDeviceMemory));
    backend.inject(fault(DummyCalls::all(), always, E::Failed));
    match make(&backend, MkMemoryType::Unified) {
        Err(MkError::OutOfMemory { resource, size: 64, memory: MkMemoryType::Unified, .. }) => {
            assert_eq!(&*resource, "one");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(backend.completed(), Err(MkError::Backend { call: "completed", .. })));
    backend.clear_faults();
    assert!(make(&backend, MkMemoryType::Unified).is_ok() && backend.completed().is_ok());
    assert_eq!((backend.failed_calls().len(), backend.calls()), (2, 5));
}

#[test]
fn a_buffer_that_cannot_be_mapped_leaves_no_memory() {
    let backend = DummyBackend::new();
    backend.inject(fault(DummyCalls::MAP, When::Nth(0), E::Failed));
    assert!(make(&backend, MkMemoryType::DeviceLocal).is_ok(), "it is not mapped");
    assert!(matches!(make(&backend, MkMemoryType::HostVisible), Err(MkError::Backend { call: "map", .. })));
    assert_eq!((backend.buffer_count(), backend.total_allocated()), (1, 64));
    assert!(make(&backend, MkMemoryType::HostVisible).is_ok());
}

#[test]
fn allocations_have_a_limit() {
    let backend = DummyBackend::with_config(DummyBackendConfig { allocation_limit: 2, ..Default::default() });
    let held = make(&backend, MkMemoryType::DeviceLocal).unwrap();
    make(&backend, MkMemoryType::HostVisible).unwrap();
    assert!(matches!(make(&backend, MkMemoryType::Unified), Err(MkError::OutOfMemory { size: 64, .. })));
    assert_eq!((backend.buffer_count(), backend.total_allocated()), (2, 128));
    // SAFETY: nothing used it.
    unsafe { backend.destroy_buffer(held) };
    make(&backend, MkMemoryType::Unified).unwrap();
}

#[test]
fn a_lost_device_runs_nothing_new_and_drops_what_it_held() {
    let mut rig = Rig::new();
    let (a, mapped) = (rig.buffer("a", 16), rig.host("b", 16));
    rig.backend.pause();
    let held = Arc::new(());
    let captured = held.clone();
    let writes = [(a, 0..16, Access::COMPUTE_STORAGE_WRITE, Mode::Write)];
    let value = rig.submit(rig.frame().kernel("never", &writes, move |_| {
        let _held = captured;
        panic!("a lost device runs nothing")
    }));
    let mut frame = rig.frame();
    let unsubmitted = rig.record(&mut frame).unwrap();
    rig.backend.inject(fault(DummyCalls::WAIT, When::Nth(0), E::DeviceLost));
    let lost = |r: Result<(), MkError>| assert!(matches!(r, Err(MkError::DeviceLost)), "{r:?}");
    // Told at once, although the queue is held.
    lost(rig.backend.wait(value, Duration::MAX).map(drop));
    rig.backend.clear_faults();
    lost(rig.backend.wait(0, Duration::ZERO).map(drop));
    lost(rig.backend.completed().map(drop));
    lost(make(&rig.backend, MkMemoryType::DeviceLocal).map(drop));
    lost(rig.record(&mut frame).map(drop));
    let buffer = rig.buffers[mapped];
    // SAFETY: the buffer lives and is mapped; the recording uses no buffers that are destroyed.
    unsafe {
        lost(rig.backend.flush(&buffer, 0..4));
        lost(rig.backend.invalidate(&buffer, 0..4));
        lost(rig.backend.submit(unsubmitted, false).map(drop));
        // The device counts as done with everything, also with what it never ran.
        rig.backend.destroy_buffer(rig.buffers[a]);
        rig.backend.destroy_buffer(buffer);
    }
    assert_eq!((rig.backend.buffer_count(), rig.backend.total_allocated()), (0, 0));
    rig.clean();
    drop(rig);
    assert_eq!(Arc::strong_count(&held), 1, "its kernels are dropped");
}
