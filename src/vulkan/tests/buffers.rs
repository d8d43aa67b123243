//! Buffers and their memory.

use super::*;

const KINDS: [MkMemoryType; 5] = [
    MkMemoryType::DeviceLocal,
    MkMemoryType::HostVisible,
    MkMemoryType::HostLocal,
    MkMemoryType::HostCached,
    MkMemoryType::Unified,
];

#[test]
fn every_kind_of_memory_is_made_and_freed() {
    silent(|backend| {
        for memory in KINDS {
            for size in [1, 4, 4096, 20 << 20] {
                let made = buffer(&backend, size, memory);
                assert_eq!(VulkanBackend::buffer_size(&made), size);
                assert_eq!(backend.mapped(&made).is_some(), memory.is_mappable());
                // SAFETY: nothing used it.
                unsafe { backend.destroy_buffer(made) };
            }
        }
        assert_eq!(backend.buffer_count(), 0);
    });
}

#[test]
fn mapped_bytes_are_read_back() {
    silent(|backend| {
        for memory in KINDS.into_iter().filter(|m| m.is_mappable()) {
            let made = buffer(&backend, 1000, memory);
            let bytes: Vec<u8> = (0..1000).map(|i| i as u8).collect();
            write(&backend, &made, &bytes);
            assert_eq!(read(&backend, &made, 1000), bytes);
            // SAFETY: mapped; odd ranges, and one past the end, are rounded by the backend.
            unsafe {
                backend.flush(&made, 3..5).unwrap();
                backend.invalidate(&made, 999..5000).unwrap();
            }
        }
    });
}

#[test]
fn buffers_that_are_left_are_destroyed_with_the_backend() {
    silent(|backend| {
        for memory in KINDS {
            buffer(&backend, 100, memory);
        }
        assert_eq!(backend.buffer_count(), KINDS.len());
    });
}

#[test]
fn slots_are_used_again() {
    silent(|backend| {
        let first = buffer(&backend, 16, MkMemoryType::HostVisible);
        // SAFETY: nothing used it.
        unsafe { backend.destroy_buffer(first) };
        let second = buffer(&backend, 16, MkMemoryType::HostVisible);
        assert_eq!(backend.buffer_count(), 1);
        write(&backend, &second, &[7; 16]);
        assert_eq!(read(&backend, &second, 16), [7; 16]);
    });
}

#[test]
fn what_cannot_be_made_is_an_error_and_leaves_nothing() {
    silent(|backend| {
        let limit = backend.capabilities().max_buffer_size;
        let make = |size, usage| {
            let memory = MkMemoryType::DeviceLocal;
            backend.create_buffer(&MkBackendBufferDesc { name: "odd", size, usage, memory })
        };
        assert!(matches!(make(0, BufferUsage::STORAGE), Err(MkError::ZeroSize { .. })));
        assert!(matches!(make(limit + 1, BufferUsage::STORAGE), Err(MkError::BufferTooLarge { .. })));
        assert!(matches!(make(16, BufferUsage::empty()), Err(MkError::Backend { .. })));
        assert!(matches!(make(16, BufferUsage::from_bits_retain(1 << 30)), Err(MkError::Backend { .. })));
        assert_eq!(backend.buffer_count(), 0);
    });
}

#[test]
fn exhausted_memory_is_an_error_and_the_next_buffer_works() {
    silent(|backend| {
        // SAFETY: instance and device live.
        let properties =
            unsafe { backend.instance().get_physical_device_properties(backend.physical_device()) };
        if properties.device_type != vk::PhysicalDeviceType::CPU {
            return exhaust(&backend);
        }
        // A software device gives out addresses until there are none: in a process that has few.
        let mut shell = Process::new("sh");
        shell.args(["-c", "ulimit -v 12000000; exec \"$0\" \"$@\""]).arg(own_program());
        let test = "buffers::exhausted_memory_is_an_error_and_the_next_buffer_works";
        alone(test, shell, || exhaust(&backend));
    });
}

fn exhaust(backend: &VulkanBackend) {
    let size = backend.capabilities().max_buffer_size;
    let (usage, memory) = (BufferUsage::STORAGE, MkMemoryType::DeviceLocal);
    let desc = MkBackendBufferDesc { name: "huge", size, usage, memory };
    let mut made = Vec::new();
    let error = (0..1000).find_map(|_| backend.create_buffer(&desc).map(|b| made.push(b)).err());
    match error.expect("memory ends somewhere") {
        MkError::OutOfMemory { resource, size: asked, memory: kind, .. } => {
            assert_eq!((&*resource, asked, kind), ("huge", size, memory));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(backend.buffer_count(), made.len());
    for buffer in made {
        // SAFETY: nothing used it.
        unsafe { backend.destroy_buffer(buffer) };
    }
    buffer(backend, 64, MkMemoryType::DeviceLocal);
}

#[test]
fn buffers_have_addresses_if_asked_for() {
    silent(|backend| {
        let usage = BufferUsage::STORAGE | BufferUsage::DEVICE_ADDRESS;
        let desc =
            MkBackendBufferDesc { name: "by address", size: 64, usage, memory: MkMemoryType::DeviceLocal };
        assert!(backend.create_buffer(&desc).unwrap().device_address().is_some());
        assert!(buffer(&backend, 64, MkMemoryType::DeviceLocal).device_address().is_none());
    });
}

#[test]
fn capabilities_say_what_the_device_is() {
    silent(|backend| {
        let capabilities = backend.capabilities();
        assert!(!capabilities.device_name.is_empty() && !capabilities.driver.is_empty());
        assert!(capabilities.max_buffer_size >= 1 << 27 && capabilities.non_coherent_atom_size >= 1);
        assert_eq!(capabilities.queues.len(), 1);
        assert!(capabilities.queues[0].ends_with("compute + transfer"), "{}", capabilities.queues[0]);
    });
}
