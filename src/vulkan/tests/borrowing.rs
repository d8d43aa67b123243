//! Devices that somebody else owns.

use super::*;
use std::sync::Mutex;

pub(super) fn lend(owner: &VulkanBackend) -> VulkanBorrow {
    VulkanBorrow {
        instance: owner.instance().clone(),
        physical_device: owner.physical_device(),
        device: owner.device().clone(),
        queue: owner.queue(),
        queue_family: owner.queue_family(),
        queue_lock: None,
        api_version: owner.api_version(),
        optional_stages: Stages::empty(),
        buffer_device_address: true,
        storage_buffer_8bit_access: true,
        external_memory_host: owner.capabilities().host_import.is_some(),
        debug_utils: true,
    }
}

fn send_bytes(backend: &VulkanBackend) {
    let up = buffer(backend, 512, MkMemoryType::HostVisible);
    let middle = buffer(backend, 512, MkMemoryType::DeviceLocal);
    let down = buffer(backend, 512, MkMemoryType::HostCached);
    write(backend, &up, &[5; 512]);
    wait(backend, round_trip(512).run(backend, &[middle], &[up, down], true));
    assert_eq!(read(backend, &down, 512), [5; 512]);
}

#[test]
fn stages_that_need_a_feature_are_those_the_device_was_made_with() {
    silent(|owner| {
        let plain = owner.capabilities().stages;
        assert!(plain.contains(Stages::FRAGMENT_SHADER | Stages::ALL_GRAPHICS), "lavapipe draws: {plain}");
        assert!(!plain.intersects(Stages::OPTIONAL), "{plain}");
        let lent = VulkanBorrow { optional_stages: Stages::MESH_SHADER | Stages::HOST, ..lend(&owner) };
        // SAFETY: the owner outlives it and does not use its queue meanwhile; no pass is recorded.
        let borrowed = unsafe { VulkanBackend::from_raw(lent) }.unwrap();
        assert_eq!(borrowed.capabilities().stages, plain | Stages::MESH_SHADER);
    });
    let device_features =
        vk::PhysicalDeviceFeatures::default().geometry_shader(true).tessellation_shader(true);
    let backend = VulkanBackend::new(VulkanConfig { device_features, ..config() }).unwrap();
    let tessellation = Stages::TESSELLATION_CONTROL_SHADER | Stages::TESSELLATION_EVALUATION_SHADER;
    assert_eq!(backend.capabilities().stages & Stages::OPTIONAL, tessellation | Stages::GEOMETRY_SHADER);
    let log = backend.validation_log();
    drop(backend);
    assert_silent(&log);
}

#[test]
fn a_borrowed_device_is_left_as_it_was() {
    silent(|owner| {
        for _ in 0..2 {
            // SAFETY: the owner outlives it and does not use its queue meanwhile.
            let borrowed = unsafe { VulkanBackend::from_raw(lend(&owner)) }.unwrap();
            send_bytes(&borrowed);
            // In flight when it is dropped.
            let (a, b) = (
                buffer(&borrowed, 4 << 20, MkMemoryType::Unified),
                buffer(&borrowed, 4 << 20, MkMemoryType::HostCached),
            );
            let mut plan = Plan::default();
            plan.copy(BufferRef::Host(0), BufferRef::Host(1), &[(0, 0, 4 << 20)]);
            plan.run(&borrowed, &[], &[a, b], true);
        }
        send_bytes(&owner);
    });
}

/// Counts who comes by.
struct Gate(Mutex<u32>);

impl MkQueueLock for Gate {
    fn with(&self, submit: &mut dyn FnMut()) {
        let mut passed = self.0.lock().unwrap();
        submit();
        *passed += 1;
    }
}

#[test]
fn a_shared_queue_is_used_under_its_lock() {
    silent(|owner| {
        let gate = Arc::new(Gate(Mutex::new(0)));
        let lock: Arc<dyn MkQueueLock> = gate.clone();
        let lent = VulkanBorrow { queue_lock: Some(lock), ..lend(&owner) };
        // SAFETY: the owner outlives it and does not use its queue meanwhile.
        let borrowed = unsafe { VulkanBackend::from_raw(lent) }.unwrap();
        send_bytes(&borrowed);
        assert_eq!(*gate.0.lock().unwrap(), 1);
        assert!(borrowed.with_queue(|queue| queue == owner.queue()).unwrap());
        assert_eq!(*gate.0.lock().unwrap(), 2);
    });
}

/// A lock that never runs what it is given.
struct Wall;

impl MkQueueLock for Wall {
    fn with(&self, _: &mut dyn FnMut()) {}
}

#[test]
fn a_submit_that_fails_uses_no_value_up() {
    silent(|owner| {
        let lent = VulkanBorrow { queue_lock: Some(Arc::new(Wall)), ..lend(&owner) };
        // SAFETY: the owner outlives it and does not use its queue meanwhile.
        let borrowed = unsafe { VulkanBackend::from_raw(lent) }.unwrap();
        let recording = Plan::default().record(&borrowed, &[], &[], &mut |_, _| Ok(())).unwrap();
        // SAFETY: it uses no buffers.
        let error = unsafe { borrowed.submit(recording, true) }.unwrap_err();
        assert!(matches!(error, MkError::Backend { call: "MkQueueLock::with", .. }));
        assert_eq!(borrowed.recorders.count(), (1, 0));
        assert_eq!(borrowed.completed().unwrap(), 0);
    });
}

#[test]
fn below_1_3_the_extension_and_older_copies_do_the_work() {
    let extensions = vec![ash::khr::synchronization2::NAME.to_owned()];
    let owner = VulkanBackend::new(VulkanConfig { device_extensions: extensions, ..config() }).unwrap();
    let log = owner.validation_log();
    let lent = VulkanBorrow { api_version: vk::API_VERSION_1_2, ..lend(&owner) };
    // SAFETY: the owner outlives it, does not use its queue meanwhile, and has the extension enabled.
    let borrowed = unsafe { VulkanBackend::from_raw(lent) }.unwrap();
    assert!(matches!(borrowed.gpu.sync2, device::Sync2::Khr(_)));
    send_bytes(&borrowed);
    running::fill_and_copy_many_regions(&borrowed);
    drop(borrowed);
    drop(owner);
    assert_silent(&log);
}

#[test]
fn what_is_lent_must_be_able() {
    silent(|owner| {
        let old = VulkanBorrow { api_version: vk::API_VERSION_1_1, ..lend(&owner) };
        // SAFETY: refused before anything is used.
        assert!(matches!(unsafe { VulkanBackend::from_raw(old) }, Err(MkError::NoDevice { .. })));
        let nowhere = VulkanBorrow { queue_family: 99, ..lend(&owner) };
        // SAFETY: refused before the queue is used.
        assert!(matches!(unsafe { VulkanBackend::from_raw(nowhere) }, Err(MkError::NoDevice { .. })));
    });
}
